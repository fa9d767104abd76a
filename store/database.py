"""Opening the store: the only place that calls duckdb.connect."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import TracebackType
from weakref import WeakSet

import duckdb

from store.clock import Clock
from store.condition import OPENING
from store.errors import StoreError
from store.folders import make_folder
from store.keeper import Keeper
from store.lake import NAME as LAKE
from store.lake import Lake
from store.lake_attach import open_lake
from store.migrate import migrate
from store.opening import check_files, explain, incoming_folder, server_file, wal_path
from store.reader import Reader
from store.restoring import finish_restore
from store.settings import StoreSettings
from store.standing import Standing
from store.writer import Writer

__all__ = ["Database", "incoming_folder", "open_to_look", "server_file", "wal_path"]


class Database:
    """One open store: a writer thread and readers over one DuckDB instance.

    Use `Database.open`; close it, or use it as a context manager.
    """

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        path: Path | None,
        settings: StoreSettings,
        clock: Clock,
        lake: Lake | None = None,
        *,
        allow_files: bool = False,
    ) -> None:
        self.lake = lake
        self._allow_files = allow_files
        self.path = path
        self.settings = settings
        self.clock = clock
        self._connection = connection
        self._descriptor: int | None = None
        # Each keeps checkpoints off.
        self.one_snapshot = threading.Lock()
        self.is_read_only = False
        folder = _growing_folder(path, lake)
        self.standing = Standing(settings, clock, partial(_free_bytes, folder) if folder else None)
        self.keeper = Keeper(self, self.standing, folder, self.standing.low_space)
        self.standing.on_trouble = self.keeper.start
        self.writer = Writer(self._entered(), settings, clock, self.standing, lake)
        made = partial(
            Reader, connection, settings, on_fatal=self.standing.failed, enter=self._enter
        )
        self.reader = made()
        # Ad-hoc SQL waits for its own turn, so that it never takes a slot from the pages.
        self.adhoc_reader = made(slots=1)
        # An export holds its slot for as long as somebody downloads.
        self.export_reader = made(slots=2)
        self._lent: WeakSet[duckdb.DuckDBPyConnection] = WeakSet()

    @classmethod
    def open(
        cls,
        path: Path | None,
        settings: StoreSettings,
        clock: Clock,
        *,
        allow_files: bool = False,
    ) -> Database:
        """Open or create a store, bring its schema up to date and start its writer.

        Args:
            path: the database file; None keeps everything in memory. Of a lake, what lies beside
                the store on this host.
            settings: limits.
            clock: stamps migrations.
            allow_files: let SQL on this instance read any file. Only for short-lived command-line
                processes that import; a server keeps it off and reads `incoming_folder` only.

        Raises:
            StoreLocked: another process has the file open.
            StoreDamaged: the file is not a readable DuckDB database.
            SchemaError: the schema does not fit.
            StoreError: the folder cannot be written.
        """
        connection, lake = _instance(path, settings, clock)
        try:
            if lake is None:
                migrate(connection, clock.now())
            database = cls(connection, path, settings, clock, lake, allow_files=allow_files)
            if not allow_files:
                _forbid_files(connection, path, lake)
        except BaseException:
            if lake is not None:
                lake.close()
            connection.close()
            raise
        database.writer.start()
        return database

    def close(self) -> None:
        """Write what is queued, then close. Safe to call twice."""
        self.keeper.close()
        self.writer.close()
        self.reader.close()
        self.adhoc_reader.close()
        self.export_reader.close()
        if self.lake is not None:
            self.lake.close()
        self._connection.close()
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def connection(self) -> duckdb.DuckDBPyConnection:
        """A connection of its own; whoever takes it closes it."""
        lent = self._entered()
        self._lent.add(lent)
        return lent

    def _enter(self, cursor: duckdb.DuckDBPyConnection) -> None:
        if self.lake is not None:
            self.lake.enter(cursor)

    def _entered(self) -> duckdb.DuckDBPyConnection:
        cursor = self._connection.cursor()
        self._enter(cursor)
        return cursor

    def reopen(self, *, read_only: bool) -> None:
        """Close all connections and open the file anew; see `store.keeper`.

        Raises:
            StoreError: it cannot be opened, or a query does not end.
        """
        readers = (self.reader, self.adhoc_reader, self.export_reader)
        quiet = [reader.pause() for reader in readers]
        if not all(quiet):
            raise StoreError("a query does not end", hint=OPENING)
        with self.writer.exchanged() as write_by:
            for lent in list(self._lent):
                lent.close()
            if self.lake is not None:
                self.lake.close()
            self._connection.close()
            connection, self.lake = _instance(
                self.path, self.settings, self.clock, read_only=read_only
            )
            self._connection, self.is_read_only = connection, read_only
            write_by(self._entered(), self.lake)
            for reader in readers:
                reader.resume(connection)
            if not self._allow_files:
                _forbid_files(connection, self.path, self.lake)

    def descriptor(self) -> int:
        """The file, open for reading until the store is closed.

        Whoever closes a file gives up all locks that his process has on it, those of DuckDB too.

        Raises:
            StoreError: the store is in memory, or a lake.
        """
        if self.lake is not None:
            raise StoreError(
                "a lake has no file", hint="its backup is that of PostgreSQL and of the bucket"
            )
        if self.path is None:
            raise StoreError("a store in memory has no file", hint="start it with --store FILE")
        if self._descriptor is None:
            self._descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        return self._descriptor

    def size_bytes(self) -> int | None:
        """Bytes on disk, write-ahead log included; None in memory. Of a lake those of its files."""
        if self.lake is not None:
            return int(self.reader.scalar(_LAKE_BYTES))
        if self.path is None:
            return None
        files = (self.path, wal_path(self.path))
        return sum(file.stat().st_size for file in files if file.exists())

    def __enter__(self) -> Database:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def open_to_look(path: Path, settings: StoreSettings) -> duckdb.DuckDBPyConnection:
    """A read-only connection without migrations, for diagnosis; changes nothing.

    Raises:
        duckdb.Error: as DuckDB says it; `store.opening.explain` puts it into words.
    """
    return duckdb.connect(str(path), read_only=True, config=_config(settings))  # noqa: TID251


@contextmanager
def alone(path: str) -> Iterator[duckdb.DuckDBPyConnection]:
    """A store of which nobody else knows yet, with files allowed; for `store.salvage`."""
    connection = duckdb.connect(path, config=_config(StoreSettings()))  # noqa: TID251
    try:
        yield connection
    finally:
        connection.close()


_LAKE_BYTES = f"""SELECT coalesce(sum(file_size_bytes + coalesce(delete_file_size_bytes, 0)), 0)
FROM ducklake_table_info('{LAKE}')"""


def _forbid_files(
    connection: duckdb.DuckDBPyConnection, path: Path | None, lake: Lake | None
) -> None:
    """Ad-hoc SQL shares this instance: no files, no network, and nobody may switch that back."""
    folders = [f"{incoming_folder(path).absolute()}/"] if path is not None else []
    if lake is not None:
        folders.append(lake.address.data)
    if folders:
        texts = ", ".join("'" + folder.replace("'", "''") + "'" for folder in folders)
        connection.execute(f"SET allowed_directories = [{texts}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


def _growing_folder(path: Path | None, lake: Lake | None) -> Path | None:
    """The folder on this host that new rows fill; of a lake on S3, where large work spills."""
    if lake is not None and lake.address.folder is not None:
        return lake.address.folder
    return path.absolute().parent if path is not None else None


def _free_bytes(folder: Path) -> int:
    return shutil.disk_usage(folder).free


def _instance(
    path: Path | None, settings: StoreSettings, clock: Clock, *, read_only: bool = False
) -> tuple[duckdb.DuckDBPyConnection, Lake | None]:
    """The file, or an instance in memory with the lake attached, which knows no `read_only`."""
    if not settings.lake:
        return _connect(path, settings, read_only=read_only), None
    connection = _connect(None, settings)
    try:
        return connection, open_lake(connection, path, settings, clock.now())
    except BaseException:
        connection.close()
        raise


def _connect(
    path: Path | None, settings: StoreSettings, *, read_only: bool = False
) -> duckdb.DuckDBPyConnection:
    if path is not None and not read_only:
        make_folder(path.parent)
        finish_restore(path)
        check_files(path)
    try:
        return duckdb.connect(  # noqa: TID251
            str(path) if path else ":memory:", read_only=read_only, config=_config(settings)
        )
    except duckdb.Error as error:
        raise explain(error, path) from error


def _config(settings: StoreSettings) -> dict[str, str | bool | int | float | list[str]]:
    config: dict[str, str | bool | int | float | list[str]] = {
        "memory_limit": f"{settings.memory_limit_bytes}B",
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        # A name in somebody's SQL must never be looked up among our Python variables.
        "python_enable_replacements": False,
        "max_temp_directory_size": f"{settings.spill_limit_bytes}B",
        "preserve_insertion_order": True,
        # A file is imported once: what was read of it would only crowd out the store's own pages.
        "enable_external_file_cache": False,
    }
    if settings.threads is not None:
        config["threads"] = settings.threads
    return config
