"""What tenants asked for, got and waited for: sums over time, so millions of rows become a few.

Service of a request is w_in x (input - cached) + w_cached x cached + w_out x output tokens. It is
spread evenly from the first token to the end, as in the artifact of VTC (arXiv 2401.00588). A
course over time is kept as sums by bin from which its value at every edge of a bin follows exactly:
with r = service / (end - first), the service given until t is the sum of r (t - first) over those
that began, less the sum of r (t - end) over those that ended.
"""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import timedelta

import polars as pl

from store.queries.log_bins import log_bin_sql
from store.queries.scope import IS_COUNTED, Scope
from store.queries.slo import GoodRule, labels_sql, outcome_sql, source_sql
from store.queries.token_cost import Cost, double
from store.queries.workload import FrameReader, naive, where

LOOK_BACK_SECONDS = 3600.0
"""Requests that came so long before the range may still be served or wait in it."""
INSTANT_SECONDS = 1e-3
"""Answers that took less to come are counted at their end."""
PREFILL_SECONDS = 1.0
"""Where a row tells its first token but neither queue nor prefill, the last second of that time is
taken for its prefill: whoever is served within a second does not wait for others."""


NOBODY = -1
"""Slot of requests that name no tenant: they are load, and nobody's share."""

_QUEUE = "CASE WHEN r.queue_seconds >= 0 THEN r.queue_seconds END"
_WAITED = f"""coalesce({_QUEUE},
  CASE WHEN r.ttft_seconds IS NOT NULL
       THEN greatest(r.ttft_seconds - coalesce(r.prefill_seconds, {PREFILL_SECONDS}), 0)
       WHEN r.status <> 'ok' THEN r.e2e_seconds END)"""
_FIRST = "coalesce(r.ttft_seconds, 0)"
_END = "greatest(coalesce(r.e2e_seconds, r.ttft_seconds, 0), coalesce(r.ttft_seconds, 0))"


def tenants(reader: FrameReader, scope: Scope, cost: Cost) -> pl.DataFrame:
    """What each tenant sent in the range, by outcome and logarithmic bin of its first token.

    A request of several attempts is one, that of its last; `cost` is of all of them.

    Returns:
        tenant (null = not told), status, log_bin (null = no first token), requests, sized (requests
        of known size), cost (service of those), input_tokens, waits (requests whose wait is known),
        waited_seconds, timed (requests whose end is known), longest_input (tokens), weight_sum and
        weighted (sum of the weights that the gateway told, and how many did).
    """
    condition, params = where(scope, every_attempt=True)
    return reader.frame(
        f"""WITH counted AS (
  SELECT r.labels_id, r.status, {log_bin_sql("r.ttft_seconds")} AS log_bin,
    {IS_COUNTED} AS is_counted,
    count(*) AS requests, count({cost.sql()}) AS sized, sum({cost.sql()}) AS cost,
    sum(r.input_tokens) AS input_tokens, max(r.input_tokens) AS longest_input,
    count({_WAITED}) AS waits, sum({_WAITED}) AS waited_seconds, count(r.e2e_seconds) AS timed,
    sum(r.tenant_weight) AS weight_sum, count(r.tenant_weight) AS weighted
  FROM request AS r WHERE {condition} GROUP BY ALL)
SELECT l.tenant, c.status::VARCHAR AS status, c.log_bin,
  coalesce(sum(c.requests) FILTER (is_counted), 0)::BIGINT AS requests,
  coalesce(sum(c.sized) FILTER (is_counted), 0)::BIGINT AS sized,
  coalesce(sum(c.cost), 0)::DOUBLE AS cost,
  coalesce(sum(c.input_tokens) FILTER (is_counted), 0)::DOUBLE AS input_tokens,
  coalesce(sum(c.waits) FILTER (is_counted), 0)::BIGINT AS waits,
  coalesce(sum(c.waited_seconds) FILTER (is_counted), 0)::DOUBLE AS waited_seconds,
  coalesce(sum(c.timed) FILTER (is_counted), 0)::BIGINT AS timed,
  max(c.longest_input)::DOUBLE AS longest_input,
  coalesce(sum(c.weight_sum) FILTER (is_counted), 0)::DOUBLE AS weight_sum,
  coalesce(sum(c.weighted) FILTER (is_counted), 0)::BIGINT AS weighted
FROM counted AS c JOIN request_labels AS l USING (labels_id)
GROUP BY ALL ORDER BY 1, 2, 3""",
        **params,
    )


