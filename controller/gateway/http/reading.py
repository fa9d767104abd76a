"""Reads requests out of bytes, within bounds; knows nothing of sockets."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import httptools

from controller.gateway.http.answer import Answer, header_lines
from controller.gateway.http.limits import HttpLimits
from controller.gateway.openai.errors import error

MOST_AHEAD = 16
"""Requests that a client may send before the first is answered."""
_CHUNK_BYTES = 32
"""What the frame of a chunk may take."""

Phase = Literal["idle", "head", "body"]


@dataclass(frozen=True, slots=True)
class Head:
    """What is known of a request before its body.

    Attributes:
        path: without the query.
        headers: names in lower case.
    """

    path: str
    headers: list[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Request:
    """A whole one.

    Attributes:
        method: like b"POST".
        target: path and query.
        headers: names in lower case.
        body: without its frames.
        stays: whether the client wants to keep the connection.
        is_new: HTTP/1.1, so an answer may be chunked.
    """

    method: bytes
    target: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes
    stays: bool
    is_new: bool


class RequestReader:
    """One connection's requests.

    Args:
        limits: bounds.
        keeps: asked for each part of a body, whether there is room for so many bytes.
        gives_back: told how many bytes of bodies are not kept after all.

    Attributes:
        ready: whole requests, in their order.
        problem: why nothing more is read; None is well.
        phase: of the request that is being read.
        asks_to_go_on: the client waits for `100 Continue`.
    """

    def __init__(
        self,
        limits: HttpLimits,
        keeps: Callable[[int], bool],
        gives_back: Callable[[int], None],
    ) -> None:
        self.ready: deque[Request] = deque()
        self.problem: Answer | None = None
        self._limits = limits
        self._keeps = keeps
        self._gives_back = gives_back
        self._parser: Any = httptools.HttpRequestParser(self)
        self._body_bytes = 0
        self._has_ended = False
        self._reset()

    def _reset(self) -> None:
        self.phase: Phase = "idle"
        self.asks_to_go_on = False
        self._target = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._body: list[bytes] = []
        self._head_bytes = self._body_bytes = self._other_bytes = 0
        self._has_begun = False

    def feed(self, data: bytes) -> None:
        """Read on."""
        was_between = self.phase == "idle" and not self.ready
        self._has_begun = self._has_ended = False
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._go_on_without_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError:
            self._refuse(400, "this is not HTTP/1.1", "bad_request")
        # What belongs to the request before is not known apart; the next part is counted.
        is_of_one = not self._has_ended and (was_between or not self._has_begun)
        if self.problem is None and is_of_one:
            self._count(len(data))

    @property
    def head(self) -> Head | None:
        """Of the request whose body is being read; None where there is none."""
        if self.phase != "body":
            return None
        return Head(self._target.partition(b"?")[0].decode("latin-1"), self._headers)

    def drop(self) -> None:
        """Forget what was read of a request that is not whole."""
        self._gives_back(self._body_bytes)
        self._body, self._body_bytes = [], 0

    def end(self) -> None:
        """Nothing comes any more. The parser and this one hold each other, so one lets go."""
        self._parser = None
        self._keeps, self._gives_back = _no_room, _nothing
        self.ready.clear()

    # -- of the parser

    def on_message_begin(self) -> None:
        """A request begins."""
        self._reset()
        self.phase, self._has_begun = "head", True

    def on_url(self, url: bytes) -> None:
        """May come in parts."""
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header, or a trailer."""
        if self.phase != "head":
            return
        self._headers.append((name.lower(), value))
        self._head_bytes += len(name) + len(value) + 4
        if len(self._headers) > self._limits.headers or self._head_bytes > self._limits.head_bytes:
            self._refuse(431, "the headers are too large or too many", "headers_too_large")

    def on_headers_complete(self) -> None:
        """Decide by the head alone what can be decided by it."""
        self.phase = "body"
        told = dict(self._headers)
        length = told.get(b"content-length", b"0")
        if len(self._target) > self._limits.head_bytes:
            self._refuse(414, "the path is too long", "path_too_long")
        elif length.isdigit() and int(length) > self._limits.body_bytes:
            self._refuse_size()
        else:
            self.asks_to_go_on = told.get(b"expect", b"").lower() == b"100-continue"

    def on_body(self, data: bytes) -> None:
        """A part of the body."""
        if self.problem is not None:
            return
        if self._body_bytes + len(data) > self._limits.body_bytes:
            self._refuse_size()
        elif not self._keeps(len(data)):
            self._refuse(503, "too many large requests at a time; ask again later", "bodies_full")
        else:
            self._body_bytes += len(data)
            self._body.append(data)

    def on_chunk_header(self) -> None:
        """Each chunk has a frame of its own."""
        self._other_bytes -= _CHUNK_BYTES

    def on_message_complete(self) -> None:
        """It is whole."""
        self._has_ended = True
        if self.problem is not None or self._parser.should_upgrade():
            return
        if len(self.ready) > MOST_AHEAD:
            self._refuse(400, f"more than {MOST_AHEAD} requests were sent ahead", "too_far_ahead")
            return
        is_new = self._parser.get_http_version() == "1.1"
        stays = is_new and self._parser.should_keep_alive()
        self.ready.append(
            Request(
                self._parser.get_method(), self._target, self._headers, b"".join(self._body),
                stays, is_new,
            )
        )  # fmt: skip
        self._reset()

    # -- inside

    def _go_on_without_upgrade(self, rest: bytes) -> None:
        """Java's client asks for HTTP/2 with its first request; a server may ignore that.

        The parser stops there, so another one is given the same head without the question.
        """
        method, headers = self._parser.get_method(), self._headers
        if method == b"CONNECT":
            self._refuse(400, "this is no proxy for CONNECT", "no_connect")
            return
        left_out = (b"upgrade", b"http2-settings", b"connection")
        kept = header_lines(pair for pair in headers if pair[0] not in left_out)
        self._parser = httptools.HttpRequestParser(self)
        self.feed(b"%b %b HTTP/1.1\r\n%b\r\n" % (method, self._target, kept) + rest)

    def _count(self, count: int) -> None:
        """Bytes of heads, frames and trailers: the parser keeps parts of them to itself."""
        self._other_bytes += count
        most = self._limits.head_bytes * (1 if self.phase == "head" else 2)
        if self._other_bytes - self._body_bytes > most:
            self._refuse(431, "the headers are too large", "headers_too_large")

    def _refuse(self, status: int, text: str, code: str) -> None:
        self.problem = self.problem or error(status, text, code)
        self.drop()

    def _refuse_size(self) -> None:
        most = self._limits.body_bytes
        self._refuse(413, f"the body is larger than {most:,} bytes", "body_too_large")


def _no_room(count: int) -> bool:
    del count
    return False


def _nothing(count: int) -> None:
    del count
