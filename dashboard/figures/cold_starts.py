"""Figures of cold starts: a stacked bar a start, starts a day."""

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
    numbers,
    time_axis,
    times,
)
from dashboard.figures.latency import overlaid
from dashboard.text import when
from dashboard.theme import BLUE, GREEN, GREY, PURPLE, VERMILION
from store.units import seconds_text

PHASES: Mapping[str, tuple[str, str, str]] = {
    "schedule": ("waiting for a node", PURPLE, "x"),
    "init": ("init containers", PURPLE, "-"),
    "image": ("image pull", VERMILION, ""),
    "container": ("container, not told apart", GREY, "."),
    "process": ("process start", PURPLE, ""),
    "engine": ("engine set-up", GREEN, "-"),
    "weights": ("weights", BLUE, ""),
    "compile": ("compile, graph capture", GREEN, ""),
    "kv_cache": ("KV cache", BLUE, "/"),
    "probe": ("readiness probe", VERMILION, "/"),
    "unattributed": ("unattributed", GREY, "\\"),
}
_MOST_BARS = 40


def bar_height(starts: int) -> int:
    """Height of the chart in pixels for so many starts."""
    return 110 + 22 * max(3, min(starts, _MOST_BARS))


def stack(frame: pl.DataFrame, look: Look) -> Picture | str:
    """Phases of each start, one bar each, the newest at the top.

    Args:
        frame: `instance`, `began_at`, `phase`, `start_seconds`, `seconds`, `source`; the newest
            start first.
        look: zone and clock.
    """
    starts = frame.unique(["instance", "began_at"], maintain_order=True).head(_MOST_BARS)
    names = {
        (row["instance"], row["began_at"]): _bar_name(row, look)
        for row in starts.iter_rows(named=True)
    }
    shown = frame.join(starts.select("instance", "began_at"), on=["instance", "began_at"])
    if shown.is_empty():
        return "No phase of any start is known."
    traces = [
        _bars(part, phase, names)
        for phase in PHASES
        if (part := shown.filter(pl.col("phase") == phase)).height
    ]
    y = axis("", "category", showgrid=False, autorange="reversed")
    y |= {"categoryorder": "array", "categoryarray": list(names.values())}
    made = layout(
        axis("seconds since the beginning", from_zero=True),
        y,
        legend=True,
        barmode="overlay",
        bargap=0.25,
    )
    means = shown.group_by("phase").agg(pl.col("seconds").sum()).sort("seconds", descending=True)
    top = means.row(0, named=True)
    words = (
        f"{len(names)} starts; most of their time goes to {PHASES[top['phase']][0]}, "
        f"{seconds_text(top['seconds'] / len(names))} a start"
    )
    return Picture({"data": traces, "layout": made}, f"Phases of each start: {words}.")


def _bar_name(row: Mapping[str, Any], look: Look) -> str:
    began = when(row["began_at"], look.zone, look.clock).rsplit(" ", 1)[0]
    return f"{row['instance'][:28]} · {began}"


def _bars(part: pl.DataFrame, phase: str, names: Mapping[tuple[str, Any], str]) -> Trace:
    title, colour, pattern = PHASES[phase]
    rows = part.rows(named=True)
    return {
        "type": "bar",
        "orientation": "h",
        "name": title,
        "y": [names[row["instance"], row["began_at"]] for row in rows],
        "base": numbers(part, "start_seconds"),
        "x": numbers(part, "seconds"),
        "marker": {"color": colour, "pattern": overlaid(pattern), "line": {"width": 0}},
        "customdata": [
            f"{seconds_text(row['seconds'])}{_by(row['source'])}" for row in rows
        ],
        "hovertemplate": f"{title} %{{customdata}}<extra></extra>",
    }  # fmt: skip


def _by(source: str | None) -> str:
    return f", by {source}" if source else ", by nobody's word"


def per_day(frame: pl.DataFrame, look: Look) -> Picture | str:
    """Starts by day and how they went; counts add up.

    Args:
        frame: `at` (midnight UTC), `ready`, `never_ready`, `in_progress`.
        look: zone and clock.
    """
    at = times(frame, "at", Look(clock=look.clock))
    styles = (
        ("ready", "ready", BLUE, ""),
        ("never_ready", "never ready", VERMILION, "/"),
        ("in_progress", "in progress", GREY, "."),
    )
    traces = [
        {
            "type": "bar",
            "x": at,
            "y": numbers(frame, column),
            "name": title,
            "marker": {"color": colour, "pattern": overlaid(pattern)},
        }
        for column, title, colour, pattern in styles
        if frame[column].sum()
    ]
    x = time_axis(Look(clock=look.clock)) | {"tickformat": "%-d %b", "dtick": _day_ticks(frame)}
    made = layout(x, axis("starts", from_zero=True, tickformat="d"), legend=True, barmode="stack")
    made["bargap"] = 0.4
    total = sum(int(frame[column].sum()) for column, *_ in styles)
    never = int(frame["never_ready"].sum())
    return Picture(
        {"data": traces, "layout": made},
        f"{total} starts over {frame.height} days; {never} never became ready.",
    )


def _day_ticks(frame: pl.DataFrame) -> int:
    return 86_400_000 * max(1, frame.height // 8)
