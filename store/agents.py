"""What agents send: batches, kept exactly once, and how the agents stand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import duckdb
import polars as pl

from store.drops import count
from store.errors import InputError
from store.targets import describe_in, register_in
from store.writer import Writer

Connection = duckdb.DuckDBPyConnection


@dataclass(frozen=True, slots=True)
class AgentBatch:
    """One batch on its way into the store.

    Attributes:
        sender: the agent's name.
        batch_id: the sender's own; the same bytes come under the same id.
        urls: targets, by their number in the frames.
        facts: number of a target -> engine, version, model; None leaves one as it is.
        frames: table -> rows; `target_id` is the number of the target.
        drops: moment; door, reason, count, example.
        row_count: rows that the agent says it holds.
    """

    sender: str
    batch_id: str
    urls: Sequence[str]
    facts: Mapping[int, tuple[str | None, str | None, str | None]]
    frames: Mapping[str, pl.DataFrame]
    drops: Sequence[tuple[datetime, tuple[str, str, int, str]]]
    row_count: int


def keep(writer: Writer, batch: AgentBatch, at: datetime) -> Future[int | None]:
    """Keep a batch in one transaction: its rows, and that it is here.

    Args:
        writer: the store's writer.
        batch: what came.
        at: when it came, aware UTC.

    Returns:
        A future, set once all is durable: rows added, or None when the batch was here before. It
        raises InputError when the rows can never be stored.
    """

    def work(connection: Connection) -> int | None:
        try:
            return _keep(writer, connection, batch, at.replace(tzinfo=None))
        except duckdb.DataError as error:
            text = " ".join(str(error).split())[:200]
            raise InputError(f"the rows do not fit the store: {text}") from error

    return writer.run(work, rows=max(batch.row_count, 1))


def _keep(writer: Writer, connection: Connection, batch: AgentBatch, at: datetime) -> int | None:
    known = connection.execute(
        "SELECT 1 FROM ingest_batch WHERE sender = ? AND batch_id = ?",
        [batch.sender, batch.batch_id],
    ).fetchone()
    if known is not None:
        return None
    ids = {number: register_in(connection, url, at) for number, url in enumerate(batch.urls)}
    for number, (engine, version, model) in batch.facts.items():
        describe_in(connection, ids[number], engine, version, model)
    added = 0
    for table, frame in batch.frames.items():
        if frame.height:
            added += writer.append_in(connection, table, _with_ids(frame, ids))
    for moment, drop in batch.drops:
        count(connection, [drop], moment)
    connection.execute(
        "INSERT INTO ingest_batch VALUES (?, ?, ?, ?)",
        [batch.sender, batch.batch_id, at, batch.row_count],
    )
    return added


def _with_ids(frame: pl.DataFrame, ids: Mapping[int, int]) -> pl.DataFrame:
    if "target_id" not in frame.columns:
        return frame
    return frame.with_columns(
        pl.col("target_id").replace_strict(ids, return_dtype=pl.Int32).alias("target_id")
    )


def report(writer: Writer, row: Mapping[str, Any]) -> Future[None]:
    """Note how an agent stands; `row` has the columns of table `agent` but `first_seen_at`."""
    told = {name: _naive(value) for name, value in row.items()}
    columns = ", ".join(told)
    values = ", ".join(f"${name}" for name in told)
    renewed = ", ".join(f"{name} = excluded.{name}" for name in told if name != "name")
    statement = f"""INSERT INTO agent ({columns}, first_seen_at) VALUES ({values}, $last_seen_at)
        ON CONFLICT (name) DO UPDATE SET {renewed}"""

    def work(connection: Connection) -> None:
        connection.execute(statement, told)

    # How agents stand is no part of any cached view.
    return writer.run(work, changes=False)


def forget(writer: Writer, name: str) -> Future[bool]:
    """Leave an agent out from now on; what it sent stays. Gives whether it was there."""

    def work(connection: Connection) -> bool:
        gone = connection.execute("DELETE FROM agent WHERE name = ? RETURNING 1", [name])
        return gone.fetchone() is not None

    return writer.run(work, changes=False)


def _naive(value: Any) -> Any:
    return value.replace(tzinfo=None) if isinstance(value, datetime) else value
