"""What is drawn on time charts of every page: freezes, changes of replicas, all that happened."""

from __future__ import annotations

from analysis.measure import View
from store.queries import control_marks, decisions
from store.queries import happenings as queries
from store.queries.scope import Scope
from store.queries.slo import naive_utc
from store.reader import Reader


def happenings(reader: Reader, scope: Scope) -> View:
    """All that happened in a range; where nothing did, frames have no rows.

    A trace has a clock of its own: a freeze of today never happened in it, so that only events
    which came with it are told.

    Frames: `freezes` (pool, from_at, until_at: at most the end of the range, changed_by, comment),
    `scalings` (at, pool, before_replicas, after_replicas, decision_id, changed_by; the newest 200),
    both of live data only, and `events` (at, until_at, kind, subject, text): see
    `store.queries.happenings`.

    Args:
        reader: the store.
        scope: its sources and time range.
    """
    start, end = naive_utc(scope.start), naive_utc(scope.end)
    frames = {"events": queries.happened(reader, scope)}
    if scope.is_live:
        frames["freezes"] = decisions.freezes(reader, start, end)
        frames["scalings"] = control_marks.scalings(reader, start, end)
    return View("happenings", scope, frames=frames)
