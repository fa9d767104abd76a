"""Starts of replicas, and instances that got less of their host than they could use."""

from __future__ import annotations

from analysis.reports import parts
from analysis.reports.asking import Asking, ViewDocument
from analysis.reports.document import Column, Point, Section
from store.units import seconds_text

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
    "slowed": "Slowed down",
    "lowest_performance_ratio": "Lowest performance",
}
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
            "Starts that became ready on each day.", _days(view), most=31,
        ),
        findings=() if not failed else (
            Point(70.0, f"{parts.counted(failed, 'start')} of a replica never became ready."),
        ),
        advice=() if not failed else (
            Point(70.0, "Read the log of the replica that never became ready: page Cold starts."),
        ),
        path="cold-starts",
    )  # fmt: skip


def _started(view: ViewDocument) -> str:
    p95 = parts.value(view, "slowest_ready_p95_seconds")
    ready = "" if p95 is None else f"; the slowest kind is ready after {seconds_text(p95)} (p95)"
    return f"{parts.counted(parts.value(view, 'starts'), 'start')} of replicas{ready}."


def _days(view: ViewDocument) -> list[dict[str, object]]:
    return [{**row, "day": str(row["at"])[:10]} for row in parts.rows_of(view, "per_day")]


def degradation(asking: Asking) -> Section:
    """How instances stood at the end of the period."""
    view = asking.view("degradation_now")
    if parts.is_empty(view):
        return Section("degradation", "", empty=parts.empty_text(view))
    sentences = tuple(str(text) for text in view["sentences"])
    slowed = parts.value(view, "slowed") or 0
    return Section(
        "degradation", "",
        verdict=sentences[:3],
        numbers=parts.numbers(view, _SLOWED),
        tables=parts.table(view, "instances", "Newest estimate of each instance", _INSTANCES),
        notes=("Estimates are the newest of each instance within the period.",),
        findings=tuple(Point(80.0, text) for text in sentences[:1]) if slowed else (),
        advice=_relief(view) if slowed else (),
    )  # fmt: skip


def _relief(view: ViewDocument) -> tuple[Point, ...]:
    slowed = [str(row["instance"]) for row in parts.rows_of(view, "instances")
              if row["state"] == "slowed"]  # fmt: skip
    return (Point(80.0, f"Look at what runs beside {', '.join(slowed[:3])}, or move it away."),)
