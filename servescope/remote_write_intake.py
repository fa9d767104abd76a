"""Remote-write inside the server: one thread takes requests together and answers durable ones.

Requests that wait are decoded as one group and stored by one commit; while that commit runs, the
next group is decoded. A request is answered when everything it brought is durable: rows of pages
that are complete, and as a stored piece what still waits for the rest of its page.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson

from collector.drops import Drops
from collector.remote_write.body import snap, unsnap
from collector.remote_write.decode import V1
from collector.remote_write.door import DOOR, LOST, UNUSABLE, Door, Taken
from collector.remote_write.pages import Page
from collector.remote_write.rows import PlanCache, Rows
from collector.remote_write.series import SeriesTable, Target
from store import remote_write, targets
from store.clock import Clock
from store.database import Database
from store.errors import InputError, StoreError

log = logging.getLogger("servescope.remote_write")

MOST_TOGETHER = 64
IDLE_SECONDS = 1.0
MOST_UNDER_WAY = 2


@dataclass(slots=True)
class _Request:
    packed: bytes
    message: str
    answer: Future[Taken]


@dataclass(slots=True)
class _Group:
    """Requests that are stored together.

    Attributes:
        requests: each with what it brought.
        pages: those that are stored now.
        commits: what has to be durable before anyone is answered.
    """

    requests: list[tuple[_Request, Taken]] = field(default_factory=list)
    pages: list[Page] = field(default_factory=list)
    commits: list[Future[Any]] = field(default_factory=list)


class RemoteWriteIntake:
    """Takes bodies from any thread.

    Args:
        database: where rows go.
        drops: where everything left out is counted.
        clock: the time.
        table: what series are known; for tests.
    """

    def __init__(
        self, database: Database, drops: Drops, clock: Clock, table: SeriesTable | None = None
    ) -> None:
        self._database = database
        self._drops = drops
        self._clock = clock
        self._door = Door(drops, table or SeriesTable())
        self._plans = PlanCache()
        self._queue: queue.SimpleQueue[_Request | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._under_way: deque[_Group] = deque()
        self._owners: dict[int, int] = {}
        self._done_parts: list[int] = []
        self._next_part = 1

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
        """
        self.start()
        answer: Future[Taken] = Future()
        with self._lock:
            if self._closed:
                raise StoreError("the server stops", hint="send it again in a moment")
            self._queue.put(_Request(packed, message, answer))
        return answer

    def close(self) -> None:
        """Answer what is queued, then stop; pieces that wait stay in the store. Safe twice."""
        with self._lock:
            self._closed = True
            self._queue.put(None)
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        try:
            self._recall()
        except Exception:
            log.exception("remote_write_parts_unreadable")
        open_ = True
        while open_:
            try:
                open_ = self._turn()
            except Exception:
                log.exception("remote_write_failed")

    def _recall(self) -> None:
        """Pieces that were acknowledged before the last stop."""
        now = self._clock.now()
        for number, packed in remote_write.parts(self._database.reader).items():
            self._next_part = max(self._next_part, number + 1)
            taken = self._door.take(
                unsnap(packed), V1, int(now.timestamp() * 1000), self._clock.monotonic()
            )
            self._own(number, taken)

    def _turn(self) -> bool:
        """One group; False when it was the last."""
        requests, open_ = self._take()
        group = self._begin(requests)
        if group.requests or group.commits:
            self._under_way.append(group)
        most = MOST_UNDER_WAY - 1 if requests and open_ else 0
        if self._door.table.is_full:
            most = 0
        while len(self._under_way) > most:
            self._finish(self._under_way.popleft())
        if self._door.table.is_full:
            self._begin_again()
        return open_

    def _take(self) -> tuple[list[_Request], bool]:
        """What waits; after a second of nothing, nothing."""
        requests: list[_Request] = []
        try:
            item = (
                self._queue.get(timeout=IDLE_SECONDS)
                if not self._under_way
                else (self._queue.get_nowait())
            )
            while item is not None:
                requests.append(item)
                if len(requests) >= MOST_TOGETHER:
                    return requests, True
                item = self._queue.get_nowait()
        except queue.Empty:
            return requests, True
        return requests, False

    def _begin(self, requests: list[_Request]) -> _Group:
        group = _Group()
        touched: list[Page] = []
        now, now_ms = self._clock.monotonic(), int(self._clock.now().timestamp() * 1000)
        for request in requests:
            try:
                taken = self._door.take(unsnap(request.packed), request.message, now_ms, now)
            except Exception as error:  # noqa: BLE001 - the sender gets it, the others go on
                request.answer.set_exception(error)
                continue
            group.requests.append((request, taken))
            touched += taken.pages
        group.pages = self._door.pages.ready(now, touched)
        try:
            self._store(group)
        except Exception as error:  # noqa: BLE001 - the senders get it
            self._fail(group, error)
        return group

    def _store(self, group: _Group) -> None:
        rows = Rows(self._plans)
        writer = self._database.writer
        readable = [page for page in group.pages if page.target.resolver is not None]
        self._register([page for page in readable if page.told.any()])
        for page in readable:
            if page.told.any():
                rows.add(page)
            else:
                self._end(page.target, page.at_ms)
        self._drops.add(DOOR, LOST, rows.lost_count)
        self._drops.add(DOOR, UNUSABLE, rows.unusable_count)
        group.commits += [writer.append(table, frame) for table, frame in rows.frames().items()]
        parts = self._remember(group)
        if parts or self._done_parts:
            done, self._done_parts = self._done_parts, []
            group.commits.append(remote_write.keep(writer, parts, done, self._clock.now()))

    def _remember(self, group: _Group) -> dict[int, bytes]:
        """Pieces of pages that still wait."""
        parts: dict[int, bytes] = {}
        for _, taken in group.requests:
            body = self._door.remember(taken)
            if body is not None:
                parts[self._next_part] = snap(body)
                self._own(self._next_part, taken)
                self._next_part += 1
        return parts

    def _own(self, number: int, taken: Taken) -> None:
        waiting = [page for page in taken.pages if page in self._door.pages]
        for page in waiting:
            page.parts.add(number)
        self._owners[number] = len(waiting)
        if not waiting:
            self._release(number, 0)

    def _release(self, number: int, count: int = 1) -> None:
        """A page of a piece is stored; the piece goes with the last of them."""
        self._owners[number] = self._owners.get(number, 0) - count
        if self._owners[number] <= 0:
            del self._owners[number]
            self._done_parts.append(number)

    def _finish(self, group: _Group) -> None:
        try:
            for commit in group.commits:
                commit.result()
        except Exception as error:  # noqa: BLE001 - the senders get it
            self._fail(group, error)
            return
        for page in group.pages:
            for number in page.parts:
                self._release(number)
        for request, taken in group.requests:
            request.answer.set_result(taken)

    def _fail(self, group: _Group, error: Exception) -> None:
        """Nothing was promised: the senders come again, the pages wait for the next turn."""
        if isinstance(error, InputError):
            self._drops.add(DOOR, "the store could not take it", len(group.pages), str(error))
        else:
            self._door.pages.put_back(group.pages)
        for request, _ in group.requests:
            request.answer.set_exception(error)
        group.requests, group.pages, group.commits = [], [], []

    def _register(self, pages: list[Page]) -> None:
        """Give new targets a number, and note what they are."""
        fresh = {page.target.url: page for page in pages if _needs_number(page.target)}
        waiting = [
            (page.target, targets.register(self._database.writer, url, _time(page.at_ms)))
            for url, page in fresh.items()
        ]
        for target, number in waiting:
            target.target_id = number.result()
            target.gone = False
        for target in {id(page.target): page.target for page in pages}.values():
            self._describe(target)

    def _describe(self, target: Target) -> None:
        engine = target.engines[0].name
        if target.target_id is None or target.told_engine == engine:
            return
        target.told_engine = engine
        targets.describe(
            self._database.writer, target.target_id, engine=engine, model=_model_of(target)
        )

    def _end(self, target: Target, at_ms: int) -> None:
        """The sender said that every series of a target has ended."""
        if target.target_id is not None and not target.gone:
            target.gone = True
            targets.remove(self._database.writer, target.url, _time(at_ms))

    def _begin_again(self) -> None:
        """Too many series to remember. Pages that wait are stored pieces, and are taken again."""
        self._door = Door(self._drops, SeriesTable())
        self._plans = PlanCache()
        self._owners.clear()
        self._recall()


def _needs_number(target: Target) -> bool:
    return target.target_id is None or target.gone


def _time(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, UTC)


def _model_of(target: Target) -> str | None:
    """The model that the series of a target name; None when they name none, or several."""
    told = {cell.key[1] for kept in target.kept for cell in kept.cells}
    named = {orjson.loads(labels).get("model") for labels in told} - {None}
    return str(named.pop()) if len(named) == 1 else None
