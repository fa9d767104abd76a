"""How long people waited, and where the time went."""

from __future__ import annotations

from collections.abc import Sequence

from analysis.reports import parts
from analysis.reports.asking import Asking, ViewDocument
from analysis.reports.document import Chart, Column, Number, Point, Section, Table
from store.units import seconds_text, signed_percent_text

CLEAR_CHANGE = 0.15
"""From 15 % slower on, a p95 is worth a sentence on the first screen."""
SAME = 0.005
"""A smaller change than this is none."""
_LABELS = {
    "ttft_p50_seconds": "TTFT p50",
    "ttft_p95_seconds": "TTFT p95",
    "tpot_p95_seconds": "TPOT p95",
    "e2e_p95_seconds": "Whole request p95",
    "queue_p95_seconds": "Queueing p95",
}
_JUDGED = ("ttft_p95_seconds", "tpot_p95_seconds", "e2e_p95_seconds")
_TAIL = (
    Column("group", "Requests by duration"),
    Column("requests", "Requests", "requests"),
    Column("queue_seconds", "Queueing", "s"),
    Column("prefill_seconds", "Prefill", "s"),
    Column("first_token_seconds", "To the first token", "s"),
    Column("decode_seconds", "Decoding", "s"),
    Column("unattributed_seconds", "Unexplained", "s"),
    Column("e2e_seconds", "Whole request", "s"),
)
_SLOW = (
    Column("instance", "Instance"),
    Column("model", "Model"),
    Column("requests", "Requests", "requests"),
    Column("ttft_to_peers", "TTFT to its peers", "x"),
    Column("tpot_to_peers", "TPOT to its peers", "x"),
)


def latency(asking: Asking) -> Section:
    """Quantiles of each latency, their course, and what makes the slowest slow."""
    view = asking.view("latency", quantity="ttft")
    if parts.is_empty(view):
        return Section("latency", "", empty=parts.empty_text(view), path="latency")
    told = parts.numbers(view, _LABELS, asking.prior("latency", quantity="ttft"))
    tail = asking.view("latency_tail")
    slow = _stragglers(asking)
    reason = tuple(str(text) for text in tail["sentences"][:1])
    return Section(
        "latency", "",
        verdict=(_verdict(told), *reason),
        numbers=told,
        tables=(*parts.table(tail, "tail", "Where the time goes: mean seconds", _TAIL), *slow),
        charts=_course(view),
        findings=(*_points(told), *_slow_points(slow)),
        advice=_slow_advice(slow),
        path="latency",
    )  # fmt: skip


def _verdict(told: Sequence[Number]) -> str:
    known = {one.key: one for one in told}
    first = next((known[key] for key in _JUDGED if key in known), None)
    if first is None:
        return "Some latencies are known, but none at p95."
    moved = parts.change(first.value, first.before)
    beside = "" if moved is None else f", {signed_percent_text(moved)} against the period before"
    if moved is not None and abs(moved) < SAME:
        beside = ", as in the period before"
    return f"{first.label} was {measured(first)}{beside}."


def measured(one: Number) -> str:
    """A latency, or the interval that is known of it."""
    if one.value is not None:
        return seconds_text(one.value)
    if one.high is None:
        return f"at least {seconds_text(one.low)}"
    if one.low is None:
        return f"at most {seconds_text(one.high)}"
    return f"between {seconds_text(one.low)} and {seconds_text(one.high)}"


def _points(told: Sequence[Number]) -> tuple[Point, ...]:
    points = []
    for one in told:
        moved = parts.change(one.value, one.before)
        if one.key in _JUDGED and moved is not None and moved >= CLEAR_CHANGE:
            text = (
                f"{one.label} rose by {moved * 100:.0f} % against the period before, to"
                f" {seconds_text(one.value)}."
            )
            points.append(Point(60.0 + min(moved, 9.0), text))
    return tuple(points)


def _course(view: ViewDocument) -> tuple[Chart, ...]:
    rows = parts.rows_of(view, "quantiles")
    tops = [row["p95_seconds"] for row in rows if row["p95_seconds"] is not None]
    limits = [
        row["threshold_seconds"]
        for row in parts.rows_of(view, "objectives")
        if row["threshold_seconds"] is not None
    ]
    said = f"TTFT p95 lay between {seconds_text(min(tops))} and {seconds_text(max(tops))}." if (
        tops) else "TTFT is known as intervals only."  # fmt: skip
    return parts.over_time(
        view, "quantiles", "Time to first token",
        {"p50_seconds": "p50", "p95_seconds": "p95"}, "s", said,
        rows=parts.thinned(rows),
        limit=min(limits) if limits else None, limit_label="objective",
    )  # fmt: skip


def _stragglers(asking: Asking) -> tuple[Table, ...]:
    view = asking.view("latency_stragglers")
    rows = [row for row in parts.rows_of(view, "instances") if row["stands_out"]]
    return parts.table(view, "instances", "Instances slower than their peers", _SLOW, rows)


def _slow_points(slow: Sequence[Table]) -> tuple[Point, ...]:
    names = [str(row[0]) for table in slow for row in table.rows]
    if not names:
        return ()
    return (Point(65.0, f"Slower than their peers: {', '.join(names[:4])}."),)


def _slow_advice(slow: Sequence[Table]) -> tuple[Point, ...]:
    names = [str(row[0]) for table in slow for row in table.rows]
    if not names:
        return ()
    return (Point(65.0, f"Compare {names[0]} with its peers: page Latency, by instance."),)
