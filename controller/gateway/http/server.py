"""A connection of a client: one request at a time, and never longer than it may take."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

from controller.gateway.http.answer import Answer
from controller.gateway.http.circles import untie
from controller.gateway.http.connections import Connections
from controller.gateway.http.exchange import Exchange
from controller.gateway.http.reading import Head, Phase, RequestReader
from controller.gateway.openai.errors import error
from store.clock import Clock

MOST_AHEAD_BYTES = 64 << 10
"""What a client may send before its last request was answered; then it is not read any more."""

Handle = Callable[[Exchange], None]
TurnedAway = Callable[[Head | None, Answer], None]
"""Told of a request that was never whole, with its head where that was, and of the answer to it."""


class Inbound(asyncio.Protocol):
    """One connection; see the head of this module.

    Args:
        connections: counts this one.
        handle: called with each whole request.
        clock: the time.
        turned_away: told of requests that were never whole.
    """

    def __init__(
        self,
        connections: Connections,
        handle: Handle,
        clock: Clock,
        turned_away: TurnedAway = lambda head, answer: None,
    ) -> None:
        self.due = math.inf
        self._all = connections
        self._limits = connections.limits
        self._handle = handle
        self._tells = turned_away
        self._clock = clock
        self._reader = RequestReader(connections.limits, connections.keeps, self.give_back)
        self._phase: Phase = "idle"
        self._transport: asyncio.Transport | None = None
        self._address = ""
        self._exchange: Exchange | None = None
        self._ahead = bytearray()
        self._is_paused = False
        self._is_over = False

    # -- of asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count it, or turn it away."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - narrows for mypy
        self._transport = transport
        transport.set_write_buffer_limits(self._limits.write_bytes)
        peer = transport.get_extra_info("peername")
        self._address = str(peer[0]) if isinstance(peer, tuple) and peer else "local"
        reason = self._all.enter(self, self._address)
        if reason:
            whose = "of this client " if "client" in reason else ""
            status = 429 if whose else 503
            self._turn_away(error(status, f"too many connections {whose}are open", reason))
            transport.close()
        else:
            self._set_due(self._limits.idle_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        """Whoever is being answered is told."""
        self._is_over = True
        self._all.leave(self, self._address)
        self._reader.drop()
        if self._exchange is not None:
            self._exchange.drop_body()
            self._exchange.gone()
        for request in self._reader.ready:
            self.give_back(len(request.body))
        self._reader.end()
        if self._transport is not None:
            untie(self._transport)
        self._transport = self._exchange = None

    def pause_writing(self) -> None:
        """The client reads too slowly."""
        self._set_due(self._limits.stalled_seconds)
        if self._exchange is not None:
            self._exchange.on_paused()

    def resume_writing(self) -> None:
        """It read on."""
        if self._exchange is not None:
            self.due = math.inf
            self._exchange.on_resumed()
        elif self._is_over:
            self._set_due(self._limits.linger_seconds)

    def data_received(self, data: bytes) -> None:
        """Read on; what comes before the last request was answered has to wait."""
        if self._is_over:
            return
        if self._exchange is None:
            self._feed(data)
            return
        self._ahead += data
        if len(self._ahead) > MOST_AHEAD_BYTES and self._transport is not None:
            self._is_paused = True
            self._transport.pause_reading()

    # -- of the exchange

    def send(self, data: bytes) -> None:
        """Write."""
        if self._transport is not None and not self._is_over:
            self._transport.write(data)

    def give_back(self, count: int) -> None:
        """So many bytes of a body are not kept any more."""
        self._all.bodies_bytes -= count

    def finished(self, *, stays: bool) -> None:
        """The answer is complete: the next request, or the end."""
        self._done_with()
        if self._transport is None or self._is_over:
            return
        ready = self._reader.ready
        if not stays or (self._all.is_draining and not ready):
            self._close()
        elif ready:
            self._start()
        elif self._reader.problem is not None:
            self._refuse(self._reader.problem)
        else:
            self._set_due(self._limits.idle_seconds)
            data, self._ahead = bytes(self._ahead), bytearray()
            self._read_on()
            if data:
                self._feed(data)

    def cut(self) -> None:
        """Close without an end."""
        self._done_with()
        self._close()

    # -- of all connections

    def too_late(self) -> None:
        """Its time is over."""
        self.due = math.inf
        if self._transport is None:
            return
        if self._exchange is None and not self._is_over and self._phase != "idle":
            text = f"the {self._phase} of the request took too long"
            self._refuse(error(408, text, "too_slow"))
            return
        # Stalled, lingering or idle: nobody reads what we would say.
        if self._exchange is not None:
            self._all.counted.turned_away["stalled"] += 1
        self._transport.abort()

    def drain(self) -> None:
        """Close it after the answer that is being sent."""
        if self._exchange is not None:
            self._exchange.close_after()
        elif self._phase == "idle" and self._transport is not None:
            self._transport.close()

    # -- inside

    def _feed(self, data: bytes) -> None:
        reader = self._reader
        reader.feed(data)
        if reader.ready:
            self._start()
        elif reader.problem is not None:
            self._refuse(reader.problem)
        elif reader.phase != self._phase:
            self._enter(reader.phase)

    def _enter(self, phase: Phase) -> None:
        """Each part of a request has a time of its own."""
        self._phase = phase
        limits = self._limits
        seconds = {
            "idle": limits.idle_seconds, "head": limits.head_seconds, "body": limits.body_seconds
        }  # fmt: skip
        self._set_due(seconds[phase])
        if phase == "body" and self._reader.asks_to_go_on:
            self.send(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _start(self) -> None:
        request = self._reader.ready.popleft()
        self.due = math.inf
        # Another may have begun in the same bytes: its time counts from the next of its bytes on.
        self._phase = "idle"
        self._all.counted.requests += 1
        exchange = self._exchange = Exchange(
            self, request.method, request.target, request.headers, request.body,
            stays=request.stays and not self._all.is_draining, is_chunked=request.is_new,
            peer=self._address,
        )  # fmt: skip
        self._handle(exchange)

    def _refuse(self, answer: Answer) -> None:
        """A request that will never be whole."""
        self._tells(self._reader.head, answer)
        self._turn_away(answer)

    def _turn_away(self, answer: Answer) -> None:
        """Say why, and listen a while without hearing: who still sends would not read it."""
        self._reader.drop()
        Exchange(self, b"GET", b"", [], b"", stays=False, is_chunked=False).answer(answer)

    def _done_with(self) -> None:
        if self._exchange is not None:
            self._exchange.drop_body()
        self._exchange = None

    def _close(self) -> None:
        if self._transport is None or self._is_over:
            return
        self._is_over = True
        self._set_due(self._limits.linger_seconds)
        self._ahead = bytearray()
        self._read_on()
        if self._transport.can_write_eof():
            self._transport.write_eof()
        else:
            self._transport.close()

    def _read_on(self) -> None:
        if self._is_paused and self._transport is not None:
            self._is_paused = False
            self._transport.resume_reading()

    def _set_due(self, seconds: float) -> None:
        self.due = self._clock.monotonic() + seconds
