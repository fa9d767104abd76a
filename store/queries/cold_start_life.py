"""What instances did once they were ready: first answers, and until when anybody used them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from store.queries.scope import Scope
from store.reader import Reader

FIRST_ANSWERS, FIRST_SECONDS = 200, 1800
"""So many requests of the first so many seconds tell when an instance was warm."""
Span = tuple[str, datetime, datetime]

_SPANS = """
WITH span AS (
  SELECT unnest($numbers) AS number, unnest($instances) AS instance, unnest($begins) AS ready_at,
    unnest($ends) AS until_at),
"""
_USED = f"""{_SPANS}
ended AS (
  SELECT s.number, least(max(r.arrived_at + to_microseconds((1e6 * r.e2e_seconds)::BIGINT)),
    any_value(s.until_at)) AS used_at
  FROM span AS s JOIN request_labels AS l ON l.instance = s.instance
  JOIN request AS r ON r.labels_id = l.labels_id AND r.arrived_at >= s.ready_at
    AND r.arrived_at < s.until_at AND r.source_id IN (SELECT unnest($sources))
  WHERE r.e2e_seconds IS NOT NULL GROUP BY s.number),
ran AS (
  SELECT s.number, max(p.sampled_at) AS used_at
  FROM span AS s JOIN (SELECT unnest($target_instances) AS instance, unnest($targets) AS target_id)
    AS t USING (instance)
  JOIN series AS n ON n.target_id = t.target_id AND n.signal = 'requests_running'
  JOIN sample AS p ON p.series_id = n.series_id AND p.value > 0
    AND p.sampled_at >= s.ready_at AND p.sampled_at < s.until_at
  GROUP BY s.number)
SELECT s.number, greatest(e.used_at, r.used_at) AS used_at
FROM span AS s LEFT JOIN ended AS e USING (number) LEFT JOIN ran AS r USING (number)
ORDER BY s.number
"""
_FIRST = f"""{_SPANS}
answered AS (
  SELECT s.number, epoch_us(r.arrived_at) / 1e6 - epoch_us(s.ready_at) / 1e6 AS since_ready_seconds,
    r.ttft_seconds, row_number() OVER (PARTITION BY s.number ORDER BY r.arrived_at) AS place
  FROM span AS s JOIN request_labels AS l ON l.instance = s.instance
  JOIN request AS r ON r.labels_id = l.labels_id AND r.arrived_at >= s.ready_at
    AND r.arrived_at < least(s.until_at, s.ready_at + to_seconds({FIRST_SECONDS}))
    AND r.source_id IN (SELECT unnest($sources))
  WHERE r.ttft_seconds IS NOT NULL)
SELECT number, since_ready_seconds, ttft_seconds FROM answered
WHERE place <= {FIRST_ANSWERS} ORDER BY number, since_ready_seconds
"""
_STEADY = """
SELECT l.model, median(r.ttft_seconds) AS ttft_seconds, count(*) AS requests
FROM request AS r JOIN request_labels AS l USING (labels_id)
WHERE r.source_id IN (SELECT unnest($sources)) AND r.arrived_at >= $start AND r.arrived_at < $end
  AND r.ttft_seconds > 0
GROUP BY l.model
"""


def used_until(
    reader: Reader, scope: Scope, spans: Sequence[Span], targets: Sequence[tuple[str, int]]
) -> list[datetime | None]:
    """When somebody last used each instance, by requests or the gauge of running ones.

    Args:
        reader: the store.
        scope: whose requests.
        spans: instance, when it was ready, when it was gone (or the end of the range); naive UTC.
        targets: instance and target id of what is scraped.

    Returns:
        Naive UTC for each span; None where nothing tells.
    """
    if not spans:
        return []
    found = reader.frame(
        _USED,
        target_instances=[name for name, _ in targets],
        targets=[number for _, number in targets],
        **_params(scope, spans),
    )
    return found["used_at"].to_list()


def first_answers(reader: Reader, scope: Scope, spans: Sequence[Span]) -> pl.DataFrame:
    """Number (place in `spans`), since_ready_seconds, ttft_seconds of the first answers of each."""
    if not spans:
        schema: dict[str, Any] = {"number": pl.Int64, "since_ready_seconds": pl.Float64}
        return pl.DataFrame(schema=schema | {"ttft_seconds": pl.Float64})
    return reader.frame(_FIRST, **_params(scope, spans))


def steady_ttft(reader: Reader, scope: Scope) -> dict[str | None, float]:
    """Median time to first token of each model over the day up to the scope's end, seconds."""
    end = scope.end.replace(tzinfo=None)
    found = reader.frame(
        _STEADY, sources=list(scope.source_ids), start=end - timedelta(days=1), end=end
    )
    return {model: float(ttft) for model, ttft, _ in found.iter_rows()}


def _params(scope: Scope, spans: Sequence[Span]) -> dict[str, Any]:
    return {
        "sources": list(scope.source_ids),
        "numbers": list(range(len(spans))),
        "instances": [instance for instance, _, _ in spans],
        "begins": [begin for _, begin, _ in spans],
        "ends": [end for _, _, end in spans],
    }
