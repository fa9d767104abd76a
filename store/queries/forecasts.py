"""What was said about later times, beside what came true: demand, and the state of instances."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import polars as pl

from store.queries.predictions import BLOCKS, SCORED_LEVELS
from store.queries.scope import IS_COUNTED, Scope
from store.reader import Reader

DEMAND = ("requests_per_second", "tokens_per_second")
PERFORMANCE = "performance_ratio"
# A forecast of demand is about the mean over the ten minutes that end at made_at + horizon.
WINDOW_SECONDS = 600
EVERYBODY = "(all)"
"""Stands for all tenants of a model in the key of a forecast."""
MOST_FORECASTS = 100_000
_MOST_DRAWN = 2_000

_NAME = "array_to_string(list_filter({key}, part -> part <> ''), ' / ')"
_CHOSEN = f"""
  SELECT *, {_NAME.format(key="key")} AS name,
    made_at + to_microseconds((1e6 * horizon_seconds)::BIGINT) AS due_at
  FROM forecast
  WHERE source_id IN (SELECT unnest($sources)) AND list_contains($quantities, quantity)
    AND (len($models) = 0 OR list_has_any($models, key))
    AND (len($tenants) = 0 OR list_has_any($tenants, key))
    AND (len($instances) = 0 OR list_has_any($instances, key))
"""
# Nothing that is due in the range depends on requests of before: known without asking, it spares
# reading all there are.
_SINCE = f"$start - to_seconds({2 * WINDOW_SECONDS})"
# Requests by the minute; a window in which a whole model was silent is an outage or a gap in the
# record, as in training, and no outcome. The window that is still running has none either.
_SAID = f"""
WITH said AS (
  {_CHOSEN} AND made_at < $end
    AND made_at + to_microseconds((1e6 * horizon_seconds)::BIGINT) >= $start
  ORDER BY made_at DESC LIMIT {MOST_FORECASTS}),
minute AS (
  SELECT coalesce(l.model, '') AS model, coalesce(l.tenant, '') AS tenant,
    time_bucket(INTERVAL 1 MINUTE, r.arrived_at) AS minute, count(*) AS requests,
    CASE WHEN count(coalesce(r.input_tokens, r.output_tokens)) > 0 THEN
      coalesce(sum(r.input_tokens), 0) + coalesce(sum(r.output_tokens), 0) END AS tokens
  FROM request AS r JOIN request_labels AS l USING (labels_id)
  WHERE r.source_id IN (SELECT unnest($sources)) AND r.arrived_at < $end AND {IS_COUNTED}
    AND r.arrived_at >= {_SINCE}
  GROUP BY 1, 2, 3),
wanted AS (
  SELECT DISTINCT coalesce(key[1], '') AS model, coalesce(key[2], '{EVERYBODY}') AS tenant,
    time_bucket(INTERVAL 1 MINUTE, due_at) AS until_at
  FROM said
  WHERE due_at <= (
    SELECT max(arrived_at) FROM request
    WHERE source_id IN (SELECT unnest($sources)) AND arrived_at >= {_SINCE})),
seen AS (
  SELECT w.model, w.tenant, w.until_at, sum(m.requests) AS any_requests,
    sum(m.requests) FILTER (m.tenant = w.tenant OR w.tenant = '{EVERYBODY}') AS requests,
    sum(m.tokens) FILTER (m.tenant = w.tenant OR w.tenant = '{EVERYBODY}') AS tokens
  FROM wanted AS w JOIN minute AS m
    ON m.model = w.model AND m.minute < w.until_at
    AND m.minute >= w.until_at - to_seconds({WINDOW_SECONDS})
  GROUP BY 1, 2, 3),
told AS (
  SELECT f.*, CASE f.quantity
      WHEN 'requests_per_second' THEN coalesce(s.requests, 0) / {WINDOW_SECONDS}.0
      WHEN 'tokens_per_second' THEN
        CASE WHEN s.requests IS NULL THEN 0 ELSE s.tokens / {WINDOW_SECONDS}.0 END
    END AS real_value, s.any_requests IS NOT NULL AS is_known
  FROM said AS f LEFT JOIN seen AS s
    ON s.model = coalesce(f.key[1], '') AND s.tenant = coalesce(f.key[2], '{EVERYBODY}')
    AND s.until_at = time_bucket(INTERVAL 1 MINUTE, f.due_at)),
