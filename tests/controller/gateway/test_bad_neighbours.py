"""Bad clients and bad engines harm nobody else: what others get, and what passes before them.

Times of a wall clock say more about the machine than about the gateway. So a request's way through
it is measured in turns of the event loop, and in requests that were started before it. How long a
turn may take by what a body holds is in `test_taking`, and in `benchmarks/gateway_faults.py`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import pytest

from controller.gateway.doubles.engine import (
    CHUNKED,
    DONE,
    Asked,
    Engine,
    framed,
    running,
    word,
)
from controller.gateway.doubles.turns import turns

VICTIMS, EACH, ATTACKERS, CONNECTIONS, SEATS = 4, 25, 6, 1_000, 16
WORDS = [f"word {number}" for number in range(5)]


def said(user: str, model: str = "tiny") -> dict[str, object]:
    """A streamed chat."""
    messages = [{"role": "user", "content": f"hello of {user}"}]
    return {"model": model, "messages": messages, "user": user, "stream": True}


def stream_for(user: str) -> bytes:
    """What the client of that user must get, byte for byte."""
    told = (*(word(f"{user} {one}") for one in WORDS), word("", "stop"), DONE)
    return b"".join(told)


async def answers(asked: Asked) -> None:
    """Each user gets words of their own, one a turn; the one called slow gets very many."""
    user = json.loads(asked.body)["user"]
    asked.writer.write(CHUNKED)
    if user == "slow":
        for _ in range(64):
            asked.writer.write(framed(word("x" * 8_000)))
    for event in stream_for(user).split(b"\n\n")[:-1]:
        asked.writer.write(framed(event + b"\n\n"))
        await turns()
    asked.writer.write(b"0\r\n\r\n")


async def hangs(asked: Asked) -> None:
    """Take the request and say nothing."""
    await asked.reader.read()


async def resets(asked: Asked) -> None:
    """Break off in the middle."""
    asked.writer.write(CHUNKED + framed(word("a")))
    await asked.writer.drain()
    asked.writer.transport.abort()


async def garbage(asked: Asked) -> None:
    """Talk nonsense."""
    asked.writer.write(b"\x00\x01 what?\r\n\r\n" * 50)


async def lies(asked: Asked) -> None:
    """Announce more than there is."""
    asked.writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nshort")
    await asked.writer.drain()
    asked.writer.close()


@dataclass
class Watch:
    """Counts turns of the loop."""

    turns: int = 0
    is_on: bool = True

    def turn(self) -> None:
        """Once in each."""
        self.turns += 1
        if self.is_on:
            asyncio.get_running_loop().call_soon(self.turn)


@dataclass
class Got:
    """What the victims saw, of each request."""

    turns: list[int] = field(default_factory=list)
    strangers: list[int] = field(default_factory=list)
    wrong: int = 0

    def p99(self, name: str) -> int:
        """The largest but one in a hundred."""
        return sorted(getattr(self, name))[-1 - len(getattr(self, name)) // 100]


async def victims(one, good: Engine, watch: Watch) -> Got:
    """Some clients, each asking again and again; the engine tells who was served meanwhile."""
    got = Got()

    async def asks(user: str) -> None:
        client = await one.talk()
        for _ in range(EACH):
            turns, served = watch.turns, len(good.asked)
            client.post(said(user))
            answer = await client.answer()
            got.turns.append(watch.turns - turns)
            got.strangers.append(len(good.asked) - served)
            got.wrong += not (answer.is_whole and answer.body == stream_for(user))

    await asyncio.gather(*(asks(f"victim {number}") for number in range(VICTIMS)))
    return got


async def sends(one, data: bytes) -> None:
    """Send it, read what comes, go."""
    client = await one.talk()
    client.send(data)
    with suppress(asyncio.IncompleteReadError, ConnectionError, TimeoutError, ValueError):
        await client.answer()
    client.writer.transport.abort()


def post(body: bytes, more: bytes = b"") -> bytes:
    """A whole request."""
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n%bcontent-length: %d\r\n\r\n"
    return head % (more, len(body)) + body


def asked_for(user: str, model: str = "tiny") -> bytes:
    """A whole request for a stream."""
    return post(json.dumps(said(user, model)).encode())


async def floods(one) -> None:
    """A thousand connections of one tenant, each with a request."""
    data = asked_for("attacker")
    clients = [await one.talk() for _ in range(CONNECTIONS // ATTACKERS)]
    for client in clients:
        client.send(data)
    for client in clients:
        with suppress(asyncio.IncompleteReadError, ConnectionError, TimeoutError):
            await client.answer()
        client.writer.transport.abort()


async def reads_nothing(one) -> None:
    """Ask for much and take nothing of it."""
    client = await one.talk()
    client.writer.transport.pause_reading()
    client.send(asked_for("slow"))
    await asyncio.Event().wait()


async def sends_on(one) -> None:
    """A body of 100 MB that says so, sent although it was refused."""
    client = await one.talk()
    with suppress(ConnectionError):
        client.send(post(b"").replace(b"length: 0", b"length: 104857600"))
        for _ in range(20):
            client.send(b"x" * (1 << 18))
            await client.writer.drain()
            await turns()
    client.writer.transport.abort()


@asynccontextmanager
async def attacked(one, fault: str) -> AsyncIterator[None]:
    """Attackers that go on and on, once they are all under way."""

    async def goes_on() -> None:
        while True:
            await FAULTS[fault](one)

    connections = one.made.server._connections
    before = connections.counted.connections
    attackers = [asyncio.create_task(goes_on()) for _ in range(ATTACKERS)]
    wanted = before + (CONNECTIONS // 2 if FAULTS[fault] is floods else ATTACKERS)
    while connections.counted.connections < wanted:
        await turns()
    try:
        yield
    finally:
        for task in attackers:
            task.cancel()
        await asyncio.gather(*attackers, return_exceptions=True)


RICH = post(b'{"model": "tiny", "messages": [' + b"{}," * 3_000_000 + b"{}]}")
Attack = Callable[..., Awaitable[None]]
SCRIPTS = {script.__name__: script for script in (hangs, resets, garbage, lies)}
FAULTS: dict[str, Attack] = {
    "malformed JSON": lambda one: sends(one, post(b'{"model": "tiny", "messages": [' + b"x" * 999)),
    "100 MB": sends_on,
    "header bomb": lambda one: sends(one, b"POST / HTTP/1.1\r\nx: " + b"y" * 300_000),
    "unknown model": lambda one: sends(one, asked_for("attacker", "huge")),
    "a million values": lambda one: sends(one, RICH),
    "1,000 connections": floods,
    "slow readers": reads_nothing,
    **dict.fromkeys(SCRIPTS, lambda one: sends(one, asked_for("attacker", "bad"))),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_others_are_served_as_if_it_were_not_there(gateway, fault):
    """Byte for byte, in about as many turns, and no crowd of strangers is served before them."""
    script = SCRIPTS.get(fault, hangs)
    async with (
        running(Engine(answers, slots=SEATS)) as good,
        running(Engine(script, models=("bad",))) as bad,
        gateway(good, bad, deadline_seconds=5.0) as one,
    ):
        watch = Watch()
        watch.turn()
        alone = await victims(one, good, watch)
        async with attacked(one, fault):
            beside = await victims(one, good, watch)
        watch.is_on = False
    assert (alone.wrong, beside.wrong) == (0, 0)
    assert beside.p99("turns") <= 5 * alone.p99("turns")
    assert beside.p99("strangers") <= alone.p99("strangers") + 4 * SEATS
