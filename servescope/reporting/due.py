"""Which period of a schedule is due now: the newest, once, however long the server was away."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from analysis.reports import periods
from analysis.reports.periods import Period
from servescope.reporting.book import Scheduled

LATE = timedelta(minutes=2)
MOST_COUNTED = 50


@dataclass(frozen=True, slots=True)
class Due:
    """A period whose report is due.

    Attributes:
        period: what it is about.
        due_at: when it was due (aware UTC).
        is_late: whether that is a while ago: the server did not run, or was busy.
        left_out: older periods that were missed, too, at most `MOST_COUNTED`; they are not made.
    """

    period: Period
    due_at: datetime
    is_late: bool
    left_out: int

    @property
    def text(self) -> str | None:
        """What there is to know of it; None when it is in time."""
        if not self.is_late:
            return None
        words = f"late: it was due at {self.due_at:%Y-%m-%d %H:%M} UTC"
        if not self.left_out:
            return words
        many = "one older period" if self.left_out == 1 else f"{self.left_out} older periods"
        return f"{words}; {many} left out"


def due(
    scheduled: Scheduled, kind: str, now: datetime, is_claimed: Callable[[str], bool]
) -> Due | None:
    """What is due; None when nothing is.

    Args:
        scheduled: what and when.
        kind: of its template: daily, weekly or monthly.
        now: aware UTC.
        is_claimed: whether a period, by its key, has its report.
    """
    table, zone = scheduled.definition.timetable(), scheduled.definition.zone
    at = table.newest_until(now)
    if at <= scheduled.since:
        return None
    period = periods.last_complete(kind, at, zone)
    if is_claimed(period.key):
        return None
    is_late = now - at > LATE
    missed = {period.key}
    earlier = table.before(at)
    while is_late and earlier > scheduled.since and len(missed) <= MOST_COUNTED:
        key = periods.last_complete(kind, earlier, zone).key
        if key not in missed and is_claimed(key):
            break
        missed.add(key)
        earlier = table.before(earlier)
    return Due(period, at, is_late, len(missed) - 1)
