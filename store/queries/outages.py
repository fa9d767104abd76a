"""Requests of the last minutes, good and bad, for who asks whether anything works at all."""

from __future__ import annotations

from datetime import datetime

import polars as pl

from store.queries.scope import IS_COUNTED
from store.reader import Reader

_COUNTS = f"""
SELECT coalesce(l.model, '') AS model, coalesce(l.tenant, '') AS tenant,
  count(*) FILTER (r.arrived_at >= $near) AS near,
  count(*) FILTER (r.arrived_at >= $near AND r.status <> 'ok') AS near_bad,
  count(*) FILTER (r.arrived_at >= $near AND r.status = 'failed') AS near_failed,
  count(*) AS far, count(*) FILTER (r.status <> 'ok') AS far_bad,
  count(*) FILTER (r.status = 'failed') AS far_failed
FROM request AS r JOIN request_labels AS l USING (labels_id)
WHERE r.source_id = 1 AND r.arrived_at >= $far AND r.arrived_at < $now AND {IS_COUNTED}
GROUP BY 1, 2 ORDER BY far_bad DESC LIMIT 10000
"""


def counts(reader: Reader, near: datetime, far: datetime, now: datetime) -> pl.DataFrame:
    """Live requests by model and tenant ("" is without), over a near and a far window.

    Args:
        reader: the store.
        near: start of the near window; naive UTC.
        far: start of the far one, before `near`.
        now: end of both.

    Returns:
        model, tenant, near, near_bad (failed, refused or aborted), near_failed, and the same far.
    """
    return reader.frame(_COUNTS, near=near, far=far, now=now)
