"""At which rate `servescope load` becomes late itself, against a server that does next to nothing.

The server is another process; each answer is a stream of 16 chunks, one every 10 ms. The rate
doubles until the sender's own lateness (p99) passes 10 ms, above which a run prints a warning.

    python benchmarks/load_generator.py [--seconds 5] [--prompt 1000] [--first 50]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time

from servescope.load.asking import Wording
from servescope.load.planning import Planned
from servescope.load.prompts import Prompts
from servescope.load.sender import Rules, Sender
from servescope.load.tally import LATE_SECONDS, Tally
from store.clock import WallClock

CHUNKS, EVERY_SECONDS = 16, 0.01
MOST_RATE = 20_000
_CHUNK = b'data: {"choices":[{"delta":{"content":"word"}}]}\n\n'
_END = b'data: {"choices":[{"finish_reason":"length"}]}\n\ndata: [DONE]\n\n'
_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: %d\r\n\r\n"


def main() -> int:
    """Double the rate until the sender is late."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--prompt", type=int, default=1000, help="tokens")
    parser.add_argument("--first", type=float, default=50.0, help="requests/s")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        asyncio.run(serve())
        return 0
    server = subprocess.Popen([sys.executable, __file__, "--serve"], stdout=subprocess.PIPE)
    try:
        assert server.stdout is not None
        url = f"http://127.0.0.1:{int(server.stdout.readline())}"
        print(f"prompts of {given.prompt} tokens, {CHUNKS} chunks; load {os.getloadavg()[0]:.1f}")
        print("| requests/s | late p50 | late p99 | CPU a request | answered |")
        print("| --- | --- | --- | --- | --- |")
        rate = given.first
        while rate <= MOST_RATE and measured(url, rate, given):
            rate *= 2
    finally:
        server.kill()
        server.wait()
    return 0


def measured(url: str, rate: float, given: argparse.Namespace) -> bool:
    """One rate; tells whether the sender was in time."""
    count = int(rate * given.seconds)
    plan = [
        Planned(n, n / rate, f"t{n % 9}", "", given.prompt, CHUNKS, 512, n) for n in range(count)
    ]
    tally, clock = Tally(), WallClock()
    sender = Sender(
        [url], Wording("none"), Prompts(), clock, tally.add, rules=Rules(most_connections=10_000)
    )
    began = time.process_time()
    asyncio.run(sender.run(plan))
    each = (time.process_time() - began) / count
    told = tally.summary(given.seconds)
    lag = told["sender_lag_seconds"]
    print(
        f"| {rate:,.0f} | {1e3 * lag['p50']:.1f} ms | {1e3 * lag['p99']:.1f} ms"
        f" | {1e3 * each:.2f} ms | {told['ok']:,} of {count:,} |",
        flush=True,
    )
    return bool(lag["p99"] <= LATE_SECONDS)


async def serve() -> None:
    """Answer everything with the same stream."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(_Answering, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


class _Answering(asyncio.Protocol):
    """One connection."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep it."""
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]
        self._data = b""

    def data_received(self, data: bytes) -> None:
        """Look for whole requests."""
        self._data += data
        while (end := self._data.find(b"\r\n\r\n")) >= 0:
            head = self._data[:end]
            at = head.find(b"content-length: ")
            size = end + 4 + int(head[at + 16 :].split(b"\r\n", 1)[0])
            if len(self._data) < size:
                return
            json.loads(self._data[end + 4 : size])
            self._data = self._data[size:]
            self._transport.write(_HEAD % (CHUNKS * len(_CHUNK) + len(_END)))
            self._chunk(CHUNKS)

    def _chunk(self, left: int) -> None:
        self._transport.write(_CHUNK if left > 1 else _CHUNK + _END)
        if left > 1:
            asyncio.get_running_loop().call_later(EVERY_SECONDS, self._chunk, left - 1)


if __name__ == "__main__":
    raise SystemExit(main())
