"""What a row of `request` tells of waiting and service, and the sums that are made of it, as SQL.

Service of a request is w_in x (input - cached) + w_cached x cached + w_out x output tokens. It is
spread evenly from the first token to the end, as in the artifact of VTC (arXiv 2401.00588). A
course over time is kept as sums by bin from which its value at every edge of a bin follows exactly:
with r = service / (end - first), the service given until t is the sum of r (t - first) over those
that began, less the sum of r (t - end) over those that ended.
"""

from __future__ import annotations

from store.queries.scope import IS_COUNTED

LOOK_BACK_SECONDS = 3600.0
"""Requests that came so long before the range may still be served or wait in it."""
INSTANT_SECONDS = 1e-3
"""Answers that took less to come are counted at their end."""
PREFILL_SECONDS = 1.0
"""Where a row tells its first token but neither queue nor prefill, the last second of that time is
taken for its prefill: whoever is served within a second does not wait for others."""
_LONGEST_SECONDS = 1e9
"""No request takes longer; whatever says so is counted there, where numbers still hold it."""

_QUEUE = "CASE WHEN r.queue_seconds >= 0 THEN r.queue_seconds END"
WAITED = f"""coalesce({_QUEUE},
  CASE WHEN r.ttft_seconds IS NOT NULL
       THEN greatest(r.ttft_seconds - coalesce(r.prefill_seconds, {PREFILL_SECONDS}), 0)
       WHEN r.status <> 'ok' THEN r.e2e_seconds END)"""
"""Seconds that a row waited; NULL where that is not known."""
IS_WHOLE = """r.status = 'ok' AND r.input_tokens IS NOT NULL AND r.output_tokens >= 1
  AND r.ttft_seconds IS NOT NULL AND r.e2e_seconds >= r.ttft_seconds"""
"""Whether a row tells how long it took, and what for."""
_FIRST = "coalesce(r.ttft_seconds, 0)"
_END = "greatest(coalesce(r.e2e_seconds, r.ttft_seconds, 0), coalesce(r.ttft_seconds, 0))"


def _micros(seconds: str) -> str:
    # Whole microseconds: a bin is then the same one, from whichever zero it is counted.
    # (`least` would make a number of what is unknown.)
    cut = f"CASE WHEN {seconds} > {_LONGEST_SECONDS} THEN {_LONGEST_SECONDS} ELSE {seconds} END"
    return f"CAST({cut} * 1e6 AS BIGINT)"


def flows_sql(keys: str, rows: str, cost: str, zero: str, width_us: str) -> str:
    """Sums by key and bin from which courses over time are made.

    Args:
        keys: names of columns that `rows` tells beside those of `request`.
        rows: SQL of what follows FROM, with `request` as r, and its conditions.
        cost: SQL of the service of a row.
        zero: SQL of the time at which bin 0 begins.
        width_us: SQL of the width of a bin in microseconds.

    Returns:
        SQL of the keys, bin, asked (service asked for by those that came), refused (the same of
        requests that were refused, as far as their size is known), rate (sum of r of those that
        began, less those that ended), rising (service in that bin beyond the rate it began with),
        waiting and running (requests that began less those that ended to wait, and to be there).
        Of one key and bin there may be several rows, which add up.
    """
    return f"""timed AS MATERIALIZED (
  SELECT {keys}, cost, is_refused, waits, runs, came_us, came_us + first_us AS first_us,
    came_us + done_us AS end_us, came_us + waited_us AS left_us,
    CASE WHEN NOT is_refused AND done_us - first_us >= {INSTANT_SECONDS * 1e6}
         THEN cost * 1e6 / (done_us - first_us) END AS rate
  FROM (
    SELECT {keys}, r.status = 'refused' AS is_refused, {cost} AS cost,
      epoch_us(r.arrived_at) - epoch_us({zero}) AS came_us, {_micros(_FIRST)} AS first_us,
      {_micros(_END)} AS done_us, {_micros(WAITED)} AS waited_us,
      {IS_COUNTED} AND waited_us > 0 AS waits,
      {IS_COUNTED} AND r.e2e_seconds IS NOT NULL AND NOT is_refused AS runs
    FROM {rows})
)
SELECT {keys}, floor(came_us / {width_us})::BIGINT AS bin,
  coalesce(sum(cost) FILTER (NOT is_refused), 0) AS asked,
  coalesce(sum(cost) FILTER (is_refused), 0) AS refused, 0.0::DOUBLE AS rate, 0.0::DOUBLE AS rising,
  count(*) FILTER (waits) AS waiting, count(*) FILTER (runs) AS running
FROM timed GROUP BY ALL
UNION ALL
SELECT {keys}, floor(first_us / {width_us})::BIGINT AS bin, 0.0, 0.0, sum(rate),
  sum(rate * ((floor(first_us / {width_us}) + 1) * {width_us} - first_us)) / 1e6, 0, 0
FROM timed WHERE rate IS NOT NULL GROUP BY ALL
UNION ALL
SELECT {keys}, floor(end_us / {width_us})::BIGINT AS bin, 0.0, 0.0, coalesce(-sum(rate), 0),
  coalesce(sum(CASE WHEN rate IS NULL THEN cost ELSE
    -rate * ((floor(end_us / {width_us}) + 1) * {width_us} - end_us) / 1e6 END), 0),
  0, -count(*) FILTER (runs)
FROM timed WHERE NOT is_refused GROUP BY ALL
UNION ALL
SELECT {keys}, floor(left_us / {width_us})::BIGINT AS bin, 0.0, 0.0, 0.0, 0.0, -count(*), 0
FROM timed WHERE waits GROUP BY ALL"""


def sums_sql(cost: str) -> str:
    """Columns that tell what a group of rows sent, as `rollup_tenant` keeps them.

    A request of several attempts is one, that of its last; cost and lengths are of all of them.
    """
    return f"""count(*) FILTER ({IS_COUNTED}) AS requests,
    count({cost}) FILTER ({IS_COUNTED}) AS sized, coalesce(sum({cost}), 0)::DOUBLE AS cost,
    coalesce(sum(r.input_tokens) FILTER ({IS_COUNTED}), 0)::DOUBLE AS input_tokens,
    max(r.input_tokens)::DOUBLE AS longest_input,
    count({WAITED}) FILTER ({IS_COUNTED}) AS waits,
    coalesce(sum({WAITED}) FILTER ({IS_COUNTED}), 0)::DOUBLE AS waited_seconds,
    count(r.e2e_seconds) FILTER ({IS_COUNTED}) AS timed,
    coalesce(sum(r.tenant_weight) FILTER ({IS_COUNTED}), 0)::DOUBLE AS weight_sum,
    count(r.tenant_weight) FILTER ({IS_COUNTED}) AS weighted,
    count(*) FILTER ({IS_WHOLE}) AS whole,
    coalesce(sum(r.e2e_seconds) FILTER ({IS_WHOLE}), 0)::DOUBLE AS e2e_seconds,
    coalesce(sum(r.output_tokens - 1) FILTER ({IS_WHOLE}), 0)::DOUBLE AS later_tokens"""