known AS (
  SELECT * EXCLUDE (real_value), CASE WHEN is_known THEN real_value END AS outcome FROM told)
"""
_LOSS = "greatest(level * (outcome - {q}), (level - 1) * (outcome - {q}))"


def _at(level: float, column: str = "predicted") -> str:
    return f"{column}[list_position(levels, {level})]"


_JUDGED = f"""{_SAID},
loss AS (
  SELECT quantity, name, horizon_seconds, sum({_LOSS.format(q="ours")}) AS loss,
    sum({_LOSS.format(q="naive")}) AS rival_loss
  FROM (SELECT quantity, name, horizon_seconds, outcome, unnest(levels) AS level,
          unnest(predicted) AS ours, unnest(rival) AS naive
        FROM known WHERE outcome IS NOT NULL)
  WHERE level IN {SCORED_LEVELS} GROUP BY 1, 2, 3)
SELECT k.quantity, k.name AS key, k.horizon_seconds, count(*) AS forecasts,
  count(outcome) AS outcomes, any_value(l.loss) AS loss, any_value(l.rival_loss) AS rival_loss,
  count(*) FILTER (outcome BETWEEN {_at(0.25)} AND {_at(0.75)}) AS inside_50,
  count(*) FILTER (outcome BETWEEN {_at(0.05)} AND {_at(0.95)}) AS inside_90,
  sum(abs(outcome - {_at(0.5)})) AS absolute_error,
  sum(abs(outcome - {_at(0.5, "rival")})) AS rival_absolute_error, sum(outcome) AS outcome_sum,
  count(*) FILTER (was_fallback) AS fallbacks, max(made_at) AS last_made_at
FROM known AS k LEFT JOIN loss AS l USING (quantity, name, horizon_seconds)
GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
"""
_BLOCKS = f"""{_SAID},
run AS (
  SELECT *, ntile({BLOCKS}) OVER (PARTITION BY quantity ORDER BY due_at, name) AS block
  FROM known WHERE outcome IS NOT NULL),
each AS (
  SELECT quantity, name, horizon_seconds, block, outcome, unnest(levels) AS level,
    unnest(predicted) AS ours, unnest(rival) AS naive
  FROM run)
SELECT quantity, name AS key, horizon_seconds, block, sum({_LOSS.format(q="ours")}) AS loss,
  sum({_LOSS.format(q="naive")}) AS rival_loss
FROM each WHERE level IN {SCORED_LEVELS} GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4
"""
_BANDS = f"""
  k.due_at AS at, k.made_at, k.horizon_seconds, {_at(0.05)} AS q05, {_at(0.25)} AS q25,
  {_at(0.5)} AS median, {_at(0.75)} AS q75, {_at(0.95)} AS q95, {_at(0.5, "rival")} AS rival_median,
  was_fallback
"""
_COURSE = f"""{_SAID}
SELECT {_BANDS}, outcome FROM known AS k
WHERE k.name = $key AND k.horizon_seconds = $horizon
ORDER BY k.due_at DESC LIMIT {_MOST_DRAWN}
"""
_NEWEST = f"""
WITH k AS ({_CHOSEN} AND made_at < $end)
SELECT {_BANDS} FROM k
WHERE name = $key QUALIFY made_at = max(made_at) OVER () ORDER BY due_at
"""
_EVER = """
SELECT count(*) AS rows, max(made_at) AS last_at FROM forecast
WHERE source_id IN (SELECT unnest($sources)) AND list_contains($quantities, quantity)
"""
_STATES = f"""
WITH k AS ({_CHOSEN} AND made_at >= $start AND made_at < $end),
newest AS (
  SELECT * FROM k QUALIFY row_number() OVER (
    PARTITION BY name, horizon_seconds ORDER BY made_at DESC) = 1),
ahead AS (
  SELECT name, arg_min({_at(0.5)}, horizon_seconds) AS ahead_ratio,
    min(horizon_seconds) AS ahead_seconds
  FROM newest WHERE horizon_seconds > 0 GROUP BY 1)
SELECT key[-1] AS instance, nullif(name, key[-1]) AS name, made_at, horizon_seconds,
  {_at(0.05)} AS q05_ratio,
  {_at(0.25)} AS q25_ratio, {_at(0.5)} AS performance_ratio, {_at(0.75)} AS q75_ratio,
  {_at(0.95)} AS q95_ratio, {_at(0.5, "rival")} AS rival_ratio, a.ahead_ratio, a.ahead_seconds,
  was_fallback, calibration, features_age_seconds, model_id
