"""Calendar days, weeks and months in a time zone, and what people write for one.

A period begins and ends at local midnight, so that a week in which clocks change has 167 or 169
hours. A trace whose clock is relative has days, weeks and months (of 30 days) that are counted from
its own zero instead: there is no Monday in it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from store.errors import InputError

KINDS = ("daily", "weekly", "monthly", "incident")
TRACE_CLOCK = "trace clock"
"""Stands for the zone of a trace that has a calendar, but tells no zone."""
TRACE_TIME = "trace time"
"""Stands for the zone of a trace that only counts seconds; they are kept from 1970-01-01."""
_EPOCH = date(1970, 1, 1)
_COUNTED_DAYS = {"daily": 1, "weekly": 7, "monthly": 30}
_COUNTED_NAMES = {"daily": "day", "weekly": "week", "monthly": "month"}
_COUNTED = re.compile(r"(day|week|month)-(\d{1,5})")
_WEEK = re.compile(r"(\d{4})-W(\d{2})")
_MONTH = re.compile(r"(\d{4})-(\d{2})")
_DAY = re.compile(r"(\d{4})-(\d{2})-(\d{2})")
_EXAMPLES = {"daily": "2026-11-20", "weekly": "2026-W46", "monthly": "2026-11"}


@dataclass(frozen=True, slots=True)
class Period:
    """A range of time with a name that lasts.

    Attributes:
        kind: one of `KINDS`.
        key: "2026-11-20", "2026-W46", "2026-11"; of an incident its start and end.
        start: aware UTC, inclusive.
        end: exclusive.
        zone: IANA name, `TRACE_CLOCK` or `TRACE_TIME`.
        words: for people.
    """

    kind: str
    key: str
    start: datetime
    end: datetime
    zone: str
    words: str

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return (self.end - self.start).total_seconds()


def zone_named(name: str) -> ZoneInfo:
    """The time zone of an IANA name; the clocks of traces read as UTC.

    Raises:
        InputError: this machine knows none of that name.
    """
    try:
        return ZoneInfo("UTC" if name in (TRACE_CLOCK, TRACE_TIME) else name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise InputError(
            f"no time zone is called '{name[:40]}'", hint="write Europe/Berlin, or UTC"
        ) from None


def moment(at: datetime, zone: str) -> str:
    """A time on the clock of the report: "20 Jan 2026 14:48 Europe/Berlin", "day 3 14:48"."""
    local = at.astimezone(zone_named(zone))
    if zone == TRACE_TIME:
        return f"day {(local.date() - _EPOCH).days + 1} {local:%H:%M}"
    named = "on the trace's clock" if zone == TRACE_CLOCK else zone
    return f"{local:%-d %b %Y %H:%M} {named}"


def calendar(kind: str, day: date, zone: str) -> Period:
    """The period of a kind that holds a day.

    Args:
        kind: "daily", "weekly" (Monday to Sunday, ISO 8601) or "monthly".
        day: any day of it.
        zone: as of `Period`.

    Raises:
        InputError: unknown zone, or a time outside what calendars hold.
    """
    place = zone_named(zone)
    first, after = _edges(kind, day, zone)
    start, end = (datetime.combine(edge, time(), place).astimezone(UTC) for edge in (first, after))
    if zone == TRACE_TIME:
        number = (first - _EPOCH).days // _COUNTED_DAYS[kind] + 1
        name = _COUNTED_NAMES[kind]
        return Period(kind, f"{name}-{number}", start, end, zone, f"{name} {number} of the trace")
    return Period(kind, _key(kind, first), start, end, zone, _words(kind, first, after))


def last_complete(kind: str, now: datetime, zone: str) -> Period:
    """The newest period of a kind that is over at `now`."""
    today = now.astimezone(zone_named(zone)).date()
    running, _ = _edges(kind, today, zone)
    return calendar(kind, running - timedelta(days=1), zone)


def before(period: Period) -> Period:
    """The one just before: the calendar's, or for an incident as much time again."""
    if period.kind == "incident":
        length = period.end - period.start
        return incident(period.start - length, period.start, period.zone)
    day = period.start.astimezone(zone_named(period.zone)).date()
    return calendar(period.kind, day - timedelta(days=1), period.zone)


