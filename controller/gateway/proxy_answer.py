"""An engine's answer as it passes: what of it the client may have, and what it tells."""

from __future__ import annotations

from controller.gateway.gaps import Gaps
from controller.gateway.openai.sse import SseScanner
from controller.gateway.openai.usage import Told, read_whole

Parts = list[bytes]


class Passing:
    """One answer.

    Args:
        whole_bytes: of one that is no stream, kept until it is whole.

    Attributes:
        status: None before the head came.
        headers: of the engine.
        is_stream: of events.
        first: when the first content came, seconds of the gateway's clock; 0 before.
        last: and the last.
        gaps: between them.
    """

    __slots__ = (
        "_kept", "_kept_bytes", "_most", "_scanner", "first", "gaps", "headers", "is_stream",
        "last", "status",
    )  # fmt: skip

    def __init__(self, whole_bytes: int) -> None:
        self.status: int | None = None
        self.headers: list[tuple[bytes, bytes]] = []
        self.is_stream = False
        self.first = self.last = 0.0
        self.gaps = Gaps()
        self._most = whole_bytes
        self._scanner = SseScanner()
        self._kept: Parts | None = []
        self._kept_bytes = 0

    def head(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """How it begins."""
        self.status, self.headers = status, headers
        kind = dict(headers).get(b"content-type", b"")
        self.is_stream = kind.lower().startswith(b"text/event-stream")

    def body(self, data: bytes, now: float) -> tuple[bytes, int]:
        """More of it: what may be passed on now, and how many tokens are in it."""
        if self.is_stream:
            passed, tokens = self._scanner.feed(data)
            if tokens:
                self._count(tokens, now)
            return passed, tokens
        if self._kept is None:
            return data, 0
        self._kept.append(data)
        self._kept_bytes += len(data)
        if self._kept_bytes <= self._most:
            return b"", 0
        parts, self._kept = self._kept, None
        return b"".join(parts), 0

    def rest(self) -> tuple[bytes, bool]:
        """What is left at its end, and whether that is all of it."""
        if self.is_stream:
            return self._scanner.tail, False
        return b"".join(self._kept or ()), self._kept is not None

    def told(self) -> Told:
        """What it told of itself so far; a whole one once all of it came."""
        if self.is_stream:
            return self._scanner.told
        return read_whole(b"".join(self._kept)) if self._kept else Told()

    @property
    def has_end(self) -> bool:
        """Whether a stream said why, or that, it ended."""
        return self._scanner.is_done or bool(self._scanner.told.finish_reason)

    @property
    def tokens(self) -> int | None:
        """Counted in a stream; None where it is none."""
        return self._scanner.tokens if self.is_stream else None

    @property
    def tpot_seconds(self) -> float | None:
        """Between tokens after the first."""
        tokens = self._scanner.tokens
        return (self.last - self.first) / (tokens - 1) if tokens > 1 else None

    def _count(self, tokens: int, now: float) -> None:
        if self.first:
            self.gaps.add(now - self.last)
        else:
            self.first = now
        if tokens > 1:
            self.gaps.add(0.0, tokens - 1)
        self.last = now
