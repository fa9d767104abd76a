"""What every workload view needs first: the sources of its scope, their arrivals, or why not."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import numpy.typing as npt
import polars as pl

from analysis.measure import Empty, Measure, View
from analysis.workload.arrivals import Stamps, sorted_stamps
from analysis.workload.schemas import VIEW_UNITS, empty_frames
from analysis.workload.words import time_text
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

    def batches(self, sql: str, **params: Any) -> Iterator[Mapping[str, npt.NDArray[Any]]]:
        """As the reader behind it."""
        self._texts.append(inspect.cleandoc(sql))
        return self._reader.batches(sql, **params)

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
    """

    source_id: int
    name: str
    is_live: bool
    has_calendar: bool
    block_tokens: int | None


def members(reader: queries.FrameReader, scope: Scope) -> list[Member]:
    """The sources of a scope, by number."""
    rows = queries.sources(reader, scope).iter_rows(named=True)
    return [
        Member(
            source_id=row["source_id"],
            name=row["source"],
            is_live=row["kind"] == "live",
            has_calendar=row["clock"] != "relative",
            block_tokens=row["prefix_block_tokens"],
        )
        for row in rows
    ]


def load_stamps(reader: queries.FrameReader, scope: Scope, member: Member) -> Stamps:
    """Sorted arrivals of one source, whole microseconds since 1970."""
    return sorted_stamps(queries.arrival_stamps(reader, scope, member.source_id))


def bin_seconds(scope: Scope, covered_seconds: float) -> int:
    """A round width that gives at most 300 bins over what the record covers.

    Args:
        scope: what was asked for.
        covered_seconds: from the first to the last arrival.
    """
    covered = timedelta(seconds=max(covered_seconds, 1.0))
    return replace(scope, end=scope.start + covered).bin_seconds()


def recorded(reader: queries.FrameReader, scope: Scope) -> Scope:
    """The scope, no wider than what its sources have recorded."""
    spans = queries.spans(reader, scope)
    first, last = spans["first_at"].min(), spans["last_at"].max()
    if not isinstance(first, datetime) or not isinstance(last, datetime):
        return scope
    start = max(scope.start, queries.aware(first))
    end = min(scope.end, queries.aware(last) + timedelta(microseconds=1))
    return replace(scope, start=start, end=end) if start < end else scope


def why_empty(reader: queries.FrameReader, scope: Scope, sources: Sequence[Member]) -> Empty:
    """Which of the four reasons holds when a scope has no request to show."""
    spans = queries.spans(reader, scope)
    first, last = spans["first_at"].min(), spans["last_at"].max()
    if not isinstance(first, datetime) or not isinstance(last, datetime):
        live = any(member.is_live for member in sources)
        return COUNTERS_ONLY if live and queries.counters_only(reader) else NOTHING_CONNECTED
    first, last = queries.aware(first), queries.aware(last)
    if scope.end <= first or scope.start > last:
        text = f"Nothing in this range; the last record is of {time_text(last)}."
        return Empty("outside_range", text, last)
    if not spans["requests"].sum():
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
