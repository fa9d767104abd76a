"""How the server's own jobs stand."""

from __future__ import annotations

from datetime import datetime, timedelta

from analysis.measure import View
from store.queries import jobs as queries
from store.queries.scope import Scope
from store.queries.slo import naive_utc
from store.reader import Reader

LOOK_BACK = timedelta(days=1)


def jobs(reader: Reader, scope: Scope, *, now: datetime) -> View:
    """Each job of the last day: how often it ran, how it ended, how long it takes.

    Frame `jobs`: see `store.queries.jobs.runs`; those that failed first. A sentence names those
    whose newest run failed.

    Args:
        reader: the store.
        scope: kept for the common signature; jobs belong to the server.
        now: aware UTC.
    """
    frame = queries.runs(reader, naive_utc(now - LOOK_BACK))
    failing = [row["job"] for row in frame.iter_rows(named=True) if row["outcome"] == "failed"]
    said = (f"The last run of {', '.join(failing)} failed.",) if failing else ()
    return View("jobs", scope, frames={"jobs": frame}, sentences=said)
