"""A double of an engine: real sockets, and any answer that a test can think of."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

CHUNKED = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
)
DONE = b"data: [DONE]\n\n"


def framed(data: bytes) -> bytes:
    """One HTTP chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def word(text: str, finish: str | None = None) -> bytes:
    """One event of a chat."""
    choice = {"index": 0, "delta": {"content": text} if text else {}, "finish_reason": finish}
    told = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "tiny",
            "choices": [choice]}  # fmt: skip
    return b"data: " + json.dumps(told).encode() + b"\n\n"


def whole(told: object, status: str = "200 OK") -> bytes:
    """A whole answer."""
    body = json.dumps(told).encode()
    head = f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + body


ANSWER = whole(
    {
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "tiny",
        "choices": [{"index": 0, "finish_reason": "stop",
                     "message": {"role": "assistant", "content": "hello there"}}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11},
    }
)  # fmt: skip
STREAM = CHUNKED + b"".join(
    framed(one) for one in (word("a"), word("b"), word("", "stop"), DONE)
) + b"0\r\n\r\n"  # fmt: skip


@dataclass
class Asked:
    """A request as the engine saw it."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    writer: asyncio.StreamWriter
    reader: asyncio.StreamReader


Script = Callable[[Asked], Awaitable[None]]


async def usual(asked: Asked) -> None:
    """As an engine answers."""
    asked.writer.write(STREAM if json.loads(asked.body).get("stream") else ANSWER)


@dataclass
class Engine:
    """A double of an engine: healthy, one model; what it answers to POST is a script."""

    script: Script = usual
    models: tuple[str, ...] = ("tiny",)
    slots: int = 4
    pages: dict[str, bytes] = field(default_factory=dict)
    key: str = ""
    asked: list[Asked] = field(default_factory=list)
    connections: int = 0
    open: set[asyncio.StreamWriter] = field(default_factory=set)
    url: str = ""
    health: bytes = whole({"status": "ok"})

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        self.connections += 1
        self.open.add(writer)
        try:
            while await self._one(reader, writer):
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.open.discard(writer)
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head.split("\r\n")
        method, path, _ = first.split(" ")
        headers = {k.lower(): v.strip() for k, _, v in (x.partition(":") for x in lines if x)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        if method == "POST":
            asked = Asked(method, path, headers, body, writer, reader)
            self.asked.append(asked)
            await self.script(asked)
        elif self.key and headers.get("authorization") != f"Bearer {self.key}":
            writer.write(whole({"error": "Unauthorized"}, "401 Unauthorized"))
        elif path in self.pages:
            writer.write(self.pages[path])
        elif path == "/v1/models":
            writer.write(whole({"object": "list", "data": [{"id": m} for m in self.models]}))
        elif path == "/props":
            writer.write(whole({"total_slots": self.slots}))
        else:
            writer.write(self.health)
        return not writer.is_closing()


@asynccontextmanager
async def running(engine: Engine) -> AsyncIterator[Engine]:
    """The engine on a port of its own."""
    server = await asyncio.start_server(engine.serve, "127.0.0.1", 0)
    engine.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield engine
    finally:
        server.close()
        for writer in tuple(engine.open):
            writer.close()
