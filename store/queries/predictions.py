"""What was predicted, beside what came true."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl

from store.append_predictions import TIERS, tier_table
from store.queries.rollup_sql import ids_sql
from store.queries.scope import Scope
from store.reader import Reader

# At most about so many predictions are looked at; more would take longer than a page may.
MOST_PREDICTIONS = 60_000
_COUNTED_IN, _SURE_FROM = 64, 1000
SCORED_LEVELS = (0.1, 0.25, 0.5, 0.75, 0.9)
"""Levels a loss is averaged over, the same as in back-tests."""
BLOCKS = 30
"""Neighbours in time are no independent evidence: they stay together when an interval is drawn."""

# A request that failed has no length and no times; one cut at its limit has a lower bound only.
_OUTCOME = """
CASE WHEN r.status = 'ok' THEN
  CASE p.quantity
    WHEN 'output_tokens' THEN r.output_tokens::DOUBLE
    WHEN 'ttft_seconds' THEN r.ttft_seconds
    WHEN 'tpot_seconds' THEN r.tpot_seconds
    WHEN 'e2e_seconds' THEN r.e2e_seconds
  END
END"""
# The rows of `request` are chosen before they are joined: that takes a third of the time.
# Parts of a key are told apart by a character that no name has.
SEPARATOR = "\x1f"
_CHOSEN = """source_id IN ({sources}) AND arrived_at >= $start AND arrived_at < $end
    AND request_key % {one_in}::UBIGINT = 0"""
SAID = f"""
WITH taken AS (SELECT * FROM {{table}} WHERE {_CHOSEN}),
asked AS MATERIALIZED (
  SELECT source_id, arrived_at, request_key, status, output_tokens, ttft_seconds, tpot_seconds,
    e2e_seconds, labels_id
  FROM request WHERE {_CHOSEN})
SELECT p.quantity, p.source_id, p.arrived_at, p.request_key,
  array_to_string(p.key, chr({ord(SEPARATOR)})) AS key, p.levels, p.predicted, p.rival,
  p.model_id, p.predicted_at, p.was_fallback, p.was_before,
  p.calibration = 'calibrated' AS is_calibrated, {_OUTCOME} AS outcome,
  p.quantity = 'output_tokens' AND coalesce(l.finish_reason, '') = 'length' AS is_cut
FROM taken AS p
LEFT JOIN asked AS r USING (source_id, arrived_at, request_key)
LEFT JOIN request_labels AS l ON l.labels_id = r.labels_id
WHERE {{labels}}
"""
_OF_LABELS = """
  (len($models) = 0 OR list_contains($models, l.model) OR list_has_any($models, p.key))
  AND (len($tenants) = 0 OR list_contains($tenants, l.tenant))
  AND (len($routes) = 0 OR list_contains($routes, l.route))
  AND (len($instances) = 0 OR list_contains($instances, l.instance))"""
_SIZE = """
SELECT count(*) FROM {table}
WHERE source_id IN ({sources}) AND arrived_at >= $start AND arrived_at < $end
"""
_EVER = """
SELECT count(*) AS rows, max(arrived_at) AS last_at,
  coalesce(bool_or(arrived_at >= $start AND arrived_at < $end), FALSE) AS is_in_range
FROM prediction WHERE source_id IN (SELECT unnest($sources))
"""
DRIFT = """
SELECT started_at, subject, text,
  coalesce(details ->> '$.quantity', regexp_extract(text, '^[a-z0-9_]+')) AS quantity
