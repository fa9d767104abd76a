"""Rows of requests: labels, sizes, session, prefix reuse, load of the instance, newest gauges."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import polars as pl

from predictors.base import AT, CENSORED, OUTCOME
from predictors.rows.load import with_load
from predictors.rows.scrapes import with_gauges
from store.queries import predictor_rows as queries
from store.queries.scope import LIVE_SOURCE_ID, Scope
from store.reader import Reader

BEFORE = timedelta(minutes=15)
"""Requests this long before a range count as load and as history of its first ones."""
QUANTITIES = ("output_tokens", "ttft_seconds", "tpot_seconds", "e2e_seconds")
CUT = "length"
_SESSION = ("source_id", "session_key")
_NOBODY = (None, None)


def asked(reader: Reader, scope: Scope) -> pl.DataFrame:
    """Requests of a scope, oldest first, as they were asked, with all that became of them.

    Columns: those of `store.queries.predictor_rows.requests`, and `prefix_blocks`,
    `prefix_seen_blocks`, `session_turn`, `session_last_output_tokens` (of the turn before, where it
    had ended), the load of the instance (`predictors.rows.load`) and its newest gauges
    (`predictors.rows.scrapes`).
    """
    wide = replace(
        scope, start=scope.start - BEFORE, models=(), tenants=(), routes=(), instances=()
    )
    rows = queries.requests(reader, wide)
    rows = rows.join(
        queries.prefixes(reader, wide), on=["source_id", "request_key", AT], how="left"
    )
    start, end = (at.replace(tzinfo=None) for at in (scope.start, scope.end))
    is_live = LIVE_SOURCE_ID in scope.source_ids
    told = (queries.scrapes(reader, start, end), queries.targets(reader)) if is_live else _NOBODY
    # Gauges first: the pace that the engine tells says how far running requests are.
    rows = with_load(with_gauges(_with_session(rows), *told))
    return in_scope(rows.filter(pl.col(AT) >= start), scope)


def with_outcome(rows: pl.DataFrame, quantity: str) -> pl.DataFrame:
    """`rows` with `outcome` and `is_censored` of one quantity.

    An answer that was cut at its limit is at least that long. What failed has no outcome, except
    that its time to the first token and to the end was at least what it took until then.

    Args:
        rows: as `asked` gives them.
        quantity: one of `QUANTITIES`.
    """
    outcome = pl.when(pl.col("is_ok")).then(pl.col(quantity).cast(pl.Float64))
    if quantity == "output_tokens":
        is_cut = (pl.col("finish_reason") == CUT).fill_null(value=False) & pl.col("is_ok")
        return rows.with_columns(outcome.alias(OUTCOME), is_cut.alias(CENSORED))
    if quantity == "tpot_seconds":
        return rows.with_columns(outcome.alias(OUTCOME), pl.lit(value=False).alias(CENSORED))
    gone = ~pl.col("is_ok") & pl.col("e2e_seconds").is_not_null()
    waited = pl.when(gone).then(pl.col("e2e_seconds")).otherwise(outcome)
    return rows.with_columns(waited.alias(OUTCOME), gone.alias(CENSORED))


def output_tokens(reader: Reader, scope: Scope) -> pl.DataFrame:
    """Rows to learn response lengths from."""
    return with_outcome(asked(reader, scope), "output_tokens")


def ttft_seconds(reader: Reader, scope: Scope) -> pl.DataFrame:
    """Rows to learn times to the first token from."""
    return with_outcome(asked(reader, scope), "ttft_seconds")


def tpot_seconds(reader: Reader, scope: Scope) -> pl.DataFrame:
    """Rows to learn times per output token from."""
    return with_outcome(asked(reader, scope), "tpot_seconds")


def e2e_seconds(reader: Reader, scope: Scope) -> pl.DataFrame:
    """Rows to learn end-to-end times from."""
    return with_outcome(asked(reader, scope), "e2e_seconds")


def _with_session(rows: pl.DataFrame) -> pl.DataFrame:
    known = pl.col("session_key").is_not_null()
    before = pl.col("output_tokens").shift(1).over(_SESSION)
    had_ended = pl.col("finished_at").shift(1).over(_SESSION) <= pl.col(AT)
    turn = pl.int_range(pl.len()).over(_SESSION).cast(pl.Float64)
    return rows.with_columns(
        session_turn=pl.when(known).then(turn),
        session_last_output_tokens=pl.when(known & had_ended).then(before.cast(pl.Float64)),
    )


def in_scope(rows: pl.DataFrame, scope: Scope) -> pl.DataFrame:
    """The rows with the labels that a scope names."""
    wanted = {
        "model": scope.models,
        "tenant": scope.tenants,
        "route": scope.routes,
        "instance": scope.instances,
    }
    chosen = [pl.col(name).is_in(list(values)) for name, values in wanted.items() if values]
    return rows.filter(*chosen) if chosen else rows
