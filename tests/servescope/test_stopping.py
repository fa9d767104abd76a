"""The order in which a server stops."""

from __future__ import annotations

import asyncio
import signal

import pytest

from servescope import process
from store.clock import WallClock


class Server:
    """Serves until told otherwise; knows nothing of sockets."""

    def __init__(self) -> None:
        self.should_exit = self.force_exit = False
        self.started = True

    async def serve(self, sockets) -> None:
        while not self.should_exit:
            await WallClock().sleep(0)


@pytest.fixture(autouse=True)
def handlers():
    """Those of before, whatever a loop sets."""
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


async def stopped(end_first, *, ready=lambda: signal.raise_signal(signal.SIGTERM)):
    server = Server()
    async with asyncio.timeout(20):
        await process._serve(server, [], ready, lambda: end_first(server))
    return server


async def test_it_answers_until_what_ends_first_has_ended():
    """The gateway's last rows still find it."""
    seen = []

    async def end_first(server):
        await WallClock().sleep(0)
        seen.append(server.should_exit)

    server = await stopped(end_first)
    assert seen == [False]
    assert (server.should_exit, server.force_exit) == (True, False)


async def test_another_signal_does_not_wait():
    """Whoever is in a hurry asks twice."""

    async def end_first(server):
        signal.raise_signal(signal.SIGINT)
        await asyncio.Event().wait()

    assert (await stopped(end_first)).force_exit


async def test_a_fault_while_the_first_ends_does_not_keep_it_alive(caplog):
    """It stops all the same, and says what it was."""

    async def end_first(server):
        raise RuntimeError("no way")

    assert (await stopped(end_first)).should_exit
    assert "gateway_not_ended" in caplog.text
