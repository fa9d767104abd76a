"""Reading what can be read of a damaged store into a new one; in a process of its own.

A damaged block takes with it one column of at most 122,880 rows. Those rows are kept, with the
column unknown where it may be; where it may not, they are lost, and counted.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import duckdb

from store.database import alone

GROUP_ROWS = 122_880
"""Rows of a row group of DuckDB, whose columns have blocks of their own."""
# The new store has its own; the others say what belongs to the rows of this one.
_LEFT_OUT = ("migration",)
_LISTED = """SELECT table_name FROM duckdb_tables()
  WHERE database_name = '{}' AND NOT internal ORDER BY 1"""
_COLUMNS = """SELECT column_name, is_nullable FROM duckdb_columns()
  WHERE database_name = '{}' AND table_name = '{}' ORDER BY column_index"""
Connection = duckdb.DuckDBPyConnection


def main(arguments: list[str]) -> None:
    """Copy; print a line of JSON: table -> rows known, kept, kept with something unknown."""
    source, target = arguments
    os.nice(10)
    with alone(target) as connection:
        quoted = source.replace("'", "''")
        connection.execute(f"ATTACH '{quoted}' AS old (READ_ONLY)")
        own = str(connection.execute("SELECT current_database()").fetchall()[0][0])
        new = {name for (name,) in connection.execute(_LISTED.format(own)).fetchall()}
        old = [name for (name,) in connection.execute(_LISTED.format("old")).fetchall()]
        told = {
            name: _table(connection, own, name)
            for name in old
            if name in new and name not in _LEFT_OUT
        }
        connection.execute("DETACH old")
    print(json.dumps(told))  # noqa: T201 - for our parent


def _table(connection: Connection, own: str, name: str) -> list[int | None]:
    shared = [
        (column, nullable)
        for column, nullable in connection.execute(_COLUMNS.format("old", name)).fetchall()
        if column in {c for c, _ in connection.execute(_COLUMNS.format(own, name)).fetchall()}
    ]
    known, last = _extent(connection, name)
    connection.execute(f'DELETE FROM "{name}"')
    kept = partial = 0
    for low in range(0, last + 1, GROUP_ROWS):
        rows, is_partial = _group(connection, name, shared, low)
        kept += rows
        partial += rows if is_partial else 0
    return [known, kept, partial]


def _extent(connection: Connection, name: str) -> tuple[int | None, int]:
    """Rows, as far as they can be counted, and the highest row number."""
    try:
        ((known, last),) = connection.execute(
            f'SELECT count(*), coalesce(max(rowid), -1) FROM old."{name}"'
        ).fetchall()
    except duckdb.Error:
        return None, -1
    return int(known), int(last)


def _group(
    connection: Connection, name: str, columns: list[tuple[str, bool]], low: int
) -> tuple[int, bool]:
    """Copy one row group; its rows, and whether something of them is unknown."""
    where = f"rowid >= {low} AND rowid < {low + GROUP_ROWS}"
    every = ", ".join(f'"{column}"' for column, _ in columns)
    try:
        return _insert(connection, name, every, every, where), False
    except duckdb.Error:
        readable = {column for column, _ in columns if _reads(connection, name, column, where)}
    if any(not nullable and column not in readable for column, nullable in columns):
        return 0, False
    some = ", ".join(f'"{column}"' if column in readable else "NULL" for column, _ in columns)
    try:
        return _insert(connection, name, every, some, where), True
    except duckdb.Error:
        return 0, False


def _insert(connection: Connection, name: str, columns: str, values: str, where: str) -> int:
    sql = f'INSERT INTO "{name}" ({columns}) SELECT {values} FROM old."{name}" WHERE {where}'
    ((rows,),) = connection.execute(sql).fetchall()
    return int(rows)


def _reads(connection: Connection, name: str, column: str, where: str) -> bool:
    sql = f'SELECT sum(hash("{column}")::HUGEINT) FROM old."{name}" WHERE {where}'
    try:
        connection.execute(sql).fetchall()
    except duckdb.Error:
        return False
    return True


def parsed(line: str) -> dict[str, Any]:
    """What the process printed."""
    return dict(json.loads(line))


if __name__ == "__main__":
    main(sys.argv[1:])
