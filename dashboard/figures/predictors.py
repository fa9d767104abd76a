"""Figures of predictions: calibration, skill over time, said against true, bands of forecasts."""

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
    band,
    label,
    layout,
    level,
    line,
    numbers,
    soft,
    time_axis,
    times,
)
from dashboard.text import number_text
from dashboard.theme import BLUE, COUNT_SCALE, GREEN, GREY, VERMILION
from store.units import percent_text, seconds_text

_SHARE: Mapping[str, Any] = {"tickformat": ".0%", "range": [0, 1.02]}
_DOTTED = {"color": GREY, "width": 1, "dash": "dot"}
_MOST_BARS = 30


def calibration(frame: pl.DataFrame, look: Look) -> Picture | str:
    """Share of outcomes below each quantile against what was asked for; the diagonal is perfect.

    Args:
        frame: `level`, `coverage_ratio` with `coverage_low` and `coverage_high`,
            `rival_coverage_ratio`, `outcomes`.
        look: unused, kept for the common signature.
    """
    if frame.is_empty():
        return "No prediction of this has an outcome yet."
    asked, got = numbers(frame, "level"), numbers(frame, "coverage_ratio")
    ours = line(asked, got, "served", 0)
    ours |= {"mode": "lines+markers", "customdata": frame["outcomes"].to_list()}
    ours["error_y"] = _bars(frame, "coverage_ratio", "coverage_low", "coverage_high")
    ours["hovertemplate"] = "asked %{x:.0%}, got %{y:.1%} of %{customdata:,} outcomes"
    rival = line(asked, numbers(frame, "rival_coverage_ratio"), "naive rival", 1)
    perfect = line([0, 1], [0, 1], "as asked") | {"mode": "lines", "line": _DOTTED}
    made = layout(
        axis("level asked for", **_SHARE), axis("outcomes below it", **_SHARE), legend=True
    )
    worst = max(zip(asked, got, strict=True), key=_distance)
    words = (
        f"furthest from what was asked at {percent_text(worst[0], 0)}, where "
        f"{percent_text(worst[1])} of {max(frame['outcomes'].to_list()):,} outcomes lie below"
    )
    return Picture({"data": [ours, rival, perfect], "layout": made}, f"Calibration: {words}.")


def _distance(pair: tuple[float | None, float | None]) -> float:
    return abs((pair[0] or 0.0) - (pair[1] or 0.0))


def _bars(frame: pl.DataFrame, middle: str, low: str, high: str) -> dict[str, Any]:
    """Error bars from the two ends of an interval."""
    up = frame.select(gap=pl.col(high) - pl.col(middle))
    down = frame.select(gap=pl.col(middle) - pl.col(low))
    return {
        "type": "data",
        "symmetric": False,
        "array": numbers(up, "gap"),
        "arrayminus": numbers(down, "gap"),
        "thickness": 1,
        "width": 3,
    }


def skill(frame: pl.DataFrame, drift: pl.DataFrame, look: Look) -> Picture | str:
    """Skill over time; above the line is better than the naive rival. Drift is marked.

    Args:
        frame: `at`, `skill_ratio` (null in bins with too few outcomes), `outcomes`.
        drift: `started_at`, `text`.
        look: zone and clock.
    """
    values = numbers(frame, "skill_ratio")
    if not any(value is not None for value in values):
        return "No part of this range has enough outcomes to judge."
    trace = line(times(frame, "at", look), values, "skill", 0)
    trace |= {"mode": "lines+markers", "customdata": frame["outcomes"].to_list()}
    trace["hovertemplate"] = "%{y:+.0%} on %{customdata:,} outcomes<extra></extra>"
    shape, _ = level(0.0, "")
    shapes = [shape, *_marks(drift, look)]
    low = min(value for value in values if value is not None)
    y = axis("1 \N{MINUS SIGN} loss ÷ rival's", tickformat="+.0%", range=[min(-0.1, low * 1.1), 1])
    made = layout(time_axis(look), y) | {
        "shapes": shapes,
        "annotations": [label(0.0, "0: as good as the naive rival")],
    }
    known = [value for value in values if value is not None]
    losing = sum(value < 0 for value in known)
    words = f"{losing} of {len(known)} parts of the range lose against the naive rival"
    return Picture({"data": [trace], "layout": made}, f"Skill over time: {words}.")


def _marks(drift: pl.DataFrame, look: Look) -> list[dict[str, Any]]:
    """A vertical line for each drift event."""
    if drift.is_empty():
        return []
    style = {"color": VERMILION, "width": 1.5, "dash": "dash"}
    place = {"type": "line", "yref": "paper", "y0": 0, "y1": 1, "line": style}
    return [place | {"x0": at, "x1": at} for at in times(drift, "started_at", look)]


