"""What is drawn on time charts of every page: freezes, changes of replicas, all that happened."""

from __future__ import annotations

from analysis.measure import View
from analysis.sharing import Sharing, unshared
from analysis.timeline import marks
from store.queries.scope import Scope
from store.reader import Reader


def happenings(reader: Reader, scope: Scope, *, sharing: Sharing = unshared) -> View:
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
        sharing: keeps the frames, of which the Fleet page makes its list of events.
    """
    return View("happenings", scope, frames=marks(reader, scope, sharing))
