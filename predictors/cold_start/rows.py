"""Starts and windows of the store as rows to learn from."""

from __future__ import annotations

from datetime import timedelta

import polars as pl

from analysis.cold_start_starts import Start, starts
from predictors.base import AT, CENSORED, OUTCOME
from predictors.cold_start.activity import CLIENT, RATE, WINDOW_SECONDS, with_activity
from predictors.cold_start.history import with_history
from predictors.cold_start.phases import PHASE
from predictors.cold_start.spec import INSTANCE, MODEL
from store.queries import cold_start as queries
from store.queries.scope import IS_COUNTED, Scope
from store.reader import Reader

PLACE = "place"
MOST_PLACES = 500
"""Places that are asked about, those that started last."""
_NO_CACHE_KNOWN = {"warm": 1.0, "cold": 0.0}
_WINDOWS = f"""
SELECT coalesce(l.model, '') AS model, coalesce(l.tenant, '') AS client,
  time_bucket(INTERVAL '{WINDOW_SECONDS} seconds', r.arrived_at) AS at,
  count(*) / {WINDOW_SECONDS}.0 AS rate_per_second
FROM request AS r JOIN request_labels AS l USING (labels_id)
WHERE list_contains($sources, r.source_id) AND r.arrived_at >= $start AND r.arrived_at < $end
  AND {IS_COUNTED}
GROUP BY ALL ORDER BY ALL
"""


def start_rows(reader: Reader, scope: Scope) -> pl.DataFrame:
    """Starts of the scope's range, with their history: what `ColdStart` learns from.

    A model on a node shares its caches, so that is whose history counts. A start that never became
    ready is censored: it would have taken longer than it was watched.
    """
    end = scope.end.replace(tzinfo=None)
    return with_history(frame_of(starts(queries.observations(reader, scope), end)), key=PLACE)


def questions(reader: Reader, scope: Scope) -> pl.DataFrame:
    """What is asked of every place that a start was seen of: if it began at the scope's end.

    Args:
        reader: the store.
        scope: ends now; its range is where starts are looked for.

    Returns:
        A row a place, those that started last first; without outcome.
    """
    now = scope.end.replace(tzinfo=None)
    known = frame_of(starts(queries.observations(reader, scope), now)).filter(pl.col(AT) < now)
    newest = known.group_by(PLACE, maintain_order=True).last().sort(AT, descending=True)
    asked = newest.head(MOST_PLACES).with_columns(
        pl.lit(now).cast(pl.Datetime("us")).alias(AT),
        *(pl.lit(None).alias(name) for name in (OUTCOME, CENSORED, "is_weights_cached")),
    )
    every = pl.concat([known, asked.select(known.columns)], how="vertical_relaxed")
    told = with_history(every, key=PLACE)
    return told.filter(pl.col(AT) == now).drop(OUTCOME)


def frame_of(found: list[Start]) -> pl.DataFrame:
    """One row a start that is over, oldest first."""
    over = [start for start in found if start.outcome != "in progress"]
    watched = [start.ready_at or start.ended_at for start in over]
    return pl.DataFrame(
        {
            AT: [start.began_at for start in over],
            MODEL: [start.model for start in over],
            INSTANCE: [start.instance for start in over],
            PLACE: [start.place for start in over],
            OUTCOME: [
                (end - start.began_at).total_seconds()
                for start, end in zip(over, watched, strict=True)
            ],
            CENSORED: [start.ready_at is None for start in over],
            "is_weights_cached": [_NO_CACHE_KNOWN.get(start.cache_state) for start in over],
        },
        schema={
            AT: pl.Datetime("us"), MODEL: pl.String, INSTANCE: pl.String, PLACE: pl.String,
            OUTCOME: pl.Float64, CENSORED: pl.Boolean, "is_weights_cached": pl.Float64,
        },
    ).sort(AT, maintain_order=True)  # fmt: skip


def phase_rows(found: list[Start]) -> pl.DataFrame:
    """One row a phase and start that became ready: what `PhasedStart` learns from.

    A phase that other starts had and this one did not took it no time: 0 s, not unknown.
    """
    ready = [start for start in found if start.ready_at is not None]
    phases = sorted({segment.phase for start in ready for segment in start.segments})
    known = {"warm": True, "cold": False}
    rows = [
        (phase, sum(segment.seconds for segment in start.segments if segment.phase == phase),
         start.model, start.node or start.instance, known.get(start.cache_state))
        for start in ready for phase in phases
    ]  # fmt: skip
    schema = {PHASE: pl.String, OUTCOME: pl.Float64, MODEL: pl.String, INSTANCE: pl.String,
              "is_cached": pl.Boolean}  # fmt: skip
    return pl.DataFrame(rows, schema=schema, orient="row")


def window_rows(reader: Reader, scope: Scope) -> pl.DataFrame:
    """Windows of the scope's range, by model and tenant: what `Busy` learns from."""
    windows = reader.frame(
        _WINDOWS,
        sources=list(scope.source_ids),
        start=scope.start.replace(tzinfo=None),
        end=scope.end.replace(tzinfo=None),
    )
    if windows.is_empty():
        return pl.DataFrame(schema={AT: pl.Datetime("us"), MODEL: pl.String, OUTCOME: pl.Float64})
    made = with_activity(windows.rename({"rate_per_second": RATE, "client": CLIENT}))
    # The last window may still be going on.
    last = scope.end.replace(tzinfo=None) - timedelta(seconds=WINDOW_SECONDS)
    return made.filter(pl.col(AT) <= last)
