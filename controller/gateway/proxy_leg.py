"""One attempt at one replica: the connection to it, and what came of its answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from controller.gateway.ask import Ask
from controller.gateway.attempt import TraceContext
from controller.gateway.http.client import Outbound
from controller.gateway.http.pool import Address, Pool
from controller.gateway.proxy_answer import Passing
from controller.gateway.proxy_ground import Ground

Request = Callable[[Address, TraceContext | None], bytes]


class Hears(Protocol):
    """Whoever sent it is told."""

    def came(self, leg: Leg, data: bytes) -> None:
        """More of the body."""
        ...

    def whole(self, leg: Leg) -> None:
        """The answer is whole, and its connection free."""
        ...

    def failed(self, leg: Leg, reason: str) -> None:
        """It will never be; the connection is lost, or was never there."""
        ...


class Leg:
    """See the head of this module.

    Args:
        ground: gives connections and the time.
        hears: what comes.
        ask: the request as it is booked at this replica.
        trace: of this attempt.
        request: makes what is sent.

    Attributes:
        passing: what came.
        has_heard: whether anything of an answer came.
        has_body: whether anything of its body did.
        heard: when something came last, seconds of the gateway's clock.
        is_paused: nothing more is read for now.
    """

    __slots__ = (
        "_connecting", "_ground", "_hears", "_outbound", "_pool", "_request", "ask", "has_body",
        "has_heard", "heard", "is_paused", "passing", "trace",
    )  # fmt: skip

    def __init__(
        self, ground: Ground, hears: Hears, ask: Ask, trace: TraceContext | None, request: Request
    ) -> None:
        self._ground, self._hears, self._request = ground, hears, request
        self.ask, self.trace = ask, trace
        self.passing = Passing(ground.settings.whole_bytes)
        self.has_heard = self.has_body = self.is_paused = False
        self.heard = ground.now()
        self._connecting: asyncio.Task[None] | None = None
        self._outbound: Outbound | None = None
        self._pool: Pool | None = None

    def start(self) -> None:
        """Send it, by a connection that is open or by a new one."""
        self._pool = self._ground.pool(self.ask.instance)
        if self._pool is None:
            self._hears.failed(self, "upstream_unreachable")
            return
        self._send_on(self._pool.take())

    def pause(self) -> None:
        """Read no more for now."""
        self.is_paused = True
        if self._outbound is not None:
            self._outbound.pause()

    def resume(self) -> None:
        """Read on."""
        self.is_paused = False
        self.heard = self._ground.now()
        if self._outbound is not None:
            self._outbound.resume()

    def free(self, *, is_clean: bool = False) -> None:
        """Let go of the connection; one that is not clean is closed, so that the engine stops."""
        outbound, self._outbound = self._outbound, None
        if self._connecting is not None:
            self._connecting.cancel()
            self._connecting = None
        if outbound is None:
            return
        if is_clean and self._pool is not None:
            if self.is_paused:
                outbound.resume()
            self._pool.give(outbound, self.passing.headers, was_stream=self.passing.is_stream)
        else:
            outbound.close()

    # -- what the engine says

    def head(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """Kept until the first of the body comes."""
        self.has_heard = True
        self.heard = self._ground.now()
        self.passing.head(status, headers)

    def body(self, data: bytes) -> None:
        """More of it."""
        self.has_body = True
        self.heard = self._ground.now()
        self._hears.came(self, data)

    def done(self) -> None:
        """The answer is whole."""
        self.free(is_clean=True)
        self._hears.whole(self)

    def lost(self, reason: str) -> None:
        """The connection broke."""
        outbound, self._outbound = self._outbound, None
        if outbound is not None and outbound.is_reused and not self.has_heard:
            # It was closed while it was idle: nobody has seen the request.
            self._send_on(None)
            return
        self._hears.failed(self, reason)

    # -- inside

    def _send_on(self, outbound: Outbound | None) -> None:
        if outbound is None:
            self._connecting = asyncio.get_running_loop().create_task(self._connect())
            return
        self._outbound = outbound
        assert self._pool is not None  # noqa: S101 - it starts with one
        outbound.send(self._request(self._pool.address, self.trace), self)

    async def _connect(self) -> None:
        assert self._pool is not None  # noqa: S101 - it starts with one
        try:
            outbound = await self._pool.connect()
        except OSError:
            self._connecting = None
            self._hears.failed(self, "upstream_unreachable")
            return
        self._connecting = None
        self._send_on(outbound)
