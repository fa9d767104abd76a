"""Figures of fairness: service by tenant, gap and bound, difference, Jain's index, who suffers."""

from __future__ import annotations

from collections.abc import Sequence
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
    line,
    numbers,
    soft,
    span_words,
    time_axis,
    times,
)
from dashboard.text import number_text
from dashboard.theme import GREY, SERIES_COLOURS, VERMILION
from store.units import percent_text, seconds_text

# A bound far above all that was seen would press the course into a flat line.
BOUND_IN_SIGHT = 5.0
_MOST_LINES = 5
_MOST_BARS = 10
_PATTERNS = ("", "/", ".", "x", "-")


def service(frame: pl.DataFrame, look: Look, *, as_share: bool = False) -> Picture | str:
    """What each tenant got, stacked: rates add up, and so do shares.

    Args:
        frame: `at`, `tenant`, `service_tokens_per_second`, `service_share_ratio`.
        look: zone and clock.
        as_share: shares of all service instead of rates.
    """
    column = "service_share_ratio" if as_share else "service_tokens_per_second"
    if not any(numbers(frame, column)):
        return "Nothing was served in this range, as far as records tell."
    layers = groups(frame, "tenant")
    # Every tenant has a row at every time.
    at = times(layers[0][1], "at", look)
    unit = "%{y:.1%}" if as_share else "%{y:,.0f} tokens/s"
    traces = [
        _layer(at, numbers(part, column), name, place, unit)
        for place, (name, part) in enumerate(layers)
    ]
    title = "share of the service" if as_share else "service, tokens/s"
    more: dict[str, Any] = {"tickformat": ".0%", "range": [0, 1]} if as_share else {}
    figure = {
        "data": traces,
        "layout": layout(time_axis(look), axis(title, from_zero=True, **more), legend=True),
    }
    totals = frame.group_by("tenant").agg(pl.col("service_tokens_per_second").sum())
    whole = totals["service_tokens_per_second"].sum() or 1.0
    shares = totals.sort("service_tokens_per_second", descending=True).head(4).rows()
    words = ", ".join(f"{name} {percent_text(value / whole)}" for name, value in shares)
    return Picture(figure, f"Service of each tenant over time; of all of it: {words}.")


def _layer(
    at: Sequence[str | None], values: Sequence[float | None], name: str, place: int, unit: str
) -> Trace:
    colour = GREY if name == "others" else SERIES_COLOURS[place % len(SERIES_COLOURS)]
    pattern = _PATTERNS[place % len(_PATTERNS)]
    trace = line(at, values, name, place)
    trace |= {
        "stackgroup": "all",
        "mode": "lines",
        "line": {"width": 1, "color": colour},
        "fillcolor": soft(colour, 0.6),
        "hovertemplate": f"{unit}<extra>{name}</extra>",
    }
    if pattern:
        trace["fillpattern"] = {"shape": pattern, "fgcolor": soft(colour, 0.9), "size": 7,
                                "bgcolor": soft(colour, 0.45), "solidity": 0.25}  # fmt: skip
    return trace


def gap(frame: pl.DataFrame, look: Look) -> Picture | str:
    """The gap among tenants that wait, the bound it should keep, and where it did not.

    Args:
        frame: `at`, `gap_tokens`, `bound_tokens`, `is_breach`, `ahead`, `behind`.
        look: zone and clock.
    """
    at, values = times(frame, "at", look), numbers(frame, "gap_tokens")
    known = [value for value in values if value is not None]
    if not known:
        return "No two tenants waited at the same time: there is no gap, which is not a gap of 0."
    course = line(at, values, "gap", 0)
    course |= {
        "customdata": [
            f"{row['ahead']} ahead of {row['behind']}" for row in frame.iter_rows(named=True)
        ],
        "hovertemplate": "%{y:,.0f} tokens, %{customdata}<extra></extra>",
    }
    bound = frame["bound_tokens"].max()
    more: dict[str, Any] = {}
    traces = [course]
    words = f"{span_words(known, 'tokens')}; the bound is not known"
    if isinstance(bound, int | float):
        words = f"{span_words(known, 'tokens')}; the bound is {bound:,.0f}"
        if bound <= BOUND_IN_SIGHT * max(known):
            traces.append(_bound(at, float(bound)))
        else:
            far = label(max(known), f"bound {number_text(float(bound))}, above this picture")
            more["annotations"] = [far]
    breaches = frame["is_breach"].to_list()
    if any(breaches):
        traces.append(_breaches(at, values, breaches))
        words += f", exceeded in {sum(map(bool, breaches))} of {len(breaches)} points"
    figure = {
        "data": traces,
        "layout": layout(
            time_axis(look), axis("service, tokens", from_zero=True), legend=len(traces) > 1, **more
        ),
    }
    return Picture(figure, f"Largest gap of service among tenants that wait: {words}.")


