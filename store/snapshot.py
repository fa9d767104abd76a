"""A state of the store that can be read as files while rows go on arriving.

DuckDB changes what its file refers to only at a checkpoint; until then it appends to the log and
writes to free places. So a copy of the file, with as much of the log as there was at one instant,
is the store at that instant, if no checkpoint came in between. A transaction that has written and
does not end keeps checkpoints off.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb

from store.database import Database, open_to_look
from store.errors import StoreError, StoreLocked
from store.opening import check_files, explain, wal_path
from store.settings import StoreSettings
from store.units import bytes_text

FILE = "store.duckdb"
"""What the database file is called in every backup, whatever its own name is."""
LOG = ".wal"
JOURNAL = ".remote-write"
BESIDE = (".secret", ".models", ".reports")
ACCESS = ".access"
"""Endings of the other files and folders of a store that are worth keeping."""
MOST_HELD_BYTES = 4 << 30
"""As much the log may grow while a snapshot is open; it is read again at the next start."""


@dataclass(frozen=True, slots=True)
class Part:
    """A file of a snapshot.

    Attributes:
        name: in the backup.
        size_bytes: how much of it counts.
        descriptor: the open file; None where it is opened when its turn comes, as there may be
            many of them and none of them changes.
        path: of a file that is not open.
    """

    name: str
    size_bytes: int
    descriptor: int | None = None
    path: Path | None = None

    def open(self, stack: ExitStack) -> int:
        """A descriptor to read from.

        Raises:
            FileNotFoundError: it has gone meanwhile.
        """
        if self.descriptor is not None:
            return self.descriptor
        return opened(self.path or Path(self.name), stack)


class Snapshot:
    """The parts of a store at one instant; close it soon, or the log grows.

    Attributes:
        taken_at: the instant; what was acknowledged before it is in the parts.
        parts: the database file first.

    Args:
        taken_at: aware UTC.
        parts: open files.
        held: what is let go of at the end.
        log: the log of a store that is written meanwhile; None where nobody writes.
    """

    def __init__(
        self, taken_at: datetime, parts: tuple[Part, ...], held: ExitStack, log: Path | None
    ) -> None:
        self.taken_at = taken_at
        self.parts = parts
        self._held = held
        self._log = log

    @property
    def size_bytes(self) -> int:
        """Of all parts."""
        return sum(part.size_bytes for part in self.parts)

    def check(self) -> None:
        """Make sure that it is still worth going on.

        Raises:
            StoreError: the log has grown too large meanwhile.
        """
        if self._log is None or not self._log.exists():
            return
        size = self._log.stat().st_size
        if size > MOST_HELD_BYTES:
            raise StoreError(
                f"the backup takes too long: the store's log has grown to {bytes_text(size)}",
                hint="back up to a faster disk, or when less arrives",
            )

    def close(self) -> None:
        """Let checkpoints go on. Safe to call twice."""
        self._held.close()


def of_running(database: Database, now: datetime) -> Snapshot:
    """A snapshot of a store that this process writes; rows go on arriving.

    Args:
        database: open.
        now: aware UTC.

    Raises:
        StoreError: the store is in memory, or does not answer.
        StoreLocked: another snapshot is open.
    """
    path = database.path
    if path is None:
        raise StoreError("a store in memory has no files", hint="start it with --store FILE")
    if not database.one_snapshot.acquire(blocking=False):
        raise StoreLocked("a backup is being taken", hint="wait until it is done")
    with ExitStack() as stack:
        stack.callback(database.one_snapshot.release)
        keeper = database.connection()
        stack.callback(keeper.close)
        log: list[Part] = []

        def hold(_: duckdb.DuckDBPyConnection) -> None:
            keeper.execute("BEGIN")
            keeper.execute("UPDATE migration SET name = name WHERE version = -1")
            log.extend(_log_and_journal(path, stack))

        database.writer.run(hold, changes=False).result()
        descriptor = database.descriptor()
        main = Part(FILE, os.fstat(descriptor).st_size, descriptor)
        parts = (main, *log, *_access(path, stack), *_beside(path))
        return Snapshot(now, parts, stack.pop_all(), wal_path(path))
    raise AssertionError("an exit stack swallows nothing")


def of_file(path: Path, settings: StoreSettings, now: datetime) -> Snapshot:
    """A snapshot of a store that no server holds; nobody can open it for writing meanwhile.

    Raises:
        StoreError: it cannot be opened, or is held.
    """
    check_files(path)
    with ExitStack() as stack:
        # Whoever closes a file gives up the locks of his process on it: this has to be closed last.
        descriptor = opened(path, stack)
        try:
            stack.callback(open_to_look(path, settings).close)
        except duckdb.Error as error:
            raise explain(error, path) from error
        main = Part(FILE, os.fstat(descriptor).st_size, descriptor)
        parts = (main, *_log_and_journal(path, stack), *_access(path, stack), *_beside(path))
        return Snapshot(now, parts, stack.pop_all(), None)
    raise AssertionError("an exit stack swallows nothing")


def opened(file: Path, stack: ExitStack) -> int:
    """A descriptor for reading that `stack` closes.

    Raises:
        FileNotFoundError: there is none.
    """
    descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    stack.callback(os.close, descriptor)
    return descriptor


def _log_and_journal(path: Path, stack: ExitStack) -> list[Part]:
    """What grows or goes with every commit; opened at once, so that it stays readable."""
    folder = path.with_name(path.name + JOURNAL)
    named = [(wal_path(path), FILE + LOG)]
    named += [(file, f"{FILE}{JOURNAL}/{file.name}") for file in sorted(folder.glob("*.segment"))]
    parts = []
    for file, name in named:
        try:
            descriptor = opened(file, stack)
        except FileNotFoundError:
            continue
        parts.append(Part(name, os.fstat(descriptor).st_size, descriptor))
    return parts


def _access(path: Path, stack: ExitStack) -> Iterator[Part]:
    """Users and tokens, in SQLite: its own way of copying waits for whoever writes."""
    file = path.with_name(path.name + ACCESS)
    if not file.exists():
        return
    copy = Path(stack.enter_context(TemporaryDirectory(prefix="servescope-"))) / "access"
    with closing(sqlite3.connect(file)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
    yield Part(FILE + ACCESS, copy.stat().st_size, opened(copy, stack))


def _beside(path: Path) -> Iterator[Part]:
    for ending in BESIDE:
        place = path.with_name(path.name + ending)
        for file in sorted(place.rglob("*")) if place.is_dir() else [place]:
            if file.is_file() and not file.is_symlink():
                own = f"/{file.relative_to(place).as_posix()}" if file != place else ""
                yield Part(FILE + ending + own, file.stat().st_size, path=file)
