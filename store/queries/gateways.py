"""Gateways that have reported, what they are to decide by, and how long answers are."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import polars as pl

from store.queries.workload import FrameReader
from store.reader import Reader

LEAST_ROWS = 20
MOST_ROWS = 5_000
_LENGTHS = f"""
WITH told AS (
  SELECT l.model, l.tenant,
    CASE WHEN r.input_tokens > 0 THEN floor(log2(r.input_tokens))::INTEGER END AS bin,
    r.output_tokens
  FROM request AS r JOIN request_labels AS l USING (labels_id)
  WHERE r.source_id = 1 AND r.status = 'ok' AND r.output_tokens > 0 AND r.arrived_at >= $since)
SELECT model, tenant, bin, count(*) AS requests, avg(output_tokens) AS mean_tokens,
  quantile_cont(output_tokens, 0.9) AS likely_tokens
FROM told WHERE model IS NOT NULL
GROUP BY GROUPING SETS ((model, tenant, bin), (model, tenant), (model, bin), (model))
HAVING count(*) >= {LEAST_ROWS}
  AND (grouping(tenant) = 1 OR tenant IS NOT NULL) AND (grouping(bin) = 1 OR bin IS NOT NULL)
ORDER BY requests DESC, model, tenant, bin LIMIT {MOST_ROWS}
"""


def gateways(reader: FrameReader) -> list[dict[str, Any]]:
    """Every gateway as it stood last, by name; `details` is JSON text."""
    return reader.frame(
        "SELECT * REPLACE (details::VARCHAR AS details) FROM gateway ORDER BY name"
    ).to_dicts()


def policy(reader: Reader) -> dict[str, Any] | None:
    """The policy in force: version, changed_at, changed_by, reason, policy (JSON text)."""
    found = policies(reader, 1)
    return found[0] if found else None


def policies(reader: Reader, most: int = 100) -> list[dict[str, Any]]:
    """The newest versions, newest first."""
    return reader.frame(
        """SELECT version, changed_at, changed_by, reason, policy::VARCHAR AS policy
        FROM gateway_policy ORDER BY version DESC LIMIT $most""",
        most=most,
    ).to_dicts()


def newest_decision(reader: Reader) -> int | None:
    """The number of the autoscaler's newest decision; None before the first."""
    found = reader.scalar("SELECT max(decision_id) FROM decision")
    return None if found is None else int(found)


def lengths(reader: Reader, since: datetime) -> pl.DataFrame:
    """How long answers were, of the live fleet.

    Args:
        reader: the store.
        since: naive UTC.

    Returns:
        model, tenant, bin (log2 of the prompt's tokens, rounded down), requests, mean_tokens,
        likely_tokens (0.9 quantile). NULL tenant or bin means all of them; groups of fewer than
        LEAST_ROWS are left out.
    """
    return reader.frame(_LENGTHS, since=since)
