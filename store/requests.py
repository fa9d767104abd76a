"""Taking back rows of requests that turn out to be the same request as another row."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future

import duckdb
import polars as pl

from store.append import mark_dirty
from store.writer import Writer

LIVE_SOURCE_ID = 1


def take_back(writer: Writer, rows: Sequence[tuple[str, int]]) -> Future[int]:
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
