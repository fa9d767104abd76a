"""Connections of the server: so many at most, and none of them open without end for nothing.

uvicorn closes a connection that is idle between two requests, and no other: whoever sends half of a
request's head, sends the body of a request that is answered already, or reads no answer keeps one
open for ever, and each costs a file.
"""

from __future__ import annotations

import asyncio
import resource
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import h11
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from uvicorn.protocols.http.h11_impl import H11Protocol

from collector.drops import Drops

DOOR = "http"
REASONS = ("silent", "slow_head", "slow_reader", "full")
MOST_FILES = 65_536
_ADVICE = "a client that stalls, or somebody who holds connections open"
_SLOW = (
    b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Type: text/plain\r\n"
    b"Content-Length: 41\r\n\r\nThe request was not here in time; resend."
)
_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 1\r\n"
    b"Content-Type: text/plain\r\nContent-Length: 33\r\n\r\nToo many connections; come again."
)


@dataclass(frozen=True, slots=True)
class ConnectionRules:
    """How long a connection is waited for.

    Attributes:
        most: open at the same time; one more is answered 503 and closed.
        head_seconds: until the whole head of a request is here, from the start of the connection
            or from the head's first byte.
        reader_seconds: how long nobody may take anything of an answer.
    """

    most: int = 1_000
    head_seconds: float = 10.0
    reader_seconds: float = 30.0


@dataclass(slots=True)
class Connections:
    """What the connections of one server share: the rules and the counts.

    Args:
        rules: how long they are waited for.
        drops: where those that were closed are noted for people.
    """

    rules: ConnectionRules
    drops: Drops
    open: int = 0
    closed: Counter[str] = field(default_factory=Counter)

    def protocol(self) -> Callable[..., asyncio.Protocol]:
        """What uvicorn makes of each connection."""
        return partial(BoundedHttp, self)

    def count(self, outcome: str, reason: str) -> None:
        """One was closed by us."""
        self.closed[outcome] += 1
        self.drops.add(DOOR, reason)


class BoundedHttp(H11Protocol):
    """HTTP/1.1 whose requests must come and whose answers must be read in time.

    One timer for a connection, and none for a request whose head comes in one piece on a
    connection that is kept.

    Args:
        shared: rules and counts.
        more: what uvicorn hands to a protocol.
    """

    def __init__(self, shared: Connections, *more: Any, **named: Any) -> None:
        super().__init__(*more, **named)
        self._shared = shared
        self._head_timer: asyncio.TimerHandle | None = None
        self._reader_timer: asyncio.TimerHandle | None = None
        self._is_silent = True

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection, or turn it away."""
        super().connection_made(transport)
        shared = self._shared
        shared.open += 1
        if shared.open > shared.rules.most:
            shared.count("full", f"more than {shared.rules.most} connections ({_ADVICE})")
            transport.write(_FULL)
            self._let_go()
            return
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone, by whomever."""
        self._shared.open -= 1
        self._stop_head_timer()
        self._stop_reader_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Part of a request came."""
        self._is_silent = False
        super().data_received(data)
        if self._is_answering():
            self._stop_head_timer()
        else:
            self._await_head()

    def on_response_complete(self) -> None:
        """An answer is done; the start of the next request may be here already."""
        super().on_response_complete()
        if self.conn.trailing_data[0] and not self._is_answering():
            self._await_head()

    def pause_writing(self) -> None:
        """The client is not reading."""
        super().pause_writing()
        seconds = self._shared.rules.reader_seconds
        self._reader_timer = self.loop.call_later(seconds, self._not_read)

    def resume_writing(self) -> None:
        """The client reads again."""
        super().resume_writing()
        self._stop_reader_timer()

    def timeout_keep_alive_handler(self) -> None:
        """Nothing came for long; what the client has not read by now it never will."""
        super().timeout_keep_alive_handler()
        self._let_go()

    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _await_head(self) -> None:
        if self._head_timer is None and not self.transport.is_closing():
            seconds = self._shared.rules.head_seconds
            self._head_timer = self.loop.call_later(seconds, self._no_head)

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _stop_reader_timer(self) -> None:
        if self._reader_timer is not None:
            self._reader_timer.cancel()
            self._reader_timer = None

    def _no_head(self) -> None:
        self._head_timer = None
        if self.transport.is_closing():
            return
        shared = self._shared
        if self._is_silent:
            # Browsers open connections that they may need and never do: nothing to be told of.
            shared.closed["silent"] += 1
        else:
            within = f"{shared.rules.head_seconds:g} s"
            shared.count("slow_head", f"no whole request within {within} ({_ADVICE})")
            if self.conn.our_state is h11.IDLE:
                self.transport.write(_SLOW)
        self._let_go()

    def _not_read(self) -> None:
        self._reader_timer = None
        seconds = self._shared.rules.reader_seconds
        self._shared.count("slow_reader", f"an answer was not read for {seconds:g} s ({_ADVICE})")
        self.transport.abort()

    def _let_go(self) -> None:
        """Close; at once when the client does not even take what is written."""
        self.transport.close()
        if self.transport.get_write_buffer_size() > 0:
            self.transport.abort()


class ConnectionMetrics(Collector):
    """Tells Prometheus how many connections there are, and why some were closed.

    Args:
        connections: of the server.
    """

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def collect(self) -> Iterable[Metric]:
        """Both families."""
        yield GaugeMetricFamily(
            "servescope_http_connections", "Connections open now.", self._connections.open
        )
        family = CounterMetricFamily(
            "servescope_http_connections_closed",
            "Connections closed because of what the client did or did not do.",
            labels=["reason"],
        )
        for reason in REASONS:
            family.add_metric([reason], self._connections.closed[reason])
        yield family


def make_room(wanted: int) -> int:
    """Raise how many files this process may have open; gives how many connections fit then.

    Half of them are left for the store, for scrapes and for uploads.

    Args:
        wanted: connections.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        soft = most
    return wanted if soft == resource.RLIM_INFINITY else max(min(wanted, soft // 2), 1)
