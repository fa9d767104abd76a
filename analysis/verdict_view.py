"""What is wrong, and how do we know? The Fleet page's verdict with its evidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from analysis.emptiness import why_empty
from analysis.fleet import Seen, look
from analysis.measure import Measure, View
from analysis.slo_model import Slo
from analysis.slo_views import SLOS_SCHEMA, status_row, urgency
from analysis.timeline import TIMELINE_SCHEMA, timeline
from analysis.verdict import Judged
from analysis.verdict_next import next_steps
from analysis.verdict_suspects import suspects
from store.queries.scope import Scope
from store.reader import Reader

BEFORE_SECONDS = 1800.0
"""How long before the onset something may have happened to stand beside it."""
MOST_EVENTS = 50
OBJECTIVES_SCHEMA: dict[str, Any] = {
    **SLOS_SCHEMA,
    "short_window_seconds": pl.Float64,
    "burn_short": pl.Float64,
    "long_window_seconds": pl.Float64,
    "burn_long": pl.Float64,
    "since_at": pl.Datetime("us"),
    "is_older": pl.Boolean,
    "is_worst": pl.Boolean,
}
EVENTS_SCHEMA: dict[str, Any] = {**TIMELINE_SCHEMA, "after_onset_seconds": pl.Float64}


def why(reader: Reader, scope: Scope, *, slos: Sequence[Slo] = ()) -> View:
    """The verdict on the fleet and what it stands on; the sentences are those of the Fleet page.

    Measures: burning (objectives in trouble), burn_long, burn_short, bad_share_ratio (of who is
    told), excess_share_ratio (of the phase that is told), requests_bad (that were looked at).

    Frames: `objectives` (the worst first), `contributors`, `phases`, `events` (from half an hour
    before the onset), `suspects`, `next` (title, command, page); columns in this module,
    `analysis.verdict` and `analysis.verdict_next`.
    """
    seen = look(reader, scope, slos)
    found, causes = seen.verdict, seen.verdict.causes
    empty = why_empty(reader, scope) if seen.is_silent else None
    frames = {"objectives": _objectives(seen)}
    if causes is not None:
        frames |= {"contributors": causes.spent, "phases": causes.phases}
    onset = found.worst.burning.since if found.worst else None
    start = onset or (causes.start if causes is not None else scope.start)
    frames |= {
        "events": _events(reader, scope, start, onset),
        "suspects": suspects(reader, scope, start, seen),
        "next": next_steps(found, scope),
    }
    return View("why", scope, _measures(seen), frames, seen.sentences, empty)


def _objectives(seen: Seen) -> pl.DataFrame:
    worst = seen.verdict.worst
    ordered = sorted(seen.verdict.judged, key=lambda one: (one is not worst, urgency(one.status)))
    return pl.DataFrame([_row(one, worst) for one in ordered], schema=OBJECTIVES_SCHEMA)


def _row(one: Judged, worst: Judged | None) -> dict[str, Any]:
    burn = one.burning
    return {
        **status_row(one.status),
        "short_window_seconds": burn.short_seconds,
        "burn_short": burn.short,
        "long_window_seconds": burn.long_seconds,
        "burn_long": burn.long,
        "since_at": burn.since.replace(tzinfo=None) if burn.since else None,
        "is_older": burn.is_older,
        "is_worst": one is worst,
    }


def _measures(seen: Seen) -> dict[str, Measure]:
    found, causes = seen.verdict, seen.verdict.causes
    troubled = sum(one.is_trouble for one in found.judged)
    measures = {"burning": Measure(float(troubled), "", n=len(found.judged))}
    calm = None if found.worst else "no objective is in trouble"
    burn = found.worst.burning if found.worst else None
    measures["burn_long"] = _told(burn.long if burn else None, "x", calm or "nothing came")
    measures["burn_short"] = _told(burn.short if burn else None, "x", calm or "nothing came")
    largest = causes.largest if causes else None
    nobody = calm or "nobody stands out among the bad requests"
    share = float(str(largest["bad_share_ratio"])) if largest else None
    measures["bad_share_ratio"] = _told(share, "ratio", nobody)
    made = causes.excess if causes else None
    untold = calm or "fewer than two phases are known of enough requests"
    phases = causes.phases["excess_share_ratio"].drop_nulls() if causes else pl.Series([])
    first = float(phases[0]) if phases.len() > 1 else None
    measures["excess_share_ratio"] = _told(first, "ratio", untold)
    rows = calm or "engine metrics tell of no single request"
    measures["requests_bad"] = _told(float(made.bad) if made else None, "requests", rows)
    return measures


def _told(value: float | None, unit: str, why_not: str) -> Measure:
    return Measure(value, unit, why=why_not if value is None else None)


def _events(reader: Reader, scope: Scope, start: datetime, onset: datetime | None) -> pl.DataFrame:
    """What happened near the onset, the newest last."""
    near = replace(scope, start=start - timedelta(seconds=BEFORE_SECONDS))
    after = pl.lit(None, pl.Float64)
    if onset is not None:
        naive = pl.lit(onset.replace(tzinfo=None), pl.Datetime("us"))
        after = (pl.col("at") - naive).dt.total_microseconds() / 1e6
    return timeline(reader, near).with_columns(after_onset_seconds=after).tail(MOST_EVENTS)
