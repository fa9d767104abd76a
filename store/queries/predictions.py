"""What was predicted, beside what came true."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl

from store.queries.scope import Scope
from store.reader import Reader

# About so many predictions are looked at; more would take longer than a page may.
MOST_PREDICTIONS = 60_000
SCORED_LEVELS = (0.1, 0.25, 0.5, 0.75, 0.9)
"""Levels a loss is averaged over, the same as in back-tests."""

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
# Keys are hashes, so that one in n of them is spread evenly over time and labels.
SAID = f"""
WITH taken AS (
  SELECT * FROM prediction
  WHERE source_id IN (SELECT unnest($sources)) AND arrived_at >= $start AND arrived_at < $end
    AND request_key % $one_in::UBIGINT = 0),
asked AS (
  SELECT source_id, arrived_at, request_key, status, output_tokens, ttft_seconds, tpot_seconds,
    e2e_seconds, model, tenant, route, instance, finish_reason
  FROM request JOIN request_labels USING (labels_id)
  WHERE source_id IN (SELECT unnest($sources)) AND arrived_at >= $start AND arrived_at < $end),
said AS (
  SELECT p.*, {_OUTCOME} AS outcome,
    p.quantity = 'output_tokens' AND coalesce(r.finish_reason, '') = 'length' AS is_cut
  FROM taken AS p
  LEFT JOIN asked AS r USING (source_id, arrived_at, request_key)
  WHERE (len($models) = 0 OR list_contains($models, r.model) OR list_has_any($models, p.key))
    AND (len($tenants) = 0 OR list_contains($tenants, r.tenant))
    AND (len($routes) = 0 OR list_contains($routes, r.route))
    AND (len($instances) = 0 OR list_contains($instances, r.instance))),
judged AS (SELECT * FROM said WHERE outcome IS NOT NULL AND NOT is_cut),
by_level AS (
  SELECT quantity, arrived_at, key, outcome,
    unnest(levels) AS level, unnest(predicted) AS ours, unnest(rival) AS naive
  FROM judged)
"""
_LOSS = "greatest(level * (outcome - {q}), (level - 1) * (outcome - {q}))"
_SUMMARY = f"""{SAID},
loss AS (
  SELECT quantity, avg({_LOSS.format(q="ours")}) AS pinball,
    avg({_LOSS.format(q="naive")}) AS rival_pinball
  FROM by_level WHERE level IN {SCORED_LEVELS} GROUP BY 1),
mid AS (
  SELECT quantity, avg(abs(outcome - ours)) AS mae, corr(mid_rank, real_rank) AS rank_correlation
  FROM (SELECT quantity, outcome, ours,
          rank() OVER (PARTITION BY quantity ORDER BY ours) AS mid_rank,
          rank() OVER (PARTITION BY quantity ORDER BY outcome) AS real_rank
        FROM by_level WHERE level = 0.5)
  GROUP BY 1)
SELECT s.quantity, count(*) AS predictions,
  count(*) FILTER (outcome IS NOT NULL AND NOT is_cut) AS outcomes,
  count(*) FILTER (is_cut) AS cut, any_value(l.pinball) AS pinball,
  any_value(l.rival_pinball) AS rival_pinball, any_value(m.mae) AS mae,
  any_value(m.rank_correlation) AS rank_correlation,
  avg(was_fallback::INT) AS fallback_ratio,
  avg((calibration = 'calibrated')::INT) AS calibrated_ratio,
  avg(was_before::INT) AS before_ratio,
  max(s.arrived_at) AS last_at, arg_max(model_id, s.predicted_at) AS model_id
FROM said AS s LEFT JOIN loss AS l USING (quantity) LEFT JOIN mid AS m USING (quantity)
GROUP BY 1 ORDER BY 1
"""
_CALIBRATION = f"""{SAID}
SELECT quantity, level, avg((outcome <= ours)::INT) AS coverage_ratio,
  avg((outcome <= naive)::INT) AS rival_coverage_ratio, count(*) AS outcomes
