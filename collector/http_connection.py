"""Kept-alive HTTP/1.1 connections that do one bounded GET at a time.

A general client costs more processor time for a request than reading a whole metrics page does, and
a fleet is asked every five seconds; so this one does nothing but GET. The protocol itself is read
by h11. Connections stay open until the other side closes them: a request that meets the very moment
of closing is sent once more on a fresh connection, as RFC 9110 section 9.2.2 allows for GET.
"""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

import h11

_MOST_HEADER_BYTES = 65_536
_MOST_IDLE_PER_HOST = 64
_MOST_IDLE_SECONDS = 300.0
_SWEEP_EVERY = 256


@dataclass(frozen=True, slots=True)
class Origin:
    """One server as a connection knows it. `tls` None means plain HTTP."""

    host: str
    port: int
    tls: ssl.SSLContext | None = None
    server_name: str | None = None


@dataclass(slots=True)
class Response:
    """What came back; header names are in lower case. Only status 200 has a body, unpacked."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class BrokenError(Exception):
    """The connection ended before the answer did.

    Args:
        message: one line for people.
        answered: whether a part of the answer had come.
    """

    def __init__(self, message: str, *, answered: bool) -> None:
        super().__init__(message)
        self.answered = answered


class TooLargeError(Exception):
    """The body is larger than allowed."""


class PackingError(Exception):
    """The body is packed in a way that cannot be undone, or ends within its packing."""


class ConnectionPool:
    """Idle connections of one event loop, by server."""

    def __init__(self) -> None:
        self._idle: dict[Origin, list[_Connection]] = {}
        self._asked = 0

    async def get(
        self, origin: Origin, path: str, headers: list[tuple[str, str]], most_bytes: int
    ) -> Response:
        """GET `path`; the caller sets the time limit by cancelling.

        Args:
            origin: the server.
            path: path and query.
            headers: to send, `Host` included.
            most_bytes: largest body, packed and unpacked.

        Raises:
            BrokenError: the connection ended too early.
            TooLargeError: the body is larger than `most_bytes`.
            PackingError: the body cannot be unpacked.
            h11.RemoteProtocolError: what came is not HTTP/1.1.
            OSError: no connection.
        """
        kept = self._take(origin)
        if kept is not None:
            try:
                return await self._ask(origin, kept, path, headers, most_bytes)
            except BrokenError as error:
                if error.answered:
                    raise
        fresh = await _connect(origin)
        return await self._ask(origin, fresh, path, headers, most_bytes)

    async def aclose(self) -> None:
        """Close what is idle; safe twice."""
        idle, self._idle = self._idle, {}
        for connections in idle.values():
            for connection in connections:
                connection.close()
        # Transports, also of requests that were given up, close in the next rounds of the loop.
        for _ in range(2):
            await _next_round()

    def _sweep(self) -> None:
        """Let go of connections to servers that are not asked any more."""
        late = asyncio.get_running_loop().time() - _MOST_IDLE_SECONDS
        for origin, waiting in list(self._idle.items()):
            kept = [one for one in waiting if one.usable() and one.idle_since >= late]
            for connection in set(waiting).difference(kept):
                connection.close()
            if kept:
                self._idle[origin] = kept
            else:
                del self._idle[origin]

    def _take(self, origin: Origin) -> _Connection | None:
        waiting = self._idle.get(origin)
        while waiting:
            connection = waiting.pop()
            if connection.usable():
                return connection
            connection.close()
        self._idle.pop(origin, None)
        return None

    async def _ask(
        self,
        origin: Origin,
        connection: _Connection,
        path: str,
        headers: list[tuple[str, str]],
        most_bytes: int,
    ) -> Response:
        try:
            response = await connection.get(path, headers, most_bytes)
        except BaseException:
            connection.close()
            raise
        self._asked += 1
        if self._asked % _SWEEP_EVERY == 0:
            self._sweep()
        waiting = self._idle.setdefault(origin, [])
        if connection.usable() and len(waiting) < _MOST_IDLE_PER_HOST:
            connection.idle_since = asyncio.get_running_loop().time()
            waiting.append(connection)
        else:
            connection.close()
        return response


class _Connection(asyncio.Protocol):
    """One connection; `get` again and again while it is `usable`."""

    def __init__(self) -> None:
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=_MOST_HEADER_BYTES)
        self._transport: asyncio.Transport | None = None
        self._done: asyncio.Future[Response] | None = None
        self._reading: _Reading | None = None
        self._lost = False
        self.idle_since = 0.0

    def usable(self) -> bool:
        return not self._lost and self._http.states == {
            h11.CLIENT: h11.IDLE,
            h11.SERVER: h11.IDLE,
        }

    def close(self) -> None:
        self._lost = True
        if self._transport is not None:
            self._transport.abort()

    async def get(self, path: str, headers: list[tuple[str, str]], most_bytes: int) -> Response:
        if self._transport is None or self._lost:
            raise BrokenError("the connection was closed", answered=False)
        self._done = asyncio.get_running_loop().create_future()
        self._reading = _Reading(most_bytes)
        asked = h11.Request(method="GET", target=path, headers=headers)
        self._transport.write(
            (self._http.send(asked) or b"") + (self._http.send(h11.EndOfMessage()) or b"")
        )
        try:
            return await self._done
        finally:
            self._done = self._reading = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if isinstance(transport, asyncio.Transport):
            self._transport = transport

    def data_received(self, data: bytes) -> None:
        if self._done is None or self._reading is None:
            self.close()  # nobody asked: whatever this is, it is not an answer
            return
        self._feed(data)

    def eof_received(self) -> bool:
        if self._done is not None:
            self._feed(b"")
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True
        answered = self._reading is not None and self._reading.answered
        self._fail(BrokenError(str(exc or "the connection was closed"), answered=answered))

    def _feed(self, data: bytes) -> None:
        try:
            self._http.receive_data(data)
            self._read_events()
        except h11.RemoteProtocolError as error:
            answered = self._reading is not None and self._reading.answered
            broken = answered or not data
            text = str(error) if data else "the connection was closed without an answer"
            self._fail(BrokenError(text, answered=answered) if broken else error)
        except (TooLargeError, PackingError) as error:
            self._fail(error)

    def _read_events(self) -> None:
        reading = self._reading
        while reading is not None:
            event = self._http.next_event()
            if isinstance(event, h11.Data):
                reading.add(event.data)
            elif isinstance(event, h11.Response):
                reading.begin(event)
                if event.status_code != 200:
                    # What stands on an error page is of no use; the connection is given up.
                    self._finish(reading.response())
                    return
            elif isinstance(event, h11.EndOfMessage):
                self._finish(reading.response())
                return
            elif not isinstance(event, h11.InformationalResponse):
                return  # needs more data, or the other side is done

    def _finish(self, response: Response) -> None:
        if self._http.states == {h11.CLIENT: h11.DONE, h11.SERVER: h11.DONE}:
            self._http.start_next_cycle()
        if self._done is not None and not self._done.done():
            self._done.set_result(response)

    def _fail(self, error: Exception) -> None:
        if self._done is not None and not self._done.done():
            self._done.set_exception(error)


class _Reading:
    """One answer as it comes in, never larger than allowed."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._received_bytes = 0
        self._body = bytearray()
        self._status = 0
        self._headers: dict[str, str] = {}
        self._unpack: zlib._Decompress | None = None

    @property
    def answered(self) -> bool:
        return self._status != 0

    def begin(self, event: h11.Response) -> None:
        self._status = event.status_code
        self._headers = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in event.headers
        }
        if self._status != 200:
            return
        encoding = self._headers.get("content-encoding", "identity").strip().lower()
        if encoding == "gzip":
            self._unpack = zlib.decompressobj(16 + zlib.MAX_WBITS)
        elif encoding not in ("identity", ""):
            raise PackingError(f"cannot unpack content encoding {encoding[:40]!r}")
        told = self._headers.get("content-length", "")
        if told.isdecimal() and int(told) > self._most_bytes:
            raise TooLargeError

    def add(self, data: bytes | bytearray) -> None:
        self._received_bytes += len(data)
        if self._unpack is None:
            self._body += data
        else:
            try:
                # One byte over the limit is enough to know; a bomb is never unpacked whole.
                room = self._most_bytes + 1 - len(self._body)
                self._body += self._unpack.decompress(bytes(data), max(room, 1))
            except zlib.error:
                raise PackingError("the gzip body is damaged") from None
        if max(len(self._body), self._received_bytes) > self._most_bytes:
            raise TooLargeError

    def response(self) -> Response:
        if self._unpack is not None and not self._unpack.eof:
            raise PackingError("the gzip body ends too early")
        return Response(self._status, self._headers, bytes(self._body))


def split_url(url: str) -> tuple[str, str, int, str, str]:
    """Scheme, host, port, path with query, and the Host header of an http or https URL.

    Raises:
        ValueError: it is no such URL.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"not an address of a page: {url[:200]}")
    port = parts.port or (443 if parts.scheme == "https" else 80)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return parts.scheme, parts.hostname, port, path, parts.netloc.rpartition("@")[2]


async def _connect(origin: Origin) -> _Connection:
    loop = asyncio.get_running_loop()
    _, connection = await loop.create_connection(
        _Connection,
        origin.host,
        origin.port,
        ssl=origin.tls,
        # Several addresses are tried side by side; asyncio leaks a socket when it is stopped then,
        # so not where there is one only.
        happy_eyeballs_delay=None if _is_address(origin.host) else 0.25,
        server_hostname=(origin.server_name or origin.host) if origin.tls else None,
    )
    return connection


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


async def _next_round() -> None:
    future = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(future.set_result, None)
    await future
