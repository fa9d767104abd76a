"""Which stretch of time an error budget is counted over: a rolling one, or a calendar period.

A rolling window ends where the scope ends, and has all of its length behind it. A calendar period
begins at a local midnight and a part of it may lie ahead of where the scope ends. Its budget is
that of the whole period at the traffic so far, so one bad request of the first ten does not read as
a budget that is gone; at the end of the period both ways of counting are the same.
Source: budget spent = burn x elapsed / window at even traffic, Google SRE Workbook, "Alerting on
SLOs"; calendar-aligned windows and their time zone as OpenSLO has them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from analysis.reports.periods import zone_named
from analysis.slo_model import Calendar, Slo

DAY_SECONDS = 86_400.0
# Alert windows look back over sliding time, whatever the budget does; the projection as well.
_LEAST_REACH_SECONDS = DAY_SECONDS
_MONTHS = {"month": 1, "quarter": 3}


@dataclass(frozen=True, slots=True)
class Window:
    """The window of one SLO as it stands at a moment.

    Attributes:
        start: aware UTC, inclusive.
        at: the moment, exclusive; start < at.
        resets_at: where the calendar period ends, at <= resets_at; None for a rolling window.
    """

    start: datetime
    at: datetime
    resets_at: datetime | None = None

    @property
    def elapsed_seconds(self) -> float:
        """How much of it is over."""
        return (self.at - self.start).total_seconds()

    @property
    def length_seconds(self) -> float:
        """Its whole length."""
        return ((self.resets_at or self.at) - self.start).total_seconds()

    @property
    def elapsed_ratio(self) -> float:
        """The share of it that is over, 0 < ratio <= 1; always 1 for a rolling window."""
        return 1.0 if self.resets_at is None else self.elapsed_seconds / self.length_seconds

    @property
    def left_seconds(self) -> float:
        """How long until the budget is whole again; 0 for a rolling window."""
        return 0.0 if self.resets_at is None else (self.resets_at - self.at).total_seconds()


def window_of(slo: Slo, at: datetime) -> Window:
    """The window of an SLO that ends at, or for a calendar holds, a moment (aware UTC).

    A moment where one period ends and the next begins belongs to the one that ends: a range that is
    a month exactly is judged as that month.
    """
    if slo.calendar is None:
        return Window(at - timedelta(seconds=slo.window_seconds), at)
    start, resets_at = period_of(slo.calendar, at)
    return Window(start, at, resets_at)


def period_of(calendar: Calendar, at: datetime) -> tuple[datetime, datetime]:
    """Start and end (aware UTC) of the period with start < at <= end.

    Both are local midnights, so a day is of 23, 24 or 25 hours where clocks change.
    """
    zone = zone_named(calendar.zone)

    def midnight(day: date) -> datetime:
        return datetime.combine(day, time(), zone).astimezone(UTC)

    first = _first_day(calendar.unit, at.astimezone(zone).date())
    # Some clocks were put back over midnight, or left a day out: the dates alone do not decide.
    while midnight(first) >= at:
        first = _first_day(calendar.unit, first - timedelta(days=1))
    while (end := midnight(after := _next_first_day(calendar.unit, first))) < at:
        first = after
    return midnight(first), end


def reach_seconds(slo: Slo) -> float:
    """How far back the sliding windows of an SLO look: its own if it rolls, and its alerts'."""
    if slo.calendar is None:
        return slo.window_seconds
    longest = max((rule.long_seconds for rule in slo.alerts), default=0.0)
    return max(longest, _LEAST_REACH_SECONDS)


def _first_day(unit: str, day: date) -> date:
    if unit == "day":
        return day
    if unit == "week":
        return day - timedelta(days=day.weekday())
    return day.replace(month=day.month - (day.month - 1) % _MONTHS[unit], day=1)


def _next_first_day(unit: str, first: date) -> date:
    if unit in ("day", "week"):
        return first + timedelta(days=1 if unit == "day" else 7)
    later = first.month - 1 + _MONTHS[unit]
    return date(first.year + later // 12, later % 12 + 1, 1)
