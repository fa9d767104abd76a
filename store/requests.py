"""Rows that turn out to tell of the same request: taken back, or folded into one."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from datetime import datetime, timedelta
from typing import Any

import duckdb
import polars as pl

from store.append import mark_dirty
from store.writer import Writer

LIVE_SOURCE_ID = 1
Identity = tuple[str, int]
"""request_id, and arrived_at in microseconds since 1970 UTC."""
SLACK_MICROSECONDS = 50_000


def take_back(writer: Writer, rows: Sequence[Identity]) -> Future[int]:
    """Delete live requests by their identity; gives how many there were.

    Args:
        writer: the store's writer.
        rows: request_id and arrived_at in microseconds since 1970 UTC.
    """
    frame = pl.DataFrame(
        list(rows), schema={"request_id": pl.String, "arrived_at": pl.Int64}, orient="row"
    ).with_columns(pl.col("arrived_at").cast(pl.Datetime("us")), source_id=pl.lit(LIVE_SOURCE_ID))

    def work(connection: duckdb.DuckDBPyConnection) -> int:
        connection.register("taken_back", frame.to_arrow())
        low, high = frame["arrived_at"].min(), frame["arrived_at"].max()
        (gone,) = connection.execute(
            """DELETE FROM request USING taken_back AS t
            WHERE request.source_id = t.source_id AND request.arrived_at = t.arrived_at
              AND request.request_key = hash(t.request_id)
              AND request.arrived_at BETWEEN $low AND $high""",
            {"low": low, "high": high},
        ).fetchall()[0]
        if gone:
            mark_dirty(connection, "taken_back")
        connection.unregister("taken_back")
        return int(gone)

    return writer.run(work)


def fold(writer: Writer, pairs: Sequence[tuple[Identity, Identity]]) -> Future[int]:
    """Make one row of two live ones: the gateway's stays, with what only the engine knows.

    The engine's word is taken for tokens, prefill and decode; its own waiting is added to that in
    the gateway's line. Done again it changes nothing.

    Args:
        writer: the store's writer.
        pairs: of the gateway's row and the engine's.

    Returns:
        A future: how many of the engines' rows are gone.
    """
    told = [(*outer, *inner) for outer, inner in pairs]
    frame = pl.DataFrame(told, schema=_PAIR, orient="row").with_columns(
        pl.col("outer_at", "inner_at").cast(pl.Datetime("us"))
    )

    def work(connection: duckdb.DuckDBPyConnection) -> int:
        connection.register("told_twice", frame.to_arrow())
        keys = "hash(outer_id) AS outer_key, outer_at, hash(inner_id) AS inner_key, inner_at"
        found = f"SELECT {keys} FROM told_twice"
        gone = _fold(connection, found, frame["inner_at"].min(), frame["inner_at"].max(), frame)
        connection.unregister("told_twice")
        return gone

    return writer.run(work)


def fold_late(
    connection: duckdb.DuckDBPyConnection, rows: Sequence[tuple[str, int, int, str]]
) -> int:
    """The same for rows of gateways that nobody remembers: partners are found in the store.

    Args:
        connection: the writer's, in a transaction.
        rows: request_id, arrived_at and end in microseconds, trace_id.
    """
    frame = pl.DataFrame(rows, schema=_LATE, orient="row")
    connection.register("told_late", frame.to_arrow())
    slack = SLACK_MICROSECONDS
    low, high = (
        _moment(frame["outer_at"].min()) - timedelta(microseconds=slack),
        _moment(frame["outer_end"].max()) + timedelta(microseconds=slack),
    )
    # One attempt of several: that which covers the engine's time most closely.
    found = f"""SELECT hash(t.outer_id) AS outer_key, make_timestamp(t.outer_at) AS outer_at,
      e.request_key AS inner_key, e.arrived_at AS inner_at
    FROM told_late AS t JOIN request AS e ON e.trace_id = t.trace_id::UUID
    WHERE e.source_id = {LIVE_SOURCE_ID} AND e.attempt IS NULL
      AND e.arrived_at BETWEEN $low AND $high
      AND epoch_us(e.arrived_at) BETWEEN t.outer_at - {slack} AND t.outer_end + {slack}
      AND epoch_us(e.arrived_at) + coalesce(e.e2e_seconds, 0) * 1e6 <= t.outer_end + {slack}
    QUALIFY row_number() OVER (PARTITION BY t.outer_id ORDER BY e.arrived_at, e.request_key) = 1
      AND row_number() OVER (
        PARTITION BY e.arrived_at, e.request_key ORDER BY t.outer_end, t.outer_id) = 1"""
    frame = frame.with_columns(pl.col("outer_at").cast(pl.Datetime("us")))
    gone = _fold(connection, found, low, high, frame)
    connection.unregister("told_late")
    return gone


def _fold(
    connection: duckdb.DuckDBPyConnection, found: str, low: Any, high: Any, frame: pl.DataFrame
) -> int:
    """Fold the pairs that a query finds; the engines' rows arrived from `low` to `high`."""
    params = {"low": low, "high": high} if "$low" in found else {}
    connection.execute(f"CREATE OR REPLACE TEMP TABLE fold_pair AS {found}", params)
    bounds = {
        "low": low, "high": high, "first": frame["outer_at"].min(), "last": frame["outer_at"].max()
    }  # fmt: skip
    connection.execute(_FOLD, bounds)
    (gone,) = connection.execute(
        f"""DELETE FROM request USING fold_pair AS p, request AS g
        WHERE request.source_id = {LIVE_SOURCE_ID} AND request.request_key = p.inner_key
          AND request.arrived_at = p.inner_at AND request.arrived_at BETWEEN $low AND $high
          AND g.source_id = {LIVE_SOURCE_ID} AND g.request_key = p.outer_key
          AND g.arrived_at = p.outer_at AND g.arrived_at BETWEEN $first AND $last""",
        bounds,
    ).fetchall()[0]
    if gone:
        for at in ("inner_at", "outer_at"):
            rows = f"SELECT {LIVE_SOURCE_ID}::SMALLINT AS source_id, {at} AS arrived_at"
            mark_dirty(connection, f"({rows} FROM fold_pair)")
    connection.execute("DROP TABLE fold_pair")
    return int(gone)


