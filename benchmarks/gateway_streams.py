"""Many streams at a time through one gateway on one core: memory, order, and slow clients.

    python benchmarks/gateway_streams.py [--streams 2000] [--slow 20]

The engine is a double (`gateway_engine.py`) that numbers its chunks, so a client sees what is lost
or out of order. In each round all streams directly, through the gateway alone, and beside clients
that take nothing of answers that are large, once those have filled all buffers on the way: the
others' gaps must stay as they were, and the gateway's memory bounded.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from gateway_latency import (
    HERE,
    STREAMED,
    Way,
    answers,
    free_port,
    quantile,
    request,
    rss,
    started,
)

MOST_RSS_MB = 300
IDLE_SHARE, SETTLED_SECONDS = 0.03, 60.0


@dataclass
class Seen:
    """What all clients saw together."""

    whole: int = 0
    broken: int = 0
    lost: int = 0
    reordered: int = 0
    first: list[float] = field(default_factory=list)
    late: list[float] = field(default_factory=list)
    """Seconds by which a gap between two chunks differed from the engine's."""


class Stream(asyncio.Protocol):
    """One client of one stream."""

    def __init__(self, seen: Seen, chunks: int, gap: float) -> None:
        self.seen, self.chunks, self.gap = seen, chunks, gap
        self.next, self.rest, self.last = 0, b"", 0.0
        self.ended = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.begun = time.perf_counter()
        transport.write(request(STREAMED))

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter()
        *lines, self.rest = (self.rest + data).split(b"\n")
        for line in lines:
            if line.startswith(b"data: {"):
                self.take(json.loads(line[6:])["created"], now)
            elif line.startswith(b"data: [DONE]"):
                self.seen.lost += max(self.chunks + 1 - self.next, 0)
                self.seen.whole += 1
                self.ended.set_result(None)
                self.transport.close()

    def take(self, number: int, now: float) -> None:
        self.seen.reordered += number != self.next
        self.next = number + 1
        if not self.last:
            self.seen.first.append(now - self.begun)
        elif number < self.chunks:
            self.seen.late.append(abs(now - self.last - self.gap))
        self.last = now

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.ended.done():
            self.seen.broken += 1
            self.ended.set_result(None)


