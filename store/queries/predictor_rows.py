"""What predictors learn from and are asked about: finished requests, gauges, loads, counts."""

from __future__ import annotations

from datetime import datetime, timedelta

import polars as pl

from store.queries.scope import LIVE_SOURCE_ID, Scope
from store.queries.workload import where
from store.reader import Reader

MOST_REQUESTS = 500_000
"""Newest requests that are read at once."""
LONGEST_REQUEST = timedelta(hours=1)
"""A live request that took longer is not predicted; it is learnt from."""
BEFORE_SCRAPES = timedelta(minutes=5)

# Without a whole duration it ended at its last known sign.
FINISHED = """r.arrived_at + to_microseconds((1e6 * greatest(0, coalesce(
  r.e2e_seconds, r.ttft_seconds + r.tpot_seconds * greatest(r.output_tokens - 1, 0),
  r.ttft_seconds, 0)))::BIGINT)"""
_REQUESTS = f"""
SELECT r.source_id, r.request_key, r.arrived_at AS at, {FINISHED} AS finished_at,
  r.status = 'ok' AS is_ok, l.model, l.tenant, l.route, l.instance, l.finish_reason,
  r.input_tokens, r.output_tokens, r.cached_tokens, r.ttft_seconds, r.tpot_seconds,
  r.e2e_seconds, r.session_key
FROM request AS r JOIN request_labels AS l USING (labels_id)
WHERE {{where}}
ORDER BY r.arrived_at DESC, r.request_key LIMIT {{most}}
"""
# Blocks are chained: one that was seen before implies all in front of it.
_PREFIXES = """
WITH block AS (
  SELECT source_id, request_key, arrived_at, unnest(block_hashes) AS hash,
    generate_subscripts(block_hashes, 1) AS place
  FROM request_prefix AS r
  WHERE r.source_id IN ({sources}) AND r.arrived_at >= $start AND r.arrived_at < $end),
known AS (
  SELECT *, min(arrived_at) OVER (PARTITION BY source_id, hash) < arrived_at AS was_seen
  FROM block)
SELECT source_id, request_key, arrived_at AS at, list(hash ORDER BY place) AS prefix_blocks,
  count(*) FILTER (was_seen)::DOUBLE AS prefix_seen_blocks
FROM known GROUP BY source_id, request_key, arrived_at
"""
_PENDING = f"""
SELECT r.request_key, r.arrived_at AS at, {FINISHED} AS finished_at
FROM request AS r
WHERE r.source_id = {LIVE_SOURCE_ID} AND r.arrived_at >= $oldest AND r.arrived_at <= $until
  AND {FINISHED} >= $since AND {FINISHED} <= $until
  AND NOT EXISTS (
    SELECT 1 FROM predicted_request AS p
    WHERE p.arrived_at = r.arrived_at AND p.request_key = r.request_key)
ORDER BY finished_at, r.request_key LIMIT {MOST_REQUESTS}
"""
GAUGES = (
    "requests_running", "requests_waiting", "kv_cache_usage_ratio", "kv_cache_capacity_tokens",
    "requests_running_max", "engine_step_seconds", "prompt_tokens_total",
    "generation_tokens_total",
)  # fmt: skip
_SCRAPES = """
WITH told AS (
  SELECT t.url, t.engine, t.model, t.labels->>'gpu_type' AS gpu_type, s.signal, p.sampled_at,
    CASE WHEN s.unit IN ('ratio', 's') THEN avg(p.value) ELSE sum(p.value) END AS value
  FROM sample AS p JOIN series AS s USING (series_id) JOIN target AS t USING (target_id)
  WHERE p.sampled_at >= $start AND p.sampled_at < $end AND s.signal IN {signals}
  GROUP BY t.url, t.engine, t.model, gpu_type, s.signal, s.unit, p.sampled_at)
SELECT url, engine, model, gpu_type, sampled_at AS at, {columns}
FROM told GROUP BY url, engine, model, gpu_type, sampled_at ORDER BY url, sampled_at
"""
_TARGETS = """
SELECT url, engine, model, labels->>'gpu_type' AS gpu_type FROM target ORDER BY url
"""
_COUNTS = """
SELECT time_bucket(to_seconds($step), r.arrived_at) AS at, coalesce(l.model, '') AS model,
  coalesce(l.tenant, '') AS tenant, count(*)::DOUBLE AS requests,
  sum(r.input_tokens)::DOUBLE AS input_tokens, sum(r.output_tokens)::DOUBLE AS output_tokens
FROM request AS r JOIN request_labels AS l USING (labels_id)
WHERE {where} GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
"""
_CPU_MODES = """
SELECT series_id, labels->>'mode' AS mode FROM series WHERE signal = 'node_cpu_seconds_total'
"""
_SAMPLES = """
SELECT t.url, s.signal, s.kind, s.unit, p.sampled_at AS at, sum(p.value) AS value
FROM sample AS p JOIN series AS s USING (series_id) JOIN target AS t USING (target_id)
WHERE p.sampled_at >= $start AND p.sampled_at < $end
GROUP BY ALL ORDER BY t.url, s.signal, p.sampled_at LIMIT 2000000
"""


