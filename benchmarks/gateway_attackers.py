"""Clients and engines that do harm, each for a time; run by `gateway_faults.py` as a process.

python benchmarks/gateway_attackers.py FAULT --port 8300 --seconds 5
python benchmarks/gateway_attackers.py engine-garbage --port 8300 --listen 8402 --seconds 5
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

from controller.gateway.doubles.engine import CHUNKED, Asked, Engine, framed, word

CLIENTS, GAP_SECONDS = 8, 0.02
"""Of each fault: clients at a time, and what each waits between two requests."""
CONNECTIONS = 1_000
OK = b"HTTP/1.1 200 OK\r\n"
Attack = Callable[[int], Awaitable[None]]


def head(length: int, more: bytes = b"") -> bytes:
    return (
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer attacker\r\n"
        b"content-type: application/json\r\n%bcontent-length: %d\r\n\r\n" % (more, length)
    )


def chat(model: str = "double", *, stream: bool = True, user: str = "attacker") -> bytes:
    told = {"model": model, "stream": stream, "user": user,
            "messages": [{"role": "user", "content": "hello"}]}  # fmt: skip
    return json.dumps(told).encode()


def ask(body: bytes) -> bytes:
    return head(len(body)) + body


async def talk(port: int, data: bytes, *, reads: bool = True) -> None:
    """Send it, and read what comes until the gateway closes or a second is over."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(data)
        async with asyncio.timeout(1.0):
            if reads:
                await reader.readuntil(b"\r\n\r\n")
            else:
                await writer.drain()
    except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError):
        pass
    finally:
        writer.close()


def sends(data: bytes) -> Attack:
    return lambda port: talk(port, data)


async def hundred_megabytes(port: int) -> None:
    """Half of them say so in their head; the others send on until they are cut off."""
    for start in (
        head(100 << 20),
        head(0).replace(b"content-length: 0", b"transfer-encoding: chunked"),
    ):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        with suppress(OSError, TimeoutError):
            writer.write(start)
            for _ in range(100):
                writer.write(framed(b" " * (1 << 20)))
                async with asyncio.timeout(1.0):
                    await writer.drain()
        writer.transport.abort()


async def holds(port: int) -> None:
    """A thousand connections of one tenant, each with a request, again and again."""
    data = ask(chat())
    await asyncio.gather(*(talk(port, data) for _ in range(CONNECTIONS // CLIENTS)))


async def deaf(port: int) -> None:
    """Asks for an answer that is large, and takes nothing of it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    reader._transport.pause_reading()
    writer.write(ask(chat(user="big")))
    await asyncio.sleep(3600)


async def hangs(asked: Asked) -> None:
    """Takes the request and says nothing."""
    await asked.reader.read()


async def resets(asked: Asked) -> None:
    asked.writer.write(CHUNKED + framed(word("a")))
    await asked.writer.drain()
    asked.writer.transport.abort()


async def garbage(asked: Asked) -> None:
    asked.writer.write(b"\x00\x01\x02 what?\r\n\r\n" * 100)


async def lies(asked: Asked) -> None:
    asked.writer.write(OK + b"content-length: 1000\r\n\r\nshort")
    await asked.writer.drain()
    asked.writer.close()


RICH = b'{"model": "double", "messages": [' + b"{}," * 4_000_000 + b"{}]}"
CLIENT_FAULTS: dict[str, Attack] = {
    "malformed-json": sends(ask(b'{"model": "double", "messages": [' + b"x" * 2_000)),
    "unknown-model": sends(ask(chat("huge"))),
    "wrong-path": sends(b"GET /nowhere HTTP/1.1\r\nhost: x\r\n\r\n"),
    "header-bomb": sends(b"POST / HTTP/1.1\r\n" + b"x: " + b"y" * 300_000),
    "many-values": sends(ask(RICH)),
    "100-megabytes": hundred_megabytes,
    "1000-connections": holds,
    "slow-readers": deaf,
}
ENGINE_FAULTS = {
    "engine-hangs": hangs, "engine-resets": resets, "engine-garbage": garbage, "engine-lies": lies,
}  # fmt: skip


async def again_and_again(attack: Attack, port: int, until: float) -> None:
    while time.monotonic() < until:
        with suppress(OSError):
            await attack(port)
        await asyncio.sleep(GAP_SECONDS)


async def run(options: argparse.Namespace) -> None:
    until, fault = time.monotonic() + options.seconds, options.fault
    attack = CLIENT_FAULTS.get(fault) or sends(ask(chat("bad")))
    if fault in ENGINE_FAULTS:
        engine = Engine(ENGINE_FAULTS[fault], models=("bad",), slots=64)
        await asyncio.start_server(engine.serve, "127.0.0.1", options.listen)
        await asyncio.sleep(1.0)  # the gateway finds it
    with suppress(TimeoutError):
        async with asyncio.timeout(max(until - time.monotonic(), 0)):
            await asyncio.gather(
                *(again_and_again(attack, options.port, until) for _ in range(CLIENTS))
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("fault", choices=[*CLIENT_FAULTS, *ENGINE_FAULTS])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--listen", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=5.0)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
