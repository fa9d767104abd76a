"""Where the time of requests goes: counts in log bins, who was served at once, single requests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from store.queries.log_bins import log_bin_sql
from store.queries.phase_sql import QUEUE_SQL
from store.queries.scope import Scope
from store.queries.workload import FrameReader, where
from store.reader import Reader

QUANTITIES: dict[str, str] = {
    "e2e": "e2e_seconds",
    "ttft": "ttft_seconds",
    "tpot": "tpot_seconds",
    "queue": "queue_seconds",
    "prefill": "prefill_seconds",
    "decode": "decode_seconds",
}
"""Name of a latency -> its column of `request`."""
INPUT_BINS_PER_OCTAVE = 4


def log_counts_by_time(
    reader: FrameReader, scope: Scope, quantity: str, width_seconds: int
) -> pl.DataFrame:
    """Successful requests by time and logarithmic bin of one latency, from the rows.

    Returns:
        at (naive), log_bin, requests.
    """
    condition, params = where(scope)
    column = f"r.{QUANTITIES[quantity]}"
    return reader.frame(
        f"""SELECT {_time_bin_sql(width_seconds)} AS at, {log_bin_sql(column)} AS log_bin,
  count(*) AS requests
FROM request AS r WHERE {condition} AND r.status = 'ok' AND {column} >= 0
GROUP BY 1, 2 ORDER BY 1, 2""",
        **params,
    )


def log_counts_by_labels(reader: FrameReader, scope: Scope, quantity: str) -> pl.DataFrame:
    """Successful requests by model, instance and logarithmic bin of one latency.

    Labels are joined after the counting: joining ten million rows costs more than counting them.

    Returns:
        model, instance (null when not known), log_bin, requests.
    """
    condition, params = where(scope)
    column = f"r.{QUANTITIES[quantity]}"
    return reader.frame(
        f"""SELECT l.model, l.instance, c.log_bin, sum(c.requests)::BIGINT AS requests
FROM (
  SELECT r.labels_id, {log_bin_sql(column)} AS log_bin, count(*) AS requests
  FROM request AS r WHERE {condition} AND r.status = 'ok' AND {column} >= 0
  GROUP BY 1, 2
) AS c JOIN request_labels AS l USING (labels_id)
GROUP BY 1, 2, 3 ORDER BY 1, 2, 3""",
        **params,
    )


def ttft_by_input(reader: FrameReader, scope: Scope) -> pl.DataFrame:
    """Successful requests by input length (four bins an octave) and logarithmic bin of TTFT.

    Returns:
        input_bin, log_bin, requests, input_tokens (sum over the requests).
    """
    condition, params = where(scope)
    return reader.frame(
        f"""SELECT floor(log2(r.input_tokens) * {INPUT_BINS_PER_OCTAVE})::INTEGER AS input_bin,
  {log_bin_sql("r.ttft_seconds")} AS log_bin, count(*) AS requests,
  sum(r.input_tokens)::BIGINT AS input_tokens
FROM request AS r
WHERE {condition} AND r.status = 'ok' AND r.input_tokens > 0 AND r.ttft_seconds >= 0
GROUP BY 1, 2 ORDER BY 1, 2""",
        **params,
    )


def occupancy(reader: FrameReader, scope: Scope) -> pl.DataFrame:
    """When each request of a scope entered and left its instance.

    A request is in the engine from its admission (arrival plus queue, where known) to its end.
    Failed ones that carry a duration count as load as well.

    Returns:
        place (a number for each instance, or model where that is not known), entered_us, left_us
        (whole microseconds since 1970), tpot_seconds (-1 unless it succeeded and is known).
    """
    condition, params = where(scope)
    return reader.frame(
        f"""WITH named AS (
  SELECT labels_id,
    (dense_rank() OVER (ORDER BY coalesce(instance, model, '')))::INTEGER AS place
  FROM request_labels)
SELECT n.place, epoch_us(r.arrived_at) + (1e6 * coalesce({QUEUE_SQL}, 0))::BIGINT AS entered_us,
  epoch_us(r.arrived_at) + (1e6 * r.e2e_seconds)::BIGINT AS left_us,
  CASE WHEN r.status = 'ok' THEN coalesce(r.tpot_seconds, -1) ELSE -1 END AS tpot_seconds
