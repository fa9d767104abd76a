"""What the workload pages ask of the request tables. One query a function; frames out.

Every function takes the reader and a scope. Stamps leave as whole microseconds since 1970
(`at_us`), because arithmetic on gaps is exact on integers. Failed rows are never filtered here
unless the function says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
import polars as pl

from store.queries.scope import IS_COUNTED, Scope

Dimension = Literal["tenant", "route", "model", "instance", "source", "session"]
Stamps = npt.NDArray[np.int64]


class FrameReader(Protocol):
    """Whoever answers a query with a frame: the store's reader, or one that also notes the text."""

    def frame(self, sql: str, **params: Any) -> pl.DataFrame:
        """The rows of one SELECT with `$name` parameters."""
        ...

    def batches(self, sql: str, **params: Any) -> Iterator[Mapping[str, npt.NDArray[Any]]]:
        """The same by column, a stretch of rows at a time; no column may hold a null."""
        ...


_CENTURY_US = 100 * 366 * 86_400 * 1_000_000
_LABEL_COLUMNS = {
    "model": "models",
    "tenant": "tenants",
    "route": "routes",
    "instance": "instances",
}


def where(
    scope: Scope, alias: str = "r", *, every_attempt: bool = False
) -> tuple[str, dict[str, Any]]:
    """The condition that keeps a scope's request rows, and the parameters it binds.

    Args:
        scope: what is asked for.
        alias: the name of the `request` table in the query.
        every_attempt: also rows of attempts that another followed; else a request is one row.
    """
    params: dict[str, Any] = {"start": naive(scope.start), "end": naive(scope.end)}
    parts = [
        f"{alias}.source_id IN ({_ids(scope)})",
        f"{alias}.arrived_at >= $start",
        f"{alias}.arrived_at < $end",
        *(() if every_attempt else (IS_COUNTED.replace("r.", f"{alias}."),)),
    ]
    labels, values = labels_condition(scope, alias)
    return " AND ".join([*parts, *labels]), params | values


def labels_condition(scope: Scope, alias: str) -> tuple[list[str], dict[str, Any]]:
    """What a scope's labels ask of a `labels_id`: no condition or one, and its parameters."""
    chosen = {column: getattr(scope, field) for column, field in _LABEL_COLUMNS.items()}
    meant = {column: values for column, values in chosen.items() if values}
    if not meant:
        return [], {}
    names = " AND ".join(f"{column} IN ${_LABEL_COLUMNS[column]}" for column in meant)
    condition = f"{alias}.labels_id IN (SELECT labels_id FROM request_labels WHERE {names})"
    return [condition], {_LABEL_COLUMNS[column]: list(values) for column, values in meant.items()}


def naive(at: datetime) -> datetime:
    """An aware UTC time as the store keeps it: without its zone."""
    return at.replace(tzinfo=None)


def aware(at: datetime) -> datetime:
    """A time of the store with its zone, UTC, put back."""
    return at.replace(tzinfo=UTC)


def source_spans(reader: FrameReader) -> pl.DataFrame:
    """source_id, source, first_at, last_at (naive; null without a request) of every source."""
    return reader.frame("""
        SELECT s.source_id, s.name AS source, min(r.arrived_at) AS first_at,
               max(r.arrived_at) AS last_at
        FROM source AS s LEFT JOIN request AS r USING (source_id)
        GROUP BY ALL ORDER BY s.source_id""")


def sources(reader: FrameReader, scope: Scope) -> pl.DataFrame:
    """source_id, source, kind, format, clock, prefix_block_tokens of the scope's sources, by id."""
    return reader.frame(f"""
        SELECT source_id, name AS source, kind, format, clock, prefix_block_tokens
        FROM source WHERE source_id IN ({_ids(scope)}) ORDER BY source_id""")


def spans(reader: FrameReader, scope: Scope) -> pl.DataFrame:
    """What the scope's sources hold in all, whatever its range and labels; reads every row.

    Returns:
        source_id, requests, rates (client windows), first_at, last_at (naive; null without any).
    """
    return reader.frame(f"""
        SELECT source_id, sum(requests)::BIGINT AS requests, sum(rates)::BIGINT AS rates,
               min(first_at) AS first_at, max(last_at) AS last_at
        FROM (
          SELECT source_id, count(*) AS requests, 0 AS rates, min(arrived_at) AS first_at,
                 max(arrived_at) AS last_at
          FROM request WHERE source_id IN ({_ids(scope)}) GROUP BY source_id
          UNION ALL
          SELECT source_id, 0, count(*), min(window_start_at), max(window_start_at)
          FROM client_rate WHERE source_id IN ({_ids(scope)}) GROUP BY source_id)
        GROUP BY source_id ORDER BY source_id""")