def flows(
    reader: FrameReader, scope: Scope, cost: Cost, names: list[str], width_seconds: float
) -> pl.DataFrame:
    """Sums by tenant and bin from which courses over time are made, see the head of this module.

    Args:
        reader: the store.
        scope: range and labels; requests that came up to an hour before the range count as far as
            they were served or waited in it.
        cost: service of a token.
        names: the tenants that are told apart; all others are one.
        width_seconds: of a bin, > 0; bin 0 begins with the range.

    Returns:
        slot (place in `names`; null for all others, -1 for those of no tenant), bin, asked (service
        asked for; in bin -1 what was left of requests from before), refused (the same of requests
        that were refused, as far as their size is known), began and ended (sums of r), began_left
        and ended_left (sums of r times what was left of the bin), at_once (service that came at one
        moment), came and left_line (requests that began and ended to wait), entered and done
        (requests that came and ended, of those whose end is known).
    """
    reach = replace(scope, start=scope.start - timedelta(seconds=LOOK_BACK_SECONDS))
    condition, params = where(reach, every_attempt=True)
    params |= {"names": names, "zero": naive(scope.start)}
    bins = math.ceil(scope.seconds / width_seconds)
    text = _FLOWS.format(
        cost=cost.sql(), condition=condition, width=double(width_seconds), bins=bins
    )
    return reader.frame(text, **params)


_FLOWS = f"""
WITH known AS (
  SELECT labels_id, CASE WHEN tenant IS NULL THEN {NOBODY}
                         ELSE list_position($names, tenant) - 1 END AS slot
  FROM request_labels
), rows AS (
  SELECT l.slot, r.status = 'refused' AS is_refused, {{cost}} AS cost,
    (epoch_us(r.arrived_at) - epoch_us($zero)) / 1e6 AS came_at,
    {_FIRST} AS first, {_END} AS done, {_WAITED} AS waited,
    {IS_COUNTED} AS is_counted, r.e2e_seconds IS NOT NULL AS is_told
  FROM request AS r JOIN known AS l USING (labels_id)
  WHERE {{condition}}
), timed AS (
  SELECT slot, is_refused, cost, came_at,
    greatest(came_at + first, 0) AS first_at, came_at + done AS end_at, came_at + waited AS left_at,
    CASE WHEN done - first >= {INSTANT_SECONDS} THEN cost / (done - first) END AS rate,
    is_counted AND waited > 0 AND came_at + waited >= 0 AS waits,
    is_counted AND is_told AND NOT is_refused AND came_at + done >= 0 AS runs
  FROM rows
), binned AS MATERIALIZED (
  SELECT *, floor(came_at / {{width}})::INTEGER AS came_bin,
    CASE WHEN NOT is_refused AND end_at >= 0 THEN floor(first_at / {{width}})::INTEGER END
      AS first_bin,
    CASE WHEN NOT is_refused AND end_at >= 0 THEN floor(end_at / {{width}})::INTEGER END AS end_bin,
    CASE WHEN waits THEN floor(left_at / {{width}})::INTEGER END AS left_bin
  FROM timed
), parts AS (
  SELECT slot, greatest(came_bin, -1) AS bin,
    sum(CASE WHEN came_at >= 0 THEN cost
             WHEN rate IS NULL THEN cost * (end_at >= 0)::INTEGER
             ELSE rate * greatest(end_at - first_at, 0) END) FILTER (NOT is_refused) AS asked,
    sum(cost) FILTER (is_refused AND came_at >= 0) AS refused,
    0.0 AS began, 0.0 AS began_left, 0.0 AS ended, 0.0 AS ended_left, 0.0 AS at_once,
    count(*) FILTER (waits) AS came, 0 AS left_line, count(*) FILTER (runs) AS entered, 0 AS done
  FROM binned GROUP BY 1, 2
  UNION ALL
  SELECT slot, first_bin, 0.0, 0.0, sum(rate), sum(rate * ((first_bin + 1) * {{width}} - first_at)),
    0.0, 0.0, 0.0, 0, 0, 0, 0
  FROM binned WHERE first_bin < {{bins}} GROUP BY 1, 2
  UNION ALL
  SELECT slot, end_bin, 0.0, 0.0, 0.0, 0.0, sum(rate),
    sum(rate * ((end_bin + 1) * {{width}} - end_at)), sum(cost) FILTER (rate IS NULL), 0, 0, 0,
    count(*) FILTER (runs)
  FROM binned WHERE end_bin < {{bins}} GROUP BY 1, 2
  UNION ALL
  SELECT slot, left_bin, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0, count(*), 0, 0
  FROM binned WHERE left_bin < {{bins}} GROUP BY 1, 2
)
SELECT slot, bin, coalesce(sum(asked), 0) AS asked, coalesce(sum(refused), 0) AS refused,
  coalesce(sum(began), 0) AS began, coalesce(sum(began_left), 0) AS began_left,
  coalesce(sum(ended), 0) AS ended, coalesce(sum(ended_left), 0) AS ended_left,
  coalesce(sum(at_once), 0) AS at_once,
  sum(came)::BIGINT AS came, sum(left_line)::BIGINT AS left_line,
  sum(entered)::BIGINT AS entered, sum(done)::BIGINT AS done
FROM parts GROUP BY 1, 2 ORDER BY 1, 2
"""


