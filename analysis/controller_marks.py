"""What is drawn on time charts of every page: freezes, and changes of replicas that were made."""

from __future__ import annotations

from analysis.measure import View
from store.queries import control_marks, decisions
from store.queries.scope import Scope
from store.reader import Reader


def controller_marks(reader: Reader, scope: Scope) -> View:
    """Freezes and changes of replicas of a range; where there are none, frames have no rows.

    Frames: `freezes` (pool, from_at, until_at: at most the end of the range, changed_by, comment),
    `scalings` (at, pool, before_replicas, after_replicas, decision_id, changed_by; the newest 200).

    Args:
        reader: the store.
        scope: its time range.
    """
    start, end = scope.start.replace(tzinfo=None), scope.end.replace(tzinfo=None)
    frames = {
        "freezes": decisions.freezes(reader, start, end),
        "scalings": control_marks.scalings(reader, start, end),
    }
    return View("controller_marks", scope, frames=frames)
