"""OTLP/HTTP on loopback: bodies go into the spool as they came, and on to the server from there.

Nothing is decoded here: the server does that, and answers for it. The answer is 200 once the body
is in the spool on disk, 503 when the spool cannot take it, so that the sender keeps it.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import h11

from collector.agent.delivery import otlp_payload
from collector.agent.settings import AgentSettings
from collector.agent.spool import Spool
from collector.agent.wire import OTLP
from collector.drops import Drops
from store.errors import CollectError, ConfigError

log = logging.getLogger(__name__)

PATHS = frozenset(("/v1/traces", "/v1/metrics", "/v1/logs"))
# An empty Export…ServiceResponse, in both encodings.
_DONE = {"application/x-protobuf": b"", "application/json": b"{}"}
_ENCODINGS = ("", "identity", "gzip")
_SECONDS = 30.0
_HEAD_SECONDS = 10.0
_IDLE_SECONDS = 120.0
_READ_BYTES = 65_536
_MOST_CONNECTIONS = 64


class OtlpDoor:
    """The listener.

    Args:
        spool: where bodies go.
        settings: address, largest body.
        drops: counts what is refused for good.
        on_body: called after each body.
        head_seconds: how long the head of a request may take from its first byte on.
    """

    def __init__(
        self,
        spool: Spool,
        settings: AgentSettings,
        drops: Drops,
        on_body: Callable[[], None],
        head_seconds: float = _HEAD_SECONDS,
    ) -> None:
        self.head_seconds = head_seconds
        self._spool = spool
        self._settings = settings
        self._drops = drops
        self._on_body = on_body
        self._server: asyncio.Server | None = None
        self._connections = 0
        self._most_bytes = min(settings.otlp_max_body_bytes, spool.most_payload_bytes - 4096)

    async def start(self) -> None:
        """Listen.

        Raises:
            ConfigError: the address is not one of this machine alone.
            CollectError: the address is taken.
        """
        host, port = loopback(self._settings.otlp_listen)
        try:
            self._server = await asyncio.start_server(self._serve, host, port)
        except OSError as error:
            raise CollectError(
                f"cannot listen for OTLP ({error.strerror})", where=self._settings.otlp_listen,
                hint="another process may have the port; set agent.otlp_listen",
            ) from error  # fmt: skip

    @property
    def port(self) -> int:
        """Where it listens."""
        assert self._server is not None  # noqa: S101 - asked for after start
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def aclose(self) -> None:
        """Stop listening; safe twice."""
        server, self._server = self._server, None
        if server is not None:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections += 1
        try:
            if self._connections <= _MOST_CONNECTIONS:
                await _Conversation(self, reader, writer).run()
            else:
                self._drops.add("agent", f"OTLP: more than {_MOST_CONNECTIONS} connections")
        except (OSError, h11.ProtocolError, TimeoutError):
            log.debug("otlp_sender_left")
        finally:
            self._connections -= 1
            writer.close()
            if writer.transport.get_write_buffer_size() > 0:
                writer.transport.abort()  # the sender does not read what it is told
            with suppress(OSError):
                await writer.wait_closed()

    def too_slow(self) -> None:
        """A sender did not come to the end of a request's head."""
        self._drops.add("agent", f"OTLP: no whole request within {self.head_seconds:g} s")

    def take(self, request: h11.Request, body: bytes | None) -> tuple[int, str, bytes]:
        """Spool a body; gives status, content type and body of the answer."""
        headers = {n.decode("latin-1"): v.decode("latin-1") for n, v in request.headers}
        path = request.target.decode("latin-1").partition("?")[0]
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        refusal = self._refusal(request.method, path, kind, headers, body)
        if refusal is not None:
            status, why = refusal
            self._drops.add("agent", f"OTLP refused: HTTP {status}", example=why)
            return status, "text/plain", why.encode()
        passed = {"Content-Type": kind}
        if headers.get("content-encoding", "").strip().lower() == "gzip":
            passed["Content-Encoding"] = "gzip"
        kept = self._spool.append(OTLP, 0, otlp_payload(path, passed, body or b""))
        if kept != "disk":
            return 503, "text/plain", b"the spool has no room; send it again later"
        if not self._settings.spool_sync_seconds:
            self._spool.sync()
        self._on_body()
        return 200, kind, _DONE[kind]

    def _refusal(
        self, method: bytes, path: str, kind: str, headers: dict[str, str], body: bytes | None
    ) -> tuple[int, str] | None:
        if path not in PATHS:
            return 404, f"there is nothing at {path[:80]}"
        if method != b"POST":
            return 405, "OTLP is sent by POST"
        if kind not in _DONE:
            return 415, f"Content-Type {kind[:80]!r} is no encoding of OTLP"
        if headers.get("content-encoding", "").strip().lower() not in _ENCODINGS:
            return 415, "only gzip is taken"
        if body is None:
            return 413, f"the body is larger than {self._most_bytes} bytes"
        return None

    @property
    def most_bytes(self) -> int:
        """Larger bodies are refused."""
        return self._most_bytes


