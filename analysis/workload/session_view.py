"""The sessions view."""

from __future__ import annotations

import numpy as np

from analysis.measure import Empty, Measure, View
from analysis.workload import sessions
from analysis.workload.loading import NotingReader, empty_view, known_or_why, members
from store.queries import workload as queries
from store.queries.scope import Scope
from store.units import percent_text, seconds_text

_VIEW = "workload_sessions"


def workload_sessions(reader: queries.FrameReader, scope: Scope) -> View:
    """Turns, pauses and growth of context, of the requests that name their session.

    A pause is from one arrival to the next, so it includes the time to answer.
    """
    noting = NotingReader(reader)
    sources = members(noting, scope)
    rows = queries.session_rows(noting, scope)
    if rows.is_empty():
        attempted = int(queries.status_counts(noting, scope)["requests"].sum())
        reason = _no_sessions(attempted) if attempted else None
        return empty_view(_VIEW, noting, scope, sources, reason)
    sql = noting.last_text
    found = sessions.group(rows)
    frames = {
        "turns": sessions.turns_frame(found),
        "gaps": sessions.gaps_frame(found),
        "growth": sessions.growth_frame(found),
    }
    count = int(found.turns.size)
    pauses = found.gaps_seconds
    growth, steps = sessions.growth_per_turn(found)
    pause = float(np.median(pauses)) if pauses.size else None
    one_turn = "every session has a single turn"
    measures = {
        "sessions": Measure(count, "", n=rows.height),
        "turns_mean": Measure(rows.height / count, "", n=count),
        "gap_p50_seconds": known_or_why(pause, "s", int(pauses.size), one_turn),
        "context_growth_tokens_per_turn": known_or_why(growth, "tokens", steps, one_turn),
    }
    several = float(np.count_nonzero(found.turns > 1)) / count
    sentence = (
        f"{count:,} sessions of {rows.height / count:.3g} turns on average; "
        f"{percent_text(several)} have more than one"
    )
    if pause is not None:
        sentence += f", with {seconds_text(pause)} from turn to turn (median)"
    return View(_VIEW, scope, measures, frames, (sentence + ".",), sql=dict.fromkeys(frames, sql))


def _no_sessions(attempted: int) -> Empty:
    return Empty("metric_absent", f"None of the {attempted:,} requests names its session.")
