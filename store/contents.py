"""What is in a store's file, read in a process of its own.

A damaged file can end the process that reads it, so nobody who has something to lose reads one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from store.database import open_to_look
from store.errors import StoreDamaged
from store.opening import explain
from store.settings import StoreSettings

MEMORY_BYTES = 512 << 20
NEWEST = (("requests", "request", "arrived_at"), ("samples", "sample", "sampled_at"))


@dataclass(frozen=True, slots=True)
class Contents:
    """What a store holds.

    Attributes:
        schema_version: the newest migration; None where there is no ledger.
        rows: table -> its rows; None where they cannot be counted.
        newest: "requests" and "samples" -> time of the newest, ISO 8601 in UTC; None where none.
        unreadable: table -> why not all of it can be read.
    """

    schema_version: int | None
    rows: dict[str, int | None] = field(default_factory=dict)
    newest: dict[str, str | None] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)


def contents(path: Path, *, deep: bool = True, limit_seconds: float | None = None) -> Contents:
    """Open a store without changing it and look at all of it.

    Args:
        path: the database file; its log is read too.
        deep: read every value, so that the checksum of every block is verified.
        limit_seconds: how long it may take; None waits.

    Raises:
        StoreDamaged: it cannot be opened, or reading it ended the process.
    """
    command = [sys.executable, "-m", "store.contents", str(path), "deep" if deep else "quick"]
    try:
        done = subprocess.run(  # noqa: S603 - our own words
            command, capture_output=True, text=True, check=False, timeout=limit_seconds
        )
    except subprocess.TimeoutExpired as error:
        text = f"reading it took more than {limit_seconds:g} s"
        raise StoreDamaged(text, where=str(path), hint=_HINT) from error
    try:
        told = json.loads(done.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        ended = f"signal {-done.returncode}" if done.returncode < 0 else f"exit {done.returncode}"
        said = done.stderr.strip().splitlines()[-1:] or ["it said nothing"]
        raise StoreDamaged(
            f"reading it ended the process ({ended}: {said[0][:300]})", where=str(path), hint=_HINT
        ) from None
    if "error" in told:
        raise StoreDamaged(told["error"], where=str(path), hint=_HINT)
    return Contents(**told)


_HINT = "`servescope doctor --repair` saves what can be read; or restore a backup"


def main(arguments: list[str]) -> None:
    """Print the contents of a file as one line of JSON."""
    path, deep = Path(arguments[0]), arguments[1] == "deep"
    os.nice(10)
    settings = StoreSettings(memory_limit_bytes=MEMORY_BYTES, threads=1)
    try:
        connection = open_to_look(path, settings)
    except duckdb.Error as error:
        print(json.dumps({"error": explain(error, path).message}))  # noqa: T201 - for our parent
        return
    print(json.dumps(_look(connection, deep=deep)))  # noqa: T201


def _look(connection: duckdb.DuckDBPyConnection, *, deep: bool) -> dict[str, Any]:
    found: dict[str, Any] = {"schema_version": None, "rows": {}, "newest": {}, "unreadable": {}}
    names = [name for (name,) in connection.execute(_TABLES).fetchall()]
    for name in names:
        what = "count(*)" + (", sum(hash(t)::HUGEINT)" if deep else "")
        try:
            row = connection.execute(f'SELECT {what} FROM "{name}" AS t').fetchone()
            found["rows"][name] = row[0] if row else None
        except duckdb.Error as error:
            found["rows"][name] = _count(connection, name)
            found["unreadable"][name] = str(error).strip().splitlines()[0]
    for word, table, column in NEWEST:
        found["newest"][word] = _one(connection, f"SELECT max({column})::VARCHAR FROM {table}")
    found["schema_version"] = _one(connection, "SELECT max(version) FROM migration")
    return found


_TABLES = "SELECT table_name FROM duckdb_tables() WHERE NOT internal ORDER BY 1"


def _count(connection: duckdb.DuckDBPyConnection, table: str) -> Any:
    return _one(connection, f'SELECT count(*) FROM "{table}"')


def _one(connection: duckdb.DuckDBPyConnection, sql: str) -> Any:
    """One value; None where it cannot be had."""
    try:
        row = connection.execute(sql).fetchone()
    except duckdb.Error:
        return None
    return row[0] if row else None


if __name__ == "__main__":
    main(sys.argv[1:])
