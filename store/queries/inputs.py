"""What requests looked like in two stretches of time, by feature and bin."""

from __future__ import annotations

from datetime import datetime

import polars as pl

from store.queries.scope import IS_COUNTED, Scope
from store.reader import Reader

_LENGTHS = "floor(log2(r.input_tokens + 1)) AS asked, floor(log2(r.output_tokens + 1)) AS made"
# Rows are counted before anything is named: a few thousand combinations are left. Each stretch has
# a scan of its own: for one that asks of every row in which it lies twice the time is needed.
_COUNTED = f"""FROM request AS r
  WHERE r.source_id IN (SELECT unnest($sources)) AND {IS_COUNTED}
    AND r.arrived_at >= ${{start}} AND r.arrived_at < ${{end}} GROUP BY 1, 2, 3"""
_COUNTS = f"""
WITH counted AS (
  SELECT r.labels_id, {_LENGTHS}, count(*) AS now, 0 AS before
  {_COUNTED.format(start="start", end="end")}
  UNION ALL SELECT r.labels_id, {_LENGTHS}, 0, count(*)
  {_COUNTED.format(start="then_start", end="then_end")}),
seen AS MATERIALIZED (
  SELECT c.asked::VARCHAR AS asked, c.made::VARCHAR AS made, l.model, l.tenant, l.route,
    c.now, c.before
  FROM counted AS c JOIN request_labels AS l USING (labels_id)
  WHERE (len($models) = 0 OR list_contains($models, l.model))
    AND (len($tenants) = 0 OR list_contains($tenants, l.tenant))
    AND (len($routes) = 0 OR list_contains($routes, l.route))
    AND (len($instances) = 0 OR list_contains($instances, l.instance))),
told AS (
  SELECT 'input length' AS feature, asked AS bin, now, before FROM seen
  UNION ALL SELECT 'output length', made, now, before FROM seen
  UNION ALL SELECT 'model', model, now, before FROM seen
  UNION ALL SELECT 'tenant', tenant, now, before FROM seen
  UNION ALL SELECT 'route', route, now, before FROM seen)
SELECT feature, bin, sum(now)::BIGINT AS now, sum(before)::BIGINT AS before
FROM told WHERE bin IS NOT NULL GROUP BY 1, 2 ORDER BY 1, 2
"""


def counts(reader: Reader, scope: Scope, then_start: datetime, then_end: datetime) -> pl.DataFrame:
    """feature, bin, now, before: requests of the range and of an earlier stretch.

    Lengths are in octaves; labels as they are.

    Args:
        reader: the store.
        scope: the range and the labels.
        then_start: naive UTC.
        then_end: naive UTC, exclusive.
    """
    return reader.frame(
        _COUNTS,
        sources=list(scope.source_ids),
        start=scope.start.replace(tzinfo=None),
        end=scope.end.replace(tzinfo=None),
        then_start=then_start,
        then_end=then_end,
        models=list(scope.models),
        tenants=list(scope.tenants),
        routes=list(scope.routes),
        instances=list(scope.instances),
    )
