"""How much of everything a client may use, and for how long."""

from __future__ import annotations

from dataclasses import dataclass

KIB, MIB = 1 << 10, 1 << 20


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """Bounds of the side that clients see.

    Attributes:
        head_bytes: request line and headers; more is answered 431.
        headers: how many; more is answered 431.
        body_bytes: of one request; more is answered 413.
        bodies_bytes: of all requests that are kept at a time; more is answered 503.
        head_seconds: from the first byte of a request to the end of its head.
        body_seconds: from there to the end of its body.
        idle_seconds: a connection without a request is kept open.
        stalled_seconds: an answer may wait for a client that does not read.
        linger_seconds: a refused client may go on sending, so that it reads why.
        connections: in all.
        connections_of_client: from one address.
        write_bytes: of an answer kept for a slow client before its engine is not read any more.
    """

    head_bytes: int = 64 * KIB
    headers: int = 100
    body_bytes: int = 16 * MIB
    bodies_bytes: int = 512 * MIB
    head_seconds: float = 10.0
    body_seconds: float = 60.0
    idle_seconds: float = 75.0
    stalled_seconds: float = 60.0
    linger_seconds: float = 2.0
    connections: int = 8_192
    connections_of_client: int = 4_096
    write_bytes: int = 64 * KIB

    @property
    def sweep_seconds(self) -> float:
        """How often the times are looked at."""
        least = min(
            self.head_seconds,
            self.body_seconds,
            self.idle_seconds,
            self.stalled_seconds,
            self.linger_seconds,
        )
        return min(1.0, least / 4)
