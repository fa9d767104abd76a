"""What a candidate would have had, and what the policy beside it had, step by step."""

from __future__ import annotations

from analysis.measure import Empty, Measure, View
from store.errors import InputError
from store.queries import candidates as queries
from store.queries.scope import Scope
from store.reader import Reader

_NEVER = "This candidate was not asked yet, or there is none of this number."
_MOST_DIGITS = 18


def candidate_course(reader: Reader, scope: Scope, *, candidate: str = "") -> View:
    """The course of a candidate as long as it is watched, whatever range is shown.

    Options: `candidate` (its number; needed).

    Measures: points. Frames: `course` (pool, at, shadow_replicas, live_replicas, there_replicas:
    what the platform had; requests_per_second), thinned as on the page.

    Raises:
        InputError: that is no number of a candidate.
    """
    if not candidate.isdecimal() or len(candidate) > _MOST_DIGITS:
        raise InputError(
            f"'{candidate}' is no number of a candidate",
            hint="`servescope controller candidates` has them: candidate=3",
        )
    found = queries.course(reader, int(candidate))
    if found.is_empty():
        none = Empty("no_traffic", _NEVER)
        return View("candidate_course", scope, {"points": Measure(0.0, "")}, {}, (), none)
    course = queries.thinned(found)
    measures = {"points": Measure(float(course.height), "")}
    return View("candidate_course", scope, measures, {"course": course})