_PAIR = {
    "outer_id": pl.String, "outer_at": pl.Int64, "inner_id": pl.String, "inner_at": pl.Int64
}  # fmt: skip
_LATE = {
    "outer_id": pl.String, "outer_at": pl.Int64, "outer_end": pl.Int64, "trace_id": pl.String
}  # fmt: skip
_ENGINES_WORD = ("input_tokens", "output_tokens", "cached_tokens", "prefill_seconds",
                 "decode_seconds")  # fmt: skip
# A gateway never tells prefill itself: where it stands, the engine's waiting was added before.
_FOLD = f"""
UPDATE request AS g SET
  {", ".join(f"{name} = coalesce(e.{name}, g.{name})" for name in _ENGINES_WORD)},
  queue_seconds = CASE WHEN g.prefill_seconds IS NULL AND e.prefill_seconds IS NOT NULL
    AND e.queue_seconds IS NOT NULL
    THEN coalesce(g.queue_seconds, 0) + e.queue_seconds ELSE g.queue_seconds END
FROM fold_pair AS p, request AS e
WHERE g.source_id = {LIVE_SOURCE_ID} AND g.request_key = p.outer_key AND g.arrived_at = p.outer_at
  AND g.arrived_at BETWEEN $first AND $last
  AND e.source_id = {LIVE_SOURCE_ID} AND e.request_key = p.inner_key AND e.arrived_at = p.inner_at
  AND e.arrived_at BETWEEN $low AND $high
"""


def _moment(microseconds: Any) -> datetime:
    return datetime(1970, 1, 1) + timedelta(microseconds=int(microseconds))  # noqa: DTZ001
