"""When something is due: cron or plain words, in a time zone, once for each time that is written.

Cron is read on the clock of the wall, and every time it names happens once. A time that the clocks
leave out happens at the next minute that exists; one that they show twice, the first time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from croniter import croniter
from croniter.croniter import CroniterError

from store.errors import InputError

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
LEAST_APART = timedelta(minutes=5)
MOST_TEXT = 100
_WORDS = re.compile(
    r"(?:(?P<hourly>hourly)"
    r"|(?P<every>daily|weekdays|weekly\s+(?P<day>[a-z]{3})[a-z]*|monthly\s+(?P<date>\d{1,2}))"
    r"\s+(?P<hour>\d{1,2}):(?P<minute>\d{2}))",
    re.IGNORECASE,
)
_CRON = re.compile(r"[0-9A-Za-z*/,\-#?]+(?: [0-9A-Za-z*/,\-#?]+){4}")
# Croniter's H and R stand for times that it makes up.
_MADE_UP = re.compile(r"\b[HR]\b|\b[HR](?=[(/])", re.IGNORECASE)
# No zone has ever moved its clocks by more than a day.
_SLACK = timedelta(hours=26)
_CHECKED = datetime(2026, 1, 1)  # noqa: DTZ001 - a time of the wall
_FIRINGS_CHECKED = 60
_HOW = (
    "write it as `weekly mon 08:00`, `daily 08:00`, `weekdays 08:00`, `monthly 1 08:00`, `hourly`,"
    " or as cron with five fields, such as `0 8 * * 1`"
)


@dataclass(frozen=True, slots=True)
class Timetable:
    """When something is due.

    Attributes:
        text: as it was written.
        cron: five fields, on the clock of the wall.
        zone: whose wall.
    """

    text: str
    cron: str
    zone: ZoneInfo

    def next_after(self, at: datetime) -> datetime:
        """The first time after `at` (aware); aware UTC.

        Raises:
            InputError: there is none for years.
        """
        # A doubled hour and one that is left out are looked at from before they began.
        wall = at.astimezone(self.zone).replace(tzinfo=None) - _SLACK
        return next(due for due in self._due(wall, is_forward=True) if due > at)

    def newest_until(self, at: datetime) -> datetime:
        """The last time at or before `at` (aware); aware UTC."""
        wall = at.astimezone(self.zone).replace(tzinfo=None) + _SLACK
        return next(due for due in self._due(wall, is_forward=False) if due <= at)

    def before(self, due: datetime) -> datetime:
        """The time before one that is due."""
        return self.newest_until(due - timedelta(microseconds=1))

    def _due(self, wall: datetime, *, is_forward: bool) -> Iterator[datetime]:
        times = croniter(self.cron, wall, max_years_between_matches=9)
        step = times.get_next if is_forward else times.get_prev
        while True:
            try:
                yield instant(step(datetime), self.zone)
            except CroniterError as error:
                raise InputError(f"'{self.text}' never comes", hint=_HOW) from error


def timetable(text: str, zone: str) -> Timetable:
    """Read a schedule.

    Args:
        text: words or cron.
        zone: a name of the IANA time zone database, such as Europe/Berlin.

    Raises:
        InputError: it cannot be read, never comes, or comes more often than every five minutes.
    """
    found = Timetable(text.strip(), _cron_of(text), read_zone(zone))
    _check_apart(found)
    return found


def read_zone(name: str) -> ZoneInfo:
    """A time zone by name.

    Raises:
        InputError: there is none.
    """
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise InputError(
            f"there is no time zone '{name}'", hint="write it as UTC or Europe/Berlin"
        ) from error


def instant(wall: datetime, zone: ZoneInfo) -> datetime:
    """When the clocks of a zone show a time first, or the next minute that they do show.

    Args:
        wall: without a zone.
        zone: whose clocks.
    """
    while True:
        at = wall.replace(tzinfo=zone, fold=0).astimezone(UTC)
        if at.astimezone(zone).replace(tzinfo=None) == wall:
            return at
        wall += timedelta(minutes=1)


def _cron_of(text: str) -> str:
    said = " ".join(text.split())
    if not said or len(said) > MOST_TEXT:
        raise InputError("a schedule says when", hint=_HOW)
    words = _WORDS.fullmatch(said)
    cron = _cron_of_words(words) if words else said
    if not _CRON.fullmatch(cron) or _MADE_UP.search(cron) or not croniter.is_valid(cron):
        raise InputError(f"'{text}' is no schedule", hint=_HOW)
    return cron


def _cron_of_words(words: re.Match[str]) -> str:
    if words["hourly"]:
        return "0 * * * *"
    time = f"{int(words['minute'])} {int(words['hour'])}"
    kind = words["every"].split()[0].lower()
    if kind == "weekly":
        return f"{time} * * {words['day'].lower()}"
    if kind == "monthly":
        return f"{time} {int(words['date'])} * *"
    return f"{time} * * {'mon-fri' if kind == 'weekdays' else '*'}"


def _check_apart(found: Timetable) -> None:
    """On a wall that nobody moves, so that it does not depend on the zone."""
    still = Timetable(found.text, found.cron, ZoneInfo("UTC"))
    last: datetime | None = None
    for due, _ in zip(still._due(_CHECKED, is_forward=True), range(_FIRINGS_CHECKED), strict=False):
        if last is not None and due - last < LEAST_APART:
            raise InputError(
                f"'{found.text}' comes more often than every five minutes",
                hint="a report takes a while to make: leave five minutes between two",
            )
        last = due
