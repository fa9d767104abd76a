"""The time that a record covers: what every rate is divided by."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from store.queries import fleet as fleet_queries
from store.queries.scope import Scope
from store.queries.workload import FrameReader

Span = tuple[datetime, datetime]
ONE_MOMENT = "all requests came at one moment"
# Half-open ranges end this long after their last record.
_INSTANT = timedelta(microseconds=1)


def covered_span(reader: FrameReader, scope: Scope) -> Span:
    """The part of the scope in which its sources were recording.

    A trace covers the time between its first and last request; the live fleet that from its first
    request on. Labels play no part: a tenant that is silent does not stop the record.
    """
    before, after = fleet_queries.beyond(reader, scope)
    goes_on = scope.is_live or after
    if before and goes_on:
        return scope.start, scope.end
    first, last = fleet_queries.within(reader, scope)
    start = scope.start if before or first is None else first.replace(tzinfo=UTC)
    if goes_on or last is None:
        return start, scope.end
    return start, min(scope.end, last.replace(tzinfo=UTC) + _INSTANT)


def covered_seconds(span: Span) -> float | None:
    """Length of a covered span; None when it is a single moment, which no rate can be had from."""
    length = span[1] - span[0]
    return length.total_seconds() if length > _INSTANT else None
