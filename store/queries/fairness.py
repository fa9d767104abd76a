"""What tenants asked for, got and waited for: sums over time, so millions of rows become a few.

Long ranges come from the roll-up of tenants where it is true, and from the rows elsewhere; which it
was changes the time it takes, never the numbers. How service is spread over time, and the sums that
are made of it, stand in `store.queries.served`.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import polars as pl

from store.queries.log_bins import log_bin_sql
from store.queries.rollup import Split
from store.queries.scope import IS_COUNTED, Scope
from store.queries.served import LOOK_BACK_SECONDS, flows_sql, sums_sql
from store.queries.tenant_rows import (
    Use,
    flows_of_rollup,
    is_on_grid,
    is_on_hours,
    parts,
    rolled_sql,
    rows_sql,
)
from store.queries.token_cost import Cost, double
from store.queries.workload import FrameReader, naive

NOBODY = -1
"""Slot of requests that name no tenant: they are load, and nobody's share."""
_SUMS = {
    "requests": "BIGINT", "sized": "BIGINT", "cost": "DOUBLE", "input_tokens": "DOUBLE",
    "waits": "BIGINT", "waited_seconds": "DOUBLE", "timed": "BIGINT", "longest_input": "DOUBLE",
    "weight_sum": "DOUBLE", "weighted": "BIGINT",
}  # fmt: skip
"""Columns of `rollup_tenant` that tell what tenants sent."""
_ADDED = ", ".join(
    f"max({name}) AS {name}" if name == "longest_input" else f"sum({name})::{kind} AS {name}"
    for name, kind in _SUMS.items()
)


def tenants(reader: FrameReader, scope: Scope, cost: Cost, *, use: Use = "auto") -> pl.DataFrame:
    """What each tenant sent in the range, by outcome and logarithmic bin of its first token.

    A request of several attempts is one, that of its last; `cost` is of all of them.

    Args:
        reader: the store.
        scope: range and labels.
        cost: service of a token.
        use: "rows" is for tests.

    Returns:
        tenant (null = not told), status, log_bin (null = no first token, or what is of all of
        them), first_tokens (requests whose first token fell there), requests, sized (requests of
        known size), cost (service of those), input_tokens, waits (requests whose wait is known),
        waited_seconds, timed (requests whose end is known), longest_input (tokens), weight_sum and
        weighted (sum of the weights that the gateway told, and how many did). Rows add up.
    """
    split = parts(reader, scope, cost, use)
    text, params = _tenants_of_rows(scope, cost, split)
    if split.rolled:
        rolled, more = _tenants_of_rollup(scope, split)
        text, params = f"{text}\nUNION ALL\n{rolled}", params | more
    return reader.frame(
        f"""SELECT tenant, status::VARCHAR AS status, log_bin,
  sum(first_tokens)::BIGINT AS first_tokens, {_ADDED}
FROM ({text})
GROUP BY ALL ORDER BY 1, 2, 3""",
        **params,
    )


def flows(
    reader: FrameReader,
    scope: Scope,
    cost: Cost,
    names: list[str],
    width_seconds: float,
    *,
    use: Use = "auto",
) -> pl.DataFrame:
    """Sums by tenant and bin from which courses over time are made.

    Args:
        reader: the store.
        scope: range and labels; requests that came up to an hour before the range count as far as
            they were served or waited in it.
        cost: service of a token.
        names: the tenants that are told apart; all others are one.
        width_seconds: of a bin, > 0; bin 0 begins with the range, those before have numbers below.
        use: "rows" is for tests.

    Returns:
        slot (place in `names`; null for all others, -1 for those of no tenant), bin, and the sums
        of `store.queries.served.flows_sql`. Rows of one slot and bin add up.
    """
    reach = replace(scope, start=scope.start - timedelta(seconds=LOOK_BACK_SECONDS))
    split = parts(reader, reach, cost, use if is_on_grid(scope, width_seconds) else "rows")
    rows, params = rows_sql(reach, split.raw)
    width_us, zero = double(width_seconds * 1e6), {"zero": naive(scope.start)}
    found = flows_sql("slot", f"{rows} JOIN known USING (labels_id)", cost.sql(), "$zero", width_us)
    told = reader.frame(f"{_FLOWS}({_KNOWN}{found}) GROUP BY ALL", names=names, **params, **zero)
    if not split.rolled:
        return told
    text, params = flows_of_rollup(scope, split.rolled, width_seconds)
    rolled = reader.frame(
        f"SELECT {_slot('tenant')} AS slot, * EXCLUDE (tenant) FROM ({text})", names=names, **params
    )
    return pl.concat([told, rolled], how="vertical_relaxed")


def _slot(tenant: str) -> str:
    return f"CASE WHEN {tenant} IS NULL THEN {NOBODY} ELSE list_position($names, {tenant}) - 1 END"


_KNOWN = f"""WITH known AS (SELECT labels_id, {_slot("tenant")} AS slot FROM request_labels), """

_FLOWS = """SELECT slot, bin, sum(asked) AS asked, sum(refused) AS refused, sum(rate) AS rate,
  sum(rising) AS rising, sum(waiting)::BIGINT AS waiting, sum(running)::BIGINT AS running
FROM """


