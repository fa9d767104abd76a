"""A connection to an engine: sends a request, passes the answer on as it comes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

import httptools

from controller.gateway.http.circles import untie

MOST_HEAD_BYTES = 64 << 10
MOST_HEADERS = 200


class Receiver(Protocol):
    """Takes an answer."""

    def head(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """Status and headers, names in lower case."""
        ...

    def body(self, data: bytes) -> None:
        """More of the body: all that came at once."""
        ...

    def done(self) -> None:
        """The answer is whole."""
        ...

    def lost(self, reason: str) -> None:
        """It will never be: "upstream_reset" or "upstream_garbage"."""
        ...


Closed = Callable[["Outbound"], None]


class Outbound(asyncio.Protocol):
    """One connection, one request at a time.

    Args:
        on_closed: called when it is closed, by whomever.
    """

    def __init__(self, on_closed: Closed) -> None:
        self._on_closed = on_closed
        self._transport: asyncio.Transport | None = None
        self._receiver: Receiver | None = None
        self._parser: Any = None
        self._pieces: list[bytes] = []
        self._headers: list[tuple[bytes, bytes]] = []
        self._head_bytes = 0
        self._is_head_over = self._is_whole = self._ends_with_connection = False
        self.is_closed = False
        self.is_dirty = False
        self.is_reused = False
        self.served = 0
        self.free_since = 0.0

    # -- for whoever asks

    def send(self, request: bytes, receiver: Receiver) -> None:
        """Send a request; the receiver hears what comes."""
        self._receiver = receiver
        self._parser = httptools.HttpResponseParser(self)
        self._headers, self._head_bytes = [], 0
        self._is_head_over = self._is_whole = self._ends_with_connection = False
        self.is_reused = self.served > 0
        self.served += 1
        if self._transport is not None:
            self._transport.write(request)

    def pause(self) -> None:
        """Read no more for now."""
        if self._transport is not None and not self.is_closed:
            self._transport.pause_reading()

    def resume(self) -> None:
        """Read on."""
        if self._transport is not None and not self.is_closed:
            self._transport.resume_reading()

    def close(self) -> None:
        """Close it; nobody is told any more. This is how an engine learns that nobody listens."""
        self._receiver = None
        if self._transport is not None and not self.is_closed:
            self._transport.abort()

    # -- of asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is open."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - narrows for mypy
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """It is closed: an answer without a length ends so, any other is broken."""
        self.is_closed = True
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            if exc is None and self._is_head_over and self._ends_with_connection:
                receiver.done()
            else:
                receiver.lost("upstream_reset")
        self._on_closed(self)
        if self._transport is not None:
            untie(self._transport)
        self._transport = self._parser = None

    def data_received(self, data: bytes) -> None:
        """Parse it."""
        if self._receiver is None:
            self._spoil()  # nobody asked
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._break("upstream_garbage")
            return
        self._count_head(len(data))
        receiver = self._receiver
        if self._pieces and receiver is not None:
            pieces, self._pieces = self._pieces, []
            receiver.body(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        if self._is_whole and self._receiver is not None:
            self._finish()

    # -- of the parser

    def on_message_begin(self) -> None:
        """A second answer to one request is none."""
        self.is_dirty = self.is_dirty or self._is_whole

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header, or a trailer."""
        if not self._is_head_over and len(self._headers) < MOST_HEADERS:
            self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """Pass the head on; 1xx only announces another."""
        status = self._parser.get_status_code()
        if status < 200 or self._is_whole:
            self._headers = []
            return
        names = {name for name, _ in self._headers}
        has_end = names & {b"content-length", b"transfer-encoding"} or status in (204, 304)
        self._ends_with_connection = not has_end
        self._is_head_over = True
        if self._receiver is not None:
            self._receiver.head(status, self._headers)

    def on_body(self, data: bytes) -> None:
        """Kept until all that came is parsed, then passed on at once."""
        if not self._is_whole:
            self._pieces.append(data)

    def on_message_complete(self) -> None:
        """The answer is whole. Only now does the parser know whether the connection stays."""
        if self._is_head_over and not self._is_whole:
            self._is_whole = True
            self.is_dirty = self.is_dirty or not self._parser.should_keep_alive()

    # -- inside

    def _count_head(self, count: int) -> None:
        if not self._is_head_over:
            self._head_bytes += count
            if self._head_bytes > MOST_HEAD_BYTES:
                self._break("upstream_garbage")

    def _finish(self) -> None:
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            receiver.done()

    def _break(self, reason: str) -> None:
        receiver, self._receiver = self._receiver, None
        self._pieces = []
        self._spoil()
        if receiver is not None:
            receiver.lost(reason)

    def _spoil(self) -> None:
        self.is_dirty = True
        if self._transport is not None:
            self._transport.abort()
