"""Figures of comparisons by replay: what it costs against what it keeps, and two courses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from analysis.replay_frames import totals
from dashboard.figures.base import (
    Look,
    Picture,
    Trace,
    axis,
    layout,
    level,
    line,
    numbers,
    whole,
)
from dashboard.theme import BLUE, GREEN, GREY, PURPLE, VERMILION
from store.units import percent_text

COMPARED = {"gpu_hours": "GPU-hours", "cost": "cost"}
# row -> name, colour, symbol
ROWS: Mapping[str, tuple[str, str, str]] = {
    "default": ("as documented", BLUE, "circle"),
    "tuned": ("tuned", GREEN, "diamond"),
    "hindsight": ("best in hindsight", PURPLE, "star"),
    "static-peak": ("fixed for the peak", VERMILION, "square"),
    "clairvoyant": ("knows the future", GREY, "x"),
    "curve": ("its main knob turned", GREY, "circle-open"),
}


def frontier(frame: pl.DataFrame, goal: float | None, number: str = "gpu_hours") -> Picture | str:
    """GPU-hours, or cost, against attainment with their ranges over the seeds.

    Args:
        frame: `policy`, `row`, `title`, `gpu_hours`, `attainment_ratio`, both with `_low` and
            `_high`, `is_on_front`.
        goal: attainment asked for.
        number: what is compared: "gpu_hours" or "cost", with `_low` and `_high`.
    """
    known = frame.drop_nulls([number, "attainment_ratio"])
    if known.is_empty():
        return "Nothing is known over at least two seeds yet."
    traces = [
        _points(part, str(row), number)
        for (row,), part in known.group_by("row", maintain_order=True)
    ]
    front = known.filter("is_on_front").sort(number)
    traces.append(
        line(
            numbers(front, number), numbers(front, "attainment_ratio"), "nobody is better", 0,
            line={"color": GREY, "width": 1, "dash": "dot"}, hoverinfo="skip", mode="lines",
        )
    )  # fmt: skip
    more: dict[str, Any] = {}
    if goal is not None:
        shape, label = level(goal, f"goal {percent_text(goal)}")
        # Below its line: what keeps the goal lies above it.
        more = {"shapes": [shape], "annotations": [{**label, "yanchor": "top"}]}
    x = axis(COMPARED[number], from_zero=True)
    made = layout(x, axis("attainment", tickformat=".2~%"), legend=True, **more)
    best = front.row(0, named=True) if front.height else None
    words = f"; {best['title']} is the cheapest of those nobody beats" if best else ""
    return Picture({"data": traces, "layout": made}, f"{known.height} ways compared{words}.")


def _points(part: pl.DataFrame, row: str, number: str) -> Trace:
    name, colour, symbol = ROWS.get(row, (row, GREY, "circle"))
    size = 7 if row == "curve" else 11
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": numbers(part, number),
        "y": numbers(part, "attainment_ratio"),
        "error_x": _range(part, number, colour),
        "error_y": _range(part, "attainment_ratio", colour),
        "text": [_label(one, number) for one in part.iter_rows(named=True)],
        "hovertemplate": "%{text}<extra></extra>",
        "marker": {"symbol": symbol, "size": size, "color": colour},
    }


def _range(part: pl.DataFrame, name: str, colour: str) -> dict[str, Any]:
    above = part.select(pl.col(f"{name}_high") - pl.col(name)).to_series().alias("x").to_frame()
    below = part.select(pl.col(name) - pl.col(f"{name}_low")).to_series().alias("x").to_frame()
    return {
        "type": "data", "symmetric": False, "array": numbers(above, "x"),
        "arrayminus": numbers(below, "x"), "color": colour, "thickness": 1, "width": 3,
    }  # fmt: skip


def _label(row: Mapping[str, Any], number: str) -> str:
    hours = f"{row[f'{number}_low']:.1f} to {row[f'{number}_high']:.1f} {COMPARED[number]}"
    low, high = row["attainment_ratio_low"], row["attainment_ratio_high"]
    kept = f"{percent_text(low)} to {percent_text(high)}"
    return f"{row['title']}<br>{hours}<br>attainment {kept}"


def lanes(frame: pl.DataFrame, chosen: pl.DataFrame, look: Look) -> Picture | str:
    """Replicas of two rows over the replayed time: what was asked for and what was ready.

    Args:
        frame: `side`, `at_seconds`, `target`, `ready` of pools.
        chosen: `side`, `title`, `row`.
        look: unused; the axis counts hours of the replay.
    """
    names = {row["side"]: row["title"] for row in chosen.iter_rows(named=True)}
    end = frame["at_seconds"].max()
    if frame.is_empty() or not isinstance(end, float):
        return "The courses of these two were not kept."
    unit, seconds = ("minutes", 60.0) if end < 2 * 3600 else ("hours", 3600.0)
    parts = {
        side: _course(frame.filter(pl.col("side") == side), end, seconds) for side in ("a", "b")
    }
    if end == 0:
        return _constant(parts)
    traces = [
        _lane(parts[side], f"{side.upper()} {names.get(side, '')}, {words}", column, colour, dash)
        for side, colour in (("a", VERMILION), ("b", BLUE))
        for column, words, dash in (("target", "asked for", "dot"), ("ready", "ready", "solid"))
        if parts[side].height
    ]
    along = axis(f"{unit} of the replay", from_zero=True, showgrid=False)
    y = axis("replicas", from_zero=True, **whole(pl.concat(parts.values()), ["target", "ready"]))
    made = layout(along, y, legend=True)
    made["hovermode"] = "x unified"
    shown = " and ".join(f"{side.upper()}: {title}" for side, title in names.items())
    return Picture({"data": traces, "layout": made}, f"Replicas of {shown}, of the first seed.")


def _lane(part: pl.DataFrame, name: str, column: str, colour: str, dash: str) -> Trace:
    style = {"color": colour, "dash": dash, "width": 2, "shape": "hv"}
    x, y = numbers(part, "along"), numbers(part, column)
    return line(x, y, name, 0, line=style, hovertemplate="%{y:d}")


def _constant(parts: Mapping[str, pl.DataFrame]) -> str:
    """Courses of one point: nobody ever asked for another number."""
    said = ", ".join(
        f"{side.upper()} {part['target'][0]}" for side, part in parts.items() if part.height
    )
    return f"Neither ever asked for another number of replicas: {said}."


def _course(part: pl.DataFrame, end: Any, seconds: float) -> pl.DataFrame:
    """Pools added up; what changes no more goes on to the end."""
    found = totals(part)
    if found.height and found["at_seconds"][-1] < end:
        last = found.tail(1).with_columns(at_seconds=pl.lit(end, dtype=pl.Float64))
        found = pl.concat([found, last])
    return found.with_columns(along=pl.col("at_seconds") / seconds)