class Deaf(asyncio.Protocol):
    """A client that asks and takes nothing."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        transport.pause_reading()
        transport.write(request({**STREAMED, "user": "big"}))


async def streams(
    port: int, options: argparse.Namespace, way: Way, seen: Seen
) -> tuple[float, float]:
    """All of them; the most memory, and the share of a core."""
    loop = asyncio.get_running_loop()
    made, most = [], 0.0
    before, begun = way.cpu(), time.perf_counter()
    for number in range(options.streams):
        _, one = await loop.create_connection(
            lambda: Stream(seen, options.chunks, options.gap), "127.0.0.1", port
        )
        made.append(one.ended)
        if number % 100 == 99:
            await asyncio.sleep(options.gap / 20)
    waiting = asyncio.gather(*made)
    while not waiting.done():
        await asyncio.wait({waiting}, timeout=0.5)
        most = max(most, rss(way))
    return most, (way.cpu() - before) / (time.perf_counter() - begun)


def told(name: str, seen: Seen, most: float, share: float) -> None:
    print(f"{name:34} whole {seen.whole}, broken {seen.broken}, lost {seen.lost}, "
          f"reordered {seen.reordered}; {most:.0f} MB, {100 * share:.0f} % of a core")  # fmt: skip
    print(f"{'':34} first chunk p50 {1e3 * quantile(seen.first, 0.5):.0f} ms, "
          f"gaps off by p50 {1e3 * quantile(seen.late, 0.5):.1f} ms, "
          f"p99 {1e3 * quantile(seen.late, 0.99):.1f} ms")  # fmt: skip


async def settled(way: Way) -> tuple[float, float]:
    """(CPU seconds until nothing moves any more, share of a core from then on)."""
    before, begun = way.cpu(), time.perf_counter()
    while time.perf_counter() - begun < SETTLED_SECONDS:
        last = way.cpu()
        await asyncio.sleep(1.0)
        if way.cpu() - last <= IDLE_SHARE:
            break
    spent, since = way.cpu() - before, way.cpu()
    await asyncio.sleep(2.0)
    return spent, (way.cpu() - since) / 2.0


async def deafened(options: argparse.Namespace, port: int) -> list[Deaf]:
    """Clients that take nothing."""
    loop = asyncio.get_running_loop()
    made = [await loop.create_connection(Deaf, "127.0.0.1", port) for _ in range(options.slow)]
    return [one for _, one in made]


async def measure(options: argparse.Namespace, engine: int, way: Way) -> bool:
    if not await answers(way.port, 60):
        sys.exit("the gateway does not answer")
    print(f"idle: {rss(way):.0f} MB")
    direct, alone, beside, quiet = Seen(), Seen(), Seen(), Way("direct", engine)
    most, shares = [0.0], {"alone": 0.0, "beside": 0.0}
    for number in range(options.rounds):
        await streams(engine, options, quiet, direct)
        mb, shares["alone"] = await streams(way.port, options, way, alone)
        most.append(mb)
        deaf = await deafened(options, way.port)
        spent, after = await settled(way)
        if not number:
            print(f"{options.slow} that take nothing: {spent:.1f} s of CPU until their buffers are"
                  f" full, {100 * after:.0f} % of a core from then on")  # fmt: skip
        mb, shares["beside"] = await streams(way.port, options, way, beside)
        most.append(mb)
        for one in deaf:
            one.transport.abort()
    told("direct", direct, float("nan"), float("nan"))
    told("through the gateway", alone, max(most[1::2]), shares["alone"])
    told(f"beside {options.slow} that take nothing", beside, max(most[2::2]), shares["beside"])
    ratio = quantile(beside.late, 0.99) / max(quantile(alone.late, 0.99), 1e-6)
    print(f"p99 of the gaps beside them: {ratio:.2f} of what it was alone")
    bad = alone.broken + alone.lost + alone.reordered + beside.broken + beside.lost
    is_kept = not bad and max(most) <= MOST_RSS_MB
    print(
        f"goal 0 lost or out of order, at most {MOST_RSS_MB} MB: {'kept' if is_kept else 'missed'}"
    )
    return is_kept


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--streams", type=int, default=2_000)
    parser.add_argument("--slow", type=int, default=20)
    parser.add_argument("--chunks", type=int, default=20)
    parser.add_argument("--gap", type=float, default=0.5)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    cores = sorted(os.sched_getaffinity(0))
    engine_port, port = free_port(), free_port()
    with tempfile.TemporaryDirectory(prefix="servescope-bench-") as temporary:
        folder, running = Path(temporary), []
        try:
            engine = started(
                [sys.executable, str(HERE / "gateway_engine.py"), "--port", str(engine_port),
                 "--chunks", str(options.chunks), "--gap", str(options.gap), "--slots", "10000"],
                1, folder / "engine.log",
            )  # fmt: skip
            running.append(engine)
            if not asyncio.run(answers(engine_port, 20)):
                sys.exit("the engine's double does not answer")
            gateway = started(
                [sys.executable, "-m", "servescope", "gateway", "--listen", f"127.0.0.1:{port}",
                 "--upstream", f"http://127.0.0.1:{engine_port}"],
                0, folder / "gateway.log",
            )  # fmt: skip
            running.append(gateway)
            os.sched_setaffinity(0, {cores[1 % len(cores)]})
            way = Way("servescope gateway", port, gateway)
            if not asyncio.run(measure(options, engine_port, way)):
                sys.exit(1)
        finally:
            for process in running:
                end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


if __name__ == "__main__":
    main()
