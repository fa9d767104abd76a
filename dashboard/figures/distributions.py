"""Figures of distributions: histograms, cumulative curves, dispersion, concentration, caches."""

from __future__ import annotations

import math
from typing import Any

import polars as pl

from dashboard.figures.base import (
    Look,
    Picture,
    Trace,
    axis,
    groups,
    label,
    layout,
    level,
    line,
    log_axis,
    numbers,
    soft,
)
from dashboard.text import number_text
from dashboard.theme import BLUE, COUNT_SCALE, GREY, SERIES_COLOURS
from store.units import percent_text, seconds_text

_SHARE: dict[str, Any] = {"tickformat": ".0%", "range": [0, 1.02]}


def _extreme(frame: pl.DataFrame, column: str, *, largest: bool = True) -> float | None:
    """The largest or smallest known value of a column; None when there is none."""
    known = [v for v in numbers(frame, column) if v is not None]
    if not known:
        return None
    return max(known) if largest else min(known)


def interarrival(frame: pl.DataFrame, look: Look) -> Picture | str:
    """Share of gaps up to a length, beside the exponential gaps of a Poisson process.

    Args:
        frame: `source`, `gap_seconds`, `cdf_ratio`, `exponential_cdf_ratio`.
        look: unused, kept for the common signature.
    """
    traces: list[Trace] = []
    for index, (name, part) in enumerate(groups(frame, "source")):
        part = part.filter(pl.col("gap_seconds") > 0)
        gaps = numbers(part, "gap_seconds")
        traces.append(line(gaps, numbers(part, "cdf_ratio"), name, index))
        poisson = line(gaps, numbers(part, "exponential_cdf_ratio"), f"{name}, if Poisson", index)
        poisson["line"] = {
            "color": SERIES_COLOURS[index % len(SERIES_COLOURS)],
            "width": 1,
            "dash": "dot",
        }
        traces.append(poisson)
    gaps = [gap for trace in traces for gap in trace["x"]]
    x = log_axis("gap between arrivals (s)", gaps)
    figure = {"data": traces, "layout": layout(x, axis("share of gaps", **_SHARE), legend=True)}
    return Picture(figure, _medians(frame, "gap_seconds", "Half of the gaps are shorter than"))


def _medians(frame: pl.DataFrame, column: str, lead: str) -> str:
    words = []
    for name, part in groups(frame, "source"):
        half = part.filter(pl.col("cdf_ratio") >= 0.5)
        if half.height:
            at = seconds_text(_extreme(half, column, largest=False))
            words.append(f"{at} ({name})" if name else at)
    return f"{lead} {', '.join(words) or 'an unknown length'}."


def dispersion(frame: pl.DataFrame, look: Look) -> Picture | str:
    """Index of dispersion of counts against the window, both axes logarithmic; Poisson is 1.

    Args:
        frame: `source`, `window_seconds`, `index_of_dispersion`, `windows`.
        look: unused, kept for the common signature.
    """
    frame = frame.filter(pl.col("index_of_dispersion") > 0)
    if frame.is_empty():
        return "The index of dispersion needs at least two windows with arrivals."
    traces, words = [], []
    for index, (name, part) in enumerate(groups(frame, "source")):
        trace = line(
            numbers(part, "window_seconds"), numbers(part, "index_of_dispersion"), name, index
        )
        trace |= {"mode": "lines+markers", "customdata": numbers(part, "windows")}
        trace["hovertemplate"] = "%{x} s windows: %{y:.3g} (%{customdata} windows)"
        traces.append(trace)
        last = part.row(-1, named=True)
        words.append(f"{name} {last['index_of_dispersion']:.3g} at {last['window_seconds']:g} s")
    shape, _ = level(1, "")
    y = [1.0, *(value for trace in traces for value in trace["y"])]
    made = layout(
        log_axis("window (s)", [value for trace in traces for value in trace["x"]]),
        log_axis("variance ÷ mean of counts", y),
        legend=True,
    )
    made |= {"shapes": [shape], "annotations": [label(0, "Poisson = 1")]}
    return Picture(
        {"data": traces, "layout": made},
        f"Index of dispersion, where Poisson is 1: {', '.join(words)}.",
    )


