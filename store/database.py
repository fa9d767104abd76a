"""Opening the store: the only place that calls duckdb.connect."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from types import TracebackType

import duckdb

from store.clock import Clock
from store.errors import StoreDamaged, StoreError, StoreLocked
from store.migrate import migrate
from store.reader import Reader
from store.settings import StoreSettings
from store.writer import Writer

_HOLDER = re.compile(r"PID (\d+)")


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
    ) -> None:
        self.path = path
        self.settings = settings
        self.clock = clock
        self._connection = connection
        self.writer = Writer(connection.cursor(), settings, clock)
        self.reader = Reader(connection, settings)
        # Ad-hoc SQL waits for its own turn, so that it never takes a slot from the pages.
        self.adhoc_reader = Reader(connection, settings, slots=1)

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
            path: the database file; None keeps everything in memory.
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
        connection = _connect(path, settings)
        try:
            migrate(connection, clock.now())
            if not allow_files:
                _forbid_files(connection, path)
        except BaseException:
            connection.close()
            raise
        database = cls(connection, path, settings, clock)
        database.writer.start()
        return database

    def close(self) -> None:
        """Write what is queued, then close. Safe to call twice."""
        self.writer.close()
        self.reader.close()
        self.adhoc_reader.close()
        self._connection.close()

    def size_bytes(self) -> int | None:
        """Bytes on disk, write-ahead log included; None in memory."""
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


def wal_path(path: Path) -> Path:
    """DuckDB's write-ahead log beside the database file."""
    return path.with_name(path.name + ".wal")


def incoming_folder(path: Path) -> Path:
    """Where a running server takes uploads from; the only folder its SQL may read."""
    return path.with_name(path.name + ".incoming")


def server_file(path: Path) -> Path:
    """Where a running server says how to reach it (JSON: url, pid, started_at)."""
    return path.with_name(path.name + ".server.json")


def _forbid_files(connection: duckdb.DuckDBPyConnection, path: Path | None) -> None:
    """Ad-hoc SQL shares this instance: no files, no network, and nobody may switch that back."""
    if path is not None:
        folder = str(incoming_folder(path).absolute()).replace("'", "''")
        connection.execute(f"SET allowed_directories = ['{folder}/']")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


def _connect(path: Path | None, settings: StoreSettings) -> duckdb.DuckDBPyConnection:
    config: dict[str, str | bool | int | float | list[str]] = {
        "memory_limit": f"{settings.memory_limit_bytes}B",
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        # A name in somebody's SQL must never be looked up among our Python variables.
        "python_enable_replacements": False,
        "max_temp_directory_size": f"{settings.spill_limit_bytes}B",
        "preserve_insertion_order": True,
    }
    if settings.threads is not None:
        config["threads"] = settings.threads
    if path is not None:
        _make_folder(path.parent)
    try:
        return duckdb.connect(str(path) if path else ":memory:", config=config)  # noqa: TID251
    except duckdb.Error as error:
        raise _explain(error, path) from error


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(
            f"cannot create the folder ({error.strerror})",
            where=str(folder),
            hint="choose another place with --store",
        ) from error
    if not os.access(folder, os.W_OK):
        raise StoreError(
            "the folder cannot be written", where=str(folder), hint="choose another with --store"
        )


def _explain(error: duckdb.Error, path: Path | None) -> StoreError:
    text = str(error)
    if "lock" in text.lower() or "being used by another process" in text:
        holder = _HOLDER.search(text)
        who = f" by process {holder[1]}" if holder else ""
        return StoreLocked(
            f"the store is held{who}{_server_url(path)}",
            where=str(path),
            hint="use that server (its API and CLI answer meanwhile), or stop it first",
        )
    if isinstance(error, duckdb.IOException | duckdb.SerializationException) or "corrupt" in text:
        first = text.strip().splitlines()[0]
        return StoreDamaged(
            f"the file cannot be read as a store ({first})",
            where=str(path),
            hint="run `servescope doctor --store FILE`; it says what is left and how to recover",
        )
    return StoreError(text.strip().splitlines()[0], where=str(path), hint="servescope doctor")


def _server_url(path: Path | None) -> str:
    if path is None or not server_file(path).exists():
        return ""
    try:
        url = json.loads(server_file(path).read_text("utf-8")).get("url")
    except (OSError, ValueError):
        return ""
    return f", a server at {url}" if url else ""
