"""Keeps what is scraped equal to what the sources find; who vanishes gets a grace."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from collector.discovery.jobs import Job
from collector.discovery.relabel import Found, found_of
from collector.http_access import OPEN, Access
from store.clock import Clock

log = logging.getLogger(__name__)

SOURCE_LABEL = "discovered_by"
# Each source bounds its own questions; this is for what hangs all the same, such as a dead disk.
_ANSWER_SECONDS = 60.0


class TargetBook(Protocol):
    """What scrapes; told which targets come, change and go."""

    async def appear(self, url: str, labels: Mapping[str, str], access: Access) -> None:
        """Scrape a target from now on, or note its new labels."""
        ...

    async def vanish(self, url: str) -> None:
        """Stop scraping a target and mark it as removed."""
        ...


@dataclass(slots=True)
class _Seen:
    """A target that a source has named."""

    labels: Mapping[str, str]
    missing_since: float | None = None


@dataclass(frozen=True, slots=True)
class Changes:
    """What to do after a source was asked.

    Args:
        appear: targets that are new or have new labels.
        vanish: addresses that have been missing for longer than the grace.
    """

    appear: tuple[Found, ...] = ()
    vanish: tuple[str, ...] = ()


@dataclass(slots=True)
class JobBook:
    """What one source has named, and since when it does not any more.

    Args:
        grace_seconds: how long a target may be missing.
    """

    grace_seconds: float
    _seen: dict[str, _Seen] = field(default_factory=dict)

    def known(self, url: str, labels: Mapping[str, str], now: float) -> None:
        """A target found before a restart: it stays for the grace, unless it is named again."""
        self._seen[url] = _Seen(labels, now)

    def forget(self, url: str) -> None:
        """Take a target as one never seen."""
        self._seen.pop(url, None)

    def names(self, url: str) -> bool:
        """Whether the source names a target now, or did within the grace."""
        return url in self._seen

    def told(self, found: Mapping[str, Found], now: float) -> Changes:
        """What changes by a list that the source gave at `now` (monotonic seconds)."""
        appear = []
        for url, one in found.items():
            seen = self._seen.get(url)
            if seen is None or seen.labels != one.labels or seen.missing_since is not None:
                appear.append(one)
            self._seen[url] = _Seen(one.labels)
        vanish = []
        for url, seen in list(self._seen.items()):
            if url in found:
                continue
            if seen.missing_since is None:
                seen.missing_since = now
            if now - seen.missing_since >= self.grace_seconds:
                vanish.append(url)
                del self._seen[url]
        return Changes(tuple(appear), tuple(vanish))


@dataclass(frozen=True, slots=True)
class JobState:
    """How one source stands.

    Args:
        name: the source.
        target_count: targets that it names and the rules keep.
        problem: why the list may be old or short; None while all is well.
    """

    name: str
    target_count: int
    problem: str | None


class Follower:
    """Asks each source again and again, and passes on what changes.

    Args:
        jobs: the sources.
        book: what scrapes.
        clock: the time.
        grace_seconds: how long a target may be missing before it is removed.
        answer_seconds: how long a source may take; then its targets stay as they are.
    """

    def __init__(
        self,
        jobs: Sequence[Job],
        book: TargetBook,
        clock: Clock,
        grace_seconds: float,
        answer_seconds: float = _ANSWER_SECONDS,
    ) -> None:
        self._answer_seconds = answer_seconds
        self._jobs = tuple(jobs)
        self._book = book
        self._clock = clock
        self._books = {job.name: JobBook(grace_seconds) for job in jobs}
        self._states = {job.name: JobState(job.name, 0, "not asked yet") for job in jobs}
        self._gone = JobBook(grace_seconds)
        self._tasks: list[asyncio.Task[None]] = []

    def known(self, url: str, labels: Mapping[str, str]) -> None:
        """Tell of a target that was found before a restart; call before `start`."""
        told = {name: value for name, value in labels.items() if name != SOURCE_LABEL}
        book = self._books.get(labels.get(SOURCE_LABEL, ""), self._gone)
        book.known(url, told, self._clock.monotonic())

    async def start(self) -> None:
        """Begin to ask."""
        self._tasks = [
            asyncio.create_task(self._keep_asking(job), name="discovery") for job in self._jobs
        ]
        self._tasks.append(asyncio.create_task(self._let_go(), name="discovery-gone"))

    def access(self, labels: Mapping[str, str]) -> Access:
        """What a target asks for that was found before a restart, by its labels."""
        source = labels.get(SOURCE_LABEL)
        return next((job.access for job in self._jobs if job.name == source), OPEN)

    def states(self) -> tuple[JobState, ...]:
        """How every source stands."""
        return tuple(self._states.values())

    async def aclose(self) -> None:
        """Stop asking; safe twice and without start. Targets stay as they are."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for job in self._jobs:
            await job.discovery.aclose()

    async def ask(self, job: Job) -> None:
        """Ask one source now and pass on what changes."""
        try:
            async with asyncio.timeout(self._answer_seconds):
                told = await job.discovery.targets()
        except TimeoutError:
            known = self._states[job.name].target_count
            why = f"no answer within {self._answer_seconds:g} s (the targets known last stay)"
            self._note(JobState(job.name, known, why))
            return
        found, problems = found_of(job.relabel, told)
        if job.discovery.problem:
            problems.insert(0, job.discovery.problem)
        self._note(JobState(job.name, len(found), "; ".join(problems[:3]) or None))
        book = self._books[job.name]
        changes = book.told(found, self._clock.monotonic())
        for one in changes.appear:
            labels = {**one.labels, SOURCE_LABEL: job.name}
            if not await _done(self._book.appear(one.url, labels, job.access), one.url):
                book.forget(one.url)  # new again when the source names it the next time
        await self._vanish(book, changes.vanish)

    def _note(self, state: JobState) -> None:
        if state.problem is not None and state.problem != self._states[state.name].problem:
            log.warning("discovery_problem", extra={"source": state.name, "why": state.problem})
        self._states[state.name] = state

    async def _vanish(self, book: JobBook, urls: Sequence[str]) -> None:
        for url in urls:
            elsewhere = any(other.names(url) for other in self._books.values())
            if not elsewhere and not await _done(self._book.vanish(url), url):
                book.known(url, {}, self._clock.monotonic())

    async def _keep_asking(self, job: Job) -> None:
        while True:
            await _done(self.ask(job), job.name)
            await self._clock.sleep(job.discovery.refresh_seconds)

    async def _let_go(self) -> None:
        """Targets of sources that stand in no setting any more."""
        await self._clock.sleep(self._gone.grace_seconds)
        await self._vanish(self._gone, self._gone.told({}, self._clock.monotonic()).vanish)


async def _done(work: Coroutine[Any, Any, None], about: str) -> bool:
    """Whether it went well; the store may be busy, and then the next round tries again."""
    try:
        await work
    except Exception:
        log.exception("discovery_failed", extra={"about": about})
        return False
    return True
