"""Connections to one engine: kept where it keeps them, too."""

from __future__ import annotations

import asyncio
import re
import ssl
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from controller.gateway.http.client import Outbound
from store.clock import Clock
from store.errors import ConfigError

KEEP_SECONDS = 4.0
"""An idle connection is used again so long: uvicorn and llama-server close theirs after 5 s."""
TRIAL_SECONDS = 1.0
MOST_IDLE = 256
_KEEP_ALIVE = re.compile(rb"timeout=(\d+)")

Keeps = Literal["unknown", "yes", "no"]


@dataclass(frozen=True, slots=True)
class Address:
    """Where an engine listens.

    Attributes:
        host: name or address.
        port: its own.
        is_tls: https.
        root: path before `/v1`; "" is usual.
    """

    host: str
    port: int
    is_tls: bool = False
    root: str = ""

    @property
    def authority(self) -> bytes:
        """For the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}".encode()


def address(url: str) -> Address:
    """Of a URL like http://gpu-3:8000.

    Raises:
        ConfigError: it is no such URL.
    """
    hint = "write it as http://127.0.0.1:8201"
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        port = parts.port
    except ValueError:
        raise ConfigError(f"'{url}' is no URL of an engine", hint=hint) from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(f"'{url}' is no URL of an engine", hint=hint)
    is_tls = parts.scheme == "https"
    root = parts.path.rstrip("/").removesuffix("/v1")
    return Address(parts.hostname, port or (443 if is_tls else 80), is_tls, root)


class Pool:
    """Connections to one engine.

    After a streamed answer some engines close the connection although they announced to keep it
    (llama-server), so the first such connection is put on trial: only if it is still open after
    `TRIAL_SECONDS` are streamed answers' connections used again from then on.

    Args:
        address: of the engine.
        clock: the time.
        connect_seconds: to wait for a connection.
    """

    def __init__(self, address: Address, clock: Clock, connect_seconds: float) -> None:
        self.address = address
        self.keeps_after_stream: Keeps = "unknown"
        self.opened = 0
        self._clock = clock
        self._connect_seconds = connect_seconds
        self._tls: ssl.SSLContext | None = None
        self._idle: list[Outbound] = []
        self._trials: list[Outbound] = []
        self._keep_seconds = KEEP_SECONDS

    def take(self) -> Outbound | None:
        """One that is open and idle."""
        now = self._clock.monotonic()
        self._judge(now)
        while self._idle:
            one = self._idle.pop()
            if not one.is_closed and now - one.free_since < self._keep_seconds:
                return one
            one.close()
        return None

    async def connect(self) -> Outbound:
        """A new one.

        Raises:
            OSError: it cannot be reached (TimeoutError: not in time).
        """
        where = self.address
        if where.is_tls and self._tls is None:
            # Reading the system's certificates takes milliseconds: once for an engine.
            self._tls = ssl.create_default_context()
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(self._connect_seconds):
            _, made = await loop.create_connection(
                lambda: Outbound(self._closed), where.host, where.port, ssl=self._tls
            )
        self.opened += 1
        return made

    def give(self, one: Outbound, headers: list[tuple[bytes, bytes]], *, was_stream: bool) -> None:
        """It is free again, after an answer with these headers."""
        one.free_since = self._clock.monotonic()
        if one.is_closed or one.is_dirty or len(self._idle) >= MOST_IDLE:
            one.close()
            return
        self._learn(headers)
        if not was_stream or self.keeps_after_stream == "yes":
            self._idle.append(one)
        elif self.keeps_after_stream == "unknown" and not self._trials:
            self._trials.append(one)
        else:
            one.close()

    def close(self) -> None:
        """Close what is idle."""
        for one in (*self._idle, *self._trials):
            one.close()
        self._idle, self._trials = [], []

    def tend(self) -> None:
        """Close what is idle for too long; judge what is on trial. Called now and then."""
        now = self._clock.monotonic()
        self._judge(now)
        late = [one for one in self._idle if now - one.free_since >= self._keep_seconds]
        for one in late:
            self._idle.remove(one)
            one.close()

    def _judge(self, now: float) -> None:
        if not self._trials:
            return
        for one in tuple(self._trials):
            if now - one.free_since >= TRIAL_SECONDS:
                self._trials.remove(one)
                self.keeps_after_stream = "yes"
                self._idle.append(one)

    def _closed(self, one: Outbound) -> None:
        if one in self._trials:
            self._trials.remove(one)
            self.keeps_after_stream = "no"
        elif one in self._idle:
            self._idle.remove(one)

    def _learn(self, headers: list[tuple[bytes, bytes]]) -> None:
        for name, value in headers:
            if name == b"keep-alive" and (found := _KEEP_ALIVE.search(value)):
                # Half, as the engine's clock runs from its own last byte.
                self._keep_seconds = min(KEEP_SECONDS, max(int(found[1]) - 1.0, 0.0))
