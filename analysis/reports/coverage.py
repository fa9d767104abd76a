"""How much of a period there are records of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from analysis.reports.periods import Period, moment
from store.units import percent_text, seconds_text

NEARLY_ALL = 0.98


def within(
    sources: Sequence[Mapping[str, Any]], period: Period
) -> tuple[datetime | None, datetime | None]:
    """First and last record of the sources within the period; None when they hold none there.

    A source tells when it begins and ends, not where it has holes.
    """
    spans = [
        (max(first, period.start), min(last, period.end))
        for source in sources
        if (first := instant(source["first_at"])) is not None
        and (last := instant(source["last_at"])) is not None
        and first < period.end
        and last >= period.start
    ]
    if not spans:
        return None, None
    return min(first for first, _ in spans), max(last for _, last in spans)


def share(sources: Sequence[Mapping[str, Any]], period: Period) -> float:
    """How much of a period lies between its first and its last record, 0 to 1."""
    first, last = within(sources, period)
    if first is None or last is None:
        return 0.0
    return (last - first) / timedelta(seconds=period.seconds)


def words(first: datetime | None, last: datetime | None, period: Period) -> str | None:
    """What must be said about a period that is not covered whole; None where it is."""
    if first is None or last is None:
        return None
    covered = last - first
    part = covered / timedelta(seconds=period.seconds)
    if part >= NEARLY_ALL:
        return None
    return (
        f"The records cover {seconds_text(covered.total_seconds())} of the"
        f" {seconds_text(period.seconds)} of this period ({percent_text(part)}),"
        f" {_span(first, last, period.zone)}: rates are those of the time covered."
    )


def _span(first: datetime, last: datetime, zone: str) -> str:
    left, right = moment(first, zone), moment(last, zone)
    return f"at {left}" if left == right else f"from {left} to {right}"


def instant(text: Any) -> datetime | None:
    """A time as documents of views tell it, aware; without an offset it is UTC."""
    if text is None or isinstance(text, datetime):
        return text
    at = datetime.fromisoformat(str(text))
    return at if at.tzinfo else at.replace(tzinfo=UTC)
