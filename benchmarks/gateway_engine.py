"""An engine's double for benchmarks of the gateway: raw sockets, no model behind it.

It answers /health, /v1/models, and chat completions with made-up words, streamed at a fixed pace or
whole. One timer writes for all streams, so that thousands of them cost little. Each chunk carries
its number and its request's, so that a client can tell what is lost or out of order.

    python benchmarks/gateway_engine.py --port 8201 --chunks 64 --gap 0.005
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import resource

import httptools

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
MODEL = "double"
BIG_BYTES = 256 << 10
"""Of a chunk for the user "big": what a client that does not read cannot hide in its kernel."""
_NUMBERS = itertools.count(1)


def event(request: int, number: int, content: str | None, finish: str | None) -> bytes:
    delta = {"content": content} if content is not None else {}
    told = {
        "id": f"chatcmpl-{request}", "object": "chat.completion.chunk", "created": number,
        "model": MODEL,
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
    }  # fmt: skip
    return framed(b"data: " + json.dumps(told, separators=(",", ":")).encode() + b"\n\n")


def framed(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


class Streams:
    """Writes one chunk to each stream at each tick."""

    def __init__(self, chunks: int, gap: float, slots: int) -> None:
        self.chunks, self.gap, self.slots = chunks, gap, slots
        self.open: dict[Talk, list[int]] = {}
        self.ticking = False

    def start(self, talk: Talk) -> None:
        self.open[talk] = [next(_NUMBERS), 0]
        talk.write(HEAD)
        self.step(talk)
        if not self.ticking:
            self.ticking = True
            asyncio.get_running_loop().call_later(self.gap, self.tick)

    def step(self, talk: Talk) -> None:
        at = self.open[talk]
        if at[1] < self.chunks:
            word = "x" * BIG_BYTES if b'"big"' in talk.body else f"w{at[1]} "
            talk.write(event(at[0], at[1], word, None))
            at[1] += 1
            return
        last = event(at[0], at[1], None, "stop") + framed(b"data: [DONE]\n\n")
        del self.open[talk]
        talk.write(last + b"0\r\n\r\n")
        talk.over()

    def tick(self) -> None:
        for talk in tuple(self.open):
            if not talk.paused:
                self.step(talk)
        self.ticking = bool(self.open)
        if self.ticking:
            asyncio.get_running_loop().call_later(self.gap, self.tick)


class Talk(asyncio.Protocol):
    """One connection."""

    def __init__(self, streams: Streams) -> None:
        self.streams = streams
        self.paused = False
        self.parser = httptools.HttpRequestParser(self)
        self.url, self.body = b"", b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self.streams.open.pop(self, None)

    def pause_writing(self) -> None:
        self.paused = True

    def resume_writing(self) -> None:
        self.paused = False

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_message_begin(self) -> None:
        self.url, self.body = b"", b""

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_body(self, data: bytes) -> None:
        self.body += data

    def on_message_complete(self) -> None:
        if self.parser.get_method() == b"POST" and b'"stream":true' in self.body.replace(b" ", b""):
            self.streams.start(self)
        elif self.url == b"/v1/models":
            self.answer({"object": "list", "data": [{"id": MODEL, "object": "model"}]})
        elif self.url == b"/props":
            self.answer({"total_slots": self.streams.slots})
        elif self.parser.get_method() == b"POST":
            self.answer(
                {
                    "id": "chatcmpl-0", "object": "chat.completion", "created": 0, "model": MODEL,
                    "choices": [{"index": 0, "finish_reason": "stop",
                                 "message": {"role": "assistant", "content": "word"}}],
                    "usage": {"prompt_tokens": 7, "completion_tokens": 1, "total_tokens": 8},
                }
            )  # fmt: skip
        else:
            self.answer({"status": "ok"})

    def answer(self, told: object) -> None:
        body = json.dumps(told).encode()
        self.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
            % (len(body), body)
        )

    def write(self, data: bytes) -> None:
        self.transport.write(data)

    def over(self) -> None:
        """The connection stays open, as vLLM's does."""


async def serve(port: int, chunks: int, gap: float, slots: int) -> None:
    streams = Streams(chunks, gap, slots)
    server = await asyncio.get_running_loop().create_server(
        lambda: Talk(streams), "127.0.0.1", port, backlog=4096
    )
    await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--chunks", type=int, default=64)
    parser.add_argument("--gap", type=float, default=0.005)
    parser.add_argument("--slots", type=int, default=4096)
    told = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    asyncio.run(serve(told.port, told.chunks, told.gap, told.slots))


if __name__ == "__main__":
    main()
