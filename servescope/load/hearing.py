"""What one attempt heard: status, first token, gaps, usage, and how it ended."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from controller.gateway.gaps import Gaps
from controller.gateway.openai.sse import SseScanner
from controller.gateway.openai.usage import MOST_WHOLE_BYTES, Told, read_whole
from store.clock import Clock

Status = Literal["ok", "failed", "refused", "aborted"]
INSTANCE_HEADERS = (b"x-servescope-instance", b"x-served-by", b"x-backend-instance")
REASON_HEADERS = (b"x-servescope-reason", b"x-llm-d-request-dropped-reason")


@dataclass(frozen=True, slots=True)
class Heard:
    """An attempt that is over. Times are seconds of the clock; None did not happen.

    Attributes:
        status: see `Status`.
        http_status: 0 where there was no answer.
        reason: why it did not end well; "" where it did.
        headers: of the answer.
        first: first content of a stream.
        last: last content of a stream, or the whole answer.
        gaps: between contents.
        told: usage and finish reason.
        streamed_tokens: chunks with content; None where it was no stream.
    """

    status: Status
    http_status: int
    reason: str
    headers: Mapping[bytes, bytes]
    first: float | None
    last: float | None
    gaps: Gaps
    told: Told
    streamed_tokens: int | None

    @property
    def output_tokens(self) -> int | None:
        """By the engine, else as counted in the stream."""
        told = self.told.usage.output_tokens
        return self.streamed_tokens if told is None else told

    @property
    def instance(self) -> str:
        """Which replica it was, where the answer tells."""
        return _text(self.headers, INSTANCE_HEADERS)


class Hearing:
    """Takes one answer; `heard` is set when it is over."""

    def __init__(self, clock: Clock, heard: asyncio.Future[Heard]) -> None:
        self._clock, self._heard = clock, heard
        self._status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self._named: dict[bytes, bytes] = {}
        self._scanner: SseScanner | None = None
        self._parts: list[bytes] = []
        self._bytes = 0
        self._first: float | None = None
        self._last: float | None = None
        self._gaps = Gaps()

    @property
    def was_stream(self) -> bool:
        """Whether the answer is a stream of events."""
        return self._scanner is not None

    # -- of the connection

    def head(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """It begins."""
        self._status, self.headers, self._named = status, headers, dict(headers)
        if self._named.get(b"content-type", b"").startswith(b"text/event-stream"):
            self._scanner = SseScanner()

    def body(self, data: bytes) -> None:
        """More of it."""
        if self._scanner is None:
            self._bytes += len(data)
            if self._bytes <= MOST_WHOLE_BYTES:
                self._parts.append(data)
            return
        _, tokens = self._scanner.feed(data)
        if not tokens:
            return
        now = self._clock.monotonic()
        if self._first is None:
            self._first = now
        elif self._last is not None:
            self._gaps.add(now - self._last)
        self._last = now

    def done(self) -> None:
        """It is whole."""
        if self._scanner is None:
            self._last = self._clock.monotonic()
        self._set(*self._judged())

    def lost(self, reason: str) -> None:
        """The connection broke."""
        self._set("failed", reason.replace("upstream_", "connection_"))

    # -- for the sender

    def give_up(self, status: Status, reason: str) -> None:
        """Nobody waits for it any more."""
        self._set(status, reason)

    def _judged(self) -> tuple[Status, str]:
        if self._status in (429, 503):
            return "refused", _text(self._named, REASON_HEADERS) or f"http_{self._status}"
        if self._status != 200:
            return "failed", _text(self._named, REASON_HEADERS) or f"http_{self._status}"
        scanner = self._scanner
        if scanner is None:
            return "ok", ""
        if scanner.told.error:
            return "failed", "error_in_stream"
        if not (scanner.is_done or scanner.told.finish_reason):
            return "failed", "stream_cut"
        return "ok", ""

    def _set(self, status: Status, reason: str) -> None:
        if self._heard.done():
            return
        scanner = self._scanner
        told = scanner.told if scanner is not None else read_whole(b"".join(self._parts))
        tokens = None if scanner is None else scanner.tokens
        self._heard.set_result(
            Heard(
                status, self._status, reason, self._named, self._first, self._last, self._gaps,
                told, tokens,
            )
        )  # fmt: skip


def _text(headers: Mapping[bytes, bytes], names: tuple[bytes, ...]) -> str:
    """The first of these headers, as text that a row may hold."""
    for name in names:
        if name in headers:
            text = headers[name].decode("latin-1")[:64]
            return "".join(sign if sign.isascii() and sign.isprintable() else "_" for sign in text)
    return ""
