"""How long requests take, by length of their input: next to nobody else, and as it was."""

from __future__ import annotations

import polars as pl

from store.queries.scope import Scope
from store.queries.slo import OCTAVE_SQL
from store.queries.workload import FrameReader, where

_WHOLE = """r.status = 'ok' AND r.input_tokens IS NOT NULL AND r.output_tokens >= 1
  AND r.ttft_seconds IS NOT NULL AND r.e2e_seconds >= r.ttft_seconds"""


def alone(reader: FrameReader, scope: Scope, bins: list[int], width_seconds: float) -> pl.DataFrame:
    """How long requests took that came in some bins of time, by length of their input.

    Returns:
        octave (log2 of the input tokens, rounded down), requests, ttft_seconds (median), paced
        (requests of two tokens and more), tpot_seconds (median of those).
    """
    condition, params = where(scope, every_attempt=True)
    pace = "(r.e2e_seconds - r.ttft_seconds) / (r.output_tokens - 1)"
    return reader.frame(
        f"""SELECT {OCTAVE_SQL} AS octave, count(*) AS requests,
  median(r.ttft_seconds) AS ttft_seconds, count(*) FILTER (r.output_tokens >= 2) AS paced,
  median({pace}) FILTER (r.output_tokens >= 2) AS tpot_seconds
FROM request AS r WHERE {condition} AND {_WHOLE}
  AND (epoch_us(r.arrived_at) - epoch_us($start)) // {round(width_seconds * 1e6)}
    IN (SELECT unnest($bins))
GROUP BY 1 ORDER BY 1""",
        bins=bins,
        **params,
    )


def durations(reader: FrameReader, scope: Scope) -> pl.DataFrame:
    """How long requests took in all, by tenant and length of their input.

    Returns:
        tenant, octave, requests, e2e_seconds (sum), later_tokens (tokens after the first, sum).
    """
    condition, params = where(scope, every_attempt=True)
    return reader.frame(
        f"""WITH counted AS (
  SELECT r.labels_id, {OCTAVE_SQL} AS octave, count(*) AS requests,
    sum(r.e2e_seconds) AS e2e_seconds, sum(r.output_tokens - 1) AS later_tokens
  FROM request AS r WHERE {condition} AND {_WHOLE} GROUP BY 1, 2)
SELECT tenant, octave, sum(requests)::BIGINT AS requests, sum(e2e_seconds) AS e2e_seconds,
  sum(later_tokens)::DOUBLE AS later_tokens
FROM counted JOIN request_labels USING (labels_id) WHERE tenant IS NOT NULL
GROUP BY 1, 2 ORDER BY 1, 2""",
        **params,
    )


def instances(reader: FrameReader, scope: Scope) -> int:
    """How many instances served requests of the scope; 1 where nobody told."""
    condition, params = where(scope, every_attempt=True)
    found = reader.frame(
        f"""SELECT count(DISTINCT instance) AS instances FROM request_labels
WHERE labels_id IN (SELECT DISTINCT r.labels_id FROM request AS r WHERE {condition})""",
        **params,
    )
    return max(int(found["instances"][0]), 1)
