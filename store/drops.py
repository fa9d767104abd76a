"""Keeping the counts of what the doors did not take, by ten minutes."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from datetime import datetime
from typing import TYPE_CHECKING

import duckdb
import polars as pl

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
INSERT INTO ingest_drop BY NAME
SELECT time_bucket(INTERVAL 10 MINUTES, $at::TIMESTAMP) AS bucket_at, door, reason,
       sum(dropped_count)::BIGINT AS dropped_count, nullif(first(example), '') AS example
FROM incoming_drop GROUP BY door, reason
ON CONFLICT DO UPDATE SET dropped_count = dropped_count + excluded.dropped_count,
  example = coalesce(example, excluded.example)
"""


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
    connection.execute(_ADD, {"at": at.replace(tzinfo=None)})
    connection.unregister("incoming_drop")