def incident(start: datetime, end: datetime, zone: str) -> Period:
    """A range that somebody named by its ends.

    Raises:
        InputError: it is empty.
    """
    if start >= end:
        raise InputError("the incident ends before it starts", hint="--from must lie before --to")
    place = zone_named(zone)
    left, right = start.astimezone(place), end.astimezone(place)
    same_day = left.date() == right.date()
    key = f"{left:%Y-%m-%dT%H%M}_{right:%Y-%m-%dT%H%M}"
    words = f"{left:%-d %b %Y %H:%M} to {right:%H:%M}" if same_day else (
        f"{left:%-d %b %Y %H:%M} to {right:%-d %b %Y %H:%M}"
    )  # fmt: skip
    return Period("incident", key, start.astimezone(UTC), end.astimezone(UTC), zone, words)


def read(kind: str, text: str, zone: str) -> Period:
    """The period that somebody wrote: 2026-11-20, 2026-W46, 2026-11; week-2 in trace time.

    Raises:
        InputError: it is no period of this kind.
    """
    try:
        day = _counted(kind, text.strip()) if zone == TRACE_TIME else _day_of(kind, text.strip())
    except (ValueError, OverflowError):
        day = None
    if day is None:
        example = _EXAMPLES.get(kind)
        if example and zone == TRACE_TIME:
            example = f"{_COUNTED_NAMES[kind]}-1: a trace with relative times counts from its zero"
        hint = f"write {example}" if example else "an incident is named by --from and --to"
        raise InputError(f"'{text[:40]}' is no period of a {kind} report", hint=hint)
    return calendar(kind, day, zone)


def _day_of(kind: str, text: str) -> date | None:
    if kind == "weekly" and (found := _WEEK.fullmatch(text)):
        return date.fromisocalendar(int(found[1]), int(found[2]), 1)
    if kind == "monthly" and (found := _MONTH.fullmatch(text)):
        return date(int(found[1]), int(found[2]), 1)
    # A day names the day, the week and the month that it is in.
    if kind in _EXAMPLES and (found := _DAY.fullmatch(text)):
        return date(int(found[1]), int(found[2]), int(found[3]))
    return None


def _counted(kind: str, text: str) -> date | None:
    found = _COUNTED.fullmatch(text)
    if found is None or kind not in _COUNTED_NAMES or found[1] != _COUNTED_NAMES[kind]:
        return None
    return _EPOCH + timedelta(days=(int(found[2]) - 1) * _COUNTED_DAYS[kind])


def _edges(kind: str, day: date, zone: str) -> tuple[date, date]:
    """First day, and the first day after."""
    try:
        if zone == TRACE_TIME:
            length = _COUNTED_DAYS[kind]
            first = day - timedelta(days=(day - _EPOCH).days % length)
            return first, first + timedelta(days=length)
        if kind == "daily":
            return day, day + timedelta(days=1)
        if kind == "weekly":
            first = day - timedelta(days=day.weekday())
            return first, first + timedelta(days=7)
        first = day.replace(day=1)
        return first, (first + timedelta(days=32)).replace(day=1)
    except OverflowError:
        raise InputError(f"{day} is outside what calendars hold") from None


def _key(kind: str, first: date) -> str:
    if kind == "weekly":
        year, week, _ = first.isocalendar()
        return f"{year:04}-W{week:02}"
    return first.isoformat() if kind == "daily" else f"{first:%Y-%m}"


def _words(kind: str, first: date, after: date) -> str:
    if kind == "monthly":
        return f"{first:%B %Y}"
    if kind == "daily":
        return f"{first:%A, %-d %b %Y}"
    last = after - timedelta(days=1)
    year, week, _ = first.isocalendar()
    return f"week {week} of {year}, {first:%-d %b} to {last:%-d %b %Y}"