FROM newest LEFT JOIN ahead AS a USING (name)
QUALIFY row_number() OVER (PARTITION BY name ORDER BY horizon_seconds) = 1
ORDER BY performance_ratio, instance
"""
_STATE_COURSE = f"""
WITH k AS (
  {_CHOSEN} AND made_at >= $start AND made_at < $end
  QUALIFY horizon_seconds = min(horizon_seconds) OVER (PARTITION BY key))
SELECT time_bucket(to_seconds($bin_seconds), made_at) AS at, key[-1] AS instance,
  median({_at(0.5)}) AS performance_ratio, min({_at(0.05)}) AS low_ratio,
  max({_at(0.95)}) AS high_ratio, count(*) AS forecasts
FROM k GROUP BY 1, 2 ORDER BY 2, 1
"""


def judged(reader: Reader, scope: Scope) -> pl.DataFrame:
    """Demand forecasts of the range, added up by quantity, key and horizon.

    Columns: quantity, key, horizon_seconds, forecasts, outcomes, loss and rival_loss (pinball
    losses, added up over rows and `SCORED_LEVELS`), inside_50 and inside_90 (outcomes inside those
    intervals), absolute_error, rival_absolute_error and outcome_sum (added up), fallbacks,
    last_made_at.
    """
    return reader.frame(_JUDGED, **_params(scope, DEMAND))


def judged_blocks(reader: Reader, scope: Scope) -> pl.DataFrame:
    """Losses summed over runs of neighbours in time, of which an interval is made.

    Columns: quantity, key, horizon_seconds, block (from 1), loss, rival_loss.
    """
    return reader.frame(_BLOCKS, **_params(scope, DEMAND))


def course(
    reader: Reader, scope: Scope, quantity: str, key: str, horizon_seconds: float
) -> pl.DataFrame:
    """Forecasts of one quantity, key and horizon over the time they are about.

    Columns: at (when the window ends), made_at, horizon_seconds, q05, q25, median, q75, q95,
    rival_median, was_fallback, outcome (null: not yet, or nothing was recorded).
    """
    frame = reader.frame(_COURSE, key=key, horizon=horizon_seconds, **_params(scope, (quantity,)))
    return frame.sort("at")


def newest(reader: Reader, scope: Scope, quantity: str, key: str) -> pl.DataFrame:
    """What was said last about a key, at every horizon; columns as of `course`, no outcome."""
    params = _params(scope, (quantity,))
    del params["start"]
    return reader.frame(_NEWEST, key=key, **params)


def ever(reader: Reader, scope: Scope, quantities: Sequence[str]) -> tuple[int, datetime | None]:
    """How many forecasts of these quantities there are at all, and when the newest was made."""
    rows, last_at = reader.frame(
        _EVER, sources=list(scope.source_ids), quantities=list(quantities)
    ).row(0)
    return int(rows), last_at


def states(reader: Reader, scope: Scope) -> pl.DataFrame:
    """The newest word on each instance's performance, the slowest first.

    Columns: instance, name (with what runs there), made_at, horizon_seconds (0: now), q05_ratio,
    q25_ratio, performance_ratio, q75_ratio, q95_ratio, rival_ratio, ahead_ratio over the next
    ahead_seconds (null: nothing was said), was_fallback, calibration, features_age_seconds,
    model_id.
    """
    return reader.frame(_STATES, **_params(scope, (PERFORMANCE,)))


def state_course(reader: Reader, scope: Scope, bin_seconds: int) -> pl.DataFrame:
    """at, instance, performance_ratio (median of the bin), low_ratio, high_ratio, forecasts."""
    return reader.frame(_STATE_COURSE, bin_seconds=bin_seconds, **_params(scope, (PERFORMANCE,)))


def _params(scope: Scope, quantities: Sequence[str]) -> dict[str, Any]:
    return {
        "sources": list(scope.source_ids),
        "quantities": list(quantities),
        "start": scope.start.replace(tzinfo=None),
        "end": scope.end.replace(tzinfo=None),
        "models": list(scope.models),
        "tenants": list(scope.tenants),
        "instances": list(scope.instances),
    }
