"""Requests are read so many in a turn of the event loop, so that what flows already goes between.

Small ones that come few at a time are read at once. The rest waits, each tenant in a line of its
own: who sends a thousand waits behind itself. Large bodies are read one in a turn, and one that
took long is followed by a pause.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Callable

from controller.gateway.hooks import Callers
from controller.gateway.http.exchange import Exchange
from controller.gateway.openai.richness import LARGE_BYTES
from controller.gateway.proxy_request import texts
from store.clock import Clock

SMALL_IN_A_TURN = 16
"""A small one takes about 0.1 ms."""
COSTLY_SECONDS = 0.005
"""A large one that took longer is followed by a pause; pictures take less."""
PAUSE_RATIO = 3.0
"""Of what it took: costly bodies get a quarter of the time at most."""
MOST_PAUSE_SECONDS = 0.5
_LOOK_BYTES = 2 << 10
_USER = re.compile(rb'"user"\s*:\s*"([^"\\]{1,128})"')

Take = Callable[[Exchange], None]
Whose = Callable[[Exchange], str]


class Lines:
    """One line for each tenant; each has its turn."""

    def __init__(self) -> None:
        self._lines: dict[str, deque[Exchange]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._lines.values()))

    def __bool__(self) -> bool:
        return bool(self._lines)

    def put(self, whose: str, exchange: Exchange) -> None:
        """At the end of its line."""
        self._lines.setdefault(whose, deque()).append(exchange)

    def pop(self) -> Exchange:
        """The first of the line whose turn it is; the line goes behind the others.

        Raises:
            StopIteration: nobody waits.
        """
        whose = next(iter(self._lines))
        line = self._lines.pop(whose)
        exchange = line.popleft()
        if line:
            self._lines[whose] = line
        return exchange


class Taking:
    """See the head of this module.

    Args:
        take: reads one.
        whose: who sends it.
        clock: the time.

    Attributes:
        left: requests whose clients left before they were read; they have no row.
    """

    def __init__(self, take: Take, whose: Whose, clock: Clock) -> None:
        self.large, self.small = Lines(), Lines()
        self._take, self._whose, self._clock = take, whose, clock
        self.left = 0
        self._taken = 0
        self._is_large_going = False

    def __len__(self) -> int:
        return len(self.large) + len(self.small)

    def put(self, exchange: Exchange) -> None:
        """Read it now, or when it is its turn."""
        if len(exchange.body) > LARGE_BYTES:
            self.large.put(self._whose(exchange), exchange)
            if not self._is_large_going:
                self._is_large_going = True
                asyncio.get_running_loop().call_soon(self._next_large)
        elif self._taken < SMALL_IN_A_TURN and not self.small:
            self._count()
            self._take(exchange)
        else:
            self.small.put(self._whose(exchange), exchange)

    def _count(self) -> None:
        """One more in this turn; who is too many is read in the next."""
        if not self._taken:
            asyncio.get_running_loop().call_soon(self._next_turn)
        self._taken += 1

    def _next_turn(self) -> None:
        self._taken = 0
        while self.small and self._taken < SMALL_IN_A_TURN:
            exchange = self.small.pop()
            if exchange.is_gone:
                self.left += 1
            else:
                self._count()
                self._take(exchange)

    def _next_large(self) -> None:
        exchange = self.large.pop()
        took = 0.0
        if exchange.is_gone:
            self.left += 1
        else:
            began = self._clock.monotonic()
            self._take(exchange)
            took = self._clock.monotonic() - began
        self._is_large_going = bool(self.large)
        if self._is_large_going:
            pause = min(PAUSE_RATIO * took, MOST_PAUSE_SECONDS) if took > COSTLY_SECONDS else 0.0
            asyncio.get_running_loop().call_later(pause, self._next_large)


def sender(exchange: Exchange, callers: Callers) -> str:
    """The tenant as far as it can be told without parsing the body; else the address.

    Who sends a key that nobody knows has no line of its own: keys can be made up.
    """
    body = exchange.body
    ends = body if len(body) <= 2 * _LOOK_BYTES else body[:_LOOK_BYTES] + body[-_LOOK_BYTES:]
    user = _USER.search(ends)
    name = callers.name(texts(exchange.headers), user[1].decode("utf-8", "replace") if user else "")
    return f"tenant {name}" if name else exchange.peer
