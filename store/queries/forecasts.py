"""What was said about later times, beside what came true: demand, and the state of instances."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from store.queries.predictions import SCORED_LEVELS, SEPARATOR, key_names
from store.queries.rollup_sql import ids_sql
from store.queries.scope import IS_COUNTED, Scope
from store.reader import Reader

DEMAND = ("requests_per_second", "tokens_per_second")
PERFORMANCE = "performance_ratio"
# A forecast of demand is about the mean over the ten minutes that end at made_at + horizon.
WINDOW_SECONDS = 600
EVERYBODY = "(all)"
"""Stands for all tenants of a model in the key of a forecast."""
MOST_FORECASTS = 100_000
"""The newest that are judged at once."""
MOST_DRAWN = 1_000
_BEFORE = timedelta(seconds=2 * WINDOW_SECONDS)

_NAME = "array_to_string(list_filter({key}, part -> part <> ''), ' / ')"
_DUE = "made_at + to_microseconds((1e6 * horizon_seconds)::BIGINT)"
_CHOSEN = """source_id IN ({sources}) AND quantity IN ({quantities})
    AND made_at >= $since AND made_at < $end {labels}"""
# What was made in the range is due after its start: only of the others has that to be worked out.
_IS_DUE = f"(made_at >= $start OR {_DUE} >= $start)"
_RUNS = f"""
SELECT made_at, count(*) AS forecasts FROM forecast
WHERE {_CHOSEN} AND {_IS_DUE} GROUP BY 1 ORDER BY 1 DESC
"""


def _at(level: float, column: str = "predicted") -> str:
    return f"{column}[list_position(levels, {level})]"


_SCORED = ", ".join(
    f"{_at(level, column)} AS {name}_{round(100 * level)}"
    for column, name in (("predicted", "ours"), ("rival", "naive"))
    for level in SCORED_LEVELS
)
# Requests by the minute; a window in which a whole model was silent is an outage or a gap in the
# record, as in training, and no outcome. The window that is still running has none either. Of a
# window every minute is looked up: a range of minutes would be compared with all there are.
SAID = f"""
WITH said AS (
  SELECT quantity, coalesce(key[1], '') AS model, coalesce(key[2], '{EVERYBODY}') AS tenant,
    array_to_string(key, '{SEPARATOR}') AS key, horizon_seconds, made_at, {_DUE} AS due_at,
    was_fallback, {_at(0.05)} AS ours_5, {_at(0.95)} AS ours_95, {_SCORED}
  FROM forecast WHERE {_CHOSEN} AND {_IS_DUE} {{only}}),
counted AS (
  SELECT r.labels_id, time_bucket(INTERVAL 1 MINUTE, r.arrived_at) AS minute,
    count(*) AS requests, count(coalesce(r.input_tokens, r.output_tokens)) AS sized,
    coalesce(sum(r.input_tokens), 0) + coalesce(sum(r.output_tokens), 0) AS tokens
  FROM request AS r
  WHERE r.source_id IN ({{sources}}) AND r.arrived_at < $end AND r.arrived_at >= $counted_from
    AND {IS_COUNTED}
  GROUP BY 1, 2),
named AS (
  SELECT coalesce(l.model, '') AS model, coalesce(l.tenant, '') AS tenant, c.*
  FROM counted AS c JOIN request_labels AS l USING (labels_id)),
minute AS (
  SELECT model, tenant, minute, sum(requests) AS requests,
    CASE WHEN sum(sized) > 0 THEN sum(tokens) END AS tokens
  FROM (SELECT * FROM named WHERE tenant <> '{EVERYBODY}'
    UNION ALL SELECT * REPLACE ('{EVERYBODY}' AS tenant) FROM named)
  GROUP BY 1, 2, 3),
wanted AS (
  SELECT DISTINCT model, tenant, time_bucket(INTERVAL 1 MINUTE, due_at) AS until_at FROM said
  WHERE due_at <= (
    SELECT max(arrived_at) FROM request
    WHERE source_id IN ({{sources}}) AND arrived_at >= $counted_from)),
