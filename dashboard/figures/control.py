"""Figures of the controller: courses of replicas and the decisions behind them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from dashboard.figures.base import (
    Look,
    Picture,
    Trace,
    axis,
    layout,
    line,
    numbers,
    time_axis,
    times,
    whole,
)
from dashboard.theme import BLUE, GREEN, GREY, PURPLE, VERMILION

# column -> name; what is wanted, what may be, and what there is never share a line.
LANES = {
    "desired": "raw desired",
    "target": "target after limits",
    "running": "running",
    "starting": "starting",
    "draining": "draining",
}
# state -> name, colour, symbol up, symbol down, symbol else
STATES: Mapping[str, tuple[str, str, str, str, str]] = {
    "applied": ("applied", BLUE, "triangle-up", "triangle-down", "circle"),
    "dry-run": ("dry-run", BLUE, "triangle-up-open", "triangle-down-open", "circle-open"),
    "waiting": ("waits for approval", PURPLE, "star-triangle-up", "star-triangle-down", "star"),
    "rejected": ("rejected", GREY, "circle-x-open", "circle-x-open", "circle-x-open"),
    "superseded": ("superseded", GREY, "circle-x-open", "circle-x-open", "circle-x-open"),
    "expired": ("expired", GREY, "circle-x-open", "circle-x-open", "circle-x-open"),
    "failed": ("failed", VERMILION, "circle-x-open", "circle-x-open", "circle-x-open"),
    "blocked": ("blocked by a limit", VERMILION, "x", "x", "x"),
}
# column -> name, colour, dash, width
BESIDE: Mapping[str, tuple[str, str, str, int]] = {
    "there_replicas": ("there", GREY, "dot", 1),
    "live_replicas": ("live", BLUE, "solid", 2),
    "shadow_replicas": ("candidate", VERMILION, "dash", 2),
}
_OTHER = ("other", GREEN, "circle", "circle", "circle")


def lanes(frame: pl.DataFrame, look: Look) -> Picture | str:
    """One pool's replicas as five separate lines.

    Args:
        frame: `at` and the columns of `LANES`.
        look: zone and clock.
    """
    at = times(frame, "at", look)
    traces = [
        line(at, numbers(frame, column), name, index, **_step(index))
        for index, (column, name) in enumerate(LANES.items())
        if frame[column].is_not_null().any()
    ]
    if not traces:
        return "Nothing was decided in this range."
    y = axis("replicas", from_zero=True, **whole(frame, list(LANES)))
    made = layout(time_axis(look), y, legend=True)
    last = frame.row(-1, named=True)
    words = ", ".join(f"{name} {_count(last[key])}" for key, name in LANES.items())
    return Picture({"data": traces, "layout": made}, f"Replicas over time; last: {words}.")


def _step(index: int) -> dict[str, Any]:
    line_of = {0: GREY, 1: BLUE, 2: GREEN, 3: VERMILION, 4: PURPLE}
    dashes = {0: "dot", 1: "solid", 2: "solid", 3: "dash", 4: "dashdot"}
    width = 3 if index == 2 else 2
    style = {"color": line_of[index], "dash": dashes[index], "width": width, "shape": "hv"}
    return {"line": style, "hovertemplate": "%{y:d}"}


def _count(value: float | None) -> str:
    return "unknown" if value is None else f"{value:g}"


def beside(frame: pl.DataFrame, look: Look) -> Picture | str:
    """What a candidate would have had, beside what the policy that decides had.

    Args:
        frame: `at`, `pool`, `shadow_replicas`, `live_replicas`, `there_replicas` (may be null).
        look: zone and clock.
    """
    traces: list[Trace] = []
    parts = frame.partition_by("pool", maintain_order=True)
    for part in parts:
        at, lead = times(part, "at", look), f"{part['pool'][0]}: " if len(parts) > 1 else ""
        for column, (name, colour, dash, width) in BESIDE.items():
            if part[column].is_not_null().any():
                style = {"color": colour, "dash": dash, "width": width, "shape": "hv"}
                values = numbers(part, column)
                more: dict[str, Any] = {"line": style, "hovertemplate": "%{y:d}"}
                traces.append(line(at, values, lead + name, 0, **more))
    if not traces:
        return "The candidate was not asked yet."
    y = axis("replicas", from_zero=True, **whole(frame, list(BESIDE)))
    last = frame.row(-1, named=True)
    words = f"last: the candidate {last['shadow_replicas']}, live {last['live_replicas']}"
    made = layout(time_axis(look), y, legend=True)
    return Picture({"data": traces, "layout": made}, f"Replicas of both over time; {words}.")


def timeline(frame: pl.DataFrame, course: pl.DataFrame, look: Look) -> Picture | str:
    """One marker a change of decision at what it came to; holds that nothing blocked are folded.

    Args:
        frame: `at`, `kind`, `state`, `final_replicas`, `text`, `decision_id` of one pool.
        course: lanes, for the target behind the markers.
        look: zone and clock.
    """
    shown = frame.filter(pl.col("state") != "steady").sort("decision_id")
    if shown.is_empty():
        return "Every decision in this range was to leave it as it is."
    behind = line(
        times(course, "at", look), numbers(course, "target"), "target", 0, hoverinfo="skip",
        line={"color": GREY, "width": 1, "shape": "hv"}, mode="lines",
    )  # fmt: skip
    traces = [behind] + [
        _markers(part, state, look)
        for (state,), part in shown.group_by("state", maintain_order=True)
    ]
    y = axis("replicas decided", from_zero=True, **whole(shown, ["final_replicas"]))
    made = layout(time_axis(look), y, legend=True)
    made["hovermode"] = "closest"
    counts = ", ".join(
        f"{count} {STATES.get(state, _OTHER)[0]}"
        for state, count in shown["state"].value_counts(sort=True).iter_rows()
    )
    return Picture({"data": traces, "layout": made}, f"Decisions that change something: {counts}.")


def _markers(part: pl.DataFrame, state: Any, look: Look) -> Trace:
    name, colour, up, down, other = STATES.get(str(state), _OTHER)
    symbols = [{"up": up, "down": down}.get(kind, other) for kind in part["kind"]]
    texts = [f"#{row['decision_id']} {row['text']}" for row in part.iter_rows(named=True)]
    return {
        "type": "scatter",
        "mode": "markers",
        "x": times(part, "at", look),
        "y": numbers(part, "final_replicas"),
        "name": name,
        "text": [_wrapped(text) for text in texts],
        "hovertemplate": "%{text}<extra></extra>",
        "marker": {
            "symbol": symbols, "size": 11, "color": colour, "line": {"width": 2, "color": colour},
        },
    }  # fmt: skip


def _wrapped(text: str, width: int = 70) -> str:
    lines, row = [], ""
    for word in text.replace("<", "&lt;").split():
        if row and len(row) + len(word) >= width:
            lines.append(row)
            row = ""
        row = f"{row} {word}".strip()
    return "<br>".join([*lines, row])
