"""Request rows as the fleet page needs them, besides the counts of `store.queries.rollup`."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import polars as pl

from store.queries.scope import Scope
from store.queries.slo import labels_sql, naive_utc, scope_labels, source_sql
from store.queries.workload import FrameReader
from store.reader import Reader


def request_instances(reader: Reader, scope: Scope) -> pl.DataFrame:
    """Instances that request rows name.

    Returns:
        instance, model, requests, tpot_mean_seconds, queue_mean_seconds, last_at (naive).
    """
    values: dict[str, Any] = {}
    # Counted by the small numbers first: grouping by text costs more than all the rest.
    sql = f"""WITH counted AS (
  SELECT r.labels_id, r.status = 'ok' AS succeeded, count(*) AS requests,
    sum(r.tpot_seconds) AS tpot, count(r.tpot_seconds) AS tpot_n,
    sum(r.queue_seconds) AS queue, count(r.queue_seconds) AS queue_n, max(r.arrived_at) AS last_at
  FROM request AS r WHERE {_where(scope, values)} GROUP BY r.labels_id, r.status)
SELECT l.instance, l.model, sum(c.requests)::BIGINT AS requests,
  sum(c.tpot) FILTER (succeeded) / sum(c.tpot_n) FILTER (succeeded) AS tpot_mean_seconds,
  sum(c.queue) FILTER (succeeded) / sum(c.queue_n) FILTER (succeeded) AS queue_mean_seconds,
  max(c.last_at) AS last_at
FROM counted AS c JOIN request_labels AS l USING (labels_id) WHERE l.instance IS NOT NULL
GROUP BY l.instance, l.model ORDER BY l.instance, l.model"""
    return reader.frame(sql, **values)


def beyond(reader: FrameReader, scope: Scope) -> tuple[bool, bool]:
    """Whether the sources hold requests before the range, and after it.

    Labels are not looked at: a source records whether or not a label occurs.
    """
    sources = source_sql(scope)
    before, after = reader.frame(
        f"""SELECT
          EXISTS (SELECT 1 FROM request AS r WHERE {sources} AND r.arrived_at < $start) AS before,
          EXISTS (SELECT 1 FROM request AS r WHERE {sources} AND r.arrived_at >= $end) AS after""",
        start=naive_utc(scope.start),
        end=naive_utc(scope.end),
    ).row(0)
    return bool(before), bool(after)


def within(reader: FrameReader, scope: Scope) -> tuple[datetime | None, datetime | None]:
    """First and last request of the sources in the range (naive; None without one).

    Reads the whole range, where `beyond` stops at the first row it finds.
    """
    first, last = reader.frame(
        f"""SELECT min(r.arrived_at) AS first, max(r.arrived_at) AS last FROM request AS r
        WHERE {source_sql(scope)} AND r.arrived_at >= $start AND r.arrived_at < $end""",
        start=naive_utc(scope.start),
        end=naive_utc(scope.end),
    ).row(0)
    return first, last


def _where(scope: Scope, values: dict[str, Any]) -> str:
    """The condition of a scope; fills `values` with its parameters."""
    values |= {"start": naive_utc(scope.start), "end": naive_utc(scope.end)}
    condition = f"{source_sql(scope)} AND r.arrived_at >= $start AND r.arrived_at < $end"
    labels = scope_labels(scope)
    if not labels:
        return condition
    meant = labels_sql(labels, values, "scope")
    return f"{condition} AND r.labels_id IN (SELECT labels_id FROM request_labels WHERE {meant})"