FROM by_level GROUP BY 1, 2 ORDER BY 1, 2
"""
_OVER_TIME = f"""{SAID}
SELECT quantity, time_bucket(to_seconds($bin_seconds), arrived_at) AS at,
  avg({_LOSS.format(q="ours")}) AS pinball, avg({_LOSS.format(q="naive")}) AS rival_pinball,
  avg((outcome <= ours)::INT) FILTER (level = 0.9) AS coverage_q90_ratio,
  count(*) // {len(SCORED_LEVELS)} AS outcomes
FROM by_level WHERE level IN {SCORED_LEVELS} GROUP BY 1, 2 ORDER BY 1, 2
"""
_BY_KEY = f"""{SAID}
SELECT quantity, array_to_string(list_filter(key, part -> part <> ''), ' / ') AS key,
  count(*) // {len(SCORED_LEVELS)} AS outcomes,
  avg({_LOSS.format(q="ours")}) AS pinball, avg({_LOSS.format(q="naive")}) AS rival_pinball,
  avg((outcome <= ours)::INT) FILTER (level = 0.9) AS coverage_q90_ratio
FROM by_level WHERE level IN {SCORED_LEVELS} GROUP BY 1, 2 ORDER BY outcomes DESC, 1, 2 LIMIT 100
"""
_MISSES = f"""{SAID}
SELECT quantity, source_id || ':' || epoch_us(arrived_at) || ':' || request_key AS request,
  arrived_at,
  array_to_string(list_filter(key, part -> part <> ''), ' / ') AS key,
  predicted[list_position(levels, 0.5)] AS predicted_median,
  predicted[list_position(levels, 0.9)] AS predicted_q90, outcome,
  abs(ln((outcome + 1e-9) / (predicted[list_position(levels, 0.5)] + 1e-9))) AS off
FROM judged
QUALIFY row_number() OVER (PARTITION BY quantity ORDER BY off DESC, arrived_at) <= 10
ORDER BY quantity, off DESC
"""
# Squares of half an octave: enough to see a slope, few enough to send.
_PAIRS = f"""{SAID}
SELECT quantity, round(2 * log2(greatest(ours, 1e-6)))::INT AS predicted_half_octave,
  round(2 * log2(greatest(outcome, 1e-6)))::INT AS real_half_octave, count(*) AS requests
FROM by_level WHERE level = 0.5 GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
"""
# Neighbours in time are no independent evidence: they stay together when an interval is drawn.
BLOCKS = 30
_BLOCKS = f"""{SAID},
run AS (
  SELECT *, ntile({BLOCKS}) OVER (PARTITION BY quantity ORDER BY arrived_at, request_key) AS block
  FROM judged),
each AS (
  SELECT quantity, block, outcome, unnest(levels) AS level, unnest(predicted) AS ours,
    unnest(rival) AS naive
  FROM run)
SELECT quantity, block, sum({_LOSS.format(q="ours")}) AS loss,
  sum({_LOSS.format(q="naive")}) AS rival_loss
FROM each WHERE level IN {SCORED_LEVELS} GROUP BY 1, 2 ORDER BY 1, 2
"""
_KEY_BLOCKS = f"""{SAID},
run AS (
  SELECT *, array_to_string(list_filter(key, part -> part <> ''), ' / ') AS name,
    ntile({BLOCKS}) OVER (PARTITION BY quantity, key ORDER BY arrived_at, request_key) AS block
  FROM judged),
each AS (
  SELECT quantity, name, block, outcome, unnest(levels) AS level, unnest(predicted) AS ours,
    unnest(rival) AS naive
  FROM run)
SELECT quantity, name AS key, block, sum({_LOSS.format(q="ours")}) AS loss,
  sum({_LOSS.format(q="naive")}) AS rival_loss
FROM each WHERE level IN {SCORED_LEVELS} GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
"""
_ONE_IN = f"""
SELECT ceil(count(*) / {MOST_PREDICTIONS})::BIGINT AS one_in FROM prediction
WHERE source_id IN (SELECT unnest($sources)) AND arrived_at >= $start AND arrived_at < $end
"""
_EVER = """
SELECT count(*) AS rows, max(arrived_at) AS last_at,
  coalesce(bool_or(arrived_at >= $start AND arrived_at < $end), FALSE) AS is_in_range
