"""Reading: a bounded number of cursors, a time limit per query, frames out."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import duckdb
import numpy.typing as npt
import polars as pl

from store.alarms import Alarm, Alarms
from store.errors import QueryTimeout, StoreError, StorePaused
from store.settings import StoreSettings

_BATCH_ROWS = 1 << 17
_HELD = "16MiB"
"""What DuckDB may hold of an answer before somebody takes its rows. DuckDB 1.5 can come to a stand
in a UNION ALL of several sums when that is full, and then no interrupt ends the query; an answer
for a page fits here, so that nobody waits for its rows to be taken."""
_PARAMETER = re.compile(r"\$([a-z]\w*)")
_CLOSED_HINT = "open it again"
_CLOSE_WAIT_SECONDS = 0.05
_CLOSE_TRIES = 100


class Reader:
    """Runs read queries over the shared DuckDB instance; safe to use from any thread.

    Cursors belong to slots, not to threads: web servers make and drop threads all the time, and a
    cursor for each would never be given back. All are made at once, while settings can be made.

    Args:
        connection: the instance; each cursor is a connection of its own.
        settings: limits.
        slots: queries that run at once; None takes `settings.concurrent_queries`.
        on_fatal: told of an error after which the instance refuses everything.
        enter: done with each cursor when it is made.
    """

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        settings: StoreSettings,
        *,
        slots: int | None = None,
        on_fatal: Callable[[Exception], object] = lambda _: None,
        enter: Callable[[duckdb.DuckDBPyConnection], None] = lambda _: None,
    ) -> None:
        self._enter = enter
        self.on_fatal = on_fatal
        self._settings = settings
        self._slot_count = slots or settings.concurrent_queries
        self._slots = threading.BoundedSemaphore(self._slot_count)
        self._lock = threading.Condition()
        self._idle = self._cursors(connection)
        self._watches: set[_Watch] = set()
        self._alarms = Alarms()
        self._waiting = 0
        self._queries = 0
        self._timeouts = 0
        self._closed = False
        self._paused = False

    def frame(self, sql: str, **params: Any) -> pl.DataFrame:
        """The rows of a query as a frame.

        Args:
            sql: one SELECT with `$name` parameters.
            params: values of the parameters.

        Raises:
            QueryTimeout: the query, or its wait for a free slot, passed `query_limit_seconds`.
            StoreError: DuckDB refused the query, or the store is closed.
        """
        with self.cursor(self._settings.query_limit_seconds) as cursor:
            return _run(cursor, sql, params).pl()

    def batches(self, sql: str, **params: Any) -> Iterator[Mapping[str, npt.NDArray[Any]]]:
        """The rows of a query by column, a stretch at a time: what is larger than an answer.

        Takes a third of the time of `frame`, and no memory for the whole. The slot is held until
        the last stretch was taken or the iterator is closed.

        Args:
            sql: one SELECT of numbers or times without nulls; times become `datetime64[us]`.
            params: values of the parameters.

        Raises:
            QueryTimeout: as in `frame`; the caller's own time between the stretches counts too.
            StoreError: as in `frame`.
        """
        with self.cursor(self._settings.query_limit_seconds) as cursor:
            found = _run(cursor, sql, params).to_arrow_reader(_BATCH_ROWS)
            for batch in found:
                yield {
                    name: batch.column(place).to_numpy()
                    for place, name in enumerate(batch.schema.names)
                }

    def scalar(self, sql: str, **params: Any) -> Any:
        """The first value of the first row; None when there is no row.

        Raises:
            QueryTimeout: as in `frame`.
            StoreError: as in `frame`.
        """
        with self.cursor(self._settings.query_limit_seconds) as cursor:
            row = _run(cursor, sql, params).fetchone()
            return row[0] if row else None

    @contextmanager
    def snapshot(self, limit_seconds: float | None = None) -> Iterator[Snapshot]:
        """Several queries over one state of the store, under one time limit.

        Args:
            limit_seconds: > 0; None takes `query_limit_seconds`.

        Raises:
            QueryTimeout: as in `frame`, for all of them together.
            StoreError: as in `frame`.
        """
        with self.cursor(limit_seconds or self._settings.query_limit_seconds) as cursor:
            cursor.execute("BEGIN TRANSACTION READ ONLY")
            try:
                yield Snapshot(cursor)
            finally:
                cursor.execute("ROLLBACK")

    @contextmanager
    def cursor(self, limit_seconds: float) -> Iterator[duckdb.DuckDBPyConnection]:
        """A cursor with its slot held and a timer that interrupts it.

        Args:
            limit_seconds: > 0; for the wait and for the query, each.

        Raises:
            QueryTimeout: the limit passed.
            StoreError: DuckDB refused the query, or the store is closed.
        """
        self._take_slot(limit_seconds)
        try:
            watch = self._watch(limit_seconds)
            try:
                yield watch.cursor
            except (duckdb.Error, OSError) as error:  # a stream reports through Arrow: OSError
                raise self._explain(error, watch, limit_seconds) from error
            finally:
                self._give_back(watch)
        finally:
            self._slots.release()

    def stats(self) -> dict[str, int]:
        """How many queries run and wait now, and how many ran or were stopped since start."""
        with self._lock:
            return {
                "queries_running": len(self._watches),
                "queries_waiting": self._waiting,
                "query_slots": self._slot_count,
                "cursors": len(self._idle) + len(self._watches),
                "queries": self._queries,
                "queries_timed_out": self._timeouts,
            }

    def close(self) -> None:
        """Stop what runs, then close all cursors. Safe to call twice."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
            self._end_all()
        for cursor in idle:
            cursor.close()
        self._alarms.close()

    def pause(self) -> bool:
        """Stop what runs and let go of the instance; who asks meanwhile is told to ask again.

        Returns:
            Whether nothing runs any more.
        """
        with self._lock:
            self._paused = True
            idle, self._idle = self._idle, []
            self._end_all()
            is_quiet = not self._watches
        for cursor in idle:
            cursor.close()
        return is_quiet

    def resume(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Go on over another instance; before its settings are locked."""
        made = self._cursors(connection)
        with self._lock:
            self._idle, self._paused = made, False

    def _cursors(self, connection: duckdb.DuckDBPyConnection) -> list[duckdb.DuckDBPyConnection]:
        """One a slot."""
        made = [_cursor(connection) for _ in range(self._slot_count)]
        for cursor in made:
            self._enter(cursor)
        return made

    def _end_all(self) -> None:
        """Stop what runs, for at most a few seconds. The lock is held."""
        for _ in range(_CLOSE_TRIES):
            # Again and again: an interrupt just before a query starts is forgotten by it.
            for watch in self._watches:
                watch.stop()
            if not self._watches:
                return
            self._lock.wait(_CLOSE_WAIT_SECONDS)

    def _take_slot(self, limit_seconds: float) -> None:
        with self._lock:
            self._waiting += 1
        try:
            taken = self._slots.acquire(timeout=limit_seconds)
        finally:
            with self._lock:
                self._waiting -= 1
        if not taken:
            raise QueryTimeout(
                f"no free query slot within {limit_seconds:g} s",
                hint="choose a shorter range, or raise store.concurrent_queries",
            )

    def _watch(self, limit_seconds: float) -> _Watch:
        with self._lock:
            if self._closed:
                raise StoreError("the store is closed", hint=_CLOSED_HINT)
            if self._paused:
                raise StorePaused("the store is being opened again", hint="ask again in a moment")
            watch = _Watch(self._idle.pop())
            self._watches.add(watch)
            self._queries += 1
        watch.alarm = self._alarms.after(limit_seconds, watch.expire)
        return watch

    def _give_back(self, watch: _Watch) -> None:
        watch.finish()
        with self._lock:
            self._watches.discard(watch)
            self._timeouts += watch.timed_out
            self._lock.notify_all()
            if not self._closed and not self._paused:
                self._idle.append(watch.cursor)
                return
        watch.cursor.close()

    def _explain(self, error: Exception, watch: _Watch, limit_seconds: float) -> StoreError:
        if self._closed:
            return StoreError("the store is closed", hint=_CLOSED_HINT)
        if self._paused:
            return StorePaused("the store is being opened again", hint="ask again in a moment")
        if isinstance(error, duckdb.FatalException):
            self.on_fatal(error)
            return StorePaused("the store has to be opened again", hint="ask again in a moment")
        if watch.timed_out:
            return QueryTimeout(
                f"the query was stopped after {limit_seconds:g} s",
                hint="choose a shorter range or fewer columns",
            )
        if isinstance(error, duckdb.OutOfMemoryException):
            return StoreError(
                "the query needs more memory than store.memory_limit_bytes allows",
                hint="choose a shorter range or fewer columns, or raise the limit",
            )
        # The excerpt with the caret makes no sense in one line.
        text = " ".join(str(error).split("\n\nLINE ")[0].split())
        return StoreError(text, hint="check table and column names with `DESCRIBE`")


def _cursor(connection: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyConnection:
    made = connection.cursor()
    made.execute(f"SET streaming_buffer_size = '{_HELD}'")
    return made


class Snapshot:
    """Queries inside one read-only transaction; made by `Reader.snapshot`."""

    def __init__(self, cursor: duckdb.DuckDBPyConnection) -> None:
        self._cursor = cursor

    def frame(self, sql: str, **params: Any) -> pl.DataFrame:
        """The rows of a query as a frame; see `Reader.frame`."""
        return _run(self._cursor, sql, params).pl()


def _run(
    cursor: duckdb.DuckDBPyConnection, sql: str, params: Mapping[str, Any]
) -> duckdb.DuckDBPyConnection:
    """Execute with times written into the text.

    For each bound value DuckDB searches the disk for pandas, which is not there: a tenth of the
    time of a page goes into it.
    """
    times = {name: at for name, at in params.items() if type(at) is datetime and at.tzinfo is None}
    if times:
        sql = _PARAMETER.sub(
            lambda found: f"TIMESTAMP '{at}'" if (at := times.get(found[1])) else found[0], sql
        )
    rest = {name: value for name, value in params.items() if name not in times}
    return cursor.execute(sql, rest or None)


class _Watch:
    """One running query and the alarm that stops it; never stops the next one on its cursor."""

    def __init__(self, cursor: duckdb.DuckDBPyConnection) -> None:
        self.cursor = cursor
        self.timed_out = False
        self.alarm: Alarm | None = None
        self._lock = threading.Lock()
        self._over = False

    def stop(self) -> None:
        """Interrupt the query if it still runs."""
        with self._lock:
            if not self._over:
                self.cursor.interrupt()

    def finish(self) -> None:
        """The query is over; the alarm may no longer stop anything."""
        with self._lock:
            self._over = True
        if self.alarm is not None:
            self.alarm.cancel()

    def expire(self) -> None:
        """The limit has passed."""
        with self._lock:
            if not self._over:
                self.timed_out = True
                self.cursor.interrupt()