def lengths(frame: pl.DataFrame, noun: str) -> Picture | str:
    """Histogram of token counts over doubling bins.

    Args:
        frame: `source`, `low_tokens`, `high_tokens`, `requests`, `cdf_ratio`.
        noun: "input" or "output".
    """
    frame = frame.filter(pl.col("high_tokens") > 0)
    traces = []
    parts = groups(frame, "source")
    for index, (name, part) in enumerate(parts):
        total = part.get_column("requests").sum() or 1
        share = part.with_columns(share=pl.col("requests") / total)
        middles = [
            math.sqrt(max(low, 1) * high)
            for low, high in share.select("low_tokens", "high_tokens").iter_rows()
        ]
        trace = line(middles, numbers(share, "share"), name, index, fill="tozeroy")
        trace |= {"fillcolor": soft(SERIES_COLOURS[index % len(SERIES_COLOURS)], 0.15)}
        trace["line"] |= {"shape": "hvh"}
        trace["customdata"] = share.select("low_tokens", "high_tokens", "requests").rows()
        trace["hovertemplate"] = (
            "%{customdata[0]:,}-%{customdata[1]:,} tokens: %{customdata[2]:,} requests (%{y:.1%})"
        )
        traces.append(trace)
    edges = [value for trace in traces for value in trace["x"]]
    x = log_axis(f"{noun} tokens", edges, exponentformat="SI")
    made = layout(
        x, axis("share of requests", from_zero=True, tickformat=".0%"), legend=len(parts) > 1
    )
    return Picture({"data": traces, "layout": made}, _length_words(parts, noun))


def _length_words(parts: list[tuple[str, pl.DataFrame]], noun: str) -> str:
    words = []
    for name, part in parts:
        if part.height:
            top = part.sort("requests", descending=True).row(0, named=True)
            words.append(f"{name} most often {top['low_tokens']:,.0f} to {top['high_tokens']:,.0f}")
    return f"Distribution of {noun} tokens: {'; '.join(words) or 'no rows'}."


def length_cdf(frame: pl.DataFrame, noun: str) -> Picture | str:
    """Share of requests up to a number of tokens.

    Args:
        frame: `source`, `high_tokens`, `cdf_ratio`.
        noun: "input" or "output".
    """
    frame = frame.filter(pl.col("high_tokens") > 0)
    parts = groups(frame, "source")
    traces = [
        line(numbers(p, "high_tokens"), numbers(p, "cdf_ratio"), name, i)
        for i, (name, p) in enumerate(parts)
    ]
    made = layout(
        log_axis(f"{noun} tokens", numbers(frame, "high_tokens"), exponentformat="SI"),
        axis("share of requests", **_SHARE),
        legend=len(parts) > 1,
    )
    words = []
    for name, part in parts:
        half = part.filter(pl.col("cdf_ratio") >= 0.5)
        if half.height:
            words.append(
                f"{number_text(_extreme(half, 'high_tokens', largest=False))} tokens ({name})"
            )
    return Picture(
        {"data": traces, "layout": made},
        f"Half of the requests have at most {', '.join(words)} of {noun}.",
    )


