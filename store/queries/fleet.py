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
    sql = f"""SELECT l.instance, l.model, count(*) AS requests,
  avg(r.tpot_seconds) FILTER (r.status = 'ok') AS tpot_mean_seconds,
  avg(r.queue_seconds) FILTER (r.status = 'ok') AS queue_mean_seconds,
  max(r.arrived_at) AS last_at
FROM request AS r JOIN request_labels AS l USING (labels_id)
WHERE {_where(scope, values)} AND l.instance IS NOT NULL
GROUP BY l.instance, l.model ORDER BY l.instance, l.model"""
    return reader.frame(sql, **values)


def edges(reader: FrameReader, scope: Scope) -> tuple[bool, datetime | None, datetime | None, bool]:
    """Whether the sources hold requests before and after the range, and its first and last one.

    Labels are not looked at: a source records whether or not a label occurs.

    Returns:
        before, first, last (naive; None when the range is empty), after.
    """
    row = reader.frame(
        f"""SELECT
          EXISTS (SELECT 1 FROM request AS r WHERE {source_sql(scope)} AND r.arrived_at < $start)
            AS before,
          min(r.arrived_at) AS first, max(r.arrived_at) AS last,
          EXISTS (SELECT 1 FROM request AS r WHERE {source_sql(scope)} AND r.arrived_at >= $end)
            AS after
        FROM request AS r
        WHERE {source_sql(scope)} AND r.arrived_at >= $start AND r.arrived_at < $end""",
        start=naive_utc(scope.start),
        end=naive_utc(scope.end),
    )
    before, first, last, after = row.row(0)
    return before, first, last, after


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


def _where(scope: Scope, values: dict[str, Any]) -> str:
    """The condition of a scope; fills `values` with its parameters."""
    values |= {"start": naive_utc(scope.start), "end": naive_utc(scope.end)}
    condition = f"{source_sql(scope)} AND r.arrived_at >= $start AND r.arrived_at < $end"
    labels = scope_labels(scope)
    if not labels:
        return condition
    meant = labels_sql(labels, values, "scope")
    return f"{condition} AND r.labels_id IN (SELECT labels_id FROM request_labels WHERE {meant})"
