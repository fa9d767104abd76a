"""Forward-only migrations: numbered SQL files, each applied once, in a transaction of its own.

A new store has nothing that could be lost between two steps: it takes all of them in one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib import resources

import duckdb

from store.errors import SchemaError

_LEDGER = """
CREATE TABLE IF NOT EXISTS migration (
  version INTEGER PRIMARY KEY, name VARCHAR NOT NULL, content_hash VARCHAR NOT NULL,
  duckdb_version VARCHAR NOT NULL, applied_at TIMESTAMP NOT NULL
)"""


@dataclass(frozen=True, slots=True)
class Migration:
    """One step of the schema: its number, file name and SQL."""

    version: int
    name: str
    sql: str

    @property
    def content_hash(self) -> str:
        """First 16 hex digits of the SHA-256 of the SQL."""
        return hashlib.sha256(self.sql.encode()).hexdigest()[:16]


def migrations() -> list[Migration]:
    """All steps this program knows, in order."""
    folder = resources.files("store") / "sql"
    files = sorted((f for f in folder.iterdir() if f.name.endswith(".sql")), key=lambda f: f.name)
    return [Migration(int(f.name[:4]), f.name, f.read_text("utf-8")) for f in files]


def latest_version() -> int:
    """The schema version this program writes."""
    return migrations()[-1].version


def migrate(
    connection: duckdb.DuckDBPyConnection,
    now: datetime,
    words: Callable[[str], str] = str,
) -> list[int]:
    """Bring the schema up to date.

    Args:
        connection: the write connection, outside a transaction.
        now: aware UTC stamp for the ledger.
        words: puts a step into the words of the backend.

    Returns:
        The versions that were applied now.

    Raises:
        SchemaError: the file is newer than this program, an applied step has changed, or a step
            fails.
    """
    connection.execute(words(_LEDGER))
    done = dict(connection.execute("SELECT version, content_hash FROM migration").fetchall())
    known = {step.version: step for step in migrations()}
    _check(done, known)
    pending = [step for version, step in sorted(known.items()) if version not in done]
    for steps in [[step] for step in pending] if done else [pending]:
        _apply(connection, steps, now, words)
    return [step.version for step in pending]


def _check(done: dict[int, str], known: dict[int, Migration]) -> None:
    unknown = sorted(set(done) - set(known))
    if unknown and unknown[-1] > max(known):
        raise SchemaError(
            f"the store has schema version {unknown[-1]}, this program knows up to {max(known)}",
            hint="upgrade servescope, or open the store with the version that wrote it",
        )
    if unknown:
        raise SchemaError(
            f"the store was made with a schema step {unknown[0]} that this program does not have",
            hint="open the store with the version that wrote it",
        )
    for version, content_hash in done.items():
        if known[version].content_hash != content_hash:
            raise SchemaError(
                f"migration {known[version].name} differs from the one this store was made with",
                hint="use an unmodified servescope; migrations only ever move forward",
            )


def _apply(
    connection: duckdb.DuckDBPyConnection,
    steps: Sequence[Migration],
    now: datetime,
    words: Callable[[str], str],
) -> None:
    """Steps and their lines in the ledger, all or none."""
    connection.execute("BEGIN")
    name = ""
    try:
        for step in steps:
            name = step.name
            connection.execute(words(step.sql))
            connection.execute(
                "INSERT INTO migration VALUES (?, ?, ?, ?, ?)",
                [
                    step.version,
                    name,
                    step.content_hash,
                    duckdb.__version__,
                    now.replace(tzinfo=None),
                ],
            )
        connection.execute("COMMIT")
    except duckdb.Error as error:
        connection.execute("ROLLBACK")
        raise SchemaError(
            f"migration {name} failed: {error}", hint="the store was left as it was"
        ) from error
