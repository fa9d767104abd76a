"""What is over is gone: the interpreter never has to stop all streams to find it."""

from __future__ import annotations

import asyncio
import gc
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from controller.gateway.doubles.engine import CHUNKED, DONE, Asked, Engine, framed, running, word
from controller.gateway.doubles.turns import turns
from controller.gateway.http.pool import address


async def answers(asked: Asked) -> None:
    """As the user's name says."""
    how = json.loads(asked.body).get("user")
    asked.writer.write(CHUNKED + framed(word("a")))
    await asked.writer.drain()
    if how == "reset":
        asked.writer.transport.abort()
    elif how == "left":
        await asked.reader.read()
    else:
        asked.writer.write(framed(word("b", "stop")) + framed(DONE) + b"0\r\n\r\n")


@contextmanager
def only_circles() -> Iterator[Counter[str]]:
    """Counts, by type, what of the gateway was left to the collector."""
    found: Counter[str] = Counter()
    gc.collect()
    gc.disable()
    try:
        yield found
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        found.update(
            f"{type(one).__module__}.{type(one).__qualname__}"
            for one in gc.garbage
            if type(one).__module__.startswith(("controller.gateway", "httptools"))
            and ".doubles." not in type(one).__module__
        )
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


def asked(user: str, *, stream: bool = True, model: str = "tiny") -> dict[str, object]:
    """A chat."""
    messages = [{"role": "user", "content": "hello"}]
    return {"model": model, "messages": messages, "user": user, "stream": stream}


@pytest.mark.parametrize("how", ["whole", "kept", "left", "reset", "wrong", "nonsense"])
async def test_nothing_is_left_of_a_request(gateway, how):
    """However it ends, and whoever ends it."""
    async with running(Engine(answers)) as engine, gateway(engine) as one:

        async def go() -> None:
            client = await one.talk()
            if how == "nonsense":
                client.send(b"\x00 what?\r\n\r\n")
            else:
                client.post(asked(how, model="huge" if how == "wrong" else "tiny"))
            if how == "left":
                await client.reader.readuntil(b"\r\n\r\n")
            else:
                with suppress(asyncio.IncompleteReadError):
                    await client.answer()
            if how == "kept":
                client.post(asked(how, stream=False))
                await client.answer()
            client.writer.close()
            with suppress(ConnectionError):
                await client.writer.wait_closed()

        await go()
        with only_circles() as found:
            for _ in range(5):
                await go()
            async with asyncio.timeout(5):
                while len(one.made.server._connections):
                    await turns()
            await turns(10)
    assert not found


async def test_nothing_is_left_of_an_engine_that_cannot_be_reached(gateway):
    """The attempt, the task that connects, and the error it met."""
    async with running(Engine(answers)) as engine:
        pass
    async with running(Engine(answers)) as other, gateway(other, hold_seconds=0.05) as one:
        one.made.health.upstreams["e0"].pool.address = address(engine.url)
        client = await one.talk()
        with only_circles() as found:
            for _ in range(3):
                client.post(asked("whole"))
                assert (await client.answer()).status in (502, 503)
            await turns(10)
    assert not found
