"""Rows of which there is one a key, in words that every backend takes.

A lake knows no unique keys, so nothing may lean on `ON CONFLICT`. A transaction of the writer is
made on the newest state of the store, and only one is made at a time, so that a look is enough.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import duckdb

Connection = duckdb.DuckDBPyConnection


def add_new(
    connection: Connection,
    table: str,
    keys: Sequence[str],
    query: str,
    params: Mapping[str, Any] | None = None,
) -> int:
    """Add the rows of `query` whose key the table lacks; gives how many those were.

    Args:
        connection: the writer's, in a transaction.
        table: its name.
        keys: columns that tell its rows apart, never NULL.
        query: a SELECT with the table's names for its columns, each key at most once; columns that
            it lacks become NULL.
        params: values of its `$name` parameters.
    """
    # Not MERGE: of its rows a lake makes a file, however few they are.
    return _changed(
        connection,
        f"""INSERT INTO {table} BY NAME SELECT * FROM ({query}) AS new
        WHERE NOT EXISTS (SELECT 1 FROM {table} AS old WHERE {_same(keys)})""",
        params,
    )


def put(
    connection: Connection,
    table: str,
    keys: Sequence[str],
    query: str,
    renewed: str,
    params: Mapping[str, Any] | None = None,
) -> int:
    """As `add_new`, but a row that is there is renewed; gives how many rows were written.

    Args:
        connection: as in `add_new`.
        table: as in `add_new`; the row that is there is `old` in `renewed`.
        keys: as in `add_new`.
        query: as in `add_new`; its row is `new` in `renewed`.
        renewed: what an UPDATE has after SET.
        params: as in `add_new`.
    """
    renewing = f"UPDATE {table} AS old SET {renewed} FROM ({query}) AS new WHERE {_same(keys)}"
    count = _changed(connection, renewing, params)
    return count + add_new(connection, table, keys, query, params)


def _same(keys: Sequence[str]) -> str:
    return " AND ".join(f"old.{key} = new.{key}" for key in keys)


def _changed(connection: Connection, statement: str, params: Mapping[str, Any] | None) -> int:
    ((count,),) = connection.execute(statement, params).fetchall()
    return int(count)
