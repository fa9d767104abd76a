"""The file beside a store that says who may come in: SQLite, which several processes may open."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from store.errors import StoreError, StoreFull
from store.identities import Statement

BUSY_SECONDS = 5.0


def identity_path(store: Path) -> Path:
    """Where it lies."""
    return store.with_name(store.name + ".access")


class IdentityFile:
    """Rows in a file that only its owner may read; see `store.identities.Rows`.

    Args:
        path: the file, made when missing; None keeps everything in memory.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._memory = None if path is not None else _connect(":memory:")
        if path is not None:
            self._make(path)

    def read(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Rows of a question.

        Raises:
            StoreError: the file cannot be read.
        """
        with self._open() as connection:
            return connection.execute(sql, tuple(values)).fetchall()

    def write(self, statements: Iterable[Statement]) -> list[int]:
        """Do all or nothing; gives the rows that each changed.

        Raises:
            StoreError: the file cannot be written.
        """
        with self._open() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                changed = [connection.execute(sql, tuple(v)).rowcount for sql, v in statements]
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
        return changed

    def close(self) -> None:
        """Nothing is kept open."""

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            if self._memory is not None:
                with self._lock:
                    yield self._memory
            else:
                # Opened anew each time: it costs a tenth of a millisecond, and a file that was put
                # back from a backup is seen at once.
                with closing(_connect(str(self._path))) as connection:
                    yield connection
        except sqlite3.Error as error:
            kind = StoreFull if _is_no_room(error) else StoreError
            raise kind(
                f"the file of users and tokens cannot be used ({error})", where=str(self._path),
                hint="is the disk full, or the file damaged? put it back from a backup",
            ) from error  # fmt: skip

    def _make(self, path: Path) -> None:
        try:
            # Made by us first, so that nobody else may read it for even a moment.
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        except OSError as error:
            raise StoreError(
                f"the file of users and tokens cannot be made ({error.strerror})", where=str(path),
                hint="make its folder writable",
            ) from error  # fmt: skip


def _is_no_room(error: sqlite3.Error) -> bool:
    """Whether nothing can be written now, and may be later."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR)


def _connect(where: str) -> sqlite3.Connection:
    return sqlite3.connect(
        where, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
    )
