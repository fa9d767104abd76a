"""Starts of replicas, and instances that got less of their host than they could use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from analysis.reports import parts
from analysis.reports.asking import Asking, ViewDocument
from analysis.reports.document import Column, Point, Section
from store.units import counted, seconds_text

_STARTS = {
    "starts": "Starts",
    "never_ready": "Never ready",
    "slowest_ready_p95_seconds": "Ready after, p95 of the slowest kind",
    "waited_request_seconds": "Requests waited for starts, together",
}
_GROUPS = (
    Column("model", "Model"),
    Column("node", "Node"),
    Column("cache_state", "Cache"),
    Column("starts", "Starts", "starts"),
    Column("never_ready", "Never ready", "starts"),
    Column("ready_p50_seconds", "Ready p50", "s"),
    Column("ready_p95_seconds", "Ready p95", "s"),
    Column("slowest_phase", "Slowest phase"),
    Column("slowest_phase_mean_seconds", "It takes", "s"),
)
_SLOWED = {
    "instances": "Instances looked at",
    "slowed": "Slowed down at the end",
    "incidents": "Slowdowns",
    "worst_slowdown": "Slowest, times its past",
    "lowest_performance_ratio": "Lowest performance",
}
_INCIDENTS = (
    Column("instance", "Instance"),
    Column("started_at", "From", "time"),
    Column("ended_at", "Until", "time"),
    Column("slowdown_factor", "Times as slow", "x"),
    Column("resource", "Likely by"),
    Column("strength", "Evidence"),
    Column("ending", "How it ended"),
)
_INSTANCES = (
    Column("instance", "Instance"),
    Column("performance_ratio", "Performance alone = 100 %", "ratio"),
    Column("q05_ratio", "at least", "ratio"),
    Column("q95_ratio", "at most", "ratio"),
    Column("state", "Verdict"),
)


def cold_starts(asking: Asking) -> Section:
    """How often replicas started, how long it took, and which step was slow."""
    view = asking.view("cold_starts")
    if parts.is_empty(view):
        return Section("cold_starts", "", empty=parts.empty_text(view), path="cold-starts")
    failed = parts.value(view, "never_ready") or 0
    sentences = tuple(str(text) for text in view["sentences"][:2])
    return Section(
        "cold_starts", "",
        verdict=sentences or (_started(view),),
        numbers=parts.numbers(view, _STARTS, asking.prior("cold_starts")),
        tables=parts.table(view, "groups", "Starts by model, node and cache", _GROUPS),
        charts=parts.bars(
            view, "per_day", "Starts that became ready, by day", "day", "ready", "starts",
            _ready(_days(view)), _days(view), most=31,
        ),
        findings=() if not failed else (
            Point(70.0, f"{counted(failed, 'start')} of a replica never became ready."),
        ),
        advice=() if not failed else (
            Point(70.0, "Read the log of the replica that never became ready: page Cold starts."),
        ),
        path="cold-starts",
    )  # fmt: skip


def _started(view: ViewDocument) -> str:
    p95 = parts.value(view, "slowest_ready_p95_seconds")
    ready = "" if p95 is None else f"; the slowest kind is ready after {seconds_text(p95)} (p95)"
    return f"{counted(parts.value(view, 'starts'), 'start')} of replicas{ready}."


def _ready(days: Sequence[Mapping[str, Any]]) -> str:
    most = max(days, key=lambda row: row["ready"] or 0, default=None)
    total = sum(row["ready"] or 0 for row in days)
    where = f", most of them on {most['day']}" if most is not None and total > 1 else ""
    return f"{counted(total, 'start')} became ready{where}."


def _days(view: ViewDocument) -> list[dict[str, object]]:
    return [{**row, "day": str(row["at"])[:10]} for row in parts.rows_of(view, "per_day")]


def degradation(asking: Asking) -> Section:
    """Instances beside their own past at equal load, and beside what they would get alone."""
    paced, alone = asking.view("degradation"), asking.view("degradation_now")
    if parts.is_empty(paced) and parts.is_empty(alone):
        return Section("degradation", "", empty=parts.empty_text(paced), path="degradation")
    told = [view for view in (paced, alone) if not parts.is_empty(view)]
    slow = tuple(
        str(text)
        for view in told
        for text in view["sentences"][:2]
        if (parts.value(view, "slowed") or 0) > 0
    )
    rest = tuple(str(text) for view in told for text in view["sentences"][:2])
    return Section(
        "degradation", "",
        verdict=(slow or rest)[:3],
        numbers=parts.numbers(told[0], _SLOWED),
        tables=(
            *parts.table(paced, "incidents", "When instances were slower than they used to be",
                         _INCIDENTS),
            *parts.table(alone, "instances", "What each gets of what it would get alone",
                         _INSTANCES),
        ),
        notes=("Instances as they stood at the end of the period; incidents as they began in it.",),
        findings=(*(Point(80.0, text) for text in slow[:1]), *_ended(paced)),
        advice=_relief(told),
        path="degradation",
    )  # fmt: skip


def _ended(view: ViewDocument) -> tuple[Point, ...]:
    """Incidents that are over, for the first screen."""
    over = [row for row in parts.rows_of(view, "incidents") if row["ended_at"] is not None]
    if not over:
        return ()
    names = ", ".join(dict.fromkeys(str(row["instance"]) for row in over))
    return (Point(48.0, f"{counted(len(over), 'slowdown')} came and went: {names}."),)


def _relief(views: Sequence[ViewDocument]) -> tuple[Point, ...]:
    slowed = dict.fromkeys(
        str(row["instance"])
        for view in views
        for row in parts.rows_of(view, "instances")
        if row["state"] == "slowed"
    )
    if not slowed:
        return ()
    names = ", ".join(list(slowed)[:3])
    return (Point(80.0, f"Look at what runs beside {names}, or move it away."),)
