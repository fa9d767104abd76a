"""A whole gateway on a port of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from controller.gateway.attempt import Attempt
from controller.gateway.doubles.client import Client
from controller.gateway.doubles.engine import Engine
from servescope.gateway import assembly
from servescope.gateway.listening import bind
from servescope.gateway.settings import GatewaySettings
from store.clock import Clock, WallClock


class Kept:
    """A recorder that a test reads; it can be waited for."""

    def __init__(self) -> None:
        self.attempts: list[Attempt] = []
        self._came = asyncio.Event()

    def record(self, attempt: Attempt) -> None:
        self.attempts.append(attempt)
        self._came.set()

    async def until(self, count: int) -> list[Attempt]:
        """All, as soon as there are so many."""
        while len(self.attempts) < count:
            self._came.clear()
            await asyncio.wait_for(self._came.wait(), 5)
        return self.attempts


@dataclass
class Running:
    """A gateway that runs."""

    made: assembly.Gateway
    host: str
    port: int
    kept: Kept
    stop: asyncio.Event
    task: asyncio.Task[None]
    clients: list[Client]

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    async def talk(self) -> Client:
        reader, writer = await asyncio.open_connection(self.host, self.port)
        self.clients.append(Client(reader, writer))
        return self.clients[-1]


@asynccontextmanager
async def gateway(
    *engines: Engine, clock: Clock | None = None, **settings: object
) -> AsyncIterator[Running]:
    """A gateway before engines, on a port of its own."""
    told = GatewaySettings(
        upstreams=tuple(f"e{number}={one.url}" for number, one in enumerate(engines)),
        listen="127.0.0.1:0",
        **{"drain_seconds": 0.2, **settings},  # type: ignore[arg-type]
    )
    kept, stop, ready = Kept(), asyncio.Event(), asyncio.Event()
    made = assembly.build(told, clock or WallClock(), kept)
    sock = bind(told.listen, "gateway.listen")
    task = asyncio.create_task(made.run(sock, stop, ready.set))
    async with asyncio.timeout(10):
        await ready.wait()
    host, port = sock.getsockname()[:2]
    found = Running(made, host, port, kept, stop, task, [])
    try:
        yield found
    finally:
        for client in found.clients:
            client.writer.close()
        stop.set()
        async with asyncio.timeout(10):
            await task


@pytest.fixture(name="gateway")
def _gateway():
    """`async with gateway(engine, setting=…) as running`."""
    return gateway