looked_up AS (
  SELECT *, until_at - to_minutes(unnest(range(1, {WINDOW_SECONDS // 60 + 1}))::INTEGER) AS minute
  FROM wanted),
seen AS (
  SELECT u.model, u.tenant, u.until_at, sum(m.requests) AS requests, sum(m.tokens) AS tokens
  FROM looked_up AS u
  JOIN minute AS any_of ON any_of.model = u.model AND any_of.tenant = '{EVERYBODY}'
    AND any_of.minute = u.minute
  LEFT JOIN minute AS m ON m.model = u.model AND m.tenant = u.tenant AND m.minute = u.minute
  GROUP BY 1, 2, 3)
SELECT f.* EXCLUDE (model, tenant, due_at), f.due_at AS "at", CASE WHEN s.until_at IS NOT NULL THEN
    CASE f.quantity
      WHEN 'requests_per_second' THEN coalesce(s.requests, 0) / {WINDOW_SECONDS}.0
      WHEN 'tokens_per_second' THEN
        CASE WHEN s.requests IS NULL THEN 0 ELSE s.tokens / {WINDOW_SECONDS}.0 END
    END END AS outcome
FROM said AS f LEFT JOIN seen AS s
  ON s.model = f.model AND s.tenant = f.tenant
  AND s.until_at = time_bucket(INTERVAL 1 MINUTE, f.due_at)
"""
_NEWEST = f"""
SELECT * FROM (
  SELECT {_DUE} AS "at", made_at, horizon_seconds, {_at(0.05)} AS q05, {_at(0.25)} AS q25,
    {_at(0.5)} AS median, {_at(0.75)} AS q75, {_at(0.95)} AS q95,
    {_at(0.5, "rival")} AS rival_median, was_fallback, {_NAME.format(key="key")} AS name
  FROM forecast WHERE {_CHOSEN} AND made_at = $made_at)
WHERE name = $key ORDER BY "at"
"""
_EVER = """
SELECT count(*) AS rows, max(made_at) AS last_at FROM forecast
WHERE source_id IN ({sources}) AND quantity IN ({quantities})
"""
# The newest word of each instance and horizon, found before its lists are read.
_STATES = f"""
WITH last AS (
  SELECT key, horizon_seconds, max(made_at) AS made_at FROM forecast WHERE {_CHOSEN} GROUP BY 1, 2),
k AS (
  SELECT f.*, {_NAME.format(key="f.key")} AS name
  FROM forecast AS f JOIN last USING (key, horizon_seconds, made_at)
  WHERE {_CHOSEN} AND made_at >= (SELECT min(made_at) FROM last)),
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
SELECT time_bucket(to_seconds($bin_seconds), made_at) AS at, key[-1] AS instance,
  median({_at(0.5)}) AS performance_ratio, min({_at(0.05)}) AS low_ratio,
  max({_at(0.95)}) AS high_ratio, count(*) AS forecasts
FROM forecast WHERE {_CHOSEN} AND {{nearest}} GROUP BY 1, 2 ORDER BY 2, 1
"""
# Where not all instances have been looked at equally far ahead.
_NEAREST_EACH = f"""(key, horizon_seconds) IN (
  SELECT key, min(horizon_seconds) FROM forecast WHERE {_CHOSEN} GROUP BY 1)"""


@dataclass(frozen=True, slots=True)
class Runs:
    """The runs of forecasts that are about a range; naive UTC.

    Attributes:
        judged_from: the first that is judged: whole runs, at most `MOST_FORECASTS` in all.
        drawn_from: the first of the newest `MOST_DRAWN`.
        first: of all.
    """

    judged_from: datetime
    drawn_from: datetime
    first: datetime


def runs(reader: Reader, scope: Scope) -> Runs | None:
    """When forecasts of the range were made; None without any."""
    start = scope.start.replace(tzinfo=None)
    # Known without asking every row, it spares reading what is due before the range.
    longest = reader.scalar("SELECT max(horizon_seconds) FROM forecast")
    since = start - timedelta(seconds=longest or 0.0)
    found = _asked(reader, _RUNS, scope, DEMAND, since, start=start)
    if found.is_empty():
        return None
    made_at = found["made_at"].to_list()
    judged = max(int((found["forecasts"].cum_sum() <= MOST_FORECASTS).sum()), 1)
    return Runs(made_at[judged - 1], made_at[:MOST_DRAWN][-1], made_at[-1])


def said(reader: Reader, scope: Scope, since: datetime) -> pl.DataFrame:
    """Demand forecasts of the range that were made since a time, beside what came.

    Columns: quantity, key, horizon_seconds, made_at, at (when the window ends), was_fallback,
    ours_5 to ours_95 (quantiles in percent), naive_10 to naive_90 (of the rival), outcome (null:
    not yet, or nothing was recorded).
    """
    return _said(reader, scope, since, DEMAND)


def said_of(
    reader: Reader, scope: Scope, since: datetime, quantity: str, key: str, horizon_seconds: float
) -> pl.DataFrame:
    """The same of one quantity, key and horizon."""
    return _said(
        reader, scope, since, (quantity,),
        f"AND horizon_seconds = $horizon AND {_NAME.format(key='key')} = $key",
        horizon=horizon_seconds, key=key,
    )  # fmt: skip


def _said(
    reader: Reader, scope: Scope, since: datetime, quantities: Sequence[str], only: str = "",
    **more: Any,
) -> pl.DataFrame:  # fmt: skip
    start = scope.start.replace(tzinfo=None)
    more |= {"start": start, "counted_from": max(start, since) - _BEFORE}
    found = _asked(reader, SAID.replace("{only}", only), scope, quantities, since, **more)
    return found.with_columns(key_names(found["key"]).alias("key"))


def newest(
    reader: Reader, scope: Scope, quantity: str, key: str, made_at: datetime
) -> pl.DataFrame:
    """What was said at one time about a key, at every horizon.

    Columns: at, made_at, horizon_seconds, q05, q25, median, q75, q95, rival_median, was_fallback.
    """
    found = _asked(reader, _NEWEST, scope, (quantity,), made_at, key=key, made_at=made_at)
    return found.drop("name")


def ever(reader: Reader, scope: Scope, quantities: Sequence[str]) -> tuple[int, datetime | None]:
    """How many forecasts of these quantities there are at all, and when the newest was made."""
    sql = _EVER.format(sources=ids_sql(scope), quantities=_listed(quantities))
    rows, last_at = reader.frame(sql).row(0)
    return int(rows), last_at


def states(reader: Reader, scope: Scope) -> pl.DataFrame:
    """The newest word on each instance's performance, the slowest first.

    Columns: instance, name (with what runs there), made_at, horizon_seconds (0: now), q05_ratio,
    q25_ratio, performance_ratio, q75_ratio, q95_ratio, rival_ratio, ahead_ratio over the next
    ahead_seconds (null: nothing was said), was_fallback, calibration, features_age_seconds,
    model_id.
    """
    return _asked(reader, _STATES, scope, (PERFORMANCE,), scope.start.replace(tzinfo=None))


def state_course(
    reader: Reader, scope: Scope, bin_seconds: int, horizons: Sequence[float]
) -> pl.DataFrame:
    """at, instance, performance_ratio (median of the bin), low_ratio, high_ratio, forecasts.

    Args:
        reader: the store.
        scope: sources, range, labels.
        bin_seconds: width of a bin.
        horizons: the nearest of each instance, in seconds.
    """
    nearest = set(horizons)
    is_one = len(nearest) == 1
    condition = f"horizon_seconds = {float(nearest.pop())!r}" if is_one else _NEAREST_EACH
    sql = _STATE_COURSE.replace("{nearest}", condition)
    since = scope.start.replace(tzinfo=None)
    return _asked(reader, sql, scope, (PERFORMANCE,), since, bin_seconds=bin_seconds)


def _asked(
    reader: Reader, sql: str, scope: Scope, quantities: Sequence[str], since: datetime,
    **more: Any,
) -> pl.DataFrame:  # fmt: skip
    chosen = {name: list(getattr(scope, name)) for name in ("models", "tenants", "instances")}
    meant = {name: values for name, values in chosen.items() if values}
    labels = " ".join(f"AND list_has_any(${name}, key)" for name in meant)
    text = sql.format(sources=ids_sql(scope), quantities=_listed(quantities), labels=labels)
    return reader.frame(text, since=since, end=scope.end.replace(tzinfo=None), **meant, **more)


def _listed(quantities: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in quantities)
