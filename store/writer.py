"""The one writer thread: a bounded queue, group commit, an answer only for durable rows."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import groupby
from typing import Any, TypeVar

import duckdb
import polars as pl

from store.append import TABLES, appenders
from store.append_points import PointAppender
from store.clock import Clock
from store.errors import InputError, StoreError, WriterOverloaded
from store.lake import Lake
from store.settings import StoreSettings
from store.standing import Standing

T = TypeVar("T")
Connection = duckdb.DuckDBPyConnection

MEASURED = frozenset({"request", "sample", "histogram_sample", "scrape"})
"""Tables that grow by the second, whatever anybody does."""
# A commit costs about 4 ms whatever it holds; more batches in one would only delay the first.
_GROUP_BATCHES = 256
_LOOK_SECONDS = 1.0
"""How long at most until pages show what other servers wrote into a lake."""


@dataclass(slots=True)
class _Append:
    table: str
    frame: pl.DataFrame
    future: Future[int]


@dataclass(slots=True)
class _Job:
    work: Callable[[Connection], Any]
    future: Future[Any]
    changes: bool
    rows: int


@dataclass(frozen=True, slots=True)
class WriterStats:
    """What the writer did and what waits.

    Attributes:
        queued_batches: batches waiting now.
        queued_rows: rows waiting now.
        commits: transactions committed since start.
        rows_added: rows added since start.
        rows_duplicate: rows that were sent again and changed nothing.
        batches_failed: batches that were refused because their content was wrong.
        batches_refused: batches turned away because the queue was full.
        oldest_wait_seconds: how long the oldest waiting batch has waited; 0 when none waits.
        stopped_by: why no rows are taken until something is mended; None while they are.
    """

    queued_batches: int
    queued_rows: int
    commits: int
    rows_added: int
    rows_duplicate: int
    batches_failed: int
    batches_refused: int
    oldest_wait_seconds: float
    stopped_by: str | None


class Writer:
    """Owns the only write connection. `append` and `run` may be called from any thread.

    Args:
        connection: for this writer alone.
        settings: queue lengths.
        clock: measures waiting.
        standing: told of what goes wrong; says when no rows are taken.
        lake: what the store is shared by; None when this process holds it alone.
    """

    def __init__(
        self,
        connection: Connection,
        settings: StoreSettings,
        clock: Clock,
        standing: Standing,
        lake: Lake | None = None,
    ) -> None:
        self._connection = connection
        self._settings = settings
        self._clock = clock
        self._standing = standing
        self._at_work = threading.RLock()
        self._lake = lake
        self._points = PointAppender(shared=lake is not None)
        self._appenders = appenders(self._points)
        self._queue: queue.SimpleQueue[_Append | _Job | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._version = 0
        self._told_version = 0
        self._queued_batches = 0
        self._queued_rows = 0
        self._oldest: float | None = None
        self._counts = dict.fromkeys(("commits", "added", "duplicate", "failed", "refused"), 0)

    def start(self) -> None:
        """Start the thread. Safe to call twice."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._loop, name="store-writer", daemon=True)
            self._thread.start()

    def append(self, table: str, frame: pl.DataFrame) -> Future[int]:
        """Queue rows for a table.

        Args:
            table: one of `store.append.TABLES`; that module documents the columns.
            frame: the rows; not changed.

        Returns:
            A future: the number of rows really added (a resend adds 0). It is set only after the
            commit, so whoever waits for it may acknowledge the rows.

        Raises:
            InputError: there is no such table.
            WriterOverloaded: the queue is full; nothing was accepted.
            StoreError: the writer is closed.
        """
        if table not in TABLES:
            raise InputError(f"no rows can be appended to '{table}'", hint=", ".join(TABLES))
        future: Future[int] = Future()
        with self._lock:
            self._admit(frame.height)
            self._queue.put(_Append(table, frame, future))
        return future

    @property
    def is_shared(self) -> bool:
        """Whether other servers write to the same store: then each statement asks a database."""
        return self._lake is not None

    @property
    def points(self) -> PointAppender:
        """What is remembered of series; only for work given to `run`, on the writer's thread."""
        return self._points

    def run(
        self, work: Callable[[Connection], T], *, changes: bool = True, rows: int = 0
    ) -> Future[T]:
        """Queue a piece of work that runs on the writer thread inside one transaction.

        Args:
            work: gets the write connection; whatever it raises rolls the transaction back.
            changes: whether it may change what queries answer; False leaves `version` as it is.
            rows: rows that it brings from outside; they count in the queue, and are refused like
                those of `append` when the disk is nearly full.

        Returns:
            A future with its result, set after the commit.

        Raises:
            WriterOverloaded: the queue is full; nothing was accepted.
            StoreError: the writer is closed.
        """
        future: Future[T] = Future()
        with self._lock:
            self._admit(rows)
            self._queue.put(_Job(work, future, changes, rows))
        return future

    def append_in(self, connection: Connection, table: str, frame: pl.DataFrame) -> int:
        """Append inside a job of `run`, as a part of its transaction; gives the rows added.

        Args:
            connection: what the job was given.
            table: one of `store.append.TABLES`.
            frame: the rows; not changed.
        """
        return sum(self._appenders[table](connection, [frame]))

    def version(self) -> int:
        """Grows with every commit that changed rows; the age of cached views is judged by it."""
        return self._version

    def told_version(self) -> int:
        """As `version`, but what is measured by the second (`MEASURED`) leaves it as it is."""
        return self._told_version

    def stats(self) -> WriterStats:
        """Counters and queue lengths."""
        with self._lock:
            waited = self._clock.monotonic() - self._oldest if self._oldest is not None else 0.0
            return WriterStats(
                self._queued_batches,
                self._queued_rows,
                self._counts["commits"],
                self._counts["added"],
                self._counts["duplicate"],
                self._counts["failed"],
                self._counts["refused"],
                waited,
                self._standing.noticed().what or None,
            )

    def flush(self) -> None:
        """Wait until everything queued so far is durable."""
        self.run(lambda _: None, changes=False).result()

    def close(self) -> None:
        """Write what is queued, then stop. Safe to call twice and without start."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._queue.put(None)
        if self._thread is not None:
            self._thread.join()
        self._connection.close()

    @contextmanager
    def exchanged(self) -> Iterator[Callable[[Connection, Lake | None], None]]:
        """Close the connection between two pieces of work; what is given sets another one."""

        def go_on(connection: Connection, lake: Lake | None) -> None:
            self._connection, self._lake = connection, lake
            self._points = PointAppender(shared=self._lake is not None)
            self._appenders = appenders(self._points)

        with self._at_work:
            self._connection.close()
            yield go_on

    def _admit(self, rows: int) -> None:
        """Count a batch in, or refuse it. The lock is held."""
        if self._closed:
            raise StoreError("the store is closed", hint="open it again")
        noticed = self._standing.noticed()
        if noticed.state != "ok":
            self._counts["refused"] += 1
            raise noticed.refusal()
        too_many = self._queued_batches >= self._settings.queue_batches
        too_large = self._queued_rows + rows > self._settings.queue_rows and self._queued_rows > 0
        if too_many or too_large:
            self._counts["refused"] += 1
            raise WriterOverloaded(
                f"{self._queued_rows:,} rows in {self._queued_batches:,} batches wait",
                hint="send again later; nothing of this batch was taken",
            )
        if self._queued_batches == 0:
            self._oldest = self._clock.monotonic()
        self._queued_batches += 1
        self._queued_rows += rows

    def _loop(self) -> None:
        stopping = False
        while not stopping:
            items, stopping = self._take()
            appends = [item for item in items if isinstance(item, _Append)]
            with self._at_work:
                if appends:
                    self._write(appends)
                for item in items:
                    if isinstance(item, _Job):
                        self._run(item)
            self._leave(items)

    def _take(self) -> tuple[list[_Append | _Job], bool]:
        """Everything that waits, up to the first job, so that order is kept."""
        items: list[_Append | _Job] = []
        item = self._next()
        while item is not None:
            items.append(item)
            if isinstance(item, _Job) or len(items) >= _GROUP_BATCHES:
                return items, False
            try:
                item = self._queue.get_nowait()
            except queue.Empty:
                return items, False
        return items, True

    def _next(self) -> _Append | _Job | None:
        """What comes next; while nothing comes, what others wrote into a lake is noticed."""
        while self._lake is not None:
            try:
                return self._queue.get(timeout=_LOOK_SECONDS)
            except queue.Empty:
                # A lake that is away is told to whoever reads or writes.
                with self._at_work, suppress(duckdb.Error):
                    self._notice(self._lake)
        return self._queue.get()

    def _leave(self, items: list[_Append | _Job]) -> None:
        with self._lock:
            self._queued_batches -= len(items)
            self._queued_rows -= sum(
                item.frame.height if isinstance(item, _Append) else item.rows for item in items
            )
            self._oldest = self._clock.monotonic() if self._queued_batches else None

    def _write(self, appends: list[_Append]) -> None:
        """One transaction for all; if one batch is bad, each gets its own."""
        try:
            self._standing.check_space()
            added = self._transaction(lambda con: self._insert(con, appends))
        except Exception as error:  # noqa: BLE001 - one of the three places that record and go on
            if len(appends) == 1:
                self._fail(appends[0].future, error)
                return
            for append in appends:
                self._write([append])
            return
        told = any(n and item.table not in MEASURED for n, item in zip(added, appends, strict=True))
        self._count_version(changed=any(added), told=told)
        for append, rows in zip(appends, added, strict=True):
            self._counts["added"] += rows
            self._counts["duplicate"] += append.frame.height - rows
            append.future.set_result(rows)

    def _insert(self, connection: Connection, appends: list[_Append]) -> list[int]:
        """Rows added by each; neighbours for one table are one piece of work."""
        added: list[int] = []
        for table, group in groupby(appends, key=lambda append: append.table):
            added += self._appenders[table](connection, [append.frame for append in group])
        return added

    def _run(self, job: _Job) -> None:
        try:
            if job.rows:
                self._standing.check_space()
            result = self._transaction(job.work)
        except Exception as error:  # noqa: BLE001 - the caller gets it through the future
            self._fail(job.future, error)
            return
        self._points.forget_rolled()
        self._count_version(changed=job.changes, told=job.changes)
        job.future.set_result(result)

    def _transaction(self, work: Callable[[Connection], T]) -> T:
        if self._lake is None:
            return self._attempt(work)
        return self._lake.in_turn(lambda: self._attempt(work))

    def _attempt(self, work: Callable[[Connection], T]) -> T:
        self._connection.execute("BEGIN")
        try:
            if self._lake is not None:
                self._notice(self._lake)
            result = work(self._connection)
            self._connection.execute("COMMIT")
        except BaseException:
            self._rollback()
            raise
        if self._lake is not None:
            self._lake.committed(self._connection)
        return result

    def _notice(self, lake: Lake) -> None:
        """Let go of what others made untrue."""
        changes = lake.look(self._connection)
        if not changes.tables:
            return
        self._points.forget_rolled()
        if "series" in changes.deleted:
            self._points.forget_series()
        with self._lock:
            self._version += 1
            self._told_version += bool(changes.tables - MEASURED)

    def _count_version(self, *, changed: bool, told: bool) -> None:
        with self._lock:
            self._version += changed
            self._told_version += told
            self._counts["commits"] += 1

    def _rollback(self) -> None:
        self._points = PointAppender(
            shared=self._lake is not None
        )  # what it remembers of this transaction is not there
        self._appenders = appenders(self._points)
        try:
            self._connection.execute("ROLLBACK")
        except (duckdb.TransactionException, duckdb.FatalException):
            return  # a failed COMMIT has already ended the transaction, or the whole instance

    def _fail(self, future: Future[Any], error: Exception) -> None:
        self._counts["failed"] += 1
        met = self._standing.failed(error) if isinstance(error, duckdb.Error) else None
        if met is not None:
            refused = met.refusal()
            refused.__cause__ = error
            future.set_exception(refused)
        elif isinstance(error, duckdb.Error):
            text = " ".join(str(error).split("\n\nLINE ")[0].split())
            wrapped = StoreError(text, hint="the transaction was rolled back")
            wrapped.__cause__ = error
            future.set_exception(wrapped)
        else:
            future.set_exception(error)
