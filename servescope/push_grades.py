"""Grades of what remote-write brings: its pages are whole, so the rules for scraped pages hold.

Graded beside the way into the store, in a thread of its own: putting a page together costs more
than storing it, about 3 ms for one of vLLM. So of the pages of one target one in a while is graded,
none that is old (its sender catches up; grades are about now), and none when too many wait.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from dataclasses import dataclass
from datetime import UTC, datetime

from collector.engines.assemble import Cell
from collector.engines.resolve import Resolver
from collector.model import PageNotes, Scrape
from collector.remote_write.pages import Values
from collector.remote_write.rows import Graded
from collector.trust.seeds import seeds_of
from collector.trust.sink import GradingSink
from store.clock import Clock
from store.database import Database
from store.queries.inventory import inventory
from store.queries.trust import current

log = logging.getLogger("servescope.remote_write")

LEAST_SECONDS = 10.0
OLD_SECONDS = 120.0
MOST_WAITING = 300
_MOST_TOGETHER = 200
_MOST_REMEMBERED = 20_000


@dataclass(frozen=True, slots=True)
class _Waiting:
    told: Graded
    resolver: Resolver
    cells: tuple[tuple[int, tuple[Cell, ...]], ...]
    values: Values


class _Stored:
    """A sink for what is in the store already."""

    async def write(self, batch: object) -> None:
        """Nothing is left to do."""

    async def aclose(self) -> None:
        """Nothing to let go of."""


class PushGrades:
    """Grades pages in the background. `offer` belongs to one thread.

    Args:
        database: where grades go.
        clock: the time.
    """

    def __init__(self, database: Database, clock: Clock) -> None:
        self._reader = database.reader
        self._clock = clock
        self._sink = GradingSink(
            _Stored(),
            database.writer,
            lambda: seeds_of(current(database.reader, clock.now()).to_dicts()),
            self._name_of,
        )
        self._queue: queue.Queue[_Waiting | None] = queue.Queue(MOST_WAITING)
        self._offered_at: dict[int, float] = {}
        self._thread: threading.Thread | None = None

    def offer(self, told: Graded, resolver: Resolver, values: Values) -> None:
        """Grade a page if its turn has come; never waits.

        Args:
            told: what became of the page.
            resolver: of its target.
            values: by slot; not changed any more.
        """
        if self._clock.now().timestamp() - told.at_ms / 1000 > OLD_SECONDS:
            return
        now = self._clock.monotonic()
        before = self._offered_at.get(told.target_id)
        if before is not None and 0 <= now - before < LEAST_SECONDS:
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="push-grades", daemon=True)
            self._thread.start()
        try:
            self._queue.put_nowait(_Waiting(told, resolver, told.cells, values))
        except queue.Full:
            return
        if len(self._offered_at) >= _MOST_REMEMBERED:
            self._offered_at.clear()
        self._offered_at[told.target_id] = now

    def settle(self) -> None:
        """Wait until everything offered is graded."""
        self._queue.join()

    def close(self) -> None:
        """Grade what waits, then stop; safe without an offer."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join()
            self._thread = None

    def _run(self) -> None:
        is_open = True
        while is_open:
            batch = [self._queue.get()]
            while len(batch) < _MOST_TOGETHER and not self._queue.empty():
                batch.append(self._queue.get_nowait())
            is_open = None not in batch
            try:
                self._grade([one for one in batch if one is not None])
            except Exception:
                log.exception("remote_write_not_graded", extra={"pages": len(batch)})
            for _ in batch:
                self._queue.task_done()

    def _grade(self, batch: list[_Waiting]) -> None:
        scrapes = [_scrape(one) for one in batch]
        asyncio.run(self._sink.write(sorted(scrapes, key=lambda scrape: scrape.at)))

    def _name_of(self, target_id: int) -> str:
        rows = inventory(self._reader).iter_rows(named=True)
        return next((row["url"] for row in rows if row["target_id"] == target_id), "another")


def _scrape(one: _Waiting) -> Scrape:
    """The page as if it had been scraped."""
    told = one.told
    shared = (told.target_id, datetime.fromtimestamp(told.at_ms / 1000, UTC), told.seconds)
    if not told.is_up:
        return Scrape(*shared, "unreachable", error=told.error)
    cells = [(wanted, float(one.values[slot])) for slot, wanted in one.cells]
    reading = one.resolver.assemble(cells)
    return Scrape(
        *shared,
        "ok",
        sample_count=told.sample_count,
        bad_line_count=told.lost_count + reading.unusable_count,
        samples=reading.samples,
        histograms=reading.histograms,
        notes=PageNotes(reading.refused, reading.parts),
    )