def attainment(reader: FrameReader, scope: Scope, rule: GoodRule) -> pl.DataFrame:
    """Good and bad requests of each tenant by one rule, each by its last attempt.

    Returns:
        tenant, good, bad (undetermined ones are in neither).
    """
    condition, params = where(scope)
    verdict = outcome_sql(rule, params, "rule")
    meant = labels_sql(rule.labels, params, "meant")
    return reader.frame(
        f"""WITH counted AS (
  SELECT r.labels_id, count(*) FILTER (WHERE {verdict}) AS good,
    count(*) FILTER (WHERE NOT {verdict}) AS bad
  FROM request AS r WHERE {condition} AND {source_sql(scope, rule)} GROUP BY 1)
SELECT tenant, sum(good)::BIGINT AS good, sum(bad)::BIGINT AS bad
FROM counted JOIN request_labels USING (labels_id)
WHERE tenant IS NOT NULL AND {meant} GROUP BY 1 ORDER BY 1""",
        **params,
    )


def first_tokens(
    reader: FrameReader, scope: Scope, names: list[str], width_seconds: float
) -> pl.DataFrame:
    """Times to first token of successful requests by tenant, time and logarithmic bin.

    Returns:
        slot (place in `names`; null for all others), bin (0 begins with the range), log_bin,
        requests.
    """
    condition, params = where(scope)
    return reader.frame(
        f"""SELECT list_position($names, l.tenant) - 1 AS slot, c.bin, c.log_bin,
  sum(c.requests)::BIGINT AS requests
FROM (
  SELECT r.labels_id, {log_bin_sql("r.ttft_seconds")} AS log_bin, count(*) AS requests,
    (epoch_us(r.arrived_at) - epoch_us($start)) // {round(width_seconds * 1e6)} AS bin
  FROM request AS r WHERE {condition} AND r.status = 'ok' AND r.ttft_seconds >= 0
  GROUP BY ALL) AS c JOIN request_labels AS l USING (labels_id)
WHERE l.tenant IS NOT NULL GROUP BY 1, 2, 3 ORDER BY 1, 2, 3""",
        names=names,
        **params,
    )


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
