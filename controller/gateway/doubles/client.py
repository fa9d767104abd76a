"""A client on a raw socket: it sends what a test wants, and reads what is really there."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Any


@dataclass
class Answered:
    """An answer as a client read it."""

    status: int
    headers: dict[str, str]
    body: bytes
    is_whole: bool

    @property
    def error(self) -> Any:
        """Of OpenAI's form."""
        return json.loads(self.body)["error"]


@dataclass
class Client:
    """A client on a raw socket."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def send(self, data: bytes) -> None:
        """Any bytes."""
        self.writer.write(data)

    def post(self, told: object, path: str = "/v1/chat/completions", **headers: str) -> None:
        """A JSON body; `x_name` becomes the header `x-name`."""
        self.post_raw(json.dumps(told).encode(), path, **headers)

    def post_raw(self, body: bytes, path: str = "/v1/chat/completions", **headers: str) -> None:
        """Any body."""
        more = "".join(f"{k.replace('_', '-')}: {v}\r\n" for k, v in headers.items())
        head = f"POST {path} HTTP/1.1\r\nhost: x\r\n{more}content-length: {len(body)}\r\n\r\n"
        self.writer.write(head.encode() + body)

    def get(self, path: str) -> None:
        """Ask for a page."""
        self.writer.write(f"GET {path} HTTP/1.1\r\nhost: x\r\n\r\n".encode())

    async def answer(self) -> Answered:
        """Read one answer; a body that ends too early is not whole."""
        async with asyncio.timeout(10):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            first, *lines = head.split("\r\n")
            headers = {k.lower(): v.strip() for k, _, v in (x.partition(":") for x in lines if x)}
            if "content-length" in headers:
                body, is_whole = await self._exactly(int(headers["content-length"]))
            elif headers.get("transfer-encoding") == "chunked":
                body, is_whole = await self._chunks()
            else:
                body, is_whole = await self.reader.read(), True
        return Answered(int(first.split(" ")[1]), headers, body, is_whole)

    async def is_closed(self) -> bool:
        """Whether the gateway closes the connection."""
        try:
            async with asyncio.timeout(10):
                return await self.reader.read() == b""
        except ConnectionError:
            return True

    async def _exactly(self, count: int) -> tuple[bytes, bool]:
        try:
            return await self.reader.readexactly(count), True
        except asyncio.IncompleteReadError as error:
            return error.partial, False

    async def _chunks(self) -> tuple[bytes, bool]:
        parts = []
        try:
            while size := int(await self.reader.readuntil(b"\r\n"), 16):
                parts.append((await self.reader.readexactly(size + 2))[:-2])
            await self.reader.readexactly(2)
        except (asyncio.IncompleteReadError, ConnectionError):
            return b"".join(parts), False
        return b"".join(parts), True