FROM event
WHERE kind = 'predictor_drift' AND started_at >= $start AND started_at < $end
ORDER BY started_at DESC LIMIT 50
"""
_SCORES = """
SELECT m.predictor, e.model_id, e.evaluated_at, e.split, e.metric, e.value, e.baseline_value, e.n
FROM evaluation AS e JOIN model AS m USING (model_id) ORDER BY 1, 3 DESC, 2, 4, 5
"""
# The ledger tells it run by run, without labels.
_LEFT_OUT = """
SELECT coalesce(sum((details ->> '$.left_out')::BIGINT), 0)::BIGINT AS left_out FROM job_run
WHERE job = 'predictions' AND outcome = 'done' AND started_at >= $start AND started_at < $end
"""


def one_in(reader: Reader, scope: Scope) -> int:
    """Of how many requests one is looked at, so that no more than a page can count are.

    1 or one of `store.append_predictions.TIERS`; 0: nothing was predicted in the range, whatever
    the labels. Large numbers are told from one of the tiers: they are the quicker to count.
    """
    found = _COUNTED_IN * _size(reader, scope, _COUNTED_IN)
    if found < _COUNTED_IN * _SURE_FROM:
        found = _size(reader, scope, 1)
    enough = (tier for tier in (1, *TIERS) if found <= tier * MOST_PREDICTIONS)
    return next(enough, TIERS[-1]) if found else 0


def _size(reader: Reader, scope: Scope, one_in: int) -> int:
    sql = _SIZE.format(table=tier_table(one_in), sources=ids_sql(scope))
    start, end = scope.start.replace(tzinfo=None), scope.end.replace(tzinfo=None)
    return int(reader.scalar(sql, start=start, end=end))


def said_sql(scope: Scope, one_in: int = 1) -> str:
    """The query of `said`."""
    labelled = scope.models or scope.tenants or scope.routes or scope.instances
    return SAID.format(
        table=tier_table(one_in),
        sources=ids_sql(scope),
        one_in=one_in,
        labels=_OF_LABELS if labelled else "TRUE",
    )


def said(reader: Reader, scope: Scope, one_in: int = 1) -> pl.DataFrame:
    """What was said about one request in `one_in`, beside what came true.

    Columns: quantity, source_id, arrived_at, request_key, key (words), levels, predicted, rival
    (lists), model_id, predicted_at, was_fallback, was_before, is_calibrated, outcome (null: not
    yet, or never), is_cut (the outcome is a lower bound only).
    """
    params: dict[str, Any] = {
        "start": scope.start.replace(tzinfo=None),
        "end": scope.end.replace(tzinfo=None),
    }
    if scope.models or scope.tenants or scope.routes or scope.instances:
        labels = ("models", "tenants", "routes", "instances")
        params |= {name: list(getattr(scope, name)) for name in labels}
    found = reader.frame(said_sql(scope, one_in), **params)
    return found.with_columns(key_names(found["key"]))


def key_names(keys: pl.Series) -> pl.Series:
    """Keys as they are read: what is empty left out.

    Args:
        keys: their parts, `SEPARATOR` between them.
    """
    known: Sequence[str] = keys.unique().to_list()
    words = [" / ".join(part for part in key.split(SEPARATOR) if part) for key in known]
    return keys.replace_strict(known, words, return_dtype=pl.String).alias("key")


@dataclass(frozen=True, slots=True)
class Ever:
    """What these sources were ever told.

    Attributes:
        rows: predictions of any time.
        last_at: newest arrival they are about (naive UTC); None without any.
        is_in_range: whether any of them lies in the range, whatever its labels.
    """

    rows: int
    last_at: datetime | None
    is_in_range: bool


def ever(reader: Reader, scope: Scope) -> Ever:
    """How many predictions these sources have at all, and where the newest lies."""
    start, end = scope.start.replace(tzinfo=None), scope.end.replace(tzinfo=None)
    frame = reader.frame(_EVER, sources=list(scope.source_ids), start=start, end=end)
    return Ever(**frame.row(0, named=True))


def drift(reader: Reader, scope: Scope) -> pl.DataFrame:
    """started_at, subject, text, quantity (the first word of the text) of drift events."""
    start, end = scope.start.replace(tzinfo=None), scope.end.replace(tzinfo=None)
    return reader.frame(DRIFT, start=start, end=end)


def left_out(reader: Reader, scope: Scope) -> int:
    """Live requests that the ledger learnt from in this range without predicting them."""
    start, end = scope.start.replace(tzinfo=None), scope.end.replace(tzinfo=None)
    return int(reader.scalar(_LEFT_OUT, start=start, end=end))


def scores(reader: Reader) -> pl.DataFrame:
    """Scores of all models on rows they never saw.

    Columns: predictor, model_id, evaluated_at, split, metric, value, baseline_value, n.
    """
    return reader.frame(_SCORES)