def arrival_stamps(reader: FrameReader, scope: Scope, source_id: int) -> Stamps:
    """When each request of one source arrived: microseconds since 1970, in stored order."""
    condition, params = where(scope)
    pieces = reader.batches(
        f"""SELECT r.arrived_at FROM request AS r
        WHERE {condition} AND r.source_id = {int(source_id)}""",
        **params,
    )
    parts = [piece["arrived_at"].view(np.int64) for piece in pieces]
    return np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)


def session_totals(reader: FrameReader, scope: Scope) -> pl.DataFrame:
    """What each session asked for.

    Returns:
        session (its own name), requests (attempted), failed (any status but ok), inputs and
        input_tokens (requests with known input, and their sum), outputs and output_tokens (of
        successful ones), tokens (all known ones), first_at, last_at.
    """
    condition, params = where(scope)
    return reader.frame(
        f"""WITH counted AS (
          SELECT r.source_id, r.session_key, count(*) AS requests,
               count(*) FILTER (r.status <> 'ok') AS failed,
               count(r.input_tokens) AS inputs,
               coalesce(sum(r.input_tokens), 0)::DOUBLE AS input_tokens,
               count(r.output_tokens) FILTER (r.status = 'ok') AS outputs,
               coalesce(sum(r.output_tokens) FILTER (r.status = 'ok'), 0)::DOUBLE AS output_tokens,
               coalesce(sum(r.input_tokens), 0)::DOUBLE
                 + coalesce(sum(r.output_tokens), 0)::DOUBLE AS tokens,
               min(r.arrived_at) AS first_at, max(r.arrived_at) AS last_at
          FROM request AS r WHERE {condition} GROUP BY r.source_id, r.session_key)
        SELECT n.session_id AS session, c.requests, c.failed, c.inputs, c.input_tokens, c.outputs,
               c.output_tokens, c.tokens, c.first_at, c.last_at
        FROM counted AS c LEFT JOIN session AS n USING (source_id, session_key)""",
        **params,
    )


def client_stamps(
    reader: FrameReader, scope: Scope, dimension: Dimension
) -> tuple[Stamps, Stamps, pl.DataFrame]:
    """Who arrived when, with clients as numbers, and what the numbers mean.

    Returns:
        A number for each request of a known client and when it arrived (microseconds since 1970),
        in stored order; and (code, client).
    """
    if dimension in _CODE_COLUMNS:
        column, names = _CODE_COLUMNS[dimension]
        codes, stamps = _coded_stamps(reader, scope, column)
        return codes, stamps, reader.frame(names.format(ids=_ids(scope)))
    labels = reader.frame(
        f"""SELECT labels_id, {dimension} AS client,
               dense_rank() OVER (ORDER BY {dimension}) AS code
        FROM request_labels WHERE {dimension} IS NOT NULL"""
    )
    ids, stamps = _coded_stamps(reader, scope, "labels_id")
    known = labels["labels_id"].to_numpy()
    code_of = np.zeros(max(ids.max(initial=0), known.max(initial=0)) + 1, dtype=np.int64)
    code_of[known] = labels["code"].to_numpy()
    codes = code_of[ids]
    named = codes > 0
    if not named.all():
        codes, stamps = codes[named], stamps[named]
    return codes, stamps, labels.select("code", "client").unique("code")


def _coded_stamps(
    reader: FrameReader, scope: Scope, column: str
) -> tuple[npt.NDArray[Any], Stamps]:
    """A column and the arrival of the requests that have it."""
    condition, params = where(scope)
    pieces = list(
        reader.batches(
            f"""SELECT r.{column} AS code, r.arrived_at
            FROM request AS r WHERE {condition} AND r.{column} IS NOT NULL""",
            **params,
        )
    )
    if not pieces:
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    codes, stamps = (np.concatenate([p[name] for p in pieces]) for name in ("code", "arrived_at"))
    return codes, stamps.view(np.int64)


_CODE_COLUMNS = {
    "source": ("source_id", "SELECT source_id AS code, name AS client FROM source"),
    "session": (
        "session_key",
        "SELECT session_key AS code, any_value(session_id) AS client FROM session"
        " WHERE source_id IN ({ids}) GROUP BY session_key",
    ),
}


