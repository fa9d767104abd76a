"""The server itself: its disk and its jobs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from analysis.alerts.model import Link, Reading
from analysis.alerts.rules import Watch
from store.queries import jobs, reports
from store.units import bytes_text, seconds_text

LEAST_SPAN_SECONDS = 1800.0
"""A pace is told from readings that span at least this."""
_JOBS_SINCE = timedelta(days=40)


def disk_nearly_full(watch: Watch) -> Sequence[Reading]:
    """One reading: free space beside the store, and when its reserve will be reached."""
    points = watch.told.free_bytes
    if not points:
        return []
    free = points[-1][1]
    reserve = watch.told.reserve_bytes
    seconds = seconds_left(points, reserve)
    soon = seconds is not None and seconds <= watch.limits["hours"] * 3600
    active = free < watch.limits["reserves"] * reserve or soon
    when = "" if seconds is None else f", at this pace for {seconds_text(seconds)}"
    text = f"{bytes_text(free)} are free beside the store{when}; it stops at {bytes_text(reserve)}."
    return [Reading({"disk": "store"}, active, text, free, Link("admin"))]


def seconds_left(points: Sequence[tuple[datetime, float]], reserve: float) -> float | None:
    """When free space falls to `reserve` if it goes on as it went; None when that is not known.

    It is not where space does not shrink, or the readings span less than half an hour.
    The pace is the median over pairs of readings half of the span apart (Theil and Sen), so that
    one large file that comes or goes says little.
    """
    if len(points) < 4 or (points[-1][0] - points[0][0]).total_seconds() < LEAST_SPAN_SECONDS:
        return None
    half = len(points) // 2
    pairs = zip(points[:half], points[-half:], strict=True)
    paces = sorted(
        (early[1] - late[1]) / (late[0] - early[0]).total_seconds() for early, late in pairs
    )
    pace = paces[len(paces) // 2]
    return max(points[-1][1] - reserve, 0.0) / pace if pace > 0 else None


def job_failing(watch: Watch) -> Sequence[Reading]:
    """A reading a job: how many of its newest runs failed one after the other."""
    since = (watch.now - _JOBS_SINCE).replace(tzinfo=None)
    found = []
    for row in jobs.standing(watch.reader, since).iter_rows(named=True):
        count = row["failures"]
        text = (
            f"Job {row['job']} failed at its last {count} runs: {(row['error'] or '')[:200]}"
            if count
            else f"Job {row['job']} is well."
        )
        active = count >= watch.limits["least_failures"]
        found.append(Reading({"job": row["job"]}, active, text, float(count), Link("admin")))
    return found


def report_failed(watch: Watch) -> Sequence[Reading]:
    """A reading a schedule that has one: whether its newest report failed, and why."""
    found = []
    for row in reports.newest(watch.reader).iter_rows(named=True):
        active = row["state"] == "failed"
        text = (
            f"Report {row['schedule']} for {row['period']} {(row['text'] or 'failed')[:300]}"
            if active
            else f"Report {row['schedule']} is well."
        )
        labels = {"schedule": row["schedule"]}
        found.append(Reading(labels, active, text, None, Link(f"reports/{row['schedule']}")))
    return found
