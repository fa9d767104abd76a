"""The scrape loop: every target at its own moment, never twice at once, results to the sink.

One task a target waits for its moment and starts the scrape; one task hands what has come in to the
sink. A slow target delays nobody, a slow store delays no scrape, and what is skipped or dropped is
counted.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections import Counter, deque
from collections.abc import Coroutine, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from types import TracebackType
from typing import Any

from collector.model import Outcome, Scrape, Source, TargetFacts
from collector.settings import ScrapeSettings
from collector.sink import Sink
from store.clock import Clock

log = logging.getLogger(__name__)

_GOLDEN_RATIO = (math.sqrt(5) - 1) / 2
# A source keeps its own time limit; this much later it is stopped from outside.
_GRACE_SECONDS = 0.5
# How long a cancelled task may take to go; one that never goes must not stop the shutdown.
_STOP_SECONDS = 5.0
_SLOT_SECONDS = 0.25
_BATCH_SCRAPES = 64
_SINK_TRIES = 3


@dataclass(frozen=True, slots=True)
class TargetState:
    """How one target stands.

    Args:
        target_id: which.
        outcome: of the last scrape, None before the first.
        error: of the last scrape, None when it was ok.
        facts: what the target is, as far as it told.
        last_scrape_at: when it was asked last, aware UTC.
        last_success_at: when it answered last, aware UTC.
        duration_seconds: of the last scrape.
        scrape_count: scrapes so far.
        failure_count: those that were not ok.
        skipped_count: moments left out because the scrape before was still going on.
    """

    target_id: int
    outcome: Outcome | None = None
    error: str | None = None
    facts: TargetFacts = field(default_factory=TargetFacts)
    last_scrape_at: datetime | None = None
    last_success_at: datetime | None = None
    duration_seconds: float | None = None
    scrape_count: int = 0
    failure_count: int = 0
    skipped_count: int = 0


@dataclass(frozen=True, slots=True)
class SchedulerCounts:
    """Totals since the start.

    Args:
        scrapes: scrapes by outcome.
        skipped: moments left out because a scrape was still going on.
        dropped: results lost because the store was too slow or refused them.
        sink_failures: writes that the sink refused.
        waiting: results not stored yet.
    """

    scrapes: dict[str, int]
    skipped: int
    dropped: int
    sink_failures: int
    waiting: int


@dataclass(slots=True)
class _Watch:
    source: Source
    phase_seconds: float
    state: TargetState
    loop: asyncio.Task[None] | None = None
    scrape: asyncio.Task[None] | None = None
    skipped: int = 0


class Scheduler:
    """Scrapes sources until it is closed. All methods belong to one event loop.

    Args:
        sources: the first targets; more by `add`.
        sink: where scrapes go; closed together with the scheduler.
        clock: the time.
        settings: interval, time limit, bounds.
    """

    def __init__(
        self,
        sources: Iterable[Source],
        sink: Sink,
        clock: Clock,
        settings: ScrapeSettings | None = None,
    ) -> None:
        self._sink = sink
        self._clock = clock
        self._settings = settings or ScrapeSettings()
        self._watches: dict[int, _Watch] = {}
        self._made = 0
        self._started: float | None = None
        for source in sources:
            self._watch(source)
        self._waiting: deque[Scrape] = deque()
        self._arrived = asyncio.Event()
        self._closing = asyncio.Event()
        # Whoever did not answer in time waits among his kind: a rack that is gone must not make
        # everybody else late.
        self._slots, self._slow_slots = (
            asyncio.Semaphore(self._settings.most_concurrent_scrapes) for _ in range(2)
        )
        self._delivery: asyncio.Task[None] | None = None
        self._outcomes: Counter[str] = Counter()
        self._skipped_before = 0
        self._dropped = 0
        self._sink_failures = 0
        self._sink_works = True

    async def start(self) -> None:
        """Begin; a second call changes nothing."""
        if self._delivery is None and not self._closing.is_set():
            self._delivery = asyncio.create_task(self._deliver(), name="scrape-delivery")
            for watch in self._watches.values():
                self._begin(watch)

    async def __aenter__(self) -> Scheduler:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    def add(self, source: Source) -> None:
        """Scrape one more target; one that is there already stays as it is."""
        if source.target_id not in self._watches:
            watch = self._watch(source)
            if self._delivery is not None and not self._closing.is_set():
                self._begin(watch)

    async def remove(self, target_id: int) -> None:
        """Stop scraping a target; unknown ones are no mistake."""
        watch = self._watches.pop(target_id, None)
        if watch is not None:
            self._skipped_before += watch.skipped
            await _stop(watch.loop, watch.scrape)
            await watch.source.aclose()

    def states(self) -> tuple[TargetState, ...]:
        """How every target stands, in the order they were added."""
        return tuple(watch.state for watch in self._watches.values())

    def counts(self) -> SchedulerCounts:
        """Totals since the start."""
        skipped = sum(watch.skipped for watch in self._watches.values())
        return SchedulerCounts(
            scrapes=dict(self._outcomes),
            skipped=self._skipped_before + skipped,
            dropped=self._dropped,
            sink_failures=self._sink_failures,
            waiting=len(self._waiting),
        )

    async def aclose(self) -> None:
        """Stop scraping, store what has come in, close sources and sink.

        Safe twice and without `start`. Waits for the sink at most `close_timeout_seconds`.
        """
        if self._closing.is_set():
            return
        self._closing.set()
        self._arrived.set()
        watches = list(self._watches.values())
        await _stop(*(task for watch in watches for task in (watch.loop, watch.scrape)))
        if self._delivery is not None:
            await asyncio.wait({self._delivery}, timeout=self._settings.close_timeout_seconds)
            await _stop(self._delivery)
        self._dropped += len(self._waiting)
        self._waiting.clear()
        for watch in watches:
            await watch.source.aclose()
        await self._sink.aclose()

    def _watch(self, source: Source) -> _Watch:
        # Multiples of the golden ratio spread any number of targets over the interval, and leave
        # the others where they are when one comes or goes. The first one begins at once.
        # Whoever falls into the same slot is asked at the same moment: pages read one right behind
        # the other cost the processor half of what they cost alone.
        interval = self._settings.scrape_interval_seconds
        slots = max(1, round(interval / _SLOT_SECONDS))
        phase = int((self._made * _GOLDEN_RATIO) % 1.0 * slots) / slots * interval
        self._made += 1
        watch = _Watch(source, phase, TargetState(source.target_id))
        self._watches[source.target_id] = watch
        return watch

    def _begin(self, watch: _Watch) -> None:
        watch.loop = asyncio.create_task(self._keep_asking(watch), name="scrape-loop")

    async def _keep_asking(self, watch: _Watch) -> None:
        interval = self._settings.scrape_interval_seconds
        due = self._next_due(watch.phase_seconds)
        while True:
            wait_seconds = due - self._clock.monotonic()
            if wait_seconds > 0:
                await self._clock.sleep(wait_seconds)
            if watch.scrape is not None and not watch.scrape.done():
                self._skip(watch, 1)
            else:
                watch.scrape = asyncio.create_task(self._ask(watch), name="scrape")
            due += interval
            late_seconds = self._clock.monotonic() - due
            if late_seconds > 0:
                # After a pause of the whole process: once, not once for every missed moment.
                missed = math.ceil(late_seconds / interval)
                self._skip(watch, missed)
                due += missed * interval

    def _next_due(self, phase_seconds: float) -> float:
        """The next moment of a phase; all phases are counted from the first start."""
        now, interval = self._clock.monotonic(), self._settings.scrape_interval_seconds
        if self._started is None:
            self._started = now
        return now + (self._started + phase_seconds - now) % interval

    def _skip(self, watch: _Watch, moments: int) -> None:
        watch.skipped += moments
        watch.state = replace(watch.state, skipped_count=watch.skipped)

    async def _ask(self, watch: _Watch) -> None:
        slots = self._slow_slots if watch.state.outcome == "timeout" else self._slots
        async with slots:
            at, start = self._clock.now(), self._clock.monotonic()
            try:
                scrape = await self._within_limit(watch.source)
            except Exception as error:
                # A fault of ours must not end the loop of this target.
                log.exception("scrape_crashed", extra={"target_id": watch.source.target_id})
                seconds = self._clock.monotonic() - start
                why = f"{type(error).__name__} while reading the page; see the log"
                scrape = Scrape(watch.source.target_id, at, seconds, "failed", why)
        self._note(watch, scrape)

    async def _within_limit(self, source: Source) -> Scrape:
        limit_seconds = self._settings.scrape_timeout_seconds
        at = self._clock.now()
        done, work = await self._first(
            source.scrape(limit_seconds), self._clock.sleep(limit_seconds + _GRACE_SECONDS)
        )
        if done:
            return work.result()
        error = f"no answer within {limit_seconds + _GRACE_SECONDS:g} s"
        return Scrape(source.target_id, at, limit_seconds + _GRACE_SECONDS, "timeout", error)

    async def _first(
        self, wanted: Coroutine[Any, Any, Scrape], alarm: Coroutine[Any, Any, None]
    ) -> tuple[bool, asyncio.Task[Scrape]]:
        """Run `wanted` until `alarm` ends; whether it came in time, and its task."""
        work, bell = asyncio.create_task(wanted), asyncio.create_task(alarm)
        try:
            await asyncio.wait({work, bell}, return_when=asyncio.FIRST_COMPLETED)
            return work.done(), work
        finally:
            await _stop(bell, None if work.done() else work)

    def _note(self, watch: _Watch, scrape: Scrape) -> None:
        before = watch.state
        self._outcomes[scrape.outcome] += 1
        good = scrape.outcome == "ok"
        watch.state = replace(
            before,
            outcome=scrape.outcome,
            error=scrape.error,
            facts=scrape.facts or before.facts,
            last_scrape_at=scrape.at,
            last_success_at=scrape.at if good else before.last_success_at,
            duration_seconds=scrape.duration_seconds,
            scrape_count=before.scrape_count + 1,
            failure_count=before.failure_count + (not good),
        )
        if before.outcome != scrape.outcome:
            told = {
                "target_id": scrape.target_id,
                "url": getattr(watch.source, "url", None),
                "outcome": scrape.outcome,
                "why": scrape.error,
            }
            log.log(logging.INFO if good else logging.WARNING, "target_changed", extra=told)
        if len(self._waiting) >= self._settings.most_waiting_scrapes:
            self._waiting.popleft()
            self._dropped += 1
        self._waiting.append(scrape)
        self._arrived.set()

    async def _deliver(self) -> None:
        while not (self._closing.is_set() and not self._waiting):
            await self._arrived.wait()
            await self._pause(self._settings.store_every_seconds)
            self._arrived.clear()
            # What comes in while the sink is busy waits for the next round, or rounds get small.
            left = len(self._waiting)
            while left > 0 and self._waiting:
                many = min(_BATCH_SCRAPES, left, len(self._waiting))
                left -= many
                await self._hand_over([self._waiting.popleft() for _ in range(many)])

    async def _hand_over(self, batch: list[Scrape]) -> None:
        stored = False
        try:
            stored = await self._stored(batch)
        finally:
            self._dropped += 0 if stored else len(batch)

    async def _stored(self, batch: list[Scrape]) -> bool:
        for attempt in range(1, _SINK_TRIES + 1):
            try:
                await self._sink.write(batch)
            except Exception:
                # Whatever the store says, scraping goes on; a resend of the batch changes nothing.
                self._sink_failures += 1
                if self._sink_works:
                    log.exception("scrapes_not_stored", extra={"scrapes": len(batch)})
                self._sink_works = False
            else:
                self._sink_works = True
                return True
            if attempt == _SINK_TRIES or self._closing.is_set():
                return False
            await self._pause(float(attempt))
        return False

    async def _pause(self, seconds: float) -> None:
        """Wait, but not into closing time."""
        if seconds <= 0 or self._closing.is_set():
            return
        waiting = {
            asyncio.create_task(self._clock.sleep(seconds)),
            asyncio.create_task(_set(self._closing)),
        }
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await _stop(*waiting)


async def _set(event: asyncio.Event) -> None:
    await event.wait()


async def _stop(*tasks: asyncio.Task[Any] | None) -> None:
    """Cancel and wait until they are gone; their results and errors are of no interest."""
    going = [task for task in tasks if task is not None and not task.done()]
    for task in going:
        task.cancel()
    if going:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait(going, timeout=_STOP_SECONDS)
