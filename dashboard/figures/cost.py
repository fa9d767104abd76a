"""GPU time over time: each pool's busy hours, then what was nobody's."""

from __future__ import annotations

import polars as pl

from analysis.cost_lanes import KINDS
from dashboard.figures.base import (
    Look,
    Picture,
    Trace,
    axis,
    groups,
    layout,
    line,
    numbers,
    soft,
    time_axis,
    times,
)
from dashboard.theme import GREY, SERIES_COLOURS
from store.units import percent_text, seconds_text

# Idle time is hatched: colour is never the only difference.
_PATTERNS = {"idle": "/", "untold": ".", "starting": "|", "draining": "x"}
_WORDS = {"untold": "not told"}


def gpu_hours(frame: pl.DataFrame, look: Look) -> Picture | str:
    """GPU-hours of each bin, stacked; the layers add up to all that ran.

    Args:
        frame: `at`, `layer`, `gpu_hours`.
        look: zone and clock.
    """
    if not any(numbers(frame, "gpu_hours")):
        return "No GPU ran in this range, as far as scrapes tell."
    traces = [_layer(part, name, place, look)
              for place, (name, part) in enumerate(groups(frame, "layer"))]  # fmt: skip
    figure = {
        "data": traces,
        "layout": layout(time_axis(look), axis(_unit(frame), from_zero=True), legend=True),
    }
    totals = frame.group_by("layer").agg(pl.col("gpu_hours").sum()).sort("gpu_hours", "layer")
    whole = totals["gpu_hours"].sum()
    words = ", ".join(f"{_WORDS.get(name, name)} {percent_text(value / whole)}"
                      for name, value in totals.reverse().head(5).rows())  # fmt: skip
    return Picture(figure, f"GPU-hours over time, {whole:.3g} in all; of them {words}.")


def _unit(frame: pl.DataFrame) -> str:
    """What the axis counts: GPU-hours of a bin mean nothing without the bin's length."""
    first = frame["at"].unique().sort().head(2).to_list()
    if len(first) < 2:
        return "GPU-hours"
    return f"GPU-hours in {seconds_text((first[1] - first[0]).total_seconds())}"


def _layer(part: pl.DataFrame, name: str, place: int, look: Look) -> Trace:
    is_spare = name in KINDS
    colour = GREY if is_spare else SERIES_COLOURS[place % len(SERIES_COLOURS)]
    shown = _WORDS.get(name, name)
    trace = line(times(part, "at", look), numbers(part, "gpu_hours"), shown, place)
    trace |= {
        "stackgroup": "all",
        "mode": "lines",
        "line": {"width": 1, "color": colour},
        "fillcolor": soft(colour, 0.25 if is_spare else 0.6),
        "hovertemplate": "%{y:.3g} GPU-hours<extra>" + shown + "</extra>",
    }
    if is_spare:
        shape, back = _PATTERNS.get(name, "/"), soft(colour, 0.15)
        trace["fillpattern"] = {"shape": shape, "fgcolor": soft(colour, 0.9), "bgcolor": back,
                                "size": 8, "solidity": 0.2}  # fmt: skip
    return trace
