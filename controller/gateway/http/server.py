"""A connection of a client: reads requests within bounds, one at a time."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable
from typing import Any

import httptools

from controller.gateway.http.answer import Answer
from controller.gateway.http.connections import Connections
from controller.gateway.http.exchange import Exchange
from controller.gateway.openai.errors import error
from store.clock import Clock

MOST_AHEAD_BYTES = 64 << 10
MOST_AHEAD = 16
"""Requests that a client may send before the first is answered."""
_CHUNK_BYTES = 32
"""What the frame of a chunk may take."""

Handle = Callable[[Exchange], None]


class Inbound(asyncio.Protocol):
    """One connection; see the head of this module.

    Args:
        connections: counts this one.
        handle: called with each whole request.
        clock: the time.
    """

    def __init__(self, connections: Connections, handle: Handle, clock: Clock) -> None:
        self.due = math.inf
        self._all = connections
        self._limits = connections.limits
        self._handle = handle
        self._clock = clock
        self._parser: Any = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._address = ""
        self._exchange: Exchange | None = None
        self._next: deque[Exchange] = deque()
        self._ahead = bytearray()
        self._is_paused = False
        self._is_over = False
        self._reset()

    def _reset(self) -> None:
        self._target = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._body: list[bytes] = []
        self._head_bytes = self._body_bytes = self._frame_bytes = 0
        self._phase, self._has_begun = "idle", False
        self._problem: Answer | None = None

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
        self.give_back(self._body_bytes)
        self._body_bytes = 0
        if self._exchange is not None:
            self._exchange.drop_body()
            self._exchange.gone()
        for one in self._next:
            one.drop_body()

    def pause_writing(self) -> None:
        """The client reads too slowly."""
        self._set_due(self._limits.stalled_seconds)
        if self._exchange is not None:
            self._exchange.on_paused()

    def resume_writing(self) -> None:
        """It read on."""
        self.due = math.inf if self._exchange is not None else self.due
        if self._exchange is not None:
            self._exchange.on_resumed()

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

    # -- of the parser

    def on_message_begin(self) -> None:
        """A request begins."""
        self._reset()
        self._phase, self._has_begun = "head", True
        self._set_due(self._limits.head_seconds)

    def on_url(self, url: bytes) -> None:
        """May come in parts."""
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header, or a trailer."""
        if self._phase != "head":
            return
        self._headers.append((name.lower(), value))
        self._head_bytes += len(name) + len(value) + 4
        if len(self._headers) > self._limits.headers or self._head_bytes > self._limits.head_bytes:
            self._refuse(431, "the headers are too large or too many", "headers_too_large")

    def on_headers_complete(self) -> None:
        """Decide by the head alone what can be decided by it."""
        self._phase = "body"
        self._set_due(self._limits.body_seconds)
        told = dict(self._headers)
        length = told.get(b"content-length", b"0")
        if len(self._target) > self._limits.head_bytes:
            self._refuse(414, "the path is too long", "path_too_long")
        elif length.isdigit() and int(length) > self._limits.body_bytes:
            self._refuse_size()
        elif told.get(b"expect", b"").lower() == b"100-continue" and self._problem is None:
            self.send(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, data: bytes) -> None:
        """A part of the body."""
        if self._problem is not None:
            return
        if self._body_bytes + len(data) > self._limits.body_bytes:
            self._refuse_size()
        elif not self._all.keeps(len(data)):
            self._refuse(503, "too many large requests at a time; ask again later", "bodies_full")
        else:
            self._body_bytes += len(data)
            self._body.append(data)

    def on_chunk_header(self) -> None:
        """Each chunk has a frame of its own."""
        self._frame_bytes -= _CHUNK_BYTES

    def on_message_complete(self) -> None:
        """Answer it, or let it wait for the one before."""
        if self._problem is not None:
            return
        is_new = self._parser.get_http_version() == "1.1"
        stays = is_new and self._parser.should_keep_alive() and len(self._next) < MOST_AHEAD
        stays = stays and not self._all.is_draining
        exchange = Exchange(
            self, self._parser.get_method(), self._target, self._headers, b"".join(self._body),
            stays=stays, is_chunked=is_new, peer=self._address,
        )  # fmt: skip
        self._body_bytes = 0  # the exchange gives them back
        self._reset()
        if len(self._next) <= MOST_AHEAD:
            self._next.append(exchange)
        else:
            exchange.drop_body()

    # -- of the exchange

    def give_back(self, count: int) -> None:
        """So many bytes of a body are not kept any more."""
        self._all.bodies_bytes -= count

    def send(self, data: bytes) -> None:
        """Write."""
        if self._transport is not None and not self._is_over:
            self._transport.write(data)

    def finished(self, *, stays: bool) -> None:
        """The answer is complete: the next request, or the end."""
        if self._exchange is not None:
            self._exchange.drop_body()
        self._exchange = None
        if self._transport is None or self._is_over:
            return
        if not stays or (self._all.is_draining and not self._next):
            self._close()
            return
        self._set_due(self._limits.idle_seconds)
        if self._next:
            self._start()
        elif self._problem is not None:
            self._turn_away(self._problem)
        elif self._ahead:
            data, self._ahead = bytes(self._ahead), bytearray()
            self._read_on()
            self._feed(data)

    def cut(self) -> None:
        """Close at once."""
        if self._exchange is not None:
            self._exchange.drop_body()
        self._exchange = None
        if self._transport is not None:
            self._close()

    # -- of all connections

    def too_late(self) -> None:
        """Its time is over."""
        self.due = math.inf
        if self._transport is None:
            return
        if self._exchange is not None or self._is_over or self._phase == "idle":
            # Stalled, lingering or idle: nobody reads what we would say.
            if self._exchange is not None:
                self._all.counted.turned_away["stalled"] += 1
            self._transport.abort()
            return
        self._turn_away(error(408, f"the {self._phase} of the request took too long", "too_slow"))

    def drain(self) -> None:
        """Close it after the answer that is being sent."""
        if self._exchange is not None:
            self._exchange.close_after()
        elif self._phase == "idle" and self._transport is not None:
            self._transport.close()

    # -- inside

    def _feed(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._problem = error(400, "this server knows HTTP/1.1 alone", "no_upgrade")
        except httptools.HttpParserError:
            self._problem = self._problem or error(400, "this is not HTTP/1.1", "bad_request")
        if self._problem is None:
            self._check_size(len(data))
        if self._problem is not None and not self._next:
            self._turn_away(self._problem)
        if self._next and self._exchange is None:
            self._start()

    def _check_size(self, count: int) -> None:
        """Bytes of heads, frames and trailers: the parser keeps parts of them to itself."""
        if self._has_begun:
            # What belongs to the request before is not known apart; the next part is counted.
            self._has_begun = False
            return
        self._frame_bytes += count
        if self._frame_bytes - self._body_bytes > 2 * self._limits.head_bytes:
            self._refuse(431, "the headers are too large", "headers_too_large")

    def _start(self) -> None:
        self.due = math.inf
        self._exchange = self._next.popleft()
        self._all.counted.requests += 1
        self._handle(self._exchange)

    def _refuse(self, status: int, text: str, code: str) -> None:
        self._problem = self._problem or error(status, text, code)
        self.give_back(self._body_bytes)
        self._body, self._body_bytes = [], 0

    def _refuse_size(self) -> None:
        most = self._limits.body_bytes
        self._refuse(413, f"the body is larger than {most:,} bytes", "body_too_large")

    def _turn_away(self, answer: Answer) -> None:
        """Say why, and listen a while without hearing: a client that still sends would not read."""
        self.give_back(self._body_bytes)
        self._body, self._body_bytes = [], 0
        last = Exchange(self, b"GET", b"", [], b"", stays=False, is_chunked=False)
        self._exchange = None
        last.answer(answer)

    def _close(self) -> None:
        self._is_over = True
        self._set_due(self._limits.linger_seconds)
        self._ahead = bytearray()
        transport = self._transport
        if transport is None:
            return
        self._read_on()
        if transport.can_write_eof():
            transport.write_eof()
        else:
            transport.close()

    def _read_on(self) -> None:
        if self._is_paused and self._transport is not None:
            self._is_paused = False
            self._transport.resume_reading()

    def _set_due(self, seconds: float) -> None:
        self.due = self._clock.monotonic() + seconds
