"""The sessions view."""

from __future__ import annotations

import numpy as np

from analysis.measure import Empty, Measure, View
from analysis.workload import sessions
from analysis.workload.loading import NotingReader, empty_view, known_or_why, members
from analysis.workload.sessions import Sessions
from analysis.workload.words import number_text
from store.queries import totals
from store.queries import workload as queries
from store.queries.scope import Scope
from store.units import percent_text, seconds_text

_VIEW = "workload_sessions"
# More would take seconds, and tell no more of how long sessions are.
MOST_REQUESTS = 1_000_000


def workload_sessions(reader: queries.FrameReader, scope: Scope) -> View:
    """Turns, pauses and growth of context, of the requests that name their session.

    A pause is from one arrival to the next, so it includes the time to answer. Beyond a million
    such requests, about every n-th session is read, whole, and a sentence says so.
    """
    noting = NotingReader(reader)
    sources = members(noting, scope)
    named, about = queries.session_count(noting, scope)
    every = -(-named // MOST_REQUESTS) if named else 1
    rows = queries.session_rows(noting, scope, every) if named else None
    if rows is None or rows.is_empty():
        attempted = totals.attempted(noting, scope)
        reason = _no_sessions(attempted) if attempted else None
        return empty_view(_VIEW, noting, scope, sources, reason)
    sql = noting.last_text
    found = sessions.group(rows)
    frames = {
        "turns": sessions.turns_frame(found),
        "gaps": sessions.gaps_frame(found),
        "growth": sessions.growth_frame(found),
    }
    measures = _measures(found)
    sentences = [_sentence(found, measures)]
    if every > 1:
        why = f"estimate; the other numbers are of about one session in {every}"
        sentences.append(f"About {about:,} sessions in all: {why}, chosen by hash and read whole.")
        measures["sessions"] = Measure(about, "", n=named, why=why)
    return View(_VIEW, scope, measures, frames, tuple(sentences), sql=dict.fromkeys(frames, sql))


def _measures(found: Sessions) -> dict[str, Measure]:
    count, requests, pauses = int(found.turns.size), int(found.turn.size), found.gaps_seconds
    growth, steps = sessions.growth_per_turn(found)
    pause = float(np.median(pauses)) if pauses.size else None
    one_turn = "every session has a single turn"
    return {
        "sessions": Measure(count, "", n=requests),
        "turns_mean": Measure(requests / count, "", n=count),
        "gap_p50_seconds": known_or_why(pause, "s", int(pauses.size), one_turn),
        "context_growth_tokens_per_turn": known_or_why(growth, "tokens", steps, one_turn),
    }


def _sentence(found: Sessions, measures: dict[str, Measure]) -> str:
    several = float(np.count_nonzero(found.turns > 1)) / found.turns.size
    turns = number_text(measures["turns_mean"].value or 0)
    text = (
        f"{found.turns.size:,} sessions of {turns} turns on average; "
        f"{percent_text(several)} have more than one"
    )
    pause = measures["gap_p50_seconds"].value
    return (
        f"{text}, with {seconds_text(pause)} from turn to turn (median)." if pause else f"{text}."
    )


def _no_sessions(attempted: int) -> Empty:
    return Empty("metric_absent", f"None of the {attempted:,} requests names its session.")
