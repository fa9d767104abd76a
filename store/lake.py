"""The store past one machine: tables that several servers write and read.

DuckLake keeps them as a catalogue in PostgreSQL and files on shared storage.
A transaction is committed only upon the state that it read: DuckLake numbers its states, and two
that were made of one state cannot have the same next number. So what looks before it adds holds
among servers as it does within one, without unique keys. Servers take turns by a lock in
PostgreSQL, so that they seldom find out only at the end; a server that holds the lock too long (it
was stopped, its host is gone from the network) is passed by, and its commit is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TypeVar

import duckdb

from store.errors import StoreError
from store.lake_address import LakeAddress
from store.lake_home import Home

T = TypeVar("T")
Connection = duckdb.DuckDBPyConnection

NAME = "lake"
TURN_SECONDS = 5.0
"""How long a server waits for the one whose turn it is before it goes on without."""
_GLANCE_SECONDS = 0.001
TRIES = 8
"""How often a transaction is made before its caller hears that the lake is too busy."""
_METADATA = f"__ducklake_metadata_{NAME}"
_CHANGE = re.compile(
    r"(inlined_insert|inserted_into_table|inlined_delete|deleted_from_table):(\d+)"
)
_TAKEN = ("duplicate key value", "Duplicate key", "UNIQUE constraint")


@dataclass(frozen=True, slots=True)
class Changes:
    """What other servers did since the last look.

    Attributes:
        tables: names of tables with other rows than before.
        deleted: those of them that lost rows.
    """

    tables: frozenset[str] = frozenset()
    deleted: frozenset[str] = frozenset()


class Lake:
    """One lake, attached to a DuckDB instance; made by `store.lake_attach.attach`.

    Args:
        connection: of the instance.
        address: where it is.
        home: what this server holds on its own host, let go with the lake.
    """

    def __init__(
        self, connection: Connection, address: LakeAddress, home: Home | None = None
    ) -> None:
        self._home = home
        self.address = address
        self._turn_cursor = connection.cursor()
        self._seen = _current(connection)
        self._names: dict[int, str] = {}
        self._passing = False

    def enter(self, cursor: Connection) -> None:
        """Let names without a catalogue mean the lake's tables on this cursor."""
        # Types live in the instance: a lake has no enums.
        cursor.execute(f"SET search_path = '{NAME}.main,memory.main'")

    def in_turn(self, attempt: Callable[[], T]) -> T:
        """Do a transaction when it is this server's turn; again when another was faster.

        Args:
            attempt: from BEGIN to COMMIT, and ROLLBACK when it fails. Only a transaction of which
                it is known that nothing was kept is made again.

        Raises:
            StoreError: others were faster each time.
        """
        with self._turn():
            for _ in range(TRIES):
                try:
                    return attempt()
                except duckdb.TransactionException as error:
                    if not _lost_race(error):
                        raise
        raise StoreError(
            f"other servers wrote to the lake first, {TRIES} times", hint="send it again later"
        )

    def look(self, connection: Connection) -> Changes:
        """What others committed since the last look; the first thing a transaction does.

        Args:
            connection: the writer's.
        """
        if not self.address.is_shared or _current(connection) == self._seen:
            return Changes()
        rows = connection.execute(
            f"""SELECT snapshot_id, changes_made
            FROM {_METADATA}."{self.address.schema}".ducklake_snapshot_changes
            WHERE snapshot_id > {self._seen}"""
        ).fetchall()
        self._seen = max([self._seen, *(int(number) for number, _ in rows)])
        found = [hit for _, text in rows for hit in _CHANGE.findall(text or "")]
        names = {number: self._name(connection, int(number)) for _, number in found}
        deleted = {names[number] for kind, number in found if "delete" in kind}
        return Changes(frozenset(names.values()), frozenset(deleted))

    def committed(self, connection: Connection) -> None:
        """Remember the state that this server's own commit made: it is no news."""
        # What was committed is kept, whatever happens now; at worst it passes for somebody else's.
        with suppress(duckdb.Error):
            row = connection.execute(f"FROM ducklake_last_committed_snapshot('{NAME}')").fetchone()
            if row and row[0] is not None:
                self._seen = max(self._seen, int(row[0]))

    def close(self) -> None:
        """Give the turn's connection back, and what is held on this host."""
        self._turn_cursor.close()
        if self._home is not None:
            self._home.close()

    @contextmanager
    def _turn(self) -> Iterator[None]:
        if not self.address.is_shared:
            yield
            return
        cursor = self._turn_cursor
        cursor.execute("BEGIN")
        try:
            # Whoever was passed by once is not waited for again until it lets go.
            seconds = _GLANCE_SECONDS if self._passing else TURN_SECONDS
            self._passing = not wait_for_turn(cursor, _METADATA, self.address.schema, seconds)
            yield
        finally:
            with suppress(duckdb.Error):
                cursor.execute("ROLLBACK")

    def _name(self, connection: Connection, number: int) -> str:
        if number not in self._names:
            rows = connection.execute(
                f"""SELECT table_id, table_name
                FROM {_METADATA}."{self.address.schema}".ducklake_table"""
            ).fetchall()
            self._names = {int(found): str(name) for found, name in rows}
        return self._names.get(number, "")


def wait_for_turn(cursor: Connection, database: str, schema: str, seconds: float) -> bool:
    """Take the lock of the lake for the open transaction of `cursor`; whether it was to be had.

    Args:
        cursor: in a transaction, which gives the lock back with its end.
        database: the attached PostgreSQL.
        schema: of the lake.
        seconds: how long to wait for it.
    """
    lock = f"SELECT 1 FROM pg_advisory_xact_lock(hashtextextended(''servescope {schema}'', 0))"
    limit = f"SELECT set_config(''lock_timeout'', ''{max(1, int(seconds * 1000))}'', true)"
    cursor.execute(f"FROM postgres_query('{database}', '{limit}')").fetchall()
    try:
        cursor.execute(f"FROM postgres_query('{database}', '{lock}')").fetchall()
    except duckdb.Error as error:
        if "lock timeout" not in str(error):
            raise
        return False
    return True


def _current(connection: Connection) -> int:
    ((number,),) = connection.execute(f"FROM ducklake_current_snapshot('{NAME}')").fetchall()
    return int(number)


def _lost_race(error: duckdb.TransactionException) -> bool:
    """Whether somebody else made the next state; anything else may have been kept after all."""
    text = str(error)
    return "ducklake_snapshot" in text and any(sign in text for sign in _TAKEN)
