"""Keeping the counts of what the doors did not take, by ten minutes."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from datetime import datetime
from typing import TYPE_CHECKING

import duckdb
import polars as pl

from store.once import put

if TYPE_CHECKING:
    from store.writer import Writer

BUCKET_SECONDS = 600
_COLUMNS = {
    "door": pl.String,
    "reason": pl.String,
    "dropped_count": pl.Int64,
    "example": pl.String,
}
_ADD = """
SELECT time_bucket(INTERVAL 10 MINUTES, $at::TIMESTAMP) AS bucket_at, door, reason,
       sum(dropped_count)::BIGINT AS dropped_count, nullif(first(example), '') AS example
FROM incoming_drop GROUP BY door, reason
"""
_KEYS = ("bucket_at", "door", "reason")
_RENEWED = """dropped_count = old.dropped_count + new.dropped_count,
example = coalesce(old.example, new.example)"""


def add(writer: Writer, drops: Sequence[tuple[str, str, int, str]], at: datetime) -> Future[None]:
    """Add counts to the ten minutes that hold `at`.

    Args:
        writer: the store's writer.
        drops: door, reason, count, example (may be empty).
        at: aware UTC.
    """
    return writer.run(lambda connection: count(connection, drops, at))


def count(
    connection: duckdb.DuckDBPyConnection,
    drops: Sequence[tuple[str, str, int, str]],
    at: datetime,
) -> None:
    """The same within a transaction of the writer."""
    frame = pl.DataFrame(drops, schema=_COLUMNS, orient="row")
    connection.register("incoming_drop", frame.to_arrow())
    put(connection, "ingest_drop", _KEYS, _ADD, _RENEWED, {"at": at.replace(tzinfo=None)})
    connection.unregister("incoming_drop")