def _bound(at: Sequence[str | None], bound: float) -> Trace:
    return {
        "type": "scatter", "mode": "lines", "x": [at[0], at[-1]], "y": [bound, bound],
        "name": "bound of fair queueing", "line": {"color": GREY, "width": 2, "dash": "dot"},
        "hoverinfo": "skip",
    }  # fmt: skip


def _breaches(
    at: Sequence[str | None], values: Sequence[float | None], breaches: Sequence[bool | None]
) -> Trace:
    marked = [value if breach else None for value, breach in zip(values, breaches, strict=True)]
    return {
        "type": "scatter", "mode": "markers", "x": at, "y": marked, "name": "beyond the bound",
        "marker": {"symbol": "x", "size": 6, "color": VERMILION}, "hoverinfo": "skip",
    }  # fmt: skip


def difference(frame: pl.DataFrame, look: Look) -> Picture | str:
    """The windowed difference with demand cap, and the same with what was refused.

    Args:
        frame: `at`, `difference_tokens_per_second`, `with_refused_tokens_per_second`.
        look: zone and clock.
    """
    at = times(frame, "at", look)
    plain = numbers(frame, "difference_tokens_per_second")
    counted = numbers(frame, "with_refused_tokens_per_second")
    if not any(value is not None for value in plain):
        return "Nobody asked for anything in this range."
    traces = [line(at, plain, "what was let in", 0)]
    if counted != plain:
        traces.append(line(at, counted, "with what was refused", 1))
    figure = {
        "data": traces,
        "layout": layout(time_axis(look), axis("tokens/s", from_zero=True), legend=len(traces) > 1),
    }
    return Picture(figure, f"Windowed difference of service: {span_words(plain, 'tokens/s')}.")


def jain(frame: pl.DataFrame, look: Look) -> Picture | str:
    """Jain's index of each window, from 0 to 1, with how many tenants it is about.

    Args:
        frame: `at`, `jain_index`, `tenants_with_demand`, `is_contended`.
        look: zone and clock.
    """
    values = numbers(frame, "jain_index")
    if not any(value is not None for value in values):
        return "No window has two tenants with demand."
    trace = line(times(frame, "at", look), values, "Jain's index", 0)
    trace |= {
        "mode": "lines+markers",
        "marker": {"size": 4, "opacity": 1},
        "customdata": [
            f"n = {row['tenants_with_demand']}" + ("" if row["is_contended"] else ", nobody waited")
            for row in frame.iter_rows(named=True)
        ],
        "hovertemplate": "%{y:.3f}, %{customdata}<extra></extra>",
    }
    y = axis("Jain's index", range=[0, 1.05])
    most = max(frame["tenants_with_demand"].to_list())
    return Picture(
        {"data": [trace], "layout": layout(time_axis(look), y)},
        f"Jain's index by window, of up to {most} tenants: {span_words(values, '')}.",
    )


