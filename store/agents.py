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
from store.once import put
from store.targets import describe_in, register_in
from store.writer import Writer

Connection = duckdb.DuckDBPyConnection


@dataclass(frozen=True, slots=True)
class AgentBatch:
    """One batch on its way into the store.

    Attributes:
        batch_id: the sender's own; the same rows come under the same id.
        targets: number of a target in the frames -> its address; no other batch has these numbers.
        facts: number of a target -> engine, version, model; None leaves one as it is.
        faults: rows of `gpu_fault`.
        drops: moment; door, reason, count, example.
        row_count: rows that it holds.
    """

    batch_id: str
    targets: Mapping[int, str]
    facts: Mapping[int, tuple[str | None, str | None, str | None]]
    faults: pl.DataFrame
    drops: Sequence[tuple[datetime, tuple[str, str, int, str]]]
    row_count: int


@dataclass(frozen=True, slots=True)
class Kept:
    """What became of batches that came together.

    Attributes:
        rows_added: rows that are new.
        known: ids of the batches that were here before; nothing of them was looked at.
        target_ids: number of a target -> its id in the store, for the others.
    """

    rows_added: int
    known: frozenset[str]
    target_ids: Mapping[int, int]


def keep(
    writer: Writer,
    sender: str,
    batches: Sequence[AgentBatch],
    frames: Mapping[str, pl.DataFrame],
    at: datetime,
) -> Future[Kept]:
    """Keep batches in one transaction: their rows, and that they are here.

    Args:
        writer: the store's writer.
        sender: the agent's name.
        batches: what came.
        frames: table -> rows of all batches; `target_id` is the number of the target.
        at: when they came, aware UTC.

    Returns:
        A future, set once all is durable. It raises InputError when the rows can never be stored.
    """
    row_count = sum(batch.row_count for batch in batches)

    def work(connection: Connection) -> Kept:
        try:
            return _keep(writer, connection, sender, batches, frames, at.replace(tzinfo=None))
        except duckdb.DataError as error:
            text = " ".join(str(error).split())[:200]
            raise InputError(f"the rows do not fit the store: {text}") from error

    return writer.run(work, rows=max(row_count, 1))


def _keep(
    writer: Writer,
    connection: Connection,
    sender: str,
    batches: Sequence[AgentBatch],
    frames: Mapping[str, pl.DataFrame],
    at: datetime,
) -> Kept:
    known = _known(connection, sender, [batch.batch_id for batch in batches])
    new = [batch for batch in batches if batch.batch_id not in known]
    urls = {url for batch in new for url in batch.targets.values()}
    number_of = {url: register_in(connection, url, at) for url in sorted(urls)}
    ids = {number: number_of[url] for batch in new for number, url in batch.targets.items()}
    added = 0
    for table, frame in frames.items():
        own = _with_ids(frame, ids)
        if own.height:
            added += writer.append_in(connection, table, own)
    for batch in new:
        for number, (engine, version, model) in batch.facts.items():
            describe_in(connection, ids[number], engine, version, model)
        if batch.faults.height:
            added += writer.append_in(connection, "gpu_fault", batch.faults)
        for moment, drop in batch.drops:
            count(connection, [drop], moment)
        connection.execute(
            "INSERT INTO ingest_batch VALUES (?, ?, ?, ?)",
            [sender, batch.batch_id, at, batch.row_count],
        )
    return Kept(added, frozenset(known), ids)


def _known(connection: Connection, sender: str, batch_ids: Sequence[str]) -> set[str]:
    found = connection.execute(
        "SELECT batch_id FROM ingest_batch WHERE sender = ? AND list_contains(?, batch_id)",
        [sender, list(batch_ids)],
    )
    return {row[0] for row in found.fetchall()}


def _with_ids(frame: pl.DataFrame, ids: Mapping[int, int]) -> pl.DataFrame:
    """The rows of the targets in `ids`, with the ids of the store."""
    numbers = pl.col("target_id")
    own = frame.filter(numbers.is_in(list(ids)))
    return own.with_columns(numbers.replace_strict(ids, return_dtype=pl.Int32))


# Another spool or process under the same name a moment ago, and this one ran by then already: two
# agents. One that was started anew began after the last word of the one before.
_WITH_RIVAL = """CASE WHEN (old.identity <> new.identity
    OR abs(date_diff('millisecond', old.started_at, new.started_at)) > 1000)
  AND new.started_at - to_seconds(coalesce(new.clock_offset_seconds, 0))
    < old.last_seen_at
  AND old.last_seen_at > new.last_seen_at - to_seconds(3 * new.heartbeat_seconds)
  THEN json_merge_patch(new.details, '{"rival": true}') ELSE new.details END"""


def report(writer: Writer, row: Mapping[str, Any]) -> Future[None]:
    """Note how an agent stands; `row` has the columns of table `agent` but `first_seen_at`."""
    told = {name: _naive(value) for name, value in row.items()}
    values = ", ".join(f"${name} AS {name}" for name in told)
    kept = [name for name in told if name not in ("name", "details")]
    renewed = ", ".join(f"{name} = new.{name}" for name in kept)
    query = f"SELECT {values}, $last_seen_at AS first_seen_at"

    def work(connection: Connection) -> None:
        put(connection, "agent", ("name",), query, f"{renewed}, details = {_WITH_RIVAL}", told)

    # How agents stand is no part of any cached view.
    return writer.run(work, changes=False)


def forget(writer: Writer, name: str) -> Future[bool]:
    """Leave an agent out from now on; what it sent stays. Gives whether it was there."""

    def work(connection: Connection) -> bool:
        gone = connection.execute("DELETE FROM agent WHERE name = ?", [name])
        return gone.fetchall() != [(0,)]

    return writer.run(work, changes=False)


def _naive(value: Any) -> Any:
    return value.replace(tzinfo=None) if isinstance(value, datetime) else value