FROM request AS r JOIN named AS n USING (labels_id)
WHERE {condition} AND r.e2e_seconds >= 0""",
        **params,
    )


def _time_bin_sql(width_seconds: int) -> str:
    # Whole-number division of the stamp takes half the time of `time_bucket`.
    width = int(width_seconds) * 1_000_000
    return f"make_timestamp(epoch_us(r.arrived_at) // {width} * {width})"


REQUEST_SORTS = (
    "arrived_at", "e2e_seconds", "ttft_seconds", "tpot_seconds", "queue_seconds",
    "prefill_seconds", "decode_seconds", "input_tokens", "output_tokens",
)  # fmt: skip
_IDENTITY = "r.source_id || ':' || epoch_us(r.arrived_at) || ':' || r.request_key"
_REQUEST_COLUMNS = f"""{_IDENTITY} AS request, s.name AS source,
  r.arrived_at, r.status::VARCHAR AS status, l.tenant, l.model, l.route,
  l.instance, l.finish_reason, r.input_tokens, r.output_tokens, r.cached_tokens, r.queue_seconds,
  r.prefill_seconds, r.decode_seconds, r.ttft_seconds, r.tpot_seconds, r.e2e_seconds"""
_JOINED = """FROM request AS r JOIN source AS s USING (source_id)
JOIN request_labels AS l USING (labels_id)"""


def requests_page(
    reader: Reader,
    scope: Scope,
    *,
    sort: str,
    descending: bool,
    statuses: Sequence[str] = (),
    least_e2e_seconds: float | None = None,
    limit: int = 50,
    offset: int = 0,
) -> pl.DataFrame:
    """One page of requests; sorted and filtered by the store.

    The order is found among the narrow columns first and the rest of those rows fetched after, so
    that a page of ten million rows reads one column of them.

    Args:
        reader: the store.
        scope: which requests.
        sort: one of `REQUEST_SORTS`.
        descending: largest or newest first; unknown values are last either way.
        statuses: only these; empty means all.
        least_e2e_seconds: only requests that took at least so long.
        limit: rows of a page, >= 1.
        offset: rows before it, >= 0.

    Returns:
        request (its identity, "source:arrival in microseconds:key"), source, arrived_at, status,
        labels, lengths and latencies.
    """
    condition, params = _filtered(scope, statuses, least_e2e_seconds)
    order = f"{sort} {'DESC' if descending else 'ASC'} NULLS LAST"
    tie = f", arrived_at {'DESC' if descending else 'ASC'}" if sort != "arrived_at" else ""
    return reader.frame(
        f"""WITH page AS (
  SELECT r.rowid AS place, r.{sort} AS value, r.arrived_at AS at, r.request_key AS key
  FROM request AS r WHERE {condition}
  ORDER BY r.{order}{tie.replace("arrived_at", "r.arrived_at")}, r.request_key
  LIMIT $limit OFFSET $offset)
SELECT {_REQUEST_COLUMNS}
{_JOINED}
WHERE r.rowid IN (SELECT place FROM page) AND {condition}
ORDER BY r.{order}{tie.replace("arrived_at", "r.arrived_at")}, r.request_key""",
        limit=limit,
        offset=offset,
        **params,
    )


def requests_count(
    reader: Reader,
    scope: Scope,
    statuses: Sequence[str] = (),
    least_e2e_seconds: float | None = None,
) -> int:
    """How many requests the filters of `requests_page` leave."""
    condition, params = _filtered(scope, statuses, least_e2e_seconds)
    return int(reader.scalar(f"SELECT count(*) FROM request AS r WHERE {condition}", **params))


def _filtered(
    scope: Scope, statuses: Sequence[str], least_e2e_seconds: float | None
) -> tuple[str, dict[str, Any]]:
    condition, params = where(scope)
    if statuses:
        condition += " AND r.status IN (SELECT unnest($statuses)::request_status)"
        params["statuses"] = list(statuses)
    if least_e2e_seconds is not None:
        condition += " AND r.e2e_seconds >= $least"
        params["least"] = least_e2e_seconds
    return condition, params


def request(reader: Reader, source_id: int, arrived_us: int, key: int) -> pl.DataFrame:
    """One request by its identity; no row when it is not (or no longer) there.

    Returns:
        the columns of `requests_page`, slo_class, session_id, trace_id, decision_id,
        predicted_output_tokens.
    """
    return reader.frame(
        f"""SELECT {_REQUEST_COLUMNS}, l.slo_class, n.session_id, r.trace_id::VARCHAR AS trace_id,
  r.decision_id, r.predicted_output_tokens
{_JOINED}
LEFT JOIN session AS n ON n.source_id = r.source_id AND n.session_key = r.session_key
WHERE r.source_id = $source_id AND r.arrived_at = make_timestamp($arrived_us)
  AND r.request_key = $key""",
        source_id=source_id,
        arrived_us=arrived_us,
        key=key,
    )


def attempts(reader: Reader, source_id: int, trace_id: str, near_us: int) -> pl.DataFrame:
    """Requests of one trace within an hour of a moment: retries and fan-out show here.

    Returns:
        request, arrived_at, status, instance, e2e_seconds; by arrival.
    """
    return reader.frame(
        f"""SELECT {_IDENTITY} AS request, r.arrived_at,
  r.status::VARCHAR AS status, l.instance, r.e2e_seconds
{_JOINED}
WHERE r.source_id = $source_id AND r.trace_id = $trace_id::UUID
  AND r.arrived_at BETWEEN make_timestamp($near_us) - INTERVAL 1 HOUR
    AND make_timestamp($near_us) + INTERVAL 1 HOUR
ORDER BY r.arrived_at LIMIT 50""",
        source_id=source_id,
        trace_id=trace_id,
        near_us=near_us,
    )


def decision_in_force(reader: Reader, at_us: int, decision_id: int | None) -> pl.DataFrame:
    """The decision a request was made under: its own, else the newest before it arrived.

    Returns:
        decision_id, decided_at, pool, policy, mode; no row when none was made.
    """
    own = "decision_id = $decision_id" if decision_id is not None else "TRUE"
    params: dict[str, Any] = {"at_us": at_us}
    if decision_id is not None:
        params["decision_id"] = decision_id
    return reader.frame(
        f"""SELECT decision_id, decided_at, pool, policy, mode FROM decision
WHERE {own} AND decided_at <= make_timestamp($at_us) ORDER BY decided_at DESC LIMIT 1""",
        **params,
    )


_RESTARTS = """
SELECT target_id, count(*) - 1 AS restarts FROM (
  SELECT DISTINCT s.target_id, p.value
  FROM sample AS p JOIN series AS s USING (series_id)
  WHERE s.signal = 'engine_start_unix_seconds' AND p.sampled_at >= $start AND p.sampled_at < $end)
GROUP BY target_id
"""


def restarts(reader: Reader, scope: Scope) -> pl.DataFrame:
    """How often each target said another start time within the range: target_id, restarts."""
    start, end = scope.start.replace(tzinfo=None), scope.end.replace(tzinfo=None)
    return reader.frame(_RESTARTS, start=start, end=end)
