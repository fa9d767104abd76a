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
_DAY_MS = 86_400_000
_MOST_GROUPS = 30
# First tokens that came later than so many times the longest bar would press all bars together.
_FARTHEST_TOKEN = 1.5


def bar_height(bars: int, most: int = _MOST_BARS) -> int:
    """Height of a chart in pixels for so many bars or rows, at most `most` of them."""
    return 110 + 22 * max(3, min(bars, most))


def stack(frame: pl.DataFrame, look: Look, answered: pl.DataFrame | None = None) -> Picture | str:
    """Phases of each start, one bar each, the newest at the top, and when its first token came.

    Args:
        frame: `instance`, `began_at`, `phase`, `start_seconds`, `seconds`, `source`; the newest
            start first.
        look: zone and clock.
        answered: `instance`, `began_at`, `warm_seconds` (until the first token was served). What
            came long after the last bar, since nobody asked before, is left to the table.
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
    traces += _first_tokens(shown, answered, names)
    return Picture({"data": traces, "layout": made}, f"Phases of each start: {words}.")


def _first_tokens(
    shown: pl.DataFrame, answered: pl.DataFrame | None, names: Mapping[tuple[str, Any], str]
) -> list[Trace]:
    """A mark on each bar where the first token was served."""
    if answered is None:
        return []
    farthest = _FARTHEST_TOKEN * float((shown["start_seconds"] + shown["seconds"]).max() or 0.0)  # type: ignore[arg-type]
    near = answered.filter(pl.col("warm_seconds") <= farthest)
    rows = [row for row in near.rows(named=True) if (row["instance"], row["began_at"]) in names]
    if not rows:
        return []
    return [
        {
            "type": "scatter",
            "mode": "markers",
            "name": "first token",
            "y": [names[row["instance"], row["began_at"]] for row in rows],
            "x": [row["warm_seconds"] for row in rows],
            "marker": {"symbol": "diamond-tall-open", "size": 12, "color": VERMILION,
                       "line": {"width": 2}},
            "customdata": [seconds_text(row["warm_seconds"]) for row in rows],
            "hovertemplate": "first token after %{customdata}<extra></extra>",
        }
    ]  # fmt: skip


def spread(frame: pl.DataFrame, groups: pl.DataFrame) -> Picture | str:
    """Seconds until ready of each start, by model, node and cache state; never pooled over them.

    Args:
        frame: starts, with `model`, `node`, `cache_state`, `ready_seconds`.
        groups: the same keys with `ready_p50_seconds` and `ready_p95_seconds`.
    """
    known = frame.drop_nulls("ready_seconds")
    judged = groups.drop_nulls("ready_p50_seconds").head(_MOST_GROUPS)
    if known.is_empty() or judged.is_empty():
        return "No start of this range became ready."
    names = {_key(row): _group_name(row) for row in judged.iter_rows(named=True)}
    shown = [row for row in known.iter_rows(named=True) if _key(row) in names]
    dots = {
        "type": "scatter", "mode": "markers", "name": "a start",
        "y": [names[_key(row)] for row in shown], "x": [row["ready_seconds"] for row in shown],
        "marker": {"symbol": "circle-open", "size": 8, "color": BLUE, "line": {"width": 1.5}},
        "hovertemplate": "%{x:.3g} s<extra></extra>",
    }  # fmt: skip
    marks = [
        {
            "type": "scatter", "mode": "markers", "name": name, "y": list(names.values()),
            "x": numbers(judged, column),
            "marker": {"symbol": symbol, "size": 16, "color": colour,
                       "line": {"width": 3, "color": colour}},
            "hovertemplate": f"{name} %{{x:.3g}} s<extra></extra>",
        }
        for column, name, symbol, colour in (
            ("ready_p50_seconds", "median", "line-ns-open", GREY),
            ("ready_p95_seconds", "p95, the lead time", "diamond-open", VERMILION),
        )
    ]  # fmt: skip
    y = axis("", "category", showgrid=False, autorange="reversed")
    y |= {"categoryorder": "array", "categoryarray": list(names.values())}
    made = layout(axis("seconds until ready", from_zero=True), y, legend=True)
    worst = judged.sort("ready_p95_seconds", descending=True).row(0, named=True)
    words = f"longest p95 {seconds_text(worst['ready_p95_seconds'])}, {_group_name(worst)}"
    return Picture({"data": [dots, *marks], "layout": made}, f"Time until ready by group: {words}.")


def _key(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return row["model"], row["node"], row["cache_state"]


def _group_name(row: Mapping[str, Any]) -> str:
    model, node = row["model"] or "model not told", row["node"] or "node not told"
    return f"{model[:24]} · {node[:16]} · {row['cache_state']}"


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
            # A day is a day wide: of a single one Plotly would draw a hair.
            "width": 0.7 * _DAY_MS,
            "offset": 0.15 * _DAY_MS,
        }
        for column, title, colour, pattern in styles
        if frame[column].sum()
    ]
    x = time_axis(Look(clock=look.clock)) | {"tickformat": "%-d %b", "dtick": _day_ticks(frame)}
    x["ticklabelmode"] = "period"
    made = layout(x, axis("starts", from_zero=True, tickformat="d"), legend=True, barmode="stack")
    made["bargap"] = 0.4
    total = sum(int(frame[column].sum()) for column, *_ in styles)
    never = int(frame["never_ready"].sum())
    return Picture(
        {"data": traces, "layout": made},
        f"{total} starts over {frame.height} days; {never} never became ready.",
    )


def _day_ticks(frame: pl.DataFrame) -> int:
    return _DAY_MS * max(1, frame.height // 8)
