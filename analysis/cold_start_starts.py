"""Observations of one instance, sorted into its starts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

import polars as pl

from analysis.cold_start_phases import (
    FAILED,
    FIRST_TOKEN,
    MARKS,
    Observation,
    Segment,
    partition,
    ready_marks,
    with_probe,
)

Outcome = Literal["ready", "never ready", "in progress"]
# Phases that only a new start has; seen again after others they begin one.
BEGINNINGS = ("schedule", "container", "process")
LONGEST_GAP = timedelta(minutes=30)
GIVEN_UP_AFTER = timedelta(minutes=30)
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - as the store keeps it
_SECOND = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Start:
    """One start of one instance; times are naive UTC.

    Attributes:
        instance: which.
        model: what it serves; None when nobody said.
        node: where; None when nobody said.
        cache_state: "cold", "warm" or "unknown".
        began_at: the earliest thing seen of it.
        ready_at: when it could take traffic; None when it never did (or not yet).
        warm_at: its first token; None when none was seen.
        first_token_seconds: how long the first request took to its first token.
        ended_at: the last thing seen before it was ready or given up.
        outcome: how it went.
        segments: its phases until ready, or until the last thing seen.
        ready_evidence: who says that it was ready.
    """

    instance: str
    model: str | None
    node: str | None
    cache_state: str
    began_at: datetime
    ready_at: datetime | None
    warm_at: datetime | None
    first_token_seconds: float | None
    ended_at: datetime
    outcome: Outcome
    segments: tuple[Segment, ...] = field(default=())
    ready_evidence: str = ""

    @property
    def place(self) -> str:
        """What shares its caches: the model on its node, or on the instance of an unknown node."""
        return f"{self.model or ''}@{self.node or self.instance}"

    @property
    def ready_seconds(self) -> float | None:
        """From the beginning to ready; None when it never was."""
        return (self.ready_at - self.began_at).total_seconds() if self.ready_at else None


@dataclass(frozen=True, slots=True)
class _Row:
    item: Observation
    model: str | None
    node: str | None
    cache_state: str | None


def starts(frame: pl.DataFrame, now: datetime) -> list[Start]:
    """All starts in a frame of observations, oldest first.

    Args:
        frame: as returned by `store.queries.cold_start.observations`.
        now: naive UTC; what is not ready half an hour after its last sign is given up.
    """
    found = []
    for (instance,), part in frame.group_by("instance", maintain_order=True):
        groups = _groups([_row(row) for row in part.iter_rows(named=True)])
        for place, group in enumerate(groups):
            is_last = place == len(groups) - 1
            found.append(_start(str(instance), group, now, is_last=is_last))
    return sorted(found, key=lambda start: (start.began_at, start.instance))


def _row(row: dict[str, Any]) -> _Row:
    began = _us(row["started_at"])
    ended = _us(row["ended_at"]) if row["ended_at"] else began
    item = Observation(row["phase"], began, max(began, ended), row["evidence"])
    return _Row(item, row["model"], row["node"], row["cache_state"])


def _us(at: datetime) -> int:
    return (at - _EPOCH) // timedelta(microseconds=1)


def _at(us: int) -> datetime:
    return _EPOCH + timedelta(microseconds=us)


def _groups(rows: Iterable[_Row]) -> list[list[_Row]]:
    """Rows in order of time, cut where a new start begins."""
    groups: list[list[_Row]] = []
    ordered = sorted(rows, key=lambda row: (row.item.started_us, row.item.ended_us))
    for row in ordered:
        if not groups or _is_new(groups[-1], row.item):
            groups.append([])
        groups[-1].append(row)
    return [group for group in groups if any(row.item.phase not in MARKS for row in group)]


def _is_new(group: Sequence[_Row], item: Observation) -> bool:
    seen = [row.item for row in group]
    last = max(other.ended_us for other in seen)
    if (
        item.started_us - last > LONGEST_GAP // timedelta(microseconds=1)
        and item.phase not in MARKS
    ):
        return True
    if item.phase in MARKS:
        return False
    is_over = any(other.phase in MARKS for other in seen)
    if is_over and item.started_us >= max(o.started_us for o in seen if o.phase in MARKS):
        return item.phase in BEGINNINGS or item.started_us > last
    begun = any(other.phase == item.phase for other in seen)
    return item.phase in BEGINNINGS and begun and item.started_us >= last


def _start(instance: str, group: Sequence[_Row], now: datetime, *, is_last: bool) -> Start:
    seen = [row.item for row in group]
    phases = [item for item in seen if item.phase not in MARKS]
    begin = min(item.started_us for item in phases)
    marks = [mark for mark in ready_marks(seen) if mark.started_us >= begin]
    first = [item for item in seen if item.phase == FIRST_TOKEN]
    last = max(item.ended_us for item in seen if item.phase != FIRST_TOKEN)
    end = marks[0].started_us if marks else last
    return Start(
        instance,
        _first(row.model for row in group),
        _first(row.node for row in group),
        _first(row.cache_state for row in group) or "unknown",
        _at(begin),
        _at(end) if marks else None,
        _at(min(item.ended_us for item in first)) if first else None,
        min(
            ((i.ended_us - i.started_us) / 1e6 for i in first if i.ended_us > i.started_us),
            default=None,
        ),
        _at(end),
        _outcome(seen, bool(marks), _at(last), now, is_last=is_last),
        partition(with_probe(seen), begin, end),
        marks[0].evidence if marks else "",
    )


def _first(values: Iterable[str | None]) -> str | None:
    return next((value for value in values if value), None)


def _outcome(
    seen: Sequence[Observation], is_ready: bool, last: datetime, now: datetime, *, is_last: bool
) -> Outcome:
    if is_ready:
        return "ready"
    failed = any(item.phase == FAILED for item in seen)
    if failed or not is_last or now - last > GIVEN_UP_AFTER:
        return "never ready"
    return "in progress"