class _Conversation:
    """One connection: requests one after the other."""

    def __init__(
        self, door: OtlpDoor, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._door = door
        self._reader = reader
        self._writer = writer
        self._http = h11.Connection(h11.SERVER)

    async def run(self) -> None:
        """Answer until the sender goes, or takes too long within a request."""
        while True:
            request = await self._head()
            if not isinstance(request, h11.Request):
                return
            async with asyncio.timeout(_SECONDS):
                body = await self._body()
                await self._answer(*self._door.take(request, body))
            if self._http.states != {h11.CLIENT: h11.DONE, h11.SERVER: h11.DONE}:
                return
            self._http.start_next_cycle()

    async def _head(self) -> Any:
        """The head of the next request; between two of them a sender may be silent for longer."""
        if not self._http.trailing_data[0]:
            async with asyncio.timeout(_IDLE_SECONDS):
                self._http.receive_data(await self._reader.read(_READ_BYTES))
        try:
            async with asyncio.timeout(self._door.head_seconds):
                return await self._next_event(None)
        except TimeoutError:
            self._door.too_slow()
            raise

    async def _body(self) -> bytes | None:
        """The body; None when it is too large, with the rest left unread."""
        body = bytearray()
        while True:
            event = await self._next_event(_SECONDS)
            if isinstance(event, h11.Data):
                body += event.data
                if len(body) > self._door.most_bytes:
                    return None
            elif isinstance(event, h11.EndOfMessage):
                return bytes(body)
            else:
                raise h11.RemoteProtocolError("the sender left within the body")

    async def _answer(self, status: int, kind: str, body: bytes) -> None:
        headers = [("Content-Type", kind), ("Content-Length", str(len(body)))]
        if status == 503:
            headers.append(("Retry-After", "5"))
        if status == 413:
            headers.append(("Connection", "close"))
        events = (h11.Response(status_code=status, headers=headers), h11.Data(data=body))
        parts = [self._http.send(event) or b"" for event in (*events, h11.EndOfMessage())]
        self._writer.writelines(parts)
        await self._writer.drain()

    async def _next_event(self, seconds: float | None) -> Any:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            if self._http.they_are_waiting_for_100_continue:
                go_on = h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue")
                self._writer.write(self._http.send(go_on) or b"")
            async with asyncio.timeout(seconds):
                self._http.receive_data(await self._reader.read(_READ_BYTES))
        return event


def loopback(text: str) -> tuple[str, int]:
    """Host and port of HOST:PORT; only this machine may reach it.

    Raises:
        ConfigError: it is not of that form, or others could.
    """
    host, _, port = text.strip().rpartition(":")
    host = host.strip("[]") or "127.0.0.1"
    with suppress(ValueError):
        if port.isdecimal() and int(port) < 65_536 and ipaddress.ip_address(host).is_loopback:
            return host, int(port)
    raise ConfigError(
        f"agent.otlp_listen is '{text}': it must be HOST:PORT on loopback",
        hint="such as 127.0.0.1:4318; the door asks nobody who they are",
    )
