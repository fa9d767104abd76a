"""Figures of latency: phases, ranks, cumulative curves, drivers, one request."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from dashboard.figures.base import (
    Look,
    Picture,
    Trace,
    axis,
    groups,
    layout,
    line,
    log_axis,
    numbers,
    soft,
    time_axis,
    times,
)
from dashboard.text import interval_text, number_text
from dashboard.theme import (
    BLUE,
    COUNT_SCALE,
    GREEN,
    GREY,
    PURPLE,
    SERIES_COLOURS,
    SERIES_DASHES,
    VERMILION,
)
from store.units import seconds_text

# One look a phase on every chart: colour and pattern, never colour alone.
PHASES: Mapping[str, tuple[str, str, str]] = {
    "queue": ("queue", VERMILION, "/"),
    "prefill": ("prefill", BLUE, ""),
    "first_token": ("queue + prefill, not told apart", PURPLE, "x"),
    "decode": ("decode", GREEN, "."),
    "unattributed": ("unattributed", GREY, "\\"),
}


def _known_phases(frame: pl.DataFrame) -> list[str]:
    return [
        name
        for name in PHASES
        if f"{name}_seconds" in frame.columns
        and any(abs(v) > 1e-9 for v in frame[f"{name}_seconds"].drop_nulls().to_list())
    ]


def _phase_bars(frame: pl.DataFrame, name: str, places: Sequence[Any], horizontal: bool) -> Trace:
    title, colour, pattern = PHASES[name]
    values = numbers(frame, f"{name}_seconds")
    made: Trace = {
        "type": "bar",
        "name": title,
        "marker": {
            "color": colour,
            "pattern": overlaid(pattern),
            "line": {"width": 0},
        },
        "customdata": [seconds_text(v) for v in values],
        "hovertemplate": f"{title} %{{customdata}}<extra></extra>",
    }
    if horizontal:
        return made | {"orientation": "h", "x": values, "y": list(places)}
    return made | {"x": list(places), "y": values}


def overlaid(shape: str) -> dict[str, Any]:
    """A light pattern over the colour: the colour stays, and is not all that tells."""
    return {
        "shape": shape,
        "fillmode": "overlay",
        "fgcolor": "rgba(255,255,255,0.6)",
        "solidity": 0.2,
        "size": 7,
    }


def stack(frame: pl.DataFrame, look: Look) -> Picture | str:
    """Mean time of each phase by time, stacked: means add up.

    Args:
        frame: `at`, `<phase>_seconds`, `e2e_seconds`, `requests`.
        look: zone and clock.
    """
    phases = _known_phases(frame)
    if not phases:
        return "No phase is known here."
    at = times(frame, "at", look)
    traces = [_phase_bars(frame, name, at, horizontal=False) for name in phases]
    y = axis("mean seconds", from_zero=True)
    made = layout(time_axis(look), y, legend=True, barmode="relative", bargap=0)
    means = [
        f"{PHASES[name][0]} {seconds_text(_weighted(frame, f'{name}_seconds'))}" for name in phases
    ]
    return Picture({"data": traces, "layout": made}, f"Mean phases over time: {', '.join(means)}.")


def _weighted(frame: pl.DataFrame, column: str) -> float | None:
    known = frame.drop_nulls(column)
    n = float(known["requests"].sum() or 0)
    return float((known[column] * known["requests"]).sum()) / n if n else None


def tail(frame: pl.DataFrame, look: Look) -> Picture | str:
    """Mean phases of the requests of each rank by E2E, the slowest at the top.

    Args:
        frame: `group`, `<phase>_seconds`, `e2e_seconds`, `requests`, `e2e_low_seconds`,
            `e2e_high_seconds`.
        look: unused, kept for the common signature.
    """
    phases = _known_phases(frame)
    if frame.height < 2 or not phases:
        return "Ranks need more requests than there are here."
    traces = [
        _phase_bars(frame, name, frame["group"].to_list(), horizontal=True) for name in phases
    ]
    made = layout(
        axis("mean seconds", from_zero=True),
        axis("rank by E2E", "category", showgrid=False),
        legend=True,
        barmode="relative",
        bargap=0.3,
    )
    slow = frame.row(-1, named=True)
    largest = max(phases, key=lambda name: slow[f"{name}_seconds"] or 0.0)
    words = f"the slowest group takes {seconds_text(slow['e2e_seconds'])} on average"
    part = f"{seconds_text(slow[f'{largest}_seconds'])} of it {PHASES[largest][0]}"
    return Picture({"data": traces, "layout": made}, f"Anatomy of the tail: {words}, {part}.")


def ecdf(frame: pl.DataFrame, title: str) -> Picture | str:
    """Share of requests up to a latency, one line a series; a band where only edges are known.

    Args:
        frame: `series`, `seconds`, `share_low`, `share_high`, `requests`.
        title: of the latency axis.
    """
    parts = groups(frame.filter(pl.col("seconds") > 0), "series")
    if not parts:
        return "Nothing in this range reports it."
    traces: list[Trace] = []
    words = []
    for index, (name, part) in enumerate(parts):
        x, low = numbers(part, "seconds"), numbers(part, "share_low")
        is_exact = low == numbers(part, "share_high")
        drawn = line(x, low, name, index)
        drawn["hovertemplate"] = f"{name}: %{{y:.1%}} within %{{x:.3g}} s<extra></extra>"
        if not is_exact:
            traces += _edge_band(part, index)
            drawn |= {"mode": "markers", "marker": {"size": 6, "color": _colour(index)}}
        traces.append(drawn)
        half = part.filter(pl.col("share_low") >= 0.5)
        if half.height:
            words.append(f"{name} {seconds_text(half['seconds'][0])}")
    shown = [v for _, part in parts for v in numbers(part, "seconds")]
    made = layout(
        log_axis(f"{title} (log)", shown),
        axis("share of requests", tickformat=".0%", range=[0, 1.02]),
        legend=True,
    )
    return Picture(
        {"data": traces, "layout": made},
        f"Half of the requests stay within: {', '.join(words) or 'unknown'}.",
    )


def _colour(index: int) -> str:
    return SERIES_COLOURS[index % len(SERIES_COLOURS)]


def _edge_band(part: pl.DataFrame, index: int) -> list[Trace]:
    """Between two edges the share lies between the shares at both: a step on either side."""
    x, low = numbers(part, "seconds"), numbers(part, "share_low")
    colour = _colour(index)
    edge = {
        "type": "scatter",
        "mode": "lines",
        "x": x,
        "hoverinfo": "skip",
        "showlegend": False,
        "line": {"width": 1, "color": colour, "dash": SERIES_DASHES[index % len(SERIES_DASHES)]},
    }
    lower = edge | {"y": low, "line": {**edge["line"], "shape": "hv"}}  # type: ignore[dict-item]
    upper = edge | {"y": low, "line": {**edge["line"], "shape": "vh"}}  # type: ignore[dict-item]
    return [lower, upper | {"fill": "tonexty", "fillcolor": soft(colour, 0.12)}]


def driver(
    grid: pl.DataFrame, medians: pl.DataFrame, x_title: str, y_title: str, *, log_x: bool = True
) -> Picture | str:
    """A latency against what drives it: a 2-D histogram with the median of each bin.

    Args:
        grid: `low`, `high`, `low_seconds`, `high_seconds`, `requests`.
        medians: `low`, `high`, `mean`, `p50_seconds`, `requests`.
        x_title: of what drives it.
        y_title: of the latency.
        log_x: whether the driver's axis is logarithmic.
    """
    if medians.height < 2:
        return "It is the same for all requests here: there is nothing to compare."
    if not log_x:  # whole numbers stand in the middle of their cells
        grid = grid.with_columns(pl.col("low", "high") - 0.5)
    xs = sorted({*grid["low"].to_list(), *grid["high"].to_list()})
    ys = sorted({*grid["low_seconds"].to_list(), *grid["high_seconds"].to_list()})
    z: list[list[float | None]] = [[None] * (len(xs) - 1) for _ in ys[:-1]]
    counts: list[list[str]] = [[""] * (len(xs) - 1) for _ in ys[:-1]]
    for low, high, low_s, high_s, requests in grid.iter_rows():
        row, column = ys.index(low_s), xs.index(low)
        z[row][column] = round(math.log10(max(requests, 1)) + 0.15, 2)
        wide = f"{number_text(math.ceil(low))}-{number_text(math.ceil(high) - 1)}"
        counts[row][column] = f"{wide}, {interval_text(low_s, high_s, 's')}: {requests:,} requests"
    heat: Trace = {"type": "heatmap", "x": xs, "y": ys, "z": z, "text": counts}
    heat |= {"colorscale": [list(stop) for stop in COUNT_SCALE], "zmin": 0, "showscale": False}
    heat |= {"hoverongaps": False, "hovertemplate": "%{text}<extra></extra>"}
    middle = line(numbers(medians, "mean"), numbers(medians, "p50_seconds"), "median of each bin")
    middle |= {"mode": "lines+markers", "marker": {"size": 5, "color": VERMILION}}
    middle["line"] = {"color": VERMILION, "width": 2}
    middle["hovertemplate"] = "median %{y:.3g} s<extra></extra>"
    x = log_axis(x_title, xs, exponentformat="SI") if log_x else axis(x_title, from_zero=True)
    made = layout(x | {"showgrid": False}, log_axis(f"{y_title} (log)", ys), legend=True)
    first, last = medians.row(0, named=True), medians.row(-1, named=True)
    words = (
        f"median {seconds_text(first['p50_seconds'])} at {number_text(first['mean'])}, "
        f"{seconds_text(last['p50_seconds'])} at {number_text(last['mean'])}"
    )
    return Picture({"data": [heat, middle], "layout": made}, f"{y_title} by {x_title}: {words}.")


def waterfall(frame: pl.DataFrame, look: Look) -> Picture | str:
    """The phases of one request one after the other.

    Args:
        frame: `phase`, `start_seconds`, `seconds`, `source`.
        look: unused, kept for the common signature.
    """
    traces: list[Trace] = []
    names = []
    for row in frame.iter_rows(named=True):
        title, colour, pattern = PHASES[row["phase"]]
        names.append(title)
        traces.append(
            {
                "type": "bar",
                "orientation": "h",
                "y": [title],
                "base": [row["start_seconds"]],
                "x": [row["seconds"]],
                "name": title,
                "marker": {"color": colour, "pattern": overlaid(pattern)},
                "text": [seconds_text(row["seconds"])],
                "textposition": "outside",
                "cliponaxis": False,
                "hovertemplate": f"{title} {seconds_text(row['seconds'])}<br>{row['source']}"
                "<extra></extra>",
            }
        )
    ends = [s + n for s, n in frame.select("start_seconds", "seconds").iter_rows()]
    x = axis("seconds after arrival", range=[0, max([*ends, 1e-6]) * 1.12])
    y = axis("", "category", showgrid=False, autorange="reversed", categoryarray=names)
    made = layout(x, y, barmode="overlay", bargap=0.35)
    words = ", ".join(
        f"{PHASES[r['phase']][0]} {seconds_text(r['seconds'])}" for r in frame.iter_rows(named=True)
    )
    return Picture({"data": traces, "layout": made}, f"One request: {words}.")