def interference(frame: pl.DataFrame, look: Look) -> Picture | str:
    """Others' median time to first token by the share that one tenant had meanwhile.

    Args:
        frame: `tenant`, `share_low_ratio`, `share_high_ratio`, `others_ttft_p50_seconds`,
            `requests`, `windows`.
        look: unused, kept for the common signature.
    """
    known = frame.drop_nulls("others_ttft_p50_seconds")
    if known.is_empty():
        return "Too few requests of others, or no first token is known."
    # One point of a tenant compares nothing.
    known = known.filter(pl.len().over("tenant") > 1)
    if known.is_empty():
        return "The share of each tenant hardly changed: there is nothing to compare."
    widest = known.group_by("tenant", maintain_order=True).agg(
        pl.col("others_ttft_p50_seconds").max() - pl.col("others_ttft_p50_seconds").min()
    )
    drawn = widest.sort("others_ttft_p50_seconds", descending=True)["tenant"].head(_MOST_LINES)
    known = known.filter(pl.col("tenant").is_in(drawn.to_list()))
    bins = known.select("share_low_ratio", "share_high_ratio").unique().sort("share_low_ratio")
    order = [_share(low, high) for low, high in bins.rows()]
    traces = []
    for place, (name, part) in enumerate(groups(known, "tenant")):
        rows = part.rows(named=True)
        x = [_share(row["share_low_ratio"], row["share_high_ratio"]) for row in rows]
        trace = line(x, numbers(part, "others_ttft_p50_seconds"), name, place)
        trace |= {
            "mode": "lines+markers",
            "marker": {"size": 7, "opacity": 1},
            "customdata": [f"n = {row['requests']:,}" for row in rows],
            "hovertemplate": f"others waited %{{y:.3g}} s, %{{customdata}}<extra>{name}</extra>",
        }
        traces.append(trace)
    x_axis = axis("share of the service that the tenant had", "category", showgrid=False)
    x_axis |= {"categoryorder": "array", "categoryarray": order}
    top = known.sort("others_ttft_p50_seconds", descending=True).row(0, named=True)
    words = (
        f"longest, {seconds_text(top['others_ttft_p50_seconds'])}, while {top['tenant']} had"
        f" {_share(top['share_low_ratio'], top['share_high_ratio'])}"
    )
    figure = {
        "data": traces,
        "layout": layout(
            x_axis, axis("others' TTFT, median, s", from_zero=True), legend=len(traces) > 1
        ),
    }
    return Picture(figure, f"Others' time to first token by a tenant's share: {words}.")


def over_alone(frame: pl.DataFrame, look: Look) -> Picture | str:
    """How many times as long requests of each tenant took as they would have next to nobody.

    Args:
        frame: `tenant`, `finish_time_factor`, the largest first.
        look: unused, kept for the common signature.
    """
    shown = frame.head(_MOST_BARS)
    names, factors = shown["tenant"].to_list(), numbers(shown, "finish_time_factor")
    trace = {
        "type": "bar", "orientation": "h", "y": names, "x": factors,
        "marker": {"color": SERIES_COLOURS[0], "line": {"width": 0}},
        "hovertemplate": "%{y}: %{x:.3g} times as long as alone<extra></extra>",
    }  # fmt: skip
    y_axis = axis("", "category", showgrid=False, autorange="reversed")
    one = {"type": "line", "x0": 1, "x1": 1, "yref": "paper", "y0": 0, "y1": 1,
           "line": {"color": GREY, "width": 1, "dash": "dot"}}  # fmt: skip
    made = layout(axis("duration \N{DIVISION SIGN} alone", from_zero=True), y_axis)
    made |= {"shapes": [one], "bargap": 0.45}
    words = ", ".join(
        f"{name} {number_text(value)}\N{MULTIPLICATION SIGN}"
        for name, value in zip(names[:4], factors, strict=False)
        if value is not None
    )
    more = frame.height - shown.height
    beyond = f" The {more:,} with the smallest are in the table." if more else ""
    return Picture(
        {"data": [trace], "layout": made},
        f"How many times as long requests took as alone: {words}.{beyond}",
    )


def _share(low: float, high: float) -> str:
    return f"{low * 100:.0f}\N{EN DASH}{high * 100:.0f} %"
