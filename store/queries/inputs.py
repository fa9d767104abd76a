"""What requests looked like in two stretches of time, by feature and bin."""

from __future__ import annotations

from datetime import datetime

import polars as pl

from store.queries.scope import IS_COUNTED, Scope
from store.reader import Reader

_COUNTS = f"""
WITH seen AS (
  SELECT r.arrived_at >= $start AND r.arrived_at < $end AS is_now,
    r.arrived_at >= $then_start AND r.arrived_at < $then_end AS is_then,
    r.input_tokens, r.output_tokens, l.model, l.tenant, l.route
  FROM request AS r JOIN request_labels AS l USING (labels_id)
  WHERE r.source_id IN (SELECT unnest($sources)) AND {IS_COUNTED}
    AND (r.arrived_at >= $start AND r.arrived_at < $end
      OR r.arrived_at >= $then_start AND r.arrived_at < $then_end)
    AND (len($models) = 0 OR list_contains($models, l.model))
    AND (len($tenants) = 0 OR list_contains($tenants, l.tenant))
    AND (len($routes) = 0 OR list_contains($routes, l.route))
    AND (len($instances) = 0 OR list_contains($instances, l.instance))),
told AS (
  SELECT 'input length' AS feature, floor(log2(input_tokens + 1))::VARCHAR AS bin, is_now, is_then
  FROM seen WHERE input_tokens IS NOT NULL
  UNION ALL SELECT 'output length', floor(log2(output_tokens + 1))::VARCHAR, is_now, is_then
  FROM seen WHERE output_tokens IS NOT NULL
  UNION ALL SELECT 'model', model, is_now, is_then FROM seen WHERE model IS NOT NULL
  UNION ALL SELECT 'tenant', tenant, is_now, is_then FROM seen WHERE tenant IS NOT NULL
  UNION ALL SELECT 'route', route, is_now, is_then FROM seen WHERE route IS NOT NULL)
SELECT feature, bin, count(*) FILTER (is_now) AS now, count(*) FILTER (is_then) AS before
FROM told GROUP BY 1, 2 ORDER BY 1, 2
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
