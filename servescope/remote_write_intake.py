"""Remote-write inside the server: one thread takes requests together and answers durable ones.

Requests that wait are written to a journal as they came, synced once, decoded and answered. Pages
that are complete become rows about twice a second, in one commit for all; a segment of the journal
goes when all of its pages are stored. What a crash leaves in the journal is taken in again at the
start, and because rows have an identity, that changes nothing that was stored already.
"""

from __future__ import annotations

import logging
import queue
import threading
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from collector.drops import Drops
from collector.remote_write.body import unsnap
from collector.remote_write.door import DOOR, LOST, UNUSABLE, Door, Taken
from collector.remote_write.pages import Page
from collector.remote_write.rows import PlanCache, Rows
from servescope.journal import Journal
from servescope.push_targets import PushTargets
from store.clock import Clock
from store.database import Database
from store.errors import InputError, StoreError, WriterOverloaded

log = logging.getLogger("servescope.remote_write")

MOST_TOGETHER = 64
STORE_SECONDS = 0.5
IDLE_SECONDS = 1.0
MOST_JOURNAL_BYTES = 512 << 20
FOLDER_SUFFIX = ".remote-write"


@dataclass(slots=True)
class _Request:
    packed: bytes
    message: str
    answer: Future[Taken]


@dataclass(slots=True)
class _Flush:
    answer: Future[None]


@dataclass(slots=True)
class _Storing:
    """Pages on their way into the store.

    Attributes:
        pages: which.
        commits: what has to be durable before they are done.
    """

    pages: list[Page]
    commits: list[Future[Any]] = field(default_factory=list)


