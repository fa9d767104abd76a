"""Request rows as the fleet page needs them. Bins reach back from the end of the scope."""

from __future__ import annotations

from typing import Any, Literal

import polars as pl

from store.queries.log_bins import log_bin_sql
from store.queries.scope import Scope
from store.queries.slo import labels_sql, naive_utc, scope_labels, source_sql
from store.reader import Reader

LatencyColumn = Literal["ttft_seconds", "tpot_seconds", "e2e_seconds", "queue_seconds"]
# What a request belongs to, for people: its model, else its route, else its source.
WORKLOAD_SQL = "coalesce(l.model, l.route, s.name)"


def time_bins(reader: Reader, scope: Scope, width_seconds: int) -> tuple[pl.DataFrame, str]:
    """Requests, failures and tokens by time.

    Returns:
        bin, requests, not_ok, input_tokens, output_tokens (sums of known lengths), with_ttft,
        with_tpot (how many carry them); and the SQL.
    """
    values: dict[str, Any] = {}
    sql = f"""SELECT {_bin_sql(width_seconds)} AS bin, count(*) AS requests,
  count(*) FILTER (WHERE r.status <> 'ok') AS not_ok,
  CAST(sum(r.input_tokens) AS DOUBLE) AS input_tokens,
  CAST(sum(r.output_tokens) AS DOUBLE) AS output_tokens,
  count(r.ttft_seconds) AS with_ttft, count(r.tpot_seconds) AS with_tpot
FROM request AS r
WHERE {_where(scope, values)}
GROUP BY bin ORDER BY bin"""
    return reader.frame(sql, **values), sql


def latency_bins(
    reader: Reader, scope: Scope, column: LatencyColumn, width_seconds: int
) -> tuple[pl.DataFrame, str]:
    """A latency by time, workload and log bin: one scan for every quantile of the page.

    Returns:
        bin, workload, log_bin, requests; and the SQL.
    """
    values: dict[str, Any] = {}
    sql = f"""WITH c AS (SELECT {_bin_sql(width_seconds)} AS bin, r.labels_id, r.source_id,
  {log_bin_sql(f"r.{column}")} AS log_bin, count(*) AS requests
FROM request AS r
WHERE {_where(scope, values)} AND r.{column} IS NOT NULL
GROUP BY ALL)
SELECT c.bin, {WORKLOAD_SQL} AS workload, c.log_bin, CAST(sum(c.requests) AS BIGINT) AS requests
FROM c JOIN request_labels AS l USING (labels_id) JOIN source AS s USING (source_id)
GROUP BY ALL"""
    return reader.frame(sql, **values), sql


def workloads(reader: Reader, scope: Scope) -> tuple[pl.DataFrame, str]:
    """Requests and lengths by workload, the busiest first.

    Returns:
        workload, label ("model", "route" or "source": what it was named by), requests,
        input_tokens_mean, output_tokens_mean; and the SQL.
    """
    values: dict[str, Any] = {}
    sql = f"""WITH c AS (SELECT r.labels_id, r.source_id, count(*) AS requests,
  sum(r.input_tokens) AS input_sum, count(r.input_tokens) AS input_known,
  sum(r.output_tokens) AS output_sum, count(r.output_tokens) AS output_known
FROM request AS r
WHERE {_where(scope, values)}
GROUP BY ALL)
SELECT {WORKLOAD_SQL} AS workload,
  CASE WHEN l.model IS NOT NULL THEN 'model' WHEN l.route IS NOT NULL THEN 'route'
       ELSE 'source' END AS label,
  CAST(sum(c.requests) AS BIGINT) AS requests,
  CAST(sum(c.input_sum) / nullif(sum(c.input_known), 0) AS DOUBLE) AS input_tokens_mean,
  CAST(sum(c.output_sum) / nullif(sum(c.output_known), 0) AS DOUBLE) AS output_tokens_mean
FROM c JOIN request_labels AS l USING (labels_id) JOIN source AS s USING (source_id)
GROUP BY ALL ORDER BY requests DESC, workload"""
    return reader.frame(sql, **values), sql


def request_instances(reader: Reader, scope: Scope) -> pl.DataFrame:
    """Instances that request rows name.

    Returns:
        instance, model, requests, tpot_mean_seconds, queue_mean_seconds, last_at (naive).
    """
    values: dict[str, Any] = {}
    sql = f"""SELECT l.instance, l.model, count(*) AS requests,
  avg(r.tpot_seconds) AS tpot_mean_seconds, avg(r.queue_seconds) AS queue_mean_seconds,
  max(r.arrived_at) AS last_at
FROM request AS r JOIN request_labels AS l USING (labels_id)
WHERE {_where(scope, values)} AND l.instance IS NOT NULL
GROUP BY l.instance, l.model ORDER BY l.instance, l.model"""
    return reader.frame(sql, **values)


def spans(reader: Reader, scope: Scope) -> pl.DataFrame:
    """From when to when each source of the scope holds requests, whatever the range.

    Returns:
        source_id, first_at, last_at (naive); sources without requests are absent.
    """
    return reader.frame(
        "SELECT r.source_id, min(r.arrived_at) AS first_at, max(r.arrived_at) AS last_at"
        f" FROM request AS r WHERE {source_sql(scope)} GROUP BY r.source_id"
    )


def events(reader: Reader, scope: Scope) -> pl.DataFrame:
    """What happened in the range: deployments, scale actions, outages.

    Returns:
        at (naive), kind, text; sorted by time.
    """
    sources = source_sql(scope).replace("r.source_id", "source_id")
    return reader.frame(
        f"""SELECT started_at AS at, kind, text FROM event
        WHERE {sources} AND started_at >= $start AND started_at < $end ORDER BY started_at""",
        start=naive_utc(scope.start),
        end=naive_utc(scope.end),
    )


def _bin_sql(width_seconds: int) -> str:
    width_us = int(width_seconds * 1_000_000)
    return f"(epoch_us($end) - epoch_us(r.arrived_at) - 1) // {width_us}"


def _where(scope: Scope, values: dict[str, Any]) -> str:
    """The condition of a scope; fills `values` with its parameters."""
    values |= {"start": naive_utc(scope.start), "end": naive_utc(scope.end)}
    condition = f"{source_sql(scope)} AND r.arrived_at >= $start AND r.arrived_at < $end"
    labels = scope_labels(scope)
    if not labels:
        return condition
    meant = labels_sql(labels, values, "scope")
    return f"{condition} AND r.labels_id IN (SELECT labels_id FROM request_labels WHERE {meant})"
