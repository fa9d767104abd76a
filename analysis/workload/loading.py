"""What every workload view needs first: the sources of its scope, their arrivals, or why not."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

from analysis.measure import Empty, Measure, View
from analysis.workload.arrivals import Stamps, sorted_stamps
from analysis.workload.schemas import VIEW_UNITS, empty_frames
from store.queries import workload as queries
from store.queries.scope import Scope

NOTHING_CONNECTED = Empty("nothing_connected", "No source yet.")
COUNTERS_ONLY = Empty(
    "metric_absent",
    "This needs request-level data; the live source has engine counters only.",
)


class NotingReader:
    """A reader that keeps the text of its queries, so that a chart can show what is behind it."""

    def __init__(self, reader: queries.FrameReader) -> None:
        self._reader = reader
        self._texts: list[str] = []

    def frame(self, sql: str, **params: Any) -> pl.DataFrame:
        """As the reader behind it."""
        self._texts.append(inspect.cleandoc(sql))
        return self._reader.frame(sql, **params)

    @property
    def last_text(self) -> str:
        """The text of the latest query; empty before the first."""
        return self._texts[-1] if self._texts else ""


@dataclass(frozen=True, slots=True)
class Member:
    """One source of a scope.

    Attributes:
        source_id: its number.
        name: what people call it.
        is_live: the live fleet rather than a trace.
        has_calendar: whether its stamps are dates rather than seconds from an unknown start.
        block_tokens: tokens in a prefix block; None = unknown.
        requests: request rows it holds in all.
        rates: client windows it holds in all.
        first_at: first record in all (aware, trace time for traces); None when it has none.
        last_at: last record.
    """

    source_id: int
    name: str
    is_live: bool
    has_calendar: bool
    block_tokens: int | None
    requests: int
    rates: int
    first_at: datetime | None
    last_at: datetime | None


def members(reader: queries.FrameReader, scope: Scope) -> list[Member]:
    """The sources of a scope, by number."""
    return [_member(row) for row in queries.sources(reader, scope).iter_rows(named=True)]


def _member(row: dict[str, Any]) -> Member:
    starts = [queries.aware(row[name]) for name in ("first_at", "first_rate_at") if row[name]]
    ends = [queries.aware(row[name]) for name in ("last_at", "last_rate_at") if row[name]]
    return Member(
        source_id=row["source_id"],
        name=row["source"],
        is_live=row["kind"] == "live",
        has_calendar=row["clock"] != "relative",
        block_tokens=row["prefix_block_tokens"],
        requests=row["requests"],
        rates=row["rates"],
        first_at=min(starts, default=None),
        last_at=max(ends, default=None),
    )


def load_stamps(reader: queries.FrameReader, scope: Scope, member: Member) -> Stamps:
    """Sorted arrivals of one source, whole microseconds since 1970."""
    if member.requests == 0:
        return np.empty(0, dtype=np.int64)
    return sorted_stamps(
        queries.arrival_stamps(reader, scope, member.source_id)["at_us"].to_numpy()
    )


def merged(streams: Sequence[Stamps]) -> Stamps:
    """One sorted stream of all; the same array when there is only one."""
    filled = [stream for stream in streams if stream.size]
    if len(filled) == 1:
        return filled[0]
    return np.sort(np.concatenate(filled)) if filled else np.empty(0, dtype=np.int64)


def clipped(scope: Scope, sources: Sequence[Member]) -> Scope:
    """The scope, no wider than what its sources have recorded: it decides the width of bins."""
    starts = [member.first_at for member in sources if member.first_at is not None]
    ends = [member.last_at for member in sources if member.last_at is not None]
    if not starts or not ends:
        return scope
    start = max(scope.start, min(starts))
    end = min(scope.end, max(ends) + timedelta(microseconds=1))
    return replace(scope, start=start, end=end) if start < end else scope


def why_empty(reader: queries.FrameReader, scope: Scope, sources: Sequence[Member]) -> Empty:
    """Which of the four reasons holds when a scope has no request to show."""
    lasts = [member.last_at for member in sources if member.last_at is not None]
    if not lasts:
        live = any(member.is_live for member in sources)
        return COUNTERS_ONLY if live and queries.counters_only(reader) else NOTHING_CONNECTED
    firsts = [member.first_at for member in sources if member.first_at is not None]
    last = max(lasts)
    if scope.end <= min(firsts) or scope.start > last:
        text = f"Nothing in this range; the last record is of {last:%Y-%m-%d %H:%M:%S} UTC."
        if not any(member.has_calendar for member in sources):
            text = f"Nothing in this range; the trace ends at {last:%d. day, %H:%M:%S} trace time."
        return Empty("outside_range", text, last)
    if not any(member.requests for member in sources):
        names = ", ".join(member.name for member in sources)
        return Empty("metric_absent", f"{names} has rates per client, not single requests.", last)
    return Empty("no_traffic", "No requests in this range.", last)


def empty_view(
    name: str,
    reader: queries.FrameReader,
    scope: Scope,
    sources: Sequence[Member],
    empty: Empty | None = None,
) -> View:
    """A view with nothing to show: every measure unknown, every frame empty, and the reason."""
    reason = empty or why_empty(reader, scope, sources)
    unknown = {key: Measure(None, unit, why=reason.text) for key, unit in VIEW_UNITS[name].items()}
    return View(name, scope, unknown, empty_frames(name), empty=reason)


def known_or_why(value: float | None, unit: str, n: int, why: str) -> Measure:
    """A measure of n events, with the reason when it is unknown."""
    return Measure(value, unit, n=n, why=why if value is None else None)