def coverage(frame: pl.DataFrame, drift: pl.DataFrame, look: Look) -> Picture | str:
    """Share of outcomes below the 0.9 quantile over time.

    Args:
        frame: `at`, `coverage_q90_ratio`, `outcomes`.
        drift: `started_at`, `text`.
        look: zone and clock.
    """
    values = numbers(frame, "coverage_q90_ratio")
    if not any(value is not None for value in values):
        return "No part of this range has an outcome."
    trace = line(times(frame, "at", look), values, "below the 0.9 quantile", 0)
    trace |= {"mode": "lines+markers", "customdata": frame["outcomes"].to_list()}
    trace["hovertemplate"] = "%{y:.1%} of %{customdata:,} outcomes<extra></extra>"
    shape, words = level(0.9, "90 % is asked for")
    made = layout(time_axis(look), axis("outcomes below", **_SHARE)) | {
        "shapes": [shape, *_marks(drift, look)],
        "annotations": [words],
    }
    known = [value for value in values if value is not None]
    said = f"between {percent_text(min(known))} and {percent_text(max(known))}, 90 % is asked for"
    return Picture({"data": [trace], "layout": made}, f"Coverage of the 0.9 quantile: {said}.")


def pairs(frame: pl.DataFrame, unit: str) -> Picture | str:
    """Predicted median against what came true, both in half octaves; on the line it was right.

    Args:
        frame: `predicted_half_octave`, `real_half_octave`, `requests`.
        unit: "tokens" or "s".
    """
    if frame.is_empty():
        return "No prediction of this has an outcome yet."
    said, real = frame["predicted_half_octave"], frame["real_half_octave"]
    steps = list(range(_end(said, real, last=False), _end(said, real, last=True) + 1))
    place = {step: number for number, step in enumerate(steps)}
    cells: list[list[float | None]] = [[None] * len(steps) for _ in steps]
    counts: list[list[int | None]] = [[None] * len(steps) for _ in steps]
    for x, y, requests in zip(said, real, frame["requests"], strict=True):
        # Colour by the logarithm: the rare misses far from the line must be seen too.
        cells[place[y]][place[x]] = math.log10(requests) + 0.15
        counts[place[y]][place[x]] = requests
    names = [_size_text(2 ** (step / 2), unit) for step in steps]
    heat = {
        "type": "heatmap", "x": steps, "y": steps, "z": cells, "customdata": counts,
        "showscale": False, "hoverongaps": False, "xgap": 1, "ygap": 1,
        "colorscale": [list(stop) for stop in COUNT_SCALE],
        "hovertemplate": "%{customdata:,} requests<extra></extra>",
    }  # fmt: skip
    right = line([steps[0], steps[-1]], [steps[0], steps[-1]], "as predicted")
    right |= {"mode": "lines", "line": _DOTTED, "hoverinfo": "skip"}
    every = max(1, len(steps) // 7)
    ticks: dict[str, Any] = {
        "tickvals": steps[::every],
        "ticktext": names[::every],
        "showgrid": False,
    }
    made = layout(axis(f"predicted median ({unit})", **ticks), axis(f"true ({unit})", **ticks))
    near = sum(frame.filter((said - real).abs() <= 1)["requests"].to_list())
    share = percent_text(near / sum(frame["requests"].to_list()), 0)
    words = f"{share} of the requests lie within a factor of about 1.7 of what was predicted"
    return Picture({"data": [heat, right], "layout": made}, f"Predicted against true: {words}.")


def _end(said: pl.Series, real: pl.Series, *, last: bool) -> int:
    ends = [int(series.max() if last else series.min()) for series in (said, real)]  # type: ignore[arg-type]
    return max(ends) if last else min(ends)


def _size_text(value: float, unit: str) -> str:
    return seconds_text(value) if unit == "s" else number_text(float(f"{value:.2g}"))


def course(frame: pl.DataFrame, title: str, look: Look) -> Picture | str:
    """A forecast beside the real course, with its 50 and 90 % intervals and the naive rival.

    Args:
        frame: `at`, `q05`, `q25`, `median`, `q75`, `q95`, `rival_median`, `outcome`.
        title: of the value axis.
        look: zone and clock.
    """
    if frame.is_empty():
        return "Nothing was forecast at this horizon."
    at = times(frame, "at", look)
    rival = line(at, numbers(frame, "rival_median"), "naive rival", 2) | {"visible": "legendonly"}
    traces = [
        *_bands(frame, at),
        line(at, numbers(frame, "median"), "forecast (median)", 0),
        rival,
    ]
    if frame["outcome"].null_count() < frame.height:
        traces.append(_real(at, numbers(frame, "outcome")))
    made = layout(time_axis(look), axis(title, from_zero=True), legend=True)
    known = frame.filter(pl.col("outcome").is_not_null())
    inside = known.filter(pl.col("outcome").is_between("q05", "q95")).height
    words = f"{inside} of {known.height} outcomes lie inside the 90 % interval"
    return Picture({"data": traces, "layout": made}, f"Forecast and real course: {words}.")


def _bands(frame: pl.DataFrame, at: Sequence[Any]) -> list[Trace]:
    outer = band(at, numbers(frame, "q05"), numbers(frame, "q95"), "90 % interval")
    inner = band(at, numbers(frame, "q25"), numbers(frame, "q75"), "50 % interval")
    outer[1]["fillcolor"], inner[1]["fillcolor"] = soft(BLUE, 0.12), soft(BLUE, 0.28)
    return [*outer, *inner]


def _real(at: Sequence[Any], values: Sequence[float | None]) -> Trace:
    # Solid like the forecast, so another colour and dots: never colour alone.
    return line(at, values, "what came true", 1) | {
        "mode": "lines+markers",
        "line": {"color": VERMILION, "width": 1.5, "dash": "solid"},
        "marker": {"size": 4, "symbol": "diamond"},
    }


def ahead(frame: pl.DataFrame, title: str, look: Look) -> Picture | str:
    """What was said last, at every horizon.

    Args:
        frame: as of `course`, without `outcome`; one `made_at`.
        title: of the value axis.
        look: zone and clock.
    """
    if frame.is_empty():
        return "Nothing was forecast for this."
    at = times(frame, "at", look)
    middle = line(at, numbers(frame, "median"), "forecast (median)", 0)
    middle |= {"mode": "lines+markers", "marker": {"size": 6}}
    rival = line(at, numbers(frame, "rival_median"), "naive rival", 2)
    figure = {
        "data": [*_bands(frame, at), middle, rival],
        "layout": layout(time_axis(look), axis(title, from_zero=True), legend=True),
    }
    last = frame.row(-1, named=True)
    said = (
        f"{number_text(last['median'])} at {seconds_text(last['horizon_seconds'])} ahead, between "
        f"{number_text(last['q05'])} and {number_text(last['q95'])} with 90 %"
    )
    return Picture(figure, f"The newest forecast: {said}.")


def states(frame: pl.DataFrame, look: Look) -> Picture | str:
    """Performance of each instance with its 50 and 90 % intervals; 1 is undisturbed.

    Args:
        frame: `instance`, `performance_ratio`, `q05_ratio`, `q25_ratio`, `q75_ratio`, `q95_ratio`;
            the slowest first.
        look: unused, kept for the common signature.
    """
    shown = frame.head(_MOST_BARS).reverse()
    names = [str(name)[:38] for name in shown["instance"]]
    data = [
        _spans(shown, names, "q05_ratio", "q95_ratio", "90 % interval", 0.3),
        _spans(shown, names, "q25_ratio", "q75_ratio", "50 % interval", 0.65),
        {
            "type": "scatter",
            "mode": "markers",
            "y": names,
            "x": numbers(shown, "performance_ratio"),
            "name": "median",
            "marker": {"symbol": "line-ns-open", "size": 15, "color": GREY, "line": {"width": 3}},
            "hovertemplate": "median %{x:.0%}<extra></extra>",
        },
    ]
    shape = level(1.0, "")[0] | {"type": "line", "x0": 1, "x1": 1, "xref": "x"}
    shape |= {"yref": "paper", "y0": 0, "y1": 1}
    x = axis("performance against the same load alone", tickformat=".0%", range=[0, 1.05])
    made = layout(x, axis("", "category", showgrid=False), legend=True, barmode="overlay")
    worst = frame.row(0, named=True)
    words = f"{worst['instance']} is slowest, at {percent_text(worst['performance_ratio'], 0)}"
    return Picture(
        {"data": data, "layout": made | {"shapes": [shape], "bargap": 0.45}},
        f"Performance of {frame.height} instances: {words} of what it would get alone.",
    )


def _spans(
    frame: pl.DataFrame, names: Sequence[str], low: str, high: str, title: str, alpha: float
) -> Trace:
    width = frame.select(width=pl.col(high) - pl.col(low))
    return {
        "type": "bar",
        "orientation": "h",
        "y": list(names),
        "base": numbers(frame, low),
        "x": numbers(width, "width"),
        "name": title,
        "marker": {"color": soft(BLUE, alpha), "line": {"width": 0}},
        "customdata": frame.select(low, high).rows(),
        "hovertemplate": "%{customdata[0]:.0%} to %{customdata[1]:.0%}<extra></extra>",
    }


def state_course(frame: pl.DataFrame, look: Look) -> Picture | str:
    """Performance of the instances over time; the five that were slowest.

    Args:
        frame: `at`, `instance`, `performance_ratio`, `low_ratio`, `high_ratio`.
        look: zone and clock.
    """
    if frame["at"].n_unique() < 2:
        return "Only one point in time was looked at."
    lows = frame.group_by("instance").agg(pl.col("performance_ratio").min().alias("low"))
    slowest = lows.sort("low", "instance").head(5)["instance"].to_list()
    traces: list[Trace] = []
    for index, name in enumerate(slowest):
        part = frame.filter(pl.col("instance") == name).sort("at")
        at = times(part, "at", look)
        if index == 0:
            low, high = numbers(part, "low_ratio"), numbers(part, "high_ratio")
            traces += band(at, low, high, f"{name}, 90 % interval", GREEN)
        traces.append(line(at, numbers(part, "performance_ratio"), name, index))
    y = axis("performance", tickformat=".0%", range=[0, 1.05])
    words = f"{slowest[0]} went down to {percent_text(lows['low'].min(), 0)}"  # type: ignore[arg-type]
    made = layout(time_axis(look), y, legend=True)
    return Picture({"data": traces, "layout": made}, f"Performance over time: {words}.")