FROM prediction WHERE source_id IN (SELECT unnest($sources))
"""
_DRIFT = """
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
TEXTS = {
    "quantities": _SUMMARY,
    "calibration": _CALIBRATION,
    "over_time": _OVER_TIME,
    "keys": _BY_KEY,
    "misses": _MISSES,
    "pairs": _PAIRS,
    "drift": _DRIFT,
}
"""The query behind each frame of the view, for those who want to look."""


def one_in(reader: Reader, scope: Scope) -> int:
    """Of how many requests one is looked at, so that no more than a page can count are.

    0: nothing was predicted in the range, whatever the labels.
    """
    params = _params(scope, 1)
    return int(reader.scalar(_ONE_IN, **{k: params[k] for k in ("sources", "start", "end")}))


def summary(reader: Reader, scope: Scope, one_in: int = 1) -> pl.DataFrame:
    """One row a quantity.

    Columns: quantity, predictions, outcomes, cut, pinball, rival_pinball, mae, rank_correlation
    (Spearman), fallback_ratio, calibrated_ratio, before_ratio, last_at, model_id.
    """
    return reader.frame(_SUMMARY, **_params(scope, one_in))


def calibration(reader: Reader, scope: Scope, one_in: int = 1) -> pl.DataFrame:
    """quantity, level, coverage_ratio, rival_coverage_ratio, outcomes."""
    return reader.frame(_CALIBRATION, **_params(scope, one_in))


def over_time(reader: Reader, scope: Scope, bin_seconds: int, one_in: int = 1) -> pl.DataFrame:
    """quantity, at, pinball, rival_pinball, coverage_q90_ratio, outcomes."""
    return reader.frame(_OVER_TIME, bin_seconds=bin_seconds, **_params(scope, one_in))


def by_key(reader: Reader, scope: Scope, one_in: int = 1) -> pl.DataFrame:
    """quantity, key, outcomes, pinball, rival_pinball, coverage_q90_ratio; the hundred largest."""
    return reader.frame(_BY_KEY, **_params(scope, one_in))


def misses(reader: Reader, scope: Scope, one_in: int = 1) -> pl.DataFrame:
    """The ten of each quantity that were furthest off as a ratio.

    Columns: quantity, request (its identity, as the request pages take it), arrived_at, key,
    predicted_median, predicted_q90, outcome, off (|ln ratio|).
    """
    return reader.frame(_MISSES, **_params(scope, one_in))


def pairs(reader: Reader, scope: Scope, one_in: int = 1) -> pl.DataFrame:
    """quantity, predicted_half_octave, real_half_octave (2 log2 of the value), requests."""
    return reader.frame(_PAIRS, **_params(scope, one_in))


def blocks(reader: Reader, scope: Scope, one_in: int = 1) -> pl.DataFrame:
    """Losses summed over runs of neighbours: quantity, block (from 1), loss, rival_loss."""
    return reader.frame(_BLOCKS, **_params(scope, one_in))


def key_blocks(reader: Reader, scope: Scope, one_in: int = 1) -> pl.DataFrame:
    """The same for each key: quantity, key, block, loss, rival_loss."""
    return reader.frame(_KEY_BLOCKS, **_params(scope, one_in))


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
    return reader.frame(_DRIFT, start=start, end=end)


def left_out(reader: Reader, scope: Scope) -> int:
    """Live requests that the ledger learnt from in this range without predicting them."""
    start, end = scope.start.replace(tzinfo=None), scope.end.replace(tzinfo=None)
    return int(reader.scalar(_LEFT_OUT, start=start, end=end))


def scores(reader: Reader) -> pl.DataFrame:
    """Scores of all models on rows they never saw.

    Columns: predictor, model_id, evaluated_at, split, metric, value, baseline_value, n.
    """
    return reader.frame(_SCORES)


def _params(scope: Scope, one_in: int) -> dict[str, Any]:
    return {
        "sources": list(scope.source_ids),
        "start": scope.start.replace(tzinfo=None),
        "end": scope.end.replace(tzinfo=None),
        "one_in": one_in,
        "models": list(scope.models),
        "tenants": list(scope.tenants),
        "routes": list(scope.routes),
        "instances": list(scope.instances),
    }
