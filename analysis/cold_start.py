"""Cold starts: how long until a new replica serves, and which step is slow."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl

from analysis.cold_start_frames import day_frame, group_frame, segment_frame, start_frame
from analysis.cold_start_starts import Start, starts
from analysis.cold_start_worth import worth_frame, worths
from analysis.measure import Empty, Measure, View
from store.queries import choices, start_times
from store.queries import cold_start as queries
from store.queries.scope import LIVE_SOURCE_ID, Scope
from store.reader import Reader
from store.units import seconds_text

MOST_STARTS = 60
"""How many of the newest starts are drawn and costed one by one."""
MOST_WORTHS = 500
"""How many of the newest are asked what became of them."""
_NEVER = (
    "No start of an instance was observed yet: it needs an engine that restarts while it is "
    "scraped, its start-up spans or log, or the times of its pod."
)


def cold_starts(reader: Reader, scope: Scope) -> View:
    """Starts of instances, their phases, and what they cost.

    Measures: starts, never_ready, in_progress, waited_request_seconds, slowest_ready_p95_seconds
    (of the slowest group; nothing is pooled over groups). Frames: `starts`, `segments`, `groups`
    (model x node x cache state), `per_day`, `ahead` (what a start would take now, see
    `store.queries.start_times`), `worth` (see `cold_start_utility`); columns in the schemas of
    `cold_start_frames`.
    """
    if LIVE_SOURCE_ID not in scope.source_ids:
        text = "A trace records requests, not starts of instances."
        return _view(reader, scope, [], [], Empty("metric_absent", text), None)
    everything = starts(queries.observations(reader, scope), scope.end.replace(tzinfo=None))
    begin, end = scope.start.replace(tzinfo=None), scope.end.replace(tzinfo=None)
    in_range = [start for start in everything if begin <= start.began_at < end]
    meant = [start for start in in_range if _is_meant(start, scope)]
    if not meant:
        return _view(reader, scope, [], [], _why_empty(reader, bool(in_range)), None)
    newest = meant[-MOST_STARTS:]
    costs, total = _costs(reader, newest, end)
    return _view(reader, scope, meant, costs, None, total)


def _is_meant(start: Start, scope: Scope) -> bool:
    if scope.instances and start.instance not in scope.instances:
        return False
    return not scope.models or start.model in scope.models


def _why_empty(reader: Reader, is_filtered: bool) -> Empty:
    rows, last_at = queries.ever(reader)
    last = last_at.replace(tzinfo=UTC) if last_at else None
    if is_filtered:
        return Empty("no_traffic", "No instance with these labels started in this range.", last)
    if rows and last is not None:
        return Empty("outside_range", f"The last start began {last:%d %b %Y %H:%M:%S} UTC.", last)
    if choices.targets(reader).is_empty():
        return Empty("nothing_connected", "No engine is connected, so no start can be seen.")
    return Empty("metric_absent", _NEVER)


def _costs(
    reader: Reader, newest: Sequence[Start], end: datetime
) -> tuple[list[float | None], Measure]:
    """Request-seconds waited during each start, and during any of them without counting twice."""
    spans = [(s.model, s.began_at, _over(s, end)) for s in newest]
    merged = _merged(spans)
    for from_rows, words in ((True, "queue times of requests"), (False, "gauges of the engines")):
        each = queries.waited(reader, spans, from_rows=from_rows)
        if each["seconds"].null_count() < each.height:
            together = queries.waited(reader, merged, from_rows=from_rows)
            total = float(together["seconds"].sum())
            n = int(together["requests"].sum()) if from_rows else None
            return each["seconds"].to_list(), Measure(total, "s", n=n, why=f"from {words}")
    why = "no request and no engine tells what waited meanwhile"
    return [None] * len(newest), Measure(None, "s", why=why)


def _over(start: Start, end: datetime) -> datetime:
    if start.ready_at is None and start.outcome == "in progress":
        return max(end, start.began_at + timedelta(microseconds=1))
    return max(start.ended_at, start.began_at + timedelta(microseconds=1))


def _merged(
    spans: Sequence[tuple[str | None, datetime, datetime]],
) -> list[tuple[str | None, datetime, datetime]]:
    """Stretches of each model, those that overlap as one."""
    found: list[tuple[str | None, datetime, datetime]] = []
    for model, began, over in sorted(spans, key=lambda span: (span[0] or "", span[1])):
        if found and found[-1][0] == model and began <= found[-1][2]:
            found[-1] = (model, found[-1][1], max(found[-1][2], over))
        else:
            found.append((model, began, over))
    return found


def _view(
    reader: Reader,
    scope: Scope,
    found: Sequence[Start],
    costs: Sequence[float | None],
    empty: Empty | None,
    waited: Measure | None,
) -> View:
    newest = found[-MOST_STARTS:]
    groups = group_frame(found)
    expected = start_times.said_before(
        reader, scope, [start.place for start in newest], [start.began_at for start in newest]
    )
    worth = worths(reader, scope, found[-MOST_WORTHS:])
    warm = {(one.start.instance, one.start.began_at): one.warmth for one in worth}
    frames = {
        "worth": worth_frame(worth),
        "ahead": start_times.newest(reader, scope),
        "starts": start_frame(newest, costs, expected, warm),
        "segments": segment_frame(newest),
        "groups": groups,
        "per_day": day_frame(found),
    }
    never = sum(s.outcome == "never ready" for s in found)
    measures = {
        "starts": Measure(float(len(found)), "starts"),
        "never_ready": Measure(float(never), "starts", n=len(found)),
        "in_progress": Measure(float(sum(s.outcome == "in progress" for s in found)), "starts"),
        "waited_request_seconds": waited or Measure(None, "s", why="no start in this range"),
        "slowest_ready_p95_seconds": _slowest(groups),
    }
    words = _sentences(found, groups, never)
    return View(
        "cold_starts", scope, measures=measures, frames=frames, sentences=words, empty=empty,
        sql={"starts": queries.OBSERVATIONS.strip()}, totals={"starts": len(found)},
    )  # fmt: skip


def _slowest(groups: pl.DataFrame) -> Measure:
    known = groups.drop_nulls("ready_p95_seconds").sort("ready_p95_seconds", descending=True)
    if known.is_empty():
        return Measure(None, "s", why="no start became ready in this range")
    row = known.row(0, named=True)
    return Measure(row["ready_p95_seconds"], "s", n=row["ready"], why=_group_words(row))


def _group_words(row: dict[str, Any]) -> str:
    model, node = row["model"] or "model unknown", row["node"] or "unknown node"
    return f"{model} on {node}, {row['cache_state']} cache"


def _sentences(found: Sequence[Start], groups: pl.DataFrame, never: int) -> tuple[str, ...]:
    words = []
    known = groups.drop_nulls("ready_p50_seconds").sort("ready_p50_seconds", descending=True)
    if known.height:
        row = known.row(0, named=True)
        phase, mean = row["slowest_phase"], row["slowest_phase_mean_seconds"]
        words.append(
            f"{_group_words(row)} takes longest to be ready: "
            f"{seconds_text(row['ready_p50_seconds'])} in the median of {row['ready']}; "
            f"{str(phase).replace('_', ' ')} is the longest phase with {seconds_text(mean)} on "
            "average"
        )
    if never:
        words.append(f"{never} of {len(found)} starts never became ready")
    return tuple(words)
