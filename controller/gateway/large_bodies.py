"""Large bodies are read one in a turn of the event loop, so that small requests go between.

Who sends many of them waits behind itself: each key, or address, has a line of its own.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from controller.gateway.http.exchange import Exchange
from controller.gateway.openai.richness import LARGE_BYTES
from store.clock import Clock

COSTLY_SECONDS = 0.005
"""One that took longer is followed by a pause; pictures take less."""
PAUSE_RATIO = 3.0
"""Of what it took: costly bodies get a quarter of the time at most."""
MOST_PAUSE_SECONDS = 0.5


class LargeBodies:
    """See the head of this module.

    Args:
        take: reads one.
        clock: the time.
    """

    def __init__(self, take: Callable[[Exchange], None], clock: Clock) -> None:
        self._take, self._clock = take, clock
        self._lines: dict[bytes, deque[Exchange]] = {}
        self._is_going = False

    def __len__(self) -> int:
        return sum(map(len, self._lines.values()))

    @staticmethod
    def is_large(exchange: Exchange) -> bool:
        """Whether it has to wait for its turn."""
        return len(exchange.body) > LARGE_BYTES

    def put(self, exchange: Exchange) -> None:
        """Read it when it is its turn."""
        whose = exchange.header(b"authorization") or exchange.peer.encode()
        self._lines.setdefault(whose, deque()).append(exchange)
        if not self._is_going:
            self._is_going = True
            asyncio.get_running_loop().call_soon(self._next)

    def _next(self) -> None:
        exchange = self._first()
        took = 0.0
        if exchange is not None and not exchange.is_gone:
            began = self._clock.monotonic()
            self._take(exchange)
            took = self._clock.monotonic() - began
        self._is_going = bool(self._lines)
        if self._is_going:
            pause = min(PAUSE_RATIO * took, MOST_PAUSE_SECONDS) if took > COSTLY_SECONDS else 0.0
            asyncio.get_running_loop().call_later(pause, self._next)

    def _first(self) -> Exchange | None:
        """Of the line whose turn it is; the line goes to the end."""
        whose, line = next(iter(self._lines.items()), (b"", None))
        if line is None:
            return None
        del self._lines[whose]
        exchange = line.popleft()
        if line:
            self._lines[whose] = line
        return exchange
