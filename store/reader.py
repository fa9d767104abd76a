"""Reading: a cursor per thread, a time limit per query, a bounded number at once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import duckdb
import polars as pl

from store.errors import QueryTimeout, StoreError
from store.settings import StoreSettings


class Reader:
    """Runs read queries over the shared DuckDB instance; safe to use from any thread."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, settings: StoreSettings) -> None:
        self._connection = connection
        self._settings = settings
        self._slots = threading.BoundedSemaphore(settings.concurrent_queries)
        self._local = threading.local()
        self._lock = threading.Lock()
        self._cursors: list[duckdb.DuckDBPyConnection] = []
        self._waiting = 0
        self._running = 0
        self._closed = False

    def frame(self, sql: str, **params: Any) -> pl.DataFrame:
        """The rows of a query as a frame.

        Args:
            sql: one SELECT with `$name` parameters.
            params: values of the parameters.

        Raises:
            QueryTimeout: the query, or its wait for a free slot, passed `query_limit_seconds`.
            StoreError: DuckDB refused the query, or the store is closed.
        """
        limit = self._settings.query_limit_seconds
        with self.cursor(limit) as cursor:
            return cursor.execute(sql, params or None).pl()

    def scalar(self, sql: str, **params: Any) -> Any:
        """The first value of the first row; None when there is no row.

        Raises:
            QueryTimeout: as in `frame`.
            StoreError: as in `frame`.
        """
        with self.cursor(self._settings.query_limit_seconds) as cursor:
            row = cursor.execute(sql, params or None).fetchone()
            return row[0] if row else None

    @contextmanager
    def cursor(self, limit_seconds: float) -> Iterator[duckdb.DuckDBPyConnection]:
        """This thread's cursor, with a slot held and a timer that interrupts it.

        Args:
            limit_seconds: > 0; for the wait and for the query, each.

        Raises:
            QueryTimeout: the limit passed.
            StoreError: DuckDB refused the query, or the store is closed.
        """
        self._take_slot(limit_seconds)
        fired = threading.Event()
        try:
            cursor = self._cursor()
            timer = threading.Timer(limit_seconds, _interrupt, (cursor, fired))
            timer.daemon = True
            timer.start()
            try:
                yield cursor
            except duckdb.Error as error:
                raise _explain(error, limit_seconds, timed_out=fired.is_set()) from error
            finally:
                timer.cancel()
        finally:
            with self._lock:
                self._running -= 1
            self._slots.release()

    def stats(self) -> dict[str, int]:
        """How many queries run and wait now."""
        with self._lock:
            return {
                "queries_running": self._running,
                "queries_waiting": self._waiting,
                "query_slots": self._settings.concurrent_queries,
                "cursors": len(self._cursors),
            }

    def close(self) -> None:
        """Close all cursors. Safe to call twice."""
        with self._lock:
            self._closed = True
            cursors, self._cursors = self._cursors, []
        for cursor in cursors:
            cursor.close()

    def _take_slot(self, limit_seconds: float) -> None:
        with self._lock:
            self._waiting += 1
        taken = self._slots.acquire(timeout=limit_seconds)
        with self._lock:
            self._waiting -= 1
            self._running += taken
        if not taken:
            raise QueryTimeout(
                f"no free query slot within {limit_seconds:g} s",
                hint="choose a shorter range, or raise store.concurrent_queries",
            )

    def _cursor(self) -> duckdb.DuckDBPyConnection:
        cursor: duckdb.DuckDBPyConnection | None = getattr(self._local, "cursor", None)
        if cursor is None:
            with self._lock:
                if self._closed:
                    raise StoreError("the store is closed", hint="open it again")
                cursor = self._connection.cursor()
                self._cursors.append(cursor)
            self._local.cursor = cursor
        return cursor


def _interrupt(cursor: duckdb.DuckDBPyConnection, fired: threading.Event) -> None:
    fired.set()
    cursor.interrupt()


def _explain(error: duckdb.Error, limit_seconds: float, *, timed_out: bool) -> StoreError:
    if timed_out or isinstance(error, duckdb.InterruptException):
        return QueryTimeout(
            f"the query was stopped after {limit_seconds:g} s",
            hint="choose a shorter range or fewer columns",
        )
    return StoreError(str(error).strip(), hint="check table and column names with `DESCRIBE`")
