"""Figures with time on the x axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from dashboard.figures.base import (
    Look,
    Picture,
    Trace,
    axis,
    band,
    groups,
    layout,
    line,
    numbers,
    soft,
    span_words,
    time_axis,
    times,
)
from dashboard.text import interval_text
from dashboard.theme import BLUE, COUNT_SCALE, SERIES_COLOURS, VERMILION
from store.units import percent_text


def over_time(
    frame: pl.DataFrame, column: str, title: str, unit: str, look: Look, **more: Any
) -> Picture | str:
    """One quantity over time as a filled line from zero.

    Args:
        frame: columns `at` and `column`, sorted by `at`; null is a gap.
        column: what to draw.
        title: name of the y axis, with its unit.
        unit: short unit for the hover and the summary.
        look: zone and clock.
        more: additions to the y axis (`tickformat` for ratios).

    Returns:
        The picture, or why there is none.
    """
    values = numbers(frame, column)
    if not any(v is not None for v in values):
        return "Nothing in this range reports it."
    trace = line(times(frame, "at", look), values, title, 0)
    if None not in values:  # an area would be drawn across the gaps
        trace |= {"fill": "tozeroy", "fillcolor": soft(BLUE, 0.12)}
    figure = {
        "data": [trace],
        "layout": layout(time_axis(look), axis(title, from_zero=True, **more)),
    }
    name = title[:1].upper() + title[1:]
    return Picture(figure, f"{name} over time: {span_words(values, unit)}.")


def shares_over_time(
    frame: pl.DataFrame, columns: Mapping[str, str], title: str, look: Look
) -> Picture | str:
    """Several shares of the same whole over time, a line each; what nothing tells has none.

    Args:
        frame: `at` and the columns, sorted by `at`; null is a gap.
        columns: column to its name.
        title: of the y axis: what they are shares of.
        look: zone and clock.

    Returns:
        The picture, or why there is none.
    """
    found = {name: numbers(frame, name) for name in columns if name in frame.columns}
    told = {name: y for name, y in found.items() if any(v is not None for v in y)}
    if not told:
        return "Nothing in this range reports it."
    at = times(frame, "at", look)
    traces = [line(at, y, columns[name], index) for index, (name, y) in enumerate(told.items())]
    y_axis = axis(title, from_zero=True, tickformat=".1%")
    figure = {"data": traces, "layout": layout(time_axis(look), y_axis, legend=len(told) > 1)}
    words = "; ".join(f"{columns[name]} {_share_words(y)}" for name, y in told.items())
    return Picture(figure, f"Shares {title} over time: {words}.")


def _share_words(values: Sequence[float | None]) -> str:
    known = [v for v in values if v is not None]
    return f"at most {percent_text(max(known))}, last {percent_text(known[-1])}"


def quantile_over_time(frame: pl.DataFrame, column: str, title: str, look: Look) -> Picture | str:
    """A quantile over time: a line where it is known, an interval a bin where only buckets are.

    Args:
        frame: `at`, `column`, and `column` with `_low` and `_high`: bucket edges in seconds; no low
            edge is the first bucket, no high edge the last.
        column: the quantile.
        title: name of the y axis, with its unit.
        look: zone and clock.

    Returns:
        The picture, or why there is none.
    """
    low, high = f"{column}_low", f"{column}_high"
    known = any(v is not None for v in numbers(frame, column))
    if known or low not in frame.columns:
        return over_time(frame, column, title, "s", look)
    edges = list(zip(numbers(frame, low), numbers(frame, high), strict=True))
    if not any(part is not None for edge in edges for part in edge):
        return "Nothing in this range reports it."
    at = times(frame, "at", look)
    figure = {
        "data": _bucket_traces(at, edges),
        "layout": layout(
            time_axis(look),
            axis(title, from_zero=True),
            legend=True,
            bargap=0,
            barmode="overlay",
        ),
    }
    last = next(edge for edge in reversed(edges) if edge != (None, None))
    words = f"from buckets, last {interval_text(*last, 's')}"
    return Picture(figure, f"{title} over time, an interval in each bin: {words}.")


def _bucket_traces(
    at: Sequence[str | None], edges: Sequence[tuple[float | None, float | None]]
) -> list[Trace]:
    """Bars from edge to edge; a side without an edge looks different and says what is known."""
    inner = [(a, b) if a is not None and b is not None else (None, None) for a, b in edges]
    first = [(0.0, b) if a is None and b is not None else (None, None) for a, b in edges]
    # The last bucket has no upper edge: what is known is drawn as a mark, with an arrow up.
    above = [a if b is None else None for a, b in edges]
    stripes = {"shape": "/", "size": 5, "solidity": 0.3, "fillmode": "overlay", "fgcolor": BLUE}
    hatched = {"color": soft(BLUE, 0.3), "pattern": stripes}
    solid = {"color": soft(BLUE, 0.6)}
    traces = [
        _bars(at, inner, edges, "between bucket edges", solid),
        _bars(at, first, edges, "at most (first bucket)", hatched),
    ]
    marks = {
        "type": "scatter",
        "mode": "markers",
        "x": at,
        "y": above,
        "name": "at least (last bucket)",
        "marker": {"symbol": "triangle-up", "size": 9, "color": VERMILION},
        "hovertemplate": "\N{GREATER-THAN OR EQUAL TO} %{y:.3g} s<extra></extra>",
    }
    kept = [trace for trace in traces if any(v is not None for v in trace["y"])]
    return [*kept, marks] if any(v is not None for v in above) else kept


def _bars(
    at: Sequence[str | None],
    spans: Sequence[tuple[float | None, float | None]],
    edges: Sequence[tuple[float | None, float | None]],
    name: str,
    marker: Mapping[str, Any],
) -> Trace:
    return {
        "type": "bar",
        "x": at,
        "base": [low for low, _ in spans],
        "y": [None if a is None or b is None else b - a for a, b in spans],
        "customdata": [interval_text(low, high, "s") for low, high in edges],
        "hovertemplate": "%{customdata}<extra></extra>",
        "name": name,
        "marker": dict(marker),
    }


def rate_over_time(frame: pl.DataFrame, look: Look) -> Picture | str:
    """Requests per second of each source with the band of its one-second counts.

    Args:
        frame: `at`, `source`, `requests_per_second`, `low_per_second`, `high_per_second`.
        look: zone and clock.
    """
    traces: list[Trace] = []
    words = []
    parts = groups(frame, "source")
    for index, (name, part) in enumerate(parts):
        colour = SERIES_COLOURS[index % len(SERIES_COLOURS)]
        at, rate = times(part, "at", look), numbers(part, "requests_per_second")
        traces += band(
            at,
            numbers(part, "low_per_second"),
            numbers(part, "high_per_second"),
            "1 s min-max",
            colour,
        )
        traces[-1] |= {"showlegend": False}
        traces.append(line(at, rate, name, index))
        words.append(f"{name} {span_words(rate, 'requests/s')}")
    figure = {
        "data": traces,
        "layout": layout(
            time_axis(look), axis("requests/s", from_zero=True), legend=len(parts) > 1
        ),
    }
    return Picture(figure, "Arrival rate over time: " + "; ".join(words) + ".")


def failures_over_time(frame: pl.DataFrame, look: Look) -> Picture | str:
    """Failed requests per bin; counts, so that little traffic is seen as such.

    Args:
        frame: `at`, `failed`, `attempted`.
        look: zone and clock.
    """
    failed = numbers(frame, "failed")
    trace = {
        "type": "bar",
        "x": times(frame, "at", look),
        "y": failed,
        "name": "failed",
        "marker": {"color": VERMILION},
        "customdata": numbers(frame, "attempted"),
        "hovertemplate": "%{y} failed of %{customdata}<extra></extra>",
    }
    figure = {
        "data": [trace],
        "layout": layout(time_axis(look), axis("failed requests", from_zero=True)),
    }
    if not any(failed):
        return "Nothing failed in this range."
    total, most = sum(v or 0 for v in failed), max(v or 0 for v in failed)
    return Picture(
        figure,
        f"Failed requests over time: {total:,.0f} in all, at most {most:,.0f} in one bin.",
    )


def day_profile(frame: pl.DataFrame, look: Look) -> Picture | str:
    """Mean arrival rate by hour of the day.

    Args:
        frame: `hour` 0..23, `requests_per_second`.
        look: unused, kept for the common signature.
    """
    values = numbers(frame, "requests_per_second")
    if len([v for v in values if v is not None]) < 2:
        return "A day's profile needs data from at least two hours of the day."
    trace = {"type": "bar", "x": numbers(frame, "hour"), "y": values, "marker": {"color": BLUE}}
    trace["hovertemplate"] = "%{x}:00  %{y:.3g} requests/s<extra></extra>"
    x = axis("hour of the day", showgrid=False, dtick=3, range=[-0.5, 23.5])
    figure = {"data": [trace], "layout": layout(x, axis("requests/s", from_zero=True))}
    return Picture(figure, f"Arrival rate by hour of the day: {span_words(values, 'requests/s')}.")


def week_profile(frame: pl.DataFrame, look: Look) -> Picture | str:
    """Hour by weekday heat map of the arrival rate.

    Args:
        frame: `weekday` 0 = Monday, `hour` 0..23, `requests_per_second` (null: not observed).
        look: unused, kept for the common signature.
    """
    known = frame.drop_nulls("requests_per_second")
    if known.get_column("weekday").n_unique() < 2:
        return "A week's profile needs data from at least two days; this range has fewer."
    days = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
    cells: list[list[float | None]] = [[None] * 24 for _ in days]
    for row in known.iter_rows(named=True):
        cells[row["weekday"]][row["hour"]] = float(f"{row['requests_per_second']:.4g}")
    heat = _heat(list(range(24)), list(days), cells, "requests/s")
    heat["hovertemplate"] = "%{y} %{x}:00  %{z:.3g} requests/s<extra></extra>"
    y = axis("", "category", autorange="reversed", showgrid=False)
    figure = {"data": [heat], "layout": layout(axis("hour", showgrid=False, dtick=3), y)}
    top = known.sort("requests_per_second", descending=True).row(0, named=True)
    rate = f"{top['requests_per_second']:.3g} requests/s"
    words = f"busiest on {days[top['weekday']]} at {top['hour']}:00 with {rate}"
    return Picture(figure, f"Arrival rate by weekday and hour: {words}.")


def _heat(x: list[int], y: list[str], cells: list[list[float | None]], unit: str) -> Trace:
    return {
        "type": "heatmap",
        "x": x,
        "y": y,
        "z": cells,
        "zmin": 0,
        "colorscale": [list(stop) for stop in COUNT_SCALE],
        "colorbar": {"title": {"text": unit, "side": "right"}, "thickness": 8, "outlinewidth": 0},
        "xgap": 1,
        "ygap": 1,
        "hoverongaps": False,
    }
