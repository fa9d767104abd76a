"""Pieces of pushed pages that wait for the rest of their page: durable before they are answered."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from concurrent.futures import Future
from datetime import datetime

import duckdb
import polars as pl

from store.reader import Reader
from store.writer import Writer


def keep(
    writer: Writer, parts: Mapping[int, bytes], done: Collection[int], at: datetime
) -> Future[None]:
    """Store new pieces and drop those whose page is stored, in one transaction.

    Args:
        writer: the store's writer.
        parts: number of the piece, new -> its body.
        done: numbers of pieces that are not needed any more.
        at: aware UTC.
    """
    new = pl.DataFrame(
        {"part_id": list(parts), "body": list(parts.values())},
        schema={"part_id": pl.Int64, "body": pl.Binary},
    )
    gone = list(done)

    def work(connection: duckdb.DuckDBPyConnection) -> None:
        if gone:
            connection.execute(
                "DELETE FROM remote_write_part WHERE part_id IN $gone", {"gone": gone}
            )
        if new.height:
            connection.register("incoming_part", new.to_arrow())
            connection.execute(
                "INSERT INTO remote_write_part SELECT part_id, $at, body FROM incoming_part",
                {"at": at.replace(tzinfo=None)},
            )
            connection.unregister("incoming_part")

    return writer.run(work, changes=False)


def parts(reader: Reader) -> dict[int, bytes]:
    """Pieces left over from before, by number, oldest first."""
    frame = reader.frame("SELECT part_id, body FROM remote_write_part ORDER BY part_id")
    return dict(zip(frame["part_id"].to_list(), frame["body"].to_list(), strict=True))