class RemoteWriteIntake:
    """Takes bodies from any thread.

    Args:
        database: where rows go.
        drops: where everything left out is counted.
        clock: the time.
    """

    def __init__(self, database: Database, drops: Drops, clock: Clock) -> None:
        self._database = database
        self._drops = drops
        self._clock = clock
        self._door = Door(drops)
        self._plans = PlanCache()
        self._targets = PushTargets(database.writer)
        path = database.path
        self._journal = Journal(path.with_name(path.name + FOLDER_SUFFIX)) if path else None
        self._queue: queue.SimpleQueue[_Request | _Flush | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._is_full = False
        self._ready: list[Page] = []
        self._storing: _Storing | None = None
        self._stored_at = clock.monotonic()
        self._owners: dict[int, int] = {}

    def start(self) -> None:
        """Take in again what was left from before, then serve. Safe to call twice."""
        with self._lock:
            if self._thread is None and not self._closed:
                self._thread = threading.Thread(target=self._run, name="remote-write", daemon=True)
                self._thread.start()

    def submit(self, packed: bytes, message: str) -> Future[Taken]:
        """Queue a body; the future is set when it is durable.

        Args:
            packed: the snappy block.
            message: `decode.V1` or `decode.V2`.

        Raises:
            StoreError: it is closed.
            WriterOverloaded: too much waits to become rows.
        """
        if self._is_full:
            raise WriterOverloaded("too much waits for the store", hint="send it again later")
        answer: Future[Taken] = Future()
        self._put(_Request(packed, message, answer))
        return answer

    def flush(self) -> None:
        """Wait until the pages that are complete are rows.

        Raises:
            StoreError: it is closed, or the store does not take them.
        """
        answer: Future[None] = Future()
        self._put(_Flush(answer))
        answer.result()

    def close(self) -> None:
        """Answer and store what is queued, then stop; pieces of pages stay in the journal."""
        with self._lock:
            self._closed = True
            self._queue.put(None)
        if self._thread is not None:
            self._thread.join()

    def _put(self, item: _Request | _Flush) -> None:
        self.start()
        with self._lock:
            if self._closed:
                raise StoreError("the server stops", hint="send it again in a moment")
            self._queue.put(item)

    def _run(self) -> None:
        try:
            self._recall()
        except Exception:
            log.exception("remote_write_journal_unreadable")
        open_ = True
        while open_:
            try:
                open_ = self._turn()
            except Exception:
                log.exception("remote_write_failed")
        if self._journal is not None:
            self._journal.close()

    def _recall(self) -> None:
        """What was answered before the last stop and may not have become rows."""
        if self._journal is None:
            return
        now, now_ms = self._times()
        door, unheard = self._door, Drops()
        door.drops = unheard  # these were counted when they came
        for number, message, packed in self._journal.load():
            self._own(number, door.take(unsnap(packed), message, now_ms, now))
        door.drops = self._drops

    def _turn(self) -> bool:
        """Take what waits, store what is due; False when it was the last turn."""
        requests, flushes, open_ = self._take()
        now, _ = self._times()
        self._ready += self._door.pages.ready(now, self._receive(requests))
        if flushes or not open_:
            self._store_all(flushes)
        else:
            self._store_some(now)
        if self._door.table.is_full and open_:
            self._begin_again()
        return open_

    def _take(self) -> tuple[list[_Request], list[_Flush], bool]:
        """What waits; after a while of nothing, nothing."""
        requests: list[_Request] = []
        flushes: list[_Flush] = []
        busy = self._storing is not None or self._ready
        try:
            item = self._queue.get(timeout=STORE_SECONDS / 4 if busy else IDLE_SECONDS)
            while item is not None:
                if isinstance(item, _Flush):
                    flushes.append(item)
                else:
                    requests.append(item)
                if len(requests) >= MOST_TOGETHER:
                    return requests, flushes, True
                item = self._queue.get_nowait()
        except queue.Empty:
            return requests, flushes, True
        return requests, flushes, False

    def _receive(self, requests: list[_Request]) -> list[Page]:
        """Decode, make durable, answer; gives the pages that got something."""
        now, now_ms = self._times()
        taken: list[tuple[_Request, Taken]] = []
        for request in requests:
            try:
                told = self._door.take(unsnap(request.packed), request.message, now_ms, now)
            except Exception as error:  # noqa: BLE001 - the sender gets it, the others go on
                request.answer.set_exception(error)
            else:
                taken.append((request, told))
        try:
            self._remember(taken)
        except OSError as error:
            refused = StoreError(f"the journal cannot be written ({error.strerror})",
                                 hint="free some space; senders come again")  # fmt: skip
            for request, _ in taken:
                request.answer.set_exception(refused)
        else:
            for request, told in taken:
                request.answer.set_result(told)
        return [page for _, told in taken for page in told.pages]

    def _remember(self, taken: list[tuple[_Request, Taken]]) -> None:
        """Write requests that bring something to the journal."""
        records = [(request.message, request.packed) for request, told in taken if told.pages]
        if self._journal is None or not records:
            return
        number = self._journal.add(records)
        for _, told in taken:
            self._own(number, told)
        self._is_full = self._journal.size_bytes > MOST_JOURNAL_BYTES

    def _own(self, number: int, taken: Taken) -> None:
        for page in taken.pages:
            if number not in page.parts:
                page.parts.add(number)
                self._owners[number] = self._owners.get(number, 0) + 1

    def _release(self, pages: list[Page]) -> None:
        """These pages are stored; segments that no page needs go."""
        for page in pages:
            for number in page.parts:
                self._owners[number] -= 1
                if not self._owners[number]:
                    del self._owners[number]
                    if self._journal is not None:
                        self._journal.drop(number)
        if self._journal is not None:
            self._is_full = self._journal.size_bytes > MOST_JOURNAL_BYTES

    def _store_some(self, now: float) -> None:
        storing = self._storing
        if storing is not None and all(commit.done() for commit in storing.commits):
            self._finish(storing)
        due = now - self._stored_at >= STORE_SECONDS or now < self._stored_at
        if self._storing is None and self._ready and due:
            self._stored_at = now
            self._begin()

    def _store_all(self, flushes: list[_Flush]) -> None:
        """Wait until everything ready is stored."""
        error = self._finish(self._storing) if self._storing is not None else None
        if self._ready:
            self._begin()
        if self._storing is not None:
            error = self._finish(self._storing)
        for flush in flushes:
            if error is None:
                flush.answer.set_result(None)
            else:
                flush.answer.set_exception(error)

    def _begin(self) -> None:
        """Send the pages that are ready on their way; they come back when that fails."""
        pages, self._ready = self._ready, []
        self._storing = storing = _Storing(pages)
        try:
            storing.commits += self._append(pages)
        except Exception as error:  # noqa: BLE001 - `_finish` tells what becomes of the pages
            failed: Future[Any] = Future()
            failed.set_exception(error)
            storing.commits.append(failed)

    def _append(self, pages: list[Page]) -> list[Future[Any]]:
        rows = Rows(self._plans)
        told = [page for page in pages if page.target.resolver is not None]
        self._targets.note([page for page in told if page.told.any()])
        for page in told:
            if page.told.any():
                rows.add(page)
            else:
                self._targets.end(page)
        self._drops.add(DOOR, LOST, rows.lost_count)
        self._drops.add(DOOR, UNUSABLE, rows.unusable_count)
        writer = self._database.writer
        return [writer.append(table, frame) for table, frame in rows.frames().items()]

    def _finish(self, storing: _Storing) -> Exception | None:
        """Wait for the commits; the error when they failed."""
        self._storing = None
        try:
            for commit in storing.commits:
                commit.result()
        except Exception as error:  # noqa: BLE001 - the pages are durable in the journal
            if isinstance(error, InputError):
                self._drops.add(DOOR, "the store refused it", len(storing.pages), str(error))
                self._release(storing.pages)
            else:
                log.warning("remote_write_not_stored", extra={"error": str(error)})
                self._ready = storing.pages + self._ready
            return error
        self._release(storing.pages)
        return None

    def _begin_again(self) -> None:
        """Too many series to remember. What waits is in the journal, and is taken again."""
        self._store_all([])
        if self._ready:
            return
        self._door = Door(self._drops)
        self._plans = PlanCache()
        self._owners.clear()
        self._recall()

    def _times(self) -> tuple[float, int]:
        """Monotonic seconds, and milliseconds since 1970."""
        return self._clock.monotonic(), int(self._clock.now().timestamp() * 1000)
