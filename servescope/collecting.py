"""Scraping inside the server: targets of the store and of the settings, results to the store."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future

from collector.detect import normalise_url
from collector.http_source import HttpCollector
from collector.model import TargetFacts
from collector.scheduler import Scheduler, SchedulerCounts
from collector.sink import StoreSink
from collector.trust.seeds import seeds_of
from collector.trust.sink import GradingSink
from servescope.config import Config
from store import targets
from store.clock import Clock
from store.database import Database
from store.errors import CollectError
from store.queries import choices
from store.queries.trust import current


class TargetCollecting:
    """Scrapes what is registered, until it is closed.

    Args:
        database: where targets are listed and samples go.
        config: targets to add and how to scrape.
        clock: the time.
    """

    def __init__(self, database: Database, config: Config, clock: Clock) -> None:
        self._database = database
        self._config = config
        self._clock = clock
        self._http = HttpCollector(clock, config.collector)
        self._scheduler: Scheduler | None = None
        self._ids: dict[str, int] = {}

    async def start(self) -> None:
        """Begin with the targets of the settings and those that were added before.

        Raises:
            CollectError: a setting is not a URL.
        """
        for url in self._config.server.targets:
            await self._register(normalise_url(url))
        known = await asyncio.to_thread(choices.targets, self._database.reader)
        # Targets of pushed data have no address that could be asked.
        self._ids = {
            row["url"]: row["target_id"]
            for row in known.to_dicts()
            if row["url"].startswith(("http://", "https://"))
        }
        sources = [self._http.source(number, url) for url, number in self._ids.items()]
        sink = GradingSink(
            StoreSink(self._database.writer, self._describe),
            self._database.writer,
            lambda: seeds_of(current(self._database.reader, self._clock.now()).to_dicts()),
        )
        self._scheduler = Scheduler(sources, sink, self._clock, self._config.collector)
        await self._scheduler.start()

    async def add(self, url: str) -> str:
        """Scrape one more target; gives its normalised URL.

        Raises:
            CollectError: the URL cannot be one.
        """
        address = normalise_url(url)
        number = await self._register(address)
        self._ids[address] = number
        self._running().add(self._http.source(number, address))
        return address

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
        gone = targets.remove(self._database.writer, address, self._clock.now())
        await asyncio.wrap_future(gone)
        return address

    def counts(self) -> SchedulerCounts | None:
        """Totals since the start; None before it."""
        return self._scheduler.counts() if self._scheduler else None

    async def aclose(self) -> None:
        """Stop scraping, store what has come in. Safe twice and without start."""
        if self._scheduler is not None:
            await self._scheduler.aclose()
        await self._http.aclose()

    async def _register(self, address: str) -> int:
        added = targets.register(self._database.writer, address, self._clock.now())
        return await asyncio.wrap_future(added)

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
