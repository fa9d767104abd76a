"""Figures of degradation: slowdown over time."""

from __future__ import annotations

from typing import Any

import polars as pl

from dashboard.figures.base import (
    Look,
    Picture,
    Trace,
    axis,
    groups,
    layout,
    level,
    line,
    numbers,
    time_axis,
    times,
)
from dashboard.text import number_text

# A hole longer than this many usual steps is a gap in the line.
_GAP_STEPS = 2.5


def slowdown(frame: pl.DataFrame, look: Look) -> Picture | str:
    """Time per token over what is usual at the load, by instance; 1 is usual.

    Args:
        frame: `at`, `instance`, `slowdown_factor`, `begins_factor`.
        look: zone and clock.
    """
    if frame["at"].n_unique() < 2:
        return "Only one point in time is known."
    traces: list[Trace] = []
    for index, (name, part) in enumerate(_by_worst(frame)):
        whole = _with_gaps(part.sort("at"))
        values = numbers(whole, "slowdown_factor")
        drawn = line(times(whole, "at", look), values, name, index)
        traces.append(drawn | {"hovertemplate": "%{y:.2f}\N{MULTIPLICATION SIGN}"})
    begins = float(str(frame["begins_factor"].min()))
    usual, usual_words = level(1.0, "as usual")
    limit, limit_words = level(begins, "an incident begins")
    highest = max(float(str(frame["slowdown_factor"].max())), begins)
    y = axis("time per token \N{DIVISION SIGN} usual", range=[0, highest * 1.1])
    shapes: list[Any] = [usual, limit]
    made = layout(time_axis(look), y, legend=True, shapes=shapes,
                  annotations=[usual_words, limit_words])  # fmt: skip
    worst = frame.sort("slowdown_factor", descending=True).row(0, named=True)
    words = (
        f"{worst['instance']} was slowest, {number_text(worst['slowdown_factor'])} times its "
        "usual time per token"
    )
    return Picture({"data": traces, "layout": made}, f"Slowdown over time: {words}.")


def _by_worst(frame: pl.DataFrame) -> list[tuple[str, pl.DataFrame]]:
    worst = frame.group_by("instance").agg(pl.col("slowdown_factor").quantile(0.95).alias("worst"))
    order = worst.sort("worst", "instance", descending=[True, False])["instance"].to_list()
    parts = dict(groups(frame, "instance"))
    return [(name, parts[name]) for name in order]


def _with_gaps(part: pl.DataFrame) -> pl.DataFrame:
    """A row without a value wherever samples are missing, so that no line bridges the hole."""
    step = part["at"].diff().drop_nulls().min()
    gap = pl.col("at").diff() > step * _GAP_STEPS  # type: ignore[operator]
    holes = part.filter(gap).with_columns(
        (pl.col("at") - step).alias("at"), slowdown_factor=pl.lit(None, pl.Float64)
    )
    return pl.concat([part, holes]).sort("at")
