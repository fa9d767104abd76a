"""Listens, looks after times, and stops in order."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from socket import socket

from controller.gateway.http.connections import Connections
from controller.gateway.http.server import Inbound
from controller.gateway.proxy import Proxy
from store.clock import Clock

log = logging.getLogger(__name__)

BACKLOG = 2_048
MOST_ACCEPTED = 16
_LOOK_SECONDS = 0.05
_FLUSH_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class ServeSettings:
    """How it serves.

    Attributes:
        drain_seconds: streams may go on so long after it was told to stop.
        first_seconds: to wait for the first answers of engines before it says that it is ready.
        tls: certificate and key; None serves plain HTTP.
    """

    drain_seconds: float = 30.0
    first_seconds: float = 2.0
    tls: ssl.SSLContext | None = None


class ProxyServer:
    """See the head of this module.

    Args:
        proxy: answers.
        connections: of clients.
        settings: how.
        clock: the time.
    """

    def __init__(
        self, proxy: Proxy, connections: Connections, settings: ServeSettings, clock: Clock
    ) -> None:
        self.is_ready = False
        self._proxy = proxy
        self._connections = connections
        self._settings = settings
        self._clock = clock

    @property
    def is_draining(self) -> bool:
        """Whether it was told to stop."""
        return self._connections.is_draining

    async def run(self, sock: socket, stop: asyncio.Event, on_ready: Callable[[], None]) -> None:
        """Serve until told to stop, then let streams end.

        Args:
            sock: bound.
            stop: set when it shall stop.
            on_ready: called once it answers.
        """
        proxy = self._proxy
        await proxy.health.first(self._settings.first_seconds)
        loop = asyncio.get_running_loop()
        listening = await loop.create_server(
            lambda: Inbound(
                self._connections, proxy.handle, self._clock, proxy.turned_away.at_the_door
            ),
            sock=sock,
            ssl=self._settings.tls,
            # asyncio takes so many new connections in one turn: others must not wait for thousands.
            backlog=MOST_ACCEPTED,
        )
        sock.listen(BACKLOG)
        tending = loop.create_task(self._tend())
        self.is_ready = True
        on_ready()
        try:
            await stop.wait()
            listening.close()
            await self._drain()
        finally:
            tending.cancel()
            with suppress(asyncio.CancelledError):
                await tending
            await self._proxy.health.aclose()

    async def _tend(self) -> None:
        while True:
            await self._clock.sleep(self._connections.limits.sweep_seconds / 4)
            try:
                self._connections.sweep(self._clock.monotonic())
                self._proxy.health.tend()
                self._proxy.tend()
            except Exception:
                log.exception("tending_failed")

    async def _drain(self) -> None:
        log.info("draining", extra={"flights": len(self._proxy.flights)})
        self._connections.drain()
        proxy = self._proxy
        await self._until(
            lambda: not (proxy.flights or len(proxy.taking)), self._settings.drain_seconds
        )
        self._proxy.fail_all("draining")
        # What was written last still has to leave.
        await self._until(lambda: not len(self._connections), _FLUSH_SECONDS)
        for one in self._connections.all:
            one.too_late()

    async def _until(self, is_so: Callable[[], bool], seconds: float) -> None:
        until = self._clock.monotonic() + seconds
        while not is_so() and self._clock.monotonic() < until:
            await self._clock.sleep(_LOOK_SECONDS)
