"""What gateways send: rows, kept exactly once; how they stand; what they are to decide by."""

from __future__ import annotations

import json
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
from store.requests import fold_late
from store.writer import Writer

Connection = duckdb.DuckDBPyConnection


@dataclass(frozen=True, slots=True)
class GatewayBatch:
    """Rows of one gateway on their way into the store.

    Attributes:
        sender: its name.
        batch_id: the sender's own; the same rows come under the same id.
        rows: with the columns of `store.append.REQUEST_FRAME`; None without any.
        drops: moment; door, reason, count, example.
        late: rows whose partners are found in the store (see `store.requests.fold_late`).
    """

    sender: str
    batch_id: str
    rows: pl.DataFrame | None
    drops: Sequence[tuple[datetime, tuple[str, str, int, str]]] = ()
    late: Sequence[tuple[str, int, int, str]] = ()


def keep(writer: Writer, batch: GatewayBatch, at: datetime) -> Future[int | None]:
    """Keep a batch in one transaction: its rows, and that it is here.

    Args:
        writer: the store's writer.
        batch: what came.
        at: when it came, aware UTC.

    Returns:
        A future, set once all is durable: rows that are new, None for a batch that was here
        before. It raises InputError when the rows can never be stored.
    """
    height = batch.rows.height if batch.rows is not None else 0

    def work(connection: Connection) -> int | None:
        try:
            return _keep(writer, connection, batch, height, at.replace(tzinfo=None))
        except duckdb.DataError as error:
            text = " ".join(str(error).split())[:200]
            raise InputError(f"the rows do not fit the store: {text}") from error

    return writer.run(work, rows=max(height, 1))


def _keep(
    writer: Writer, connection: Connection, batch: GatewayBatch, height: int, at: datetime
) -> int | None:
    known = connection.execute(
        "SELECT 1 FROM ingest_batch WHERE sender = ? AND batch_id = ?",
        [batch.sender, batch.batch_id],
    ).fetchone()
    if known is not None:
        return None
    added = 0
    if batch.rows is not None and height:
        added = writer.append_in(connection, "request", batch.rows)
    if batch.late:
        fold_late(connection, batch.late)
    for moment, drop in batch.drops:
        count(connection, [drop], moment)
    connection.execute(
        "INSERT INTO ingest_batch VALUES (?, ?, ?, ?)", [batch.sender, batch.batch_id, at, height]
    )
    return added


def report(writer: Writer, row: Mapping[str, Any]) -> Future[None]:
    """Note how a gateway stands; `row` has the columns of table `gateway` but `first_seen_at`."""
    told = {name: _naive(value) for name, value in row.items()}
    values = ", ".join(f"${name} AS {name}" for name in told)
    renewed = ", ".join(f"{name} = new.{name}" for name in told if name != "name")
    query = f"SELECT {values}, $last_seen_at AS first_seen_at"

    def work(connection: Connection) -> None:
        put(connection, "gateway", ("name",), query, renewed, told)

    # How gateways stand is no part of any cached view.
    return writer.run(work, changes=False)


def forget(writer: Writer, name: str) -> Future[bool]:
    """Leave a gateway out from now on; its rows stay. Gives whether it was there."""

    def work(connection: Connection) -> bool:
        gone = connection.execute("DELETE FROM gateway WHERE name = ?", [name])
        return gone.fetchall() != [(0,)]

    return writer.run(work, changes=False)


def put_policy(
    writer: Writer, policy: Mapping[str, Any], who: str, why: str | None, at: datetime
) -> Future[int]:
    """Add a version of the policy; gives its number. The same policy again adds none.

    Args:
        writer: the store's writer.
        policy: as a document, checked.
        who: changed it.
        why: in their words.
        at: aware UTC.
    """
    text = json.dumps(dict(policy), sort_keys=True)

    def work(connection: Connection) -> int:
        newest = connection.execute(
            "SELECT version, policy FROM gateway_policy ORDER BY version DESC LIMIT 1"
        ).fetchone()
        if newest is not None and json.dumps(json.loads(newest[1]), sort_keys=True) == text:
            return int(newest[0])
        version = int(newest[0]) + 1 if newest is not None else 1
        connection.execute(
            "INSERT INTO gateway_policy VALUES (?, ?, ?, ?, ?)",
            [version, at.replace(tzinfo=None), who, why, text],
        )
        before = None if newest is None else newest[1]
        connection.execute(
            "INSERT INTO audit VALUES (?, ?, 'gateway.policy', ?, ?, ?, 'api', ?)",
            [at.replace(tzinfo=None), who, f"version {version}", before, text, why],
        )
        return version

    return writer.run(work)


def _naive(value: Any) -> Any:
    return value.replace(tzinfo=None) if isinstance(value, datetime) else value