def requests(reader: Reader, scope: Scope, most: int = MOST_REQUESTS) -> pl.DataFrame:
    """The newest `most` requests of a scope, oldest first.

    Columns: source_id, request_key, at (arrival), finished_at (naive), is_ok, model, tenant, route,
    instance, finish_reason, input_tokens, output_tokens, cached_tokens, ttft_seconds,
    tpot_seconds, e2e_seconds, session_key; null where unknown.
    """
    condition, params = where(scope)
    found = reader.frame(_REQUESTS.format(where=condition, most=int(most)), **params)
    return found.sort("at", "request_key")


def prefixes(reader: Reader, scope: Scope) -> pl.DataFrame:
    """How much of each prompt's beginning an earlier request of the scope had had.

    Columns: source_id, request_key, at, prefix_blocks (hashes, in order), prefix_seen_blocks (how
    many of them an earlier request had).
    """
    sources = ", ".join(str(int(number)) for number in scope.source_ids)
    return reader.frame(
        _PREFIXES.format(sources=sources),
        start=scope.start.replace(tzinfo=None),
        end=scope.end.replace(tzinfo=None),
    )


def pending(reader: Reader, since: datetime, until: datetime) -> pl.DataFrame:
    """Live requests that ended within a range and were not predicted yet, by their ends.

    Args:
        reader: the store.
        since: naive UTC.
        until: naive UTC.

    Returns:
        request_key, at, finished_at.
    """
    return reader.frame(_PENDING, oldest=since - LONGEST_REQUEST, since=since, until=until)


def live_count(reader: Reader, since: datetime) -> int:
    """How many live requests arrived since a naive UTC time."""
    found = reader.scalar(
        f"SELECT count(*) FROM request WHERE source_id = {LIVE_SOURCE_ID} AND arrived_at >= $since",
        since=since,
    )
    return int(found)


def scrapes(reader: Reader, start: datetime, end: datetime) -> pl.DataFrame:
    """What engines said of themselves, one row a scrape; counters are cumulative.

    Args:
        reader: the store.
        start: naive UTC; some minutes before it are given as well.
        end: naive UTC.

    Returns:
        url, engine, model, gpu_type, at and a column for each of `GAUGES`, by url and time.
    """
    columns = ", ".join(f"max(value) FILTER (signal = '{name}') AS {name}" for name in GAUGES)
    sql = _SCRAPES.format(signals=str(GAUGES), columns=columns)
    return reader.frame(sql, start=start - BEFORE_SCRAPES, end=end)


def targets(reader: Reader) -> pl.DataFrame:
    """Targets: url, engine, model, gpu_type (null where nobody said)."""
    return reader.frame(_TARGETS)


def cpu_modes(reader: Reader) -> dict[int, str]:
    """Series of processor time -> what it was spent on."""
    return dict(reader.frame(_CPU_MODES).drop_nulls("mode").iter_rows())


def counts(reader: Reader, scope: Scope, step_seconds: int) -> pl.DataFrame:
    """Requests and tokens of each step of time, by model and tenant ("" unknown).

    Columns: at (naive, start of the step), model, tenant, requests, input_tokens, output_tokens;
    steps without requests are left out.
    """
    condition, params = where(scope)
    return reader.frame(_COUNTS.format(where=condition), step=step_seconds, **params)


def samples(reader: Reader, start: datetime, end: datetime) -> pl.DataFrame:
    """All samples of a short range: url, signal, kind, unit, at, value (summed over labels)."""
    return reader.frame(_SAMPLES, start=start, end=end)
