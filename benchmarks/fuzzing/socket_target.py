"""A whole gateway on a real socket before a double of an engine: raw bytes of a client."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import h11

from controller.gateway.attempt import Attempt
from controller.gateway.doubles.engine import Engine, running
from fuzzing.target import Take, Target
from fuzzing.wire import HTTP_SEEDS, HTTP_WORDS
from servescope.gateway import assembly
from servescope.gateway.listening import bind
from servescope.gateway.settings import GatewaySettings
from store.clock import WallClock

_HEALTH = b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
_LOOKED_EACH = 50
_ANSWER_SECONDS = 5.0
_MOST_ANSWER_BYTES = 1 << 20


class _Nobody:
    """Records nothing."""

    def record(self, attempt: Attempt) -> None:
        """Take it."""


class Gateway:
    """The gateway, its engine and the loop that both run on."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.faults: list[str] = []
        self.loop.set_exception_handler(lambda _, context: self.faults.append(repr(context)))
        self.port = self.loop.run_until_complete(self._started())

    async def _started(self) -> int:
        self._engine = running(Engine())
        engine = await self._engine.__aenter__()
        told = GatewaySettings(upstreams=(f"e0={engine.url}",), listen="127.0.0.1:0",
                               drain_seconds=0.2)  # fmt: skip
        ready = asyncio.Event()
        self.made = assembly.build(told, WallClock(), _Nobody())
        sock = bind(told.listen, "gateway.listen")
        self._stop = asyncio.Event()
        self._task = asyncio.create_task(self.made.run(sock, self._stop, ready.set))
        await asyncio.wait_for(ready.wait(), 10)
        self.engine = engine
        return int(sock.getsockname()[1])

    def close(self) -> None:
        """Stop both, and the loop."""
        self.loop.run_until_complete(self._stopped())
        self.loop.close()

    async def _stopped(self) -> None:
        self._stop.set()
        await self._task
        await self._engine.__aexit__(None, None, None)
        await asyncio.sleep(0)

    def exchanged(self, data: bytes) -> bytes:
        """What comes back to these bytes, to the end of the connection."""
        return self.loop.run_until_complete(self._exchanged(data))

    async def _exchanged(self, data: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        answer = b""
        try:
            writer.write(data[: len(data) // 2])
            await asyncio.sleep(0)
            writer.write(data[len(data) // 2 :])
            with contextlib.suppress(ConnectionError):
                writer.write_eof()
                async with asyncio.timeout(_ANSWER_SECONDS):
                    answer = await reader.read(_MOST_ANSWER_BYTES)
                    while part := await reader.read(_MOST_ANSWER_BYTES):
                        answer += part
        finally:
            writer.transport.abort()
        return answer


def _made(folder: Path, ending: ExitStack) -> Take:
    del folder
    gateway = Gateway()
    ending.callback(gateway.close)
    count = 0

    def take(data: bytes) -> None:
        nonlocal count
        count += 1
        answer = gateway.exchanged(data)
        _well_formed(answer)
        assert b"internal_error" not in answer[:4_096], answer[:500]
        gateway.engine.asked.clear()
        if count % _LOOKED_EACH == 0:
            health = gateway.exchanged(_HEALTH)
            assert health.startswith(b"HTTP/1.1 200"), health[:200]
            kept = gateway.made.server._connections.bodies_bytes
            assert kept == 0, f"{kept} bytes of bodies are kept for nobody"
        assert not gateway.faults, gateway.faults.pop()[:2_000]

    return take


def _well_formed(answer: bytes) -> None:
    """Whatever the client sent, what it gets back is HTTP from the first byte."""
    if not answer:
        return
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method="GET", target="/", headers=[("host", "x")]))
    client.send(h11.EndOfMessage())
    client.receive_data(answer)
    client.receive_data(b"")
    event = client.next_event()
    while isinstance(event, h11.InformationalResponse):
        if not client.trailing_data[0]:
            return  # the client was told to go on, and went away
        event = client.next_event()
    assert isinstance(event, h11.Response), event


def _seeds(folder: Path) -> Sequence[bytes]:
    del folder
    return HTTP_SEEDS


GATEWAY_SOCKET = Target(
    "gateway-socket", "raw bytes of clients to a whole gateway on a socket",
    _seeds, _made, HTTP_WORDS,
)  # fmt: skip