def client_rates(reader: FrameReader, scope: Scope) -> pl.DataFrame:
    """Rate series of clients whose requests themselves are not known.

    Returns:
        source_id, client, at (window start), window_seconds, rate_per_second, interarrival_cv,
        family, shape, scale_seconds; by source, client, at. The scope's tenants choose clients;
        its other labels cannot apply and are ignored.
    """
    chosen = "AND client IN $tenants" if scope.tenants else ""
    params: dict[str, Any] = {"start": naive(scope.start), "end": naive(scope.end)}
    if scope.tenants:
        params["tenants"] = list(scope.tenants)
    return reader.frame(
        f"""SELECT source_id, client, window_start_at AS at, window_seconds, rate_per_second,
               interarrival_cv, family, shape, scale_seconds
        FROM client_rate WHERE source_id IN ({_ids(scope)})
          AND window_start_at >= $start AND window_start_at < $end {chosen}
        ORDER BY source_id, client, window_start_at""",
        **params,
    )


def session_count(reader: FrameReader, scope: Scope) -> tuple[int, int]:
    """How many of the scope's requests name their session, and about how many sessions there are.

    The number of sessions is an estimate within a few percent (HyperLogLog).
    """
    condition, params = where(scope)
    row = reader.frame(
        f"""SELECT count(*) AS requests, approx_count_distinct(r.session_key) AS sessions
        FROM request AS r WHERE {condition} AND r.session_key IS NOT NULL""",
        **params,
    ).row(0)
    return int(row[0]), int(row[1])


def session_rows(reader: FrameReader, scope: Scope, every: int = 1) -> pl.DataFrame:
    """source_id, session_key, at_us, input_tokens of requests that name their session.

    In stored order: sorting is left to the caller, who sorts columns rather than rows.

    Args:
        reader: the store.
        scope: what is asked for.
        every: 1 for all sessions; n for about every n-th, whole. Keys are hashes, so which ones has
            nothing to do with what they hold.
    """
    condition, params = where(scope)
    chosen = f"AND r.session_key % {int(every)} = 0" if every > 1 else ""
    return reader.frame(
        f"""SELECT r.source_id, r.session_key, epoch_us(r.arrived_at) AS at_us, r.input_tokens
        FROM request AS r WHERE {condition} AND r.session_key IS NOT NULL {chosen}""",
        **params,
    )


def prefix_size(reader: FrameReader, scope: Scope) -> tuple[int, int]:
    """How many requests carry block hashes, and how many hashes they carry in all."""
    condition, params = where(scope)
    row = reader.frame(
        f"""SELECT count(*) AS requests, coalesce(sum(len(p.block_hashes)), 0)::BIGINT AS blocks
        FROM request_prefix AS p JOIN request AS r USING (source_id, request_key, arrived_at)
        WHERE {condition}""",
        **params,
    ).row(0)
    return int(row[0]), int(row[1])


def prefix_unique_blocks(reader: FrameReader, scope: Scope) -> int:
    """How many distinct blocks the scope's requests name; those of different sources differ."""
    condition, params = where(scope)
    row = reader.frame(
        f"""SELECT count(*) AS unique_blocks FROM (
          SELECT DISTINCT r.source_id, unnest(p.block_hashes) AS block
          FROM request_prefix AS p JOIN request AS r USING (source_id, request_key, arrived_at)
          WHERE {condition})""",
        **params,
    ).row(0)
    return int(row[0])


def prefix_rows(reader: FrameReader, scope: Scope) -> pl.DataFrame:
    """source_id, input_tokens, block_hashes (list of UInt64), in order of arrival.

    Requests that arrived at the same instant come in the order they were recorded.
    """
    condition, params = where(scope)
    return reader.frame(
        f"""SELECT r.source_id, r.input_tokens, p.block_hashes
        FROM request_prefix AS p JOIN request AS r USING (source_id, request_key, arrived_at)
        WHERE {condition} ORDER BY r.arrived_at, r.rowid""",
        **params,
    )


def counters_only(reader: FrameReader) -> bool:
    """Whether the live fleet has engine samples at all (they say nothing on single requests)."""
    return reader.frame("SELECT series_id FROM series LIMIT 1").height > 0


def failures_by_time(reader: FrameReader, scope: Scope, bin_seconds: int) -> pl.DataFrame:
    """At (bin start), failed (any status but ok), attempted; only bins with a request."""
    condition, params = where(scope)
    width_us = int(bin_seconds) * 1_000_000
    # Whole numbers divide in half the time of `time_bucket`, but round towards zero: bins are
    # counted from long before any time, then counted back.
    before = -(-_CENTURY_US // width_us)
    return reader.frame(
        f"""SELECT make_timestamp(bin * {width_us}) AS at, failed, attempted
        FROM (SELECT (epoch_us(r.arrived_at) + {before * width_us}) // {width_us} - {before} AS bin,
               count(*) FILTER (r.status <> 'ok') AS failed, count(*) AS attempted
        FROM request AS r WHERE {condition} GROUP BY 1) ORDER BY 1""",
        **params,
    )


def _ids(scope: Scope) -> str:
    return ", ".join(str(int(source_id)) for source_id in scope.source_ids) or "NULL"
