"""Scraping inside the server: targets of the store and of the settings, results to the store."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from concurrent.futures import Future
from datetime import timedelta

import polars as pl

from collector.detect import normalise_url
from collector.discovery.follow import SOURCE_LABEL, Follower, JobState
from collector.discovery.jobs import jobs
from collector.drops import Drops
from collector.http_access import OPEN, Access
from collector.http_source import HttpCollector, HttpSource
from collector.model import TargetFacts
from collector.scheduler import Scheduler, SchedulerCounts
from collector.sink import Sink, StoreSink
from collector.starts.fault_sink import FaultSink
from collector.starts.fault_sink import seeds_of as fault_seeds_of
from collector.starts.faults import WATCHED_SIGNALS
from collector.trust.seeds import seeds_of
from collector.trust.sink import GradingSink
from servescope.clock_offsets import ClockOffsets, NotingSink
from servescope.config import Config
from store import targets
from store.clock import Clock
from store.database import Database
from store.errors import CollectError
from store.queries.faults import last_readings
from store.queries.inventory import inventory
from store.queries.trust import current

# How far back readings of cards are looked for at the start: what changed since is a fault.
_FAULTS_SEEN_BEFORE = timedelta(hours=6)


class TargetCollecting:
    """Scrapes what is registered, until it is closed.

    Args:
        database: where targets are listed and samples go.
        config: targets to add and how to scrape.
        clock: the time.
        drops: counts what of a page is not taken.
        clocks: notes how far the clocks of targets are from ours.
    """

    def __init__(
        self,
        database: Database,
        config: Config,
        clock: Clock,
        drops: Drops | None = None,
        clocks: ClockOffsets | None = None,
    ) -> None:
        self._clocks = clocks or ClockOffsets()
        self._database = database
        self._config = config
        self._clock = clock
        self._http = HttpCollector(clock, config.collector, drops=drops)
        self._scheduler: Scheduler | None = None
        self._ids: dict[str, int] = {}
        self._access: dict[str, Access] = {}
        self._by_hand: set[str] = set()
        grace_seconds = config.discovery.grace_seconds
        self._follower = Follower(jobs(config.discovery), self, clock, grace_seconds)

    async def start(self) -> None:
        """Begin with the targets of the settings and those that were added before.

        Raises:
            CollectError: a setting is not a URL.
        """
        self._by_hand = {normalise_url(url) for url in self._config.server.targets}
        for url in sorted(self._by_hand):
            await self._register(url)
        known = await asyncio.to_thread(inventory, self._database.reader)
        sources = [
            self._known(row["target_id"], row["url"], json.loads(row["labels"] or "{}"))
            # Targets of pushed data have no address that could be asked.
            for row in known.filter(pl.col("url").str.starts_with("http")).to_dicts()
        ]
        self._scheduler = Scheduler(sources, self._sink(), self._clock, self._config.collector)
        await self._scheduler.start()
        await self._follower.start()

    async def add(self, url: str) -> str:
        """Scrape one more target; gives its normalised URL.

        Raises:
            CollectError: the URL cannot be one.
        """
        address = normalise_url(url)
        number = await self._register(address)
        self._by_hand.add(address)
        self._ids[address] = number
        self._running().add(self._http.source(number, address))
        return address

    async def appear(self, url: str, labels: Mapping[str, str], access: Access) -> None:
        """Scrape a target that discovery has found, or note its new labels."""
        number = await self._register(url, None if url in self._by_hand else labels)
        if self._ids.get(url) is None or self._access.get(url, OPEN) != access:
            await self._running().remove(number)
            self._ids[url], self._access[url] = number, access
            self._running().add(self._http.source(number, url, access))

    async def vanish(self, url: str) -> None:
        """Stop scraping a target that discovery does not find any more."""
        if url in self._ids and url not in self._by_hand:
            await self.remove(url)

    def discovered(self) -> tuple[JobState, ...]:
        """How the sources of discovery stand."""
        return self._follower.states()

    async def remove(self, url: str) -> str:
        """Stop scraping a target; its samples stay.

        Raises:
            CollectError: it is not scraped.
        """
        address = normalise_url(url)
        if address not in self._ids:
            raise CollectError(
                "this is not a target", where=address, hint="`servescope sources` lists them"
            )
        await self._running().remove(self._ids.pop(address))
        self._by_hand.discard(address)
        self._access.pop(address, None)
        gone = targets.remove(self._database.writer, address, self._clock.now())
        await asyncio.wrap_future(gone)
        return address

    def counts(self) -> SchedulerCounts | None:
        """Totals since the start; None before it."""
        return self._scheduler.counts() if self._scheduler else None

    async def aclose(self) -> None:
        """Stop scraping, store what has come in. Safe twice and without start."""
        await self._follower.aclose()
        if self._scheduler is not None:
            await self._scheduler.aclose()
        await self._http.aclose()

    def _known(self, number: int, url: str, labels: Mapping[str, str]) -> HttpSource:
        """The source of a target that was there before this start."""
        access = self._follower.access(labels)
        self._ids[url], self._access[url] = number, access
        if SOURCE_LABEL in labels and url not in self._by_hand:
            self._follower.known(url, labels)
        else:
            self._by_hand.add(url)
        return self._http.source(number, url, access)

    async def _register(self, address: str, labels: Mapping[str, str] | None = None) -> int:
        added = targets.register(self._database.writer, address, self._clock.now(), labels)
        return await asyncio.wrap_future(added)

    def _sink(self) -> Sink:
        """Scrapes to the store; beside them how far to trust them, and faults of cards."""
        reader, writer, clock = self._database.reader, self._database.writer, self._clock
        graded = GradingSink(
            StoreSink(writer, self._describe),
            writer,
            lambda: seeds_of(current(reader, clock.now()).to_dicts()),
            lambda number: next(
                (url for url, own in self._ids.items() if own == number), "another"
            ),
        )
        watched = FaultSink(
            graded,
            writer,
            lambda: fault_seeds_of(
                last_readings(reader, WATCHED_SIGNALS, clock.now() - _FAULTS_SEEN_BEFORE).to_dicts()
            ),
        )
        return NotingSink(watched, self._clocks)

    def _describe(self, target_id: int, facts: TargetFacts) -> Future[None]:
        return targets.describe(
            self._database.writer,
            target_id,
            engine=facts.engine,
            engine_version=facts.engine_version,
            model=facts.model,
        )

    def _running(self) -> Scheduler:
        if self._scheduler is None:
            raise CollectError("scraping has not started yet", hint="try again in a moment")
        return self._scheduler