def joint(frame: pl.DataFrame, look: Look) -> Picture | str:
    """Input against output tokens as a heat map of request counts, both in doubling bins.

    Args:
        frame: `input_low_tokens`, `input_high_tokens`, `output_low_tokens`, `output_high_tokens`,
            `requests`.
        look: unused, kept for the common signature.
    """
    if frame.is_empty():
        return "No request here has both an input and an output length."
    columns = ["input_low_tokens", "output_low_tokens"]
    frame = frame.group_by(columns).agg(pl.col("requests").sum())
    xs = sorted(frame.get_column(columns[0]).unique().to_list())
    ys = sorted(frame.get_column(columns[1]).unique().to_list())
    cells: list[list[float | None]] = [[None] * len(xs) for _ in ys]
    counts: list[list[float | None]] = [[None] * len(xs) for _ in ys]
    for low_in, low_out, requests in frame.iter_rows():
        # Colour by the logarithm: lengths are heavy-tailed, the rare corners must be seen too.
        cells[ys.index(low_out)][xs.index(low_in)] = math.log10(max(requests, 1)) + 0.15
        counts[ys.index(low_out)][xs.index(low_in)] = requests
    heat = {
        "type": "heatmap",
        "z": cells,
        "customdata": counts,
        "showscale": False,
        "hoverongaps": False,
    }
    heat |= {"x": [number_text(v) for v in xs], "y": [number_text(v) for v in ys]}
    heat |= {"colorscale": [list(stop) for stop in COUNT_SCALE], "xgap": 1, "ygap": 1}
    heat["hovertemplate"] = "from %{x} in, from %{y} out: %{customdata:,} requests<extra></extra>"
    made = layout(
        axis("input tokens, from", "category", showgrid=False, nticks=14),
        axis("output tokens, from", "category", showgrid=False, nticks=12),
    )
    top = frame.sort("requests", descending=True).row(0, named=True)
    start = f"from {top['input_low_tokens']:,.0f} input"
    words = f"{start} and {top['output_low_tokens']:,.0f} output tokens"
    return Picture(
        {"data": [heat], "layout": made}, f"Joint lengths: most requests lie in the bin {words}."
    )


def lorenz(frame: pl.DataFrame, look: Look) -> Picture | str:
    """Share of requests and tokens held by the smallest share of clients; the diagonal is equality.

    Args:
        frame: `dimension`, `clients_ratio`, `requests_ratio`, `tokens_ratio`.
        look: unused, kept for the common signature.
    """
    if frame.height < 2:
        return "Concentration needs at least two clients."
    name, part = groups(frame, "dimension")[0]
    x = numbers(part, "clients_ratio")
    equal = line([0, 1], [0, 1], "equal shares")
    equal |= {"mode": "lines", "line": {"color": GREY, "width": 1, "dash": "dot"}}
    traces = [line(x, numbers(part, "requests_ratio"), "requests", 0)]
    if part.get_column("tokens_ratio").drop_nulls().len():
        traces.append(line(x, numbers(part, "tokens_ratio"), "tokens", 1))
    made = layout(
        axis(f"share of {name or 'client'}s, smallest first", **_SHARE),
        axis("share held", **_SHARE),
        legend=True,
    )
    half = part.filter(pl.col("clients_ratio") <= 0.5)
    held = _extreme(half, "requests_ratio") if half.height else None
    words = percent_text(held)
    return Picture(
        {"data": [*traces, equal], "layout": made},
        f"The smaller half of the clients sends {words} of the requests.",
    )


def turns(frame: pl.DataFrame, look: Look) -> Picture | str:
    """Sessions by their number of turns.

    Args:
        frame: `turns`, `sessions`.
        look: unused, kept for the common signature.
    """
    trace = {
        "type": "bar",
        "x": numbers(frame, "turns"),
        "y": numbers(frame, "sessions"),
        "marker": {"color": BLUE},
    }
    trace["hovertemplate"] = "%{x} turns: %{y:,} sessions<extra></extra>"
    figure = {
        "data": [trace],
        "layout": layout(axis("turns", showgrid=False), axis("sessions", from_zero=True)),
    }
    total = frame.get_column("sessions").sum()
    single = frame.filter(pl.col("turns") == 1).get_column("sessions").sum()
    return Picture(figure, f"{single:,} of {total:,} sessions have one turn only.")


