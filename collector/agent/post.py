"""One POST at a time to the server, over a connection that is kept."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import h11

from collector.http_access import Access, Keyring, SecretError
from collector.http_connection import split_url

_MOST_ANSWER_BYTES = 1 << 20
_READ_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server said; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Unreachable(Exception):
    """There is no whole answer; the message is one line for people."""


class Poster:
    """POST to one server. For one task at a time; a connection that broke is made anew.

    Args:
        server: http or https URL; its path stands before every path.
        access: certificates and token for it.
        timeout_seconds: for everything, the last byte included.

    Raises:
        ValueError: `server` is no such URL.
    """

    def __init__(self, server: str, access: Access, timeout_seconds: float) -> None:
        self._scheme, self._host, self._port, path, self._name = split_url(server)
        self._prefix = path.rstrip("/")
        self._access = access
        self._timeout_seconds = timeout_seconds
        self._keyring = Keyring()
        self._stream: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._http = h11.Connection(h11.CLIENT)

    async def post(self, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Send `body` and read the answer, whatever its status.

        Raises:
            Unreachable: no whole answer came in time.
        """
        kept = self._stream is not None
        try:
            async with asyncio.timeout(self._timeout_seconds):
                try:
                    return await self._ask(path, headers, body)
                except (OSError, h11.ProtocolError, EOFError):
                    if not kept:
                        raise
                # The server closed a connection that had been idle. What is sent twice is known
                # by its batch id.
                await self._close()
                return await self._ask(path, headers, body)
        except TimeoutError:
            await self._close()
            raise Unreachable(f"no answer within {self._timeout_seconds:g} s") from None
        except (OSError, h11.ProtocolError, EOFError, SecretError) as why:
            await self._close()
            raise Unreachable(_one_line(why)) from None
        except asyncio.CancelledError:
            await self._close()
            raise

    async def aclose(self) -> None:
        """Close the connection; safe twice."""
        await self._close()

    async def _ask(self, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        if self._stream is None:
            self._stream = await self._connect()
            self._http = h11.Connection(h11.CLIENT)
        writer = self._stream[1]
        asked = [
            ("Host", self._name),
            ("User-Agent", "servescope-agent"),
            ("Content-Length", str(len(body))),
            *self._keyring.headers(self._access),
            *headers.items(),
        ]
        request = h11.Request(method="POST", target=f"{self._prefix}{path}", headers=asked)
        events = (request, h11.Data(data=body), h11.EndOfMessage())
        writer.writelines([self._http.send(event) or b"" for event in events])
        await writer.drain()
        answer = await self._answer()
        if self._http.states == {h11.CLIENT: h11.DONE, h11.SERVER: h11.DONE}:
            self._http.start_next_cycle()
        else:
            await self._close()
        return answer

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        tls: ssl.SSLContext | None = None
        if self._scheme == "https":
            tls = self._keyring.context(self._access)
        return await asyncio.open_connection(self._host, self._port, ssl=tls)

    async def _answer(self) -> Answer:
        status, headers, body = 0, dict[str, str](), bytearray()
        while True:
            event = await self._next_event()
            if isinstance(event, h11.Response):
                status = event.status_code
                headers = {n.decode("latin-1"): v.decode("latin-1") for n, v in event.headers}
            elif isinstance(event, h11.Data):
                body += event.data
                if len(body) > _MOST_ANSWER_BYTES:
                    raise h11.RemoteProtocolError("the server's answer has no end")
            elif isinstance(event, h11.EndOfMessage):
                return Answer(status, headers, bytes(body))
            elif isinstance(event, h11.ConnectionClosed):
                raise EOFError("the connection was closed before the answer")  # noqa: TRY004

    async def _next_event(self) -> Any:
        assert self._stream is not None  # noqa: S101 - _ask has just connected
        while (event := self._http.next_event()) is h11.NEED_DATA:
            self._http.receive_data(await self._stream[0].read(_READ_BYTES))
        return event

    async def _close(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            stream[1].close()
            with suppress(OSError, TimeoutError):
                await asyncio.wait_for(asyncio.shield(stream[1].wait_closed()), 1.0)


def _one_line(why: BaseException) -> str:
    if isinstance(why, ssl.SSLCertVerificationError):
        return f"certificate not trusted: {why.verify_message}"[:200]
    return (" ".join(str(why).split()) or type(why).__name__)[:200]
