"""The agent put together: sources, scheduler, spool, delivery, heartbeat."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import socket
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from collector.agent import nvml_cards
from collector.agent.config import AgentConfig
from collector.agent.delivery import Delivery
from collector.agent.heartbeat import Heart, Identity, OwnSource, Vitals, mark_of
from collector.agent.host_source import HostSource
from collector.agent.ledger import DropLedger
from collector.agent.nvml_cards import NvmlCards
from collector.agent.nvml_source import NvmlSource
from collector.agent.otlp_door import OtlpDoor
from collector.agent.post import Poster
from collector.agent.settings import AgentSettings
from collector.agent.spool import Spool
from collector.agent.spool_sink import SpoolSink
from collector.detect import normalise_url
from collector.drops import Drops
from collector.http_access import Access
from collector.http_source import HttpCollector
from collector.model import Source
from collector.scheduler import Scheduler
from store.clock import Clock
from store.errors import CollectError, ConfigError

log = logging.getLogger(__name__)

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_LAST_DELIVERY_SECONDS = 5.0
_RESTART_SECONDS = 1.0
# Requests under way at the same time: while one waits for a commit the next is on its way.
_DELIVERING = 4


class Sources:
    """What an agent reads, with the addresses under which the server knows it.

    Args:
        config: settings.
        clock: the time.
        nvml: the module to read cards with; None looks for the installed one.
    """

    def __init__(self, config: AgentConfig, clock: Clock, nvml: Any = None) -> None:
        self.node = socket.gethostname()
        self.urls: dict[int, str] = {}
        self.all: list[Source] = []
        self.http = HttpCollector(clock, config.collector)
        self.gpus: NvmlSource | None = None
        self._clock = clock
        settings = config.agent
        for url in dict.fromkeys(map(normalise_url, settings.targets)):
            self.all.append(self.http.source(self.number(url), url))
        if settings.host:
            number = self.number(f"host://{self.node}")
            self.all.append(HostSource(number, clock, cgroups=settings.cgroups))
        if settings.gpu:
            self._add_gpus(nvml or nvml_cards.installed())

    def number(self, url: str) -> int:
        """A number for one more target."""
        self.urls[len(self.urls)] = url
        return len(self.urls) - 1

    async def aclose(self) -> None:
        """Close all; safe twice."""
        for source in self.all:
            await source.aclose()
        await self.http.aclose()

    def _add_gpus(self, nvml: Any | None) -> None:
        if nvml is None:
            return
        cards = NvmlCards(nvml)
        try:
            cards.open()
        except CollectError as error:
            # A node whose driver is sick needs its other numbers all the more.
            log.warning("gpus_not_read", extra={"why": str(error)})
            return
        self.gpus = NvmlSource(self.number(f"gpu://{self.node}"), cards, self.node, self._clock)
        self.all.append(self.gpus)


class Agent:
    """One agent. All methods belong to one event loop.

    Args:
        config: settings.
        clock: the time.
        version: of servescope.
        sources: what to read; None makes them by the settings.

    Raises:
        CollectError: a target is no address, or the spool cannot be used.
        ConfigError: the server or the name do not fit.
    """

    def __init__(
        self, config: AgentConfig, clock: Clock, version: str, sources: Sources | None = None
    ) -> None:
        settings = self._settings = config.agent
        self._clock = clock
        self._sources = sources or Sources(config, clock)
        name = agent_name(settings)
        self._posters = tuple(make_poster(settings) for _ in range(1 + _DELIVERING))
        self.drops = self._sources.http.drops = Drops()
        folder = Path(settings.spool_folder).expanduser()
        self.spool = Spool(folder, settings, self.drops, clock)
        self.spool.open()
        self._ledger = DropLedger(folder / "drops.json", self.drops, clock)
        self._ledger.load()
        self.delivery = Delivery(self.spool, self._posters[1:], name, settings, self.drops, clock)
        identity = Identity(name, self._sources.node, version, mark_of(folder))
        self.vitals = Vitals(
            identity,
            self.spool,
            self.delivery,
            self.drops,
            clock,
            states=lambda: self._scheduler.states(),
            counts=lambda: self._scheduler.counts(),
        )
        own = OwnSource(self._sources.number(f"agent://{name}"), self.vitals, clock)
        self.sink = SpoolSink(
            self.spool,
            self._sources.urls,
            self._ledger,
            faults=self._sources.gpus.take_faults if self._sources.gpus else tuple,
            reachable=lambda: self.delivery.state.problem is None,
            on_batch=self.delivery.wake,
        )
        pace = replace(config.collector, store_every_seconds=settings.batch_seconds)
        self._scheduler = Scheduler([*self._sources.all, own], self.sink, clock, pace)
        self._heart = Heart(self.vitals, self._posters[0], settings, clock)
        self.door: OtlpDoor | None = None
        if settings.otlp_listen:
            self.door = OtlpDoor(self.spool, settings, self.drops, self.delivery.wake)

    async def run(self, stop: asyncio.Event, on_ready: Callable[[], None] = lambda: None) -> None:
        """Work until `stop` is set; then hand over what can be handed over, and close.

        Raises:
            CollectError, ConfigError: the OTLP door cannot listen.
        """
        tasks: list[asyncio.Task[None]] = []
        try:
            if self.door is not None:
                await self.door.start()
            await self._scheduler.start()
            works = (self.delivery.run, self._heart.run, self._keep_synced)
            tasks = [asyncio.create_task(self._keep_going(work)) for work in works]
            on_ready()
            await stop.wait()
        finally:
            if self.door is not None:
                await self.door.aclose()
            await self._scheduler.aclose()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._last_delivery()
            await self._close()

    async def once(self) -> bool:
        """Read every source once and deliver it; whether the server has all of it."""
        try:
            limit = self._sources.http.settings.scrape_timeout_seconds
            scrapes = [await source.scrape(limit) for source in self._sources.all]
            await self.sink.write(scrapes)
            await self.delivery.flush()
            await self._heart.beat()
            return not self.spool.peek() and self.delivery.state.parked == 0
        finally:
            await self._sources.aclose()
            await self._close()

    async def _last_delivery(self) -> None:
        """What waits stays in the spool, but a server that answers may have it now."""
        if self.delivery.state.problem is None:
            with suppress(TimeoutError):
                async with asyncio.timeout(_LAST_DELIVERY_SECONDS):
                    await self.delivery.flush()
                    await self._heart.beat()

    async def _close(self) -> None:
        for poster in self._posters:
            await poster.aclose()
        await self._sources.aclose()
        self.spool.close()
        self._ledger.collect()

    async def _keep_synced(self) -> None:
        while True:
            await self._clock.sleep(max(self._settings.spool_sync_seconds, 0.1))
            descriptor = self.spool.unsynced()
            if descriptor is not None:
                await asyncio.to_thread(_sync, descriptor)

    async def _keep_going(self, work: Callable[[], Awaitable[None]]) -> None:
        """A fault of ours in one part must not end the others."""
        while True:
            try:
                await work()
            except Exception:
                log.exception("part_failed", extra={"part": getattr(work, "__qualname__", "?")})
            await self._clock.sleep(_RESTART_SECONDS)


def agent_name(settings: AgentSettings) -> str:
    """The agent's name: as set, or the host's.

    Raises:
        ConfigError: it cannot be a name.
    """
    name = settings.name or re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname())
    if _NAME.fullmatch(name) is None:
        raise ConfigError(
            f"'{name}' cannot name an agent", where="agent.name",
            hint="letters, digits, dots, hyphens and underscores",
        )  # fmt: skip
    return name


def make_poster(settings: AgentSettings) -> Poster:
    """The way to the server.

    Raises:
        ConfigError: there is no address of one.
    """
    server = settings.server.strip()
    if not server:
        raise ConfigError(
            "there is no server to report to", where="agent.server",
            hint="give --server https://HOST:PORT, or look without one: --once --print",
        )  # fmt: skip
    address = server if "://" in server else f"http://{server}"
    access = Access(ca_file=settings.ca_file, bearer_token_file=settings.token_file)
    try:
        return Poster(address, access, settings.delivery_timeout_seconds)
    except ValueError as error:
        raise ConfigError(
            f"'{server}' is no address of a server", where="agent.server",
            hint="write it like https://servescope.example:8443",
        ) from error  # fmt: skip


async def look(sources: Sources, timeout_seconds: float) -> Sequence[tuple[str, Any]]:
    """Every source once, with its address; for looking without a server."""
    try:
        told = [await source.scrape(timeout_seconds) for source in sources.all]
    finally:
        await sources.aclose()
    return [(sources.urls[scrape.target_id], scrape) for scrape in told]


def _sync(descriptor: int) -> None:
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
