"""Pages of remote-write on their way into the store: about twice a second, in commits of some size.

What waits here is bounded: whoever adds asks `is_crowded` and waits in `drain` before it adds more.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from collector.drops import Drops
from collector.remote_write.door import DOOR, LOST, UNUSABLE
from collector.remote_write.pages import Page
from collector.remote_write.rows import PlanCache, Rows
from servescope.push_grades import PushGrades
from servescope.push_targets import PushTargets
from store.database import Database
from store.errors import InputError

log = logging.getLogger("servescope.remote_write")

STORE_SECONDS = 0.5
MOST_BATCH_CELLS = 500_000
MOST_READY_CELLS = 4_000_000


@dataclass(slots=True)
class _Batch:
    """Pages that are being stored.

    Attributes:
        pages: which.
        commits: what has to be durable before they are done.
    """

    pages: list[Page]
    commits: list[Future[Any]] = field(default_factory=list)


class PageStore:
    """Makes rows of pages. All methods belong to one thread.

    Args:
        database: where rows go.
        drops: where everything left out is counted.
        grades: is shown the pages.
        release: is told the pages that are done with.
        now: monotonic seconds at which it begins.
    """

    def __init__(
        self,
        database: Database,
        drops: Drops,
        grades: PushGrades,
        release: Callable[[list[Page]], None],
        now: float,
    ) -> None:
        self._writer = database.writer
        self._drops = drops
        self._grades = grades
        self._release = release
        self._plans = PlanCache()
        self._targets = PushTargets(database.writer)
        self._ready: deque[Page] = deque()
        self._cell_count = 0
        self._batch: _Batch | None = None
        self._has_more = False
        self._began_at = now

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits and nothing is being stored."""
        return self._batch is None and not self._ready

    @property
    def is_crowded(self) -> bool:
        """Whether no more should be added before something is stored."""
        return self._cell_count > MOST_READY_CELLS

    def add(self, pages: Iterable[Page]) -> None:
        """Take pages that get no more pieces, oldest first."""
        for page in pages:
            self._ready.append(page)
            self._cell_count += page.cell_count

    def step(self, now: float) -> None:
        """Go on with what is due, without waiting.

        Args:
            now: monotonic seconds.
        """
        batch = self._batch
        if batch is not None and all(commit.done() for commit in batch.commits):
            self._finish(batch)
        due = now - self._began_at >= STORE_SECONDS or now < self._began_at
        if self._batch is None and self._ready and (due or self._has_more):
            self._began_at = now
            self._begin()

    def drain(self) -> Exception | None:
        """Wait until everything is stored; the error that kept it from that."""
        while not self.is_empty:
            if self._batch is None:
                self._begin()
            if self._batch is not None and (error := self._finish(self._batch)) is not None:
                return error
        return None

    def forget(self) -> None:
        """The targets' series have new places from now on."""
        self._plans = PlanCache()

    def _begin(self) -> None:
        """Send some pages on their way; they come back when that fails."""
        pages: list[Page] = []
        room = MOST_BATCH_CELLS
        while self._ready and room > 0:
            page = self._ready.popleft()
            room -= page.cell_count
            pages.append(page)
        self._has_more = bool(self._ready)
        self._batch = batch = _Batch(pages)
        try:
            batch.commits += self._append(pages)
        except Exception as error:  # noqa: BLE001 - `_finish` tells what becomes of the pages
            failed: Future[Any] = Future()
            failed.set_exception(error)
            batch.commits.append(failed)

    def _append(self, pages: list[Page]) -> list[Future[Any]]:
        rows = Rows(self._plans, self._grades.offer)
        told = [page for page in pages if page.target.resolver is not None]
        self._targets.note([page for page in told if page.pieces])
        for page in told:
            if page.pieces:
                rows.add(page)
            else:
                self._targets.end(page)
        self._drops.add(DOOR, LOST, rows.lost_count)
        self._drops.add(DOOR, UNUSABLE, rows.unusable_count)
        return [self._writer.append(table, frame) for table, frame in rows.frames().items()]

    def _finish(self, batch: _Batch) -> Exception | None:
        """Wait for the commits; the error when they failed and the pages wait again."""
        self._batch = None
        failure: Exception | None = None
        try:
            for commit in batch.commits:
                commit.result()
        except InputError as error:
            self._drops.add(DOOR, "the store refused it", len(batch.pages), str(error))
            failure = error
        except Exception as error:  # noqa: BLE001 - the pages are durable in the journal
            log.warning("remote_write_not_stored", extra={"error": str(error)})
            self._ready.extendleft(reversed(batch.pages))
            self._has_more = False
            return error
        self._cell_count -= sum(page.cell_count for page in batch.pages)
        self._release(batch.pages)
        return failure
