"""How long requests take, by length of their input: next to nobody else, and as it was."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from store.queries.scope import Scope
from store.queries.served import IS_WHOLE
from store.queries.slo import OCTAVE_SQL
from store.queries.tenant_rows import Use, parts, rolled_sql, rows_sql
from store.queries.workload import FrameReader, where


def alone(
    reader: FrameReader, scope: Scope, bins: Sequence[int], width_seconds: float
) -> pl.DataFrame:
    """How long requests took that came in some bins of time, by length of their input.

    Args:
        reader: the store.
        scope: range and labels.
        bins: their numbers; bin 0 begins with the range.
        width_seconds: of a bin, > 0.

    Returns:
        octave (log2 of the input tokens, rounded down), requests, ttft_seconds (median), paced
        (requests of two tokens and more), tpot_seconds (median of those).
    """
    condition, params = where(scope, every_attempt=True)
    return reader.frame(
        f"""SELECT octave, count(*) AS requests, median(ttft_seconds) AS ttft_seconds,
  count(tpot_seconds) AS paced, median(tpot_seconds) AS tpot_seconds
FROM (SELECT {OCTAVE_SQL} AS octave, r.ttft_seconds, CASE WHEN r.output_tokens >= 2
    THEN (r.e2e_seconds - r.ttft_seconds) / (r.output_tokens - 1) END AS tpot_seconds
  FROM request AS r WHERE {condition} AND {IS_WHOLE}
    AND get_bit($among::BIT,
      ((epoch_us(r.arrived_at) - epoch_us($start)) // {round(width_seconds * 1e6)})::INTEGER) = 1)
GROUP BY 1 ORDER BY 1""",
        among=_bits(bins, int(scope.seconds / width_seconds) + 2),
        **params,
    )


def _bits(places: Sequence[int], size: int) -> str:
    """A digit for each place, 1 for those that are named: the store finds one of them at once."""
    found = ["0"] * size
    for place in places:
        found[place] = "1"
    return "".join(found)


def durations(reader: FrameReader, scope: Scope, *, use: Use = "auto") -> pl.DataFrame:
    """How long requests took in all, by tenant and length of their input.

    Returns:
        tenant, octave, requests, e2e_seconds (sum), later_tokens (tokens after the first, sum).
    """
    split = parts(reader, scope, use=use)
    rows, params = rows_sql(scope, split.raw)
    text = f"""SELECT l.tenant, octave, requests, e2e_seconds, later_tokens
FROM (SELECT r.labels_id, {OCTAVE_SQL} AS octave, count(*) AS requests,
    sum(r.e2e_seconds) AS e2e_seconds, sum(r.output_tokens - 1) AS later_tokens
  FROM {rows} WHERE {IS_WHOLE} GROUP BY 1, 2) JOIN request_labels AS l USING (labels_id)"""
    if split.rolled:
        condition, more = rolled_sql(scope, "hour_at", split.rolled)
        params |= more
        text = f"""{text}
UNION ALL
SELECT tenant, input_octave, whole, e2e_seconds, later_tokens
FROM rollup_tenant WHERE {condition} AND whole > 0"""
    return reader.frame(
        f"""SELECT tenant, octave, sum(requests)::BIGINT AS requests,
  sum(e2e_seconds) AS e2e_seconds, sum(later_tokens)::DOUBLE AS later_tokens
FROM ({text}) WHERE tenant IS NOT NULL GROUP BY 1, 2 ORDER BY 1, 2""",
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
