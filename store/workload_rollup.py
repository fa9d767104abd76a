"""Roll-up of workloads: how requests ended and how long they were, by hour of arrival.

It is made by `store.rollup.refresh` in the transaction that counts `rollup_1h`, so it is true of
the same hours. Counts are of each length and not of bins, so that quantiles stay exact.
"""

from __future__ import annotations

from store.hourly import Counted
from store.queries.scope import IS_COUNTED

OUTCOME_SUMS = """count(*) AS requests, count(r.input_tokens) AS inputs,
    sum(r.input_tokens)::BIGINT AS input_tokens, count(r.output_tokens) AS outputs,
    sum(r.output_tokens)::BIGINT AS output_tokens, min(r.arrived_at) AS first_at,
    max(r.arrived_at) AS last_at"""
"""What `rollup_outcome` keeps of the rows `r` of one source, labels and status."""


def _octave_sql(column: str) -> str:
    return f"CASE WHEN {column} > 0 THEN floor(log2({column}))::SMALLINT ELSE -1::SMALLINT END"


_ROWS = f"""(SELECT r.*, date_trunc('hour', r.arrived_at) AS hour_at FROM request AS r
      WHERE r.source_id = $source_id AND r.arrived_at >= $low AND r.arrived_at < $high
        AND {IS_COUNTED} AND date_trunc('hour', r.arrived_at) IN (SELECT bucket_at FROM {{hours}})
    ) AS r"""
COUNTED: Counted = {
    "rollup_outcome": f"""SELECT source_id, hour_at, labels_id, status, {OUTCOME_SUMS}
    FROM {_ROWS} GROUP BY source_id, hour_at, labels_id, status""",
    "rollup_length": f"""SELECT source_id, hour_at, is_output, tokens, count(*) AS requests
    FROM (
      SELECT source_id, hour_at, unnest([false, true]) AS is_output, unnest([input_tokens,
        CASE WHEN status = 'ok' THEN output_tokens END]) AS tokens
      FROM {_ROWS})
    WHERE tokens IS NOT NULL GROUP BY ALL""",
    "rollup_length_pair": f"""SELECT source_id, hour_at,
      {_octave_sql("input_tokens")} AS input_octave,
      {_octave_sql("output_tokens")} AS output_octave, count(*) AS requests,
      sum(r.input_tokens)::BIGINT AS input_tokens, sum(r.output_tokens)::BIGINT AS output_tokens
    FROM {_ROWS} WHERE status = 'ok' AND input_tokens IS NOT NULL AND output_tokens IS NOT NULL
    GROUP BY source_id, hour_at, 3, 4""",
}