def _tenants_of_rows(scope: Scope, cost: Cost, split: Split) -> tuple[str, dict[str, Any]]:
    rows, params = rows_sql(scope, split.raw)
    names = ", ".join(f"c.{name}" for name in _SUMS)
    return (
        f"""SELECT l.tenant, c.status, c.log_bin,
  CASE WHEN c.log_bin IS NULL THEN 0 ELSE c.requests END AS first_tokens, {names}
FROM (SELECT r.labels_id, r.status, {log_bin_sql("r.ttft_seconds")} AS log_bin,
    {sums_sql(cost.sql())}
  FROM {rows} GROUP BY ALL) AS c JOIN request_labels AS l USING (labels_id)""",
        params,
    )


def _tenants_of_rollup(scope: Scope, split: Split) -> tuple[str, dict[str, Any]]:
    of_hour, params = rolled_sql(scope, "hour_at", split.rolled)
    of_bucket, _ = rolled_sql(scope, "bucket_at", split.rolled)
    nothing = ", ".join("NULL" if name == "longest_input" else "0" for name in _SUMS)
    return (
        f"""SELECT tenant, status, NULL AS log_bin, 0 AS first_tokens, {_ADDED}
FROM rollup_tenant WHERE {of_hour} GROUP BY tenant, status
UNION ALL
SELECT tenant, status, log_bin, sum(request_count) AS first_tokens, {nothing}
FROM rollup_1h WHERE quantity = 'ttft' AND {of_bucket} GROUP BY tenant, status, log_bin""",
        params,
    )


def first_tokens(
    reader: FrameReader,
    scope: Scope,
    names: list[str],
    width_seconds: float,
    *,
    use: Use = "auto",
) -> pl.DataFrame:
    """Times to first token of successful requests by tenant, time and logarithmic bin.

    Bins of whole hours come from the roll-up where it is true.

    Args:
        reader: the store.
        scope: range and labels.
        names: the tenants that are told apart.
        width_seconds: of a bin of time; bin 0 begins with the range.
        use: "rows" is for tests.

    Returns:
        slot (place in `names`; null for all others), bin, log_bin, requests. Rows add up.
    """
    width_us, zero = round(width_seconds * 1e6), {"zero": naive(scope.start)}
    split = parts(reader, scope, use=use if is_on_hours(scope, width_seconds) else "rows")
    text, params = _first_tokens_of_rows(scope, split, width_us)
    if split.rolled:
        condition, more = rolled_sql(scope, "bucket_at", split.rolled)
        params |= more
        text = f"""{text}
UNION ALL
SELECT list_position($names, tenant) - 1 AS slot, {_bin_sql("bucket_at", width_us)}, log_bin,
  sum(request_count)::BIGINT
FROM rollup_1h
WHERE quantity = 'ttft' AND status = 'ok' AND tenant IS NOT NULL AND {condition} GROUP BY ALL"""
    return reader.frame(text, names=names, **params, **zero)


def _first_tokens_of_rows(scope: Scope, split: Split, width_us: int) -> tuple[str, dict[str, Any]]:
    rows, params = rows_sql(scope, split.raw)
    # By tenant at once: by labels there are three times as many groups.
    return (
        f"""SELECT slot, {_bin_sql("r.arrived_at", width_us)} AS bin,
  {log_bin_sql("r.ttft_seconds")} AS log_bin, count(*) AS requests
FROM {rows} JOIN (
  SELECT labels_id, list_position($names, tenant) - 1 AS slot
  FROM request_labels WHERE tenant IS NOT NULL) USING (labels_id)
WHERE {IS_COUNTED} AND r.status = 'ok' AND r.ttft_seconds IS NOT NULL
GROUP BY ALL""",
        params,
    )


def _bin_sql(at: str, width_us: int) -> str:
    return f"(epoch_us({at}) - epoch_us($zero)) // {width_us}"


def cache_tokens(reader: FrameReader, scope: Scope) -> pl.DataFrame:
    """Tokens that the KV cache of each engine holds, as its signals say.

    Returns:
        target, cache_tokens (the largest value in the range; null where it is not told).
    """
    return reader.frame(
        """WITH told AS (
  SELECT s.target_id, s.signal, max(p.value) AS value
  FROM sample AS p JOIN series AS s USING (series_id)
  WHERE p.sampled_at >= $start AND p.sampled_at < $end AND s.signal IN (
    'kv_cache_capacity_tokens', 'kv_cache_capacity_blocks', 'kv_cache_block_tokens')
  GROUP BY 1, 2)
SELECT t.url AS target, coalesce(max(value) FILTER (signal = 'kv_cache_capacity_tokens'),
    max(value) FILTER (signal = 'kv_cache_capacity_blocks')
    * max(value) FILTER (signal = 'kv_cache_block_tokens')) AS cache_tokens
FROM told JOIN target AS t USING (target_id) GROUP BY 1 ORDER BY 1""",
        start=naive(scope.start),
        end=naive(scope.end),
    )
