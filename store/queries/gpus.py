"""The newest readings of every card."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import polars as pl

from store.reader import Reader

CARDS = """
SELECT s.target_id, coalesce(s.labels->>'node', t.url) AS node,
       coalesce(s.labels->>'gpu', s.labels->>'gpu_uuid', '') AS gpu,
       s.labels->>'gpu_instance' AS gpu_instance, s.signal, s.labels->>'gpu_model' AS gpu_model,
       s.labels->>'pod' AS pod, max(p.sampled_at) AS at, max_by(p.value, p.sampled_at) AS value
FROM sample AS p JOIN series AS s USING (series_id) JOIN target AS t USING (target_id)
WHERE p.sampled_at >= $start AND p.sampled_at < $end AND t.removed_at IS NULL
  AND list_contains($signals::VARCHAR[], s.signal)
GROUP BY ALL
"""


def newest(reader: Reader, signals: Sequence[str], start: datetime, end: datetime) -> pl.DataFrame:
    """The newest value of some signals for each card.

    Args:
        reader: the store.
        signals: names in the catalogue.
        start: nothing older than this, aware UTC.
        end: nothing from here on, aware UTC.

    Returns:
        target_id, node, gpu, gpu_instance, signal, gpu_model, pod, at (naive UTC), value.
    """
    return reader.frame(
        CARDS,
        start=start.replace(tzinfo=None),
        end=end.replace(tzinfo=None),
        signals=list(signals),
    )
