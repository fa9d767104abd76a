"""Observations of instance starts, and what waited meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from store.queries.scope import Scope
from store.reader import Reader

# A start that reaches into the range may have begun before it, and ends after its first row.
MARGIN = timedelta(hours=2)

OBSERVATIONS = """
SELECT instance, model, node, phase, started_at, ended_at, cache_state, evidence
FROM instance_start
WHERE started_at >= $start AND started_at < $end
ORDER BY instance, started_at, ended_at, phase
"""
_EVER = "SELECT count(*) AS rows, max(started_at) AS last_at FROM instance_start"
# A request of the model that queued during the start waited for it: as long as both went on.
_WAITED_ROWS = """
SELECT {number} AS number, count(r.queue_seconds) AS requests,
  sum(CASE WHEN r.queue_seconds >= 0 THEN
    least(r.queue_seconds, (epoch_us($end{number}) - epoch_us(r.arrived_at)) / 1e6) END) AS seconds
FROM request AS r
WHERE r.source_id = 1 AND r.arrived_at >= $start{number} AND r.arrived_at < $end{number}
  AND r.labels_id IN (SELECT labels_id FROM request_labels WHERE {model})
"""
_WAITED_GAUGE = """
SELECT {number} AS number, count(*) AS requests, sum(mean) * {seconds} AS seconds FROM (
  SELECT avg(p.value) AS mean
  FROM sample AS p JOIN series AS s USING (series_id) JOIN target AS t USING (target_id)
  WHERE s.signal = 'requests_waiting' AND p.sampled_at >= $start{number}
    AND p.sampled_at < $end{number} AND {model}
  GROUP BY s.series_id)
"""


def observations(reader: Reader, scope: Scope) -> pl.DataFrame:
    """What was seen of starts in and around a range.

    Returns:
        instance, model, node, phase, started_at, ended_at (naive UTC), cache_state, evidence.
    """
    return reader.frame(
        OBSERVATIONS,
        start=scope.start.replace(tzinfo=None) - MARGIN,
        end=scope.end.replace(tzinfo=None) + MARGIN,
    )


def ever(reader: Reader) -> tuple[int, datetime | None]:
    """How many observations there are at all, and when the newest began (naive UTC)."""
    rows, last_at = reader.frame(_EVER).row(0)
    return int(rows), last_at


def waited(
    reader: Reader, spans: Sequence[tuple[str | None, datetime, datetime]], *, from_rows: bool
) -> pl.DataFrame:
    """How long requests waited in the queue within each stretch of time.

    Args:
        reader: the store.
        spans: model (None is all), start and end (naive UTC).
        from_rows: whether request rows tell it, or the engines' gauge of waiting requests.

    Returns:
        number (place in `spans`), requests (rows that tell their queue time, or series), seconds
        (request-seconds; null when nothing tells).
    """
    if not spans:
        return pl.DataFrame(
            schema={"number": pl.Int32, "requests": pl.Int64, "seconds": pl.Float64}
        )
    params: dict[str, Any] = {}
    parts = []
    for number, (model, start, end) in enumerate(spans):
        params |= {f"start{number}": start, f"end{number}": end}
        if model is not None:
            params[f"model{number}"] = model
        column = "model" if from_rows else "coalesce(s.labels->>'model', t.model)"
        meant = "TRUE" if model is None else f"{column} = $model{number}"
        text = _WAITED_ROWS if from_rows else _WAITED_GAUGE
        seconds = (end - start).total_seconds()
        parts.append(text.format(number=number, model=meant, seconds=seconds))
    return reader.frame(f"{' UNION ALL '.join(parts)} ORDER BY number", **params)
