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
from dataclasses import dataclass

from collector.drops import Drops
from collector.remote_write.body import unsnap
from collector.remote_write.door import Door, Taken
from collector.remote_write.pages import Page
from servescope.journal import Journal
from servescope.page_store import STORE_SECONDS, PageStore
from servescope.push_grades import PushGrades
from store.clock import Clock
from store.database import Database
from store.errors import StoreError, WriterOverloaded

log = logging.getLogger("servescope.remote_write")

MOST_TOGETHER = 64
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


class RemoteWriteIntake:
    """Takes bodies from any thread.

    Attributes:
        grades: grades of what came.

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
        self.grades = PushGrades(database, clock)
        now = clock.monotonic()
        self._store = PageStore(database, drops, self.grades, self._release, now)
        path = database.path
        self._journal = Journal(path.with_name(path.name + FOLDER_SUFFIX)) if path else None
        self._queue: queue.SimpleQueue[_Request | _Flush | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._is_full = False
        self._left: list[_Request] = []
        self._flushes: list[_Flush] = []
        self._stop = threading.Event()
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
        self._refuse_when_full()
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
            self._stop.set()
            self._queue.put(None)
        if self._thread is not None:
            self._thread.join()
        self.grades.close()

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
        door = self._door
        door.drops = Drops()  # these were counted when they came
        try:
            self._recall_with(door)
        finally:
            door.drops = self._drops

    def _recall_with(self, door: Door) -> None:
        if self._journal is None:
            return
        now, now_ms = self._times()
        held = 0
        for number, message, packed in self._journal.load():
            if number != held:
                self._hold(number)  # it stays until all of it is taken in
                self._let_go(held)
                held = number
            self._own(number, door.take(unsnap(packed), message, now_ms, now))
            if not self._make_room(now):
                return
        self._let_go(held)

    def _make_room(self, now: float) -> bool:
        """Store what is too much to wait beside the rest of the journal; False at the end."""
        if self._door.pages.is_crowded:
            self._store.add(self._door.pages.ready(now))
        while self._store.is_crowded and self._store.drain() is not None:
            if self._stop.wait(IDLE_SECONDS):
                return False
        return True

    def _turn(self) -> bool:
        """Take what waits, store what is due; False when it was the last turn."""
        requests = self._left or self._take()
        now, _ = self._times()
        self._store.add(self._door.pages.ready(now, self._receive(requests)))
        is_last = self._stop.is_set() and not self._left and self._queue.empty()
        if is_last or (self._flushes and not self._left):
            self._store_all()
        else:
            self._store.step(now)
        if self._store.is_crowded:
            self._store.drain()
        self._judge_room()
        if self._door.table.is_full and not is_last:
            self._begin_again()
        return not is_last

    def _take(self) -> list[_Request]:
        """What waits; after a while of nothing, nothing."""
        requests: list[_Request] = []
        busy = not self._store.is_empty
        try:
            item = self._queue.get(timeout=STORE_SECONDS / 4 if busy else IDLE_SECONDS)
            while item is not None:
                if isinstance(item, _Flush):
                    self._flushes.append(item)
                else:
                    requests.append(item)
                if len(requests) >= MOST_TOGETHER:
                    break
                item = self._queue.get_nowait()
        except queue.Empty:
            pass
        return requests

    def _receive(self, requests: list[_Request]) -> list[Page]:
        """Decode, make durable, answer; gives the pages that got something."""
        taken = self._decode(requests)
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

    def _decode(self, requests: list[_Request]) -> list[tuple[_Request, Taken]]:
        """Take bodies until there is no more room; the others are left for the next turn."""
        now, now_ms = self._times()
        taken: list[tuple[_Request, Taken]] = []
        self._left = []
        for number, request in enumerate(requests):
            if taken and self._is_crowded():
                self._left = requests[number:]
                break
            try:
                self._refuse_when_full()
                told = self._door.take(unsnap(request.packed), request.message, now_ms, now)
            except Exception as error:  # noqa: BLE001 - the sender gets it, the others go on
                request.answer.set_exception(error)
            else:
                taken.append((request, told))
        return taken

    def _remember(self, taken: list[tuple[_Request, Taken]]) -> None:
        """Write requests that bring something to the journal."""
        records = [(request.message, request.packed) for request, told in taken if told.pages]
        if self._journal is None or not records:
            return
        number = self._journal.add(records)
        for _, told in taken:
            self._own(number, told)
        self._judge_room()

    def _own(self, number: int, taken: Taken) -> None:
        for page in taken.pages:
            if number not in page.parts:
                page.parts.add(number)
                self._hold(number)

    def _hold(self, number: int) -> None:
        self._owners[number] = self._owners.get(number, 0) + 1

    def _let_go(self, number: int) -> None:
        """One owner of a segment less; one that nobody needs goes."""
        if number not in self._owners:
            return
        self._owners[number] -= 1
        if not self._owners[number]:
            del self._owners[number]
            if self._journal is not None:
                self._journal.drop(number)

    def _release(self, pages: list[Page]) -> None:
        """These pages are stored."""
        for page in pages:
            for number in page.parts:
                self._let_go(number)
        self._judge_room()

    def _is_crowded(self) -> bool:
        """Whether what came should go on before more is taken."""
        return self._door.pages.is_crowded or self._door.table.is_full

    def _judge_room(self) -> None:
        full = self._journal is not None and self._journal.size_bytes > MOST_JOURNAL_BYTES
        self._is_full = full or self._store.is_crowded

    def _refuse_when_full(self) -> None:
        if self._is_full:
            raise WriterOverloaded("too much waits for the store", hint="send it again later")

    def _store_all(self) -> None:
        """Wait until everything ready is stored."""
        error = self._store.drain()
        flushes, self._flushes = self._flushes, []
        for flush in flushes:
            if error is None:
                flush.answer.set_result(None)
            else:
                flush.answer.set_exception(error)

    def _begin_again(self) -> None:
        """Too many series to remember. What waits is in the journal, and is taken again."""
        self._store.drain()
        if not self._store.is_empty:
            return
        self._door = Door(self._drops)
        self._store.forget()
        self._owners.clear()
        self._recall()

    def _times(self) -> tuple[float, int]:
        """Monotonic seconds, and milliseconds since 1970."""
        return self._clock.monotonic(), int(self._clock.now().timestamp() * 1000)