def gaps(frame: pl.DataFrame, look: Look) -> Picture | str:
    """Share of the gaps between two turns of a session up to a length.

    Args:
        frame: `gap_seconds`, `cdf_ratio`.
        look: unused, kept for the common signature.
    """
    frame = frame.filter(pl.col("gap_seconds") > 0)
    traces = [line(numbers(frame, "gap_seconds"), numbers(frame, "cdf_ratio"))]
    made = layout(
        log_axis("gap between turns (s)", traces[0]["x"]), axis("share of gaps", **_SHARE)
    )
    return Picture(
        {"data": traces, "layout": made},
        _medians(frame, "gap_seconds", "Half of the gaps between turns are shorter than"),
    )


def growth(frame: pl.DataFrame, look: Look) -> Picture | str:
    """Mean input length by turn.

    Args:
        frame: `turn`, `input_tokens_mean`, `sessions`.
        look: unused, kept for the common signature.
    """
    trace = line(numbers(frame, "turn"), numbers(frame, "input_tokens_mean"))
    trace |= {"mode": "lines+markers", "customdata": numbers(frame, "sessions")}
    trace["hovertemplate"] = "turn %{x}: %{y:,.0f} tokens (%{customdata:,} sessions)<extra></extra>"
    made = layout(axis("turn", showgrid=False), axis("mean input tokens", from_zero=True))
    first, last = frame.row(0, named=True), frame.row(-1, named=True)
    start = f"{number_text(first['input_tokens_mean'])} tokens at turn {first['turn']}"
    words = f"{start}, {number_text(last['input_tokens_mean'])} at turn {last['turn']}"
    return Picture({"data": [trace], "layout": made}, f"Context growth: {words}.")


def lru(frame: pl.DataFrame, look: Look) -> Picture | str:
    """Hit ratio of a least-recently-used prefix cache against its size.

    Args:
        frame: `cache_blocks`, `cache_tokens`, `block_hit_ratio`, `token_hit_ratio`.
        look: unused, kept for the common signature.
    """
    x = numbers(frame, "cache_tokens")
    column = "cache tokens"
    if not any(v is not None for v in x):
        x, column = numbers(frame, "cache_blocks"), "cache blocks"
    traces = [
        line(x, numbers(frame, "token_hit_ratio"), "of tokens", 0),
        line(x, numbers(frame, "block_hit_ratio"), "of blocks", 1),
    ]
    made = layout(
        log_axis(column, x, exponentformat="SI"),
        axis("hit ratio", tickformat=".0%", range=[0, 1.02]),
        legend=True,
    )
    best = _extreme(frame, "block_hit_ratio")
    return Picture(
        {"data": traces, "layout": made},
        f"Prefix-cache hit ratio by cache size: up to {percent_text(best)} of blocks.",
    )


def overlay(frame: pl.DataFrame, quantity: str) -> Picture | str:
    """The cumulative curves of two bodies of requests for one quantity.

    Args:
        frame: `quantity`, `series`, `x`, `cdf_ratio`.
        quantity: which rows to draw.
    """
    part = frame.filter((pl.col("quantity") == quantity) & (pl.col("x") > 0))
    if part.is_empty():
        return f"Neither side has values of {quantity.replace('_', ' ')}."
    parts = groups(part, "series")
    traces = [
        line(numbers(p, "x"), numbers(p, "cdf_ratio"), name, i) for i, (name, p) in enumerate(parts)
    ]
    words = quantity.replace("_seconds", " (s)").replace("_", " ")
    made = layout(
        log_axis(words, numbers(part, "x"), exponentformat="none" if "(s)" in words else "SI"),
        axis("share", **_SHARE),
        legend=True,
    )
    names = " and ".join(name for name, _ in parts)
    return Picture(
        {"data": traces, "layout": made}, f"Cumulative distribution of {words} for {names}."
    )
