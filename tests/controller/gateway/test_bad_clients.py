"""Clients that send nonsense, too much, too slowly or too often are told; others are served."""

from __future__ import annotations

import asyncio
import json

import pytest

from controller.gateway.doubles.engine import CHUNKED, Asked, Engine, framed, running, word

CHAT = {"model": "tiny", "messages": [{"role": "user", "content": "hello"}]}
STREAMED = {**CHAT, "stream": True}


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"{", "invalid_json"),
        (b"", "invalid_json"),
        (b"\xff\xfe", "invalid_json"),
        (b"[" * 50_000, "invalid_json"),
        (b'{"messages": [' + b"{}," * 60_000 + b"{}]}", "too_many_values"),
        (b"[1, 2]", "invalid_body"),
        (b'{"model": "tiny"}', "missing_field"),
        (b'{"model": 7, "messages": []}', "invalid_type"),
        (b'{"model": "tiny", "messages": "hello"}', "invalid_type"),
        (b'{"model": "tiny", "messages": [], "max_tokens": "9"}', "invalid_type"),
        (b'{"model": "tiny", "messages": [], "stream": "yes"}', "invalid_type"),
    ],
)
async def test_a_body_that_makes_no_sense_is_told_why(gateway, body, code):
    """400 as OpenAI words it, the engine sees nothing, and the connection goes on."""
    async with running(Engine()) as engine, gateway(engine) as one:
        client = await one.talk()
        client.post_raw(body)
        answer = await client.answer()
        asked = len(engine.asked)
        client.post(CHAT)
        assert (await client.answer()).status == 200
    assert (answer.status, answer.error["code"], answer.error["type"]) == (
        400, code, "invalid_request_error",
    )  # fmt: skip
    assert asked == 0


async def test_a_body_of_100_megabytes_is_refused_by_its_head(gateway):
    """413 before the body is read, and what still comes is not kept."""
    async with running(Engine()) as engine, gateway(engine) as one:
        client = await one.talk()
        client.send(
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 104857600\r\n\r\n"
        )
        client.send(b"x" * 100_000)
        answer = await client.answer()
        assert await client.is_closed()
        connections = one.made.server._connections
        assert connections.bodies_bytes == 0
    assert (answer.status, answer.error["code"]) == (413, "body_too_large")
    assert engine.asked == []


async def test_a_body_that_only_turns_out_too_large_is_refused(gateway):
    """Chunks do not announce their sum; what was kept is let go."""
    async with running(Engine()) as engine, gateway(engine, body_bytes=50_000) as one:
        client = await one.talk()
        client.send(
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
        )
        for _ in range(6):
            client.send(framed(b"x" * 10_000))
        answer = await client.answer()
        assert one.made.server._connections.bodies_bytes == 0
    assert (answer.status, answer.error["code"]) == (413, "body_too_large")


async def test_bodies_of_all_clients_together_are_bounded(gateway):
    """One that does not fit beside the others is refused; it fits when they are gone."""
    held = asyncio.Event()

    async def script(asked: Asked) -> None:
        await held.wait()
        asked.writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")

    big = {**CHAT, "messages": [{"role": "user", "content": "x" * 60_000}]}
    async with running(Engine(script)) as engine, gateway(engine, bodies_bytes=100_000) as one:
        first, second = await one.talk(), await one.talk()
        first.post(big)
        while not engine.asked:
            await asyncio.to_thread(lambda: None)
        second.post(big)
        answer = await second.answer()
        held.set()
        assert (await first.answer()).status == 200
        third = await one.talk()
        third.post(big)
        assert (await third.answer()).status == 200
        assert one.made.server._connections.bodies_bytes == 0
    assert (answer.status, answer.error["code"]) == (503, "bodies_full")


@pytest.mark.parametrize(
    "head",
    [
        b"".join(b"x-%d: 1\r\n" % number for number in range(200)),
        b"x: " + b"y" * 100_000 + b"\r\n",
        b"x: " + b"y" * 300_000,
    ],
)
async def test_a_header_bomb_is_refused(gateway, head):
    """Too many, too large, or one that never ends."""
    async with running(Engine()) as engine, gateway(engine) as one:
        client = await one.talk()
        client.send(b"POST /v1/chat/completions HTTP/1.1\r\n" + head)
        answer = await client.answer()
        assert await client.is_closed()
    assert (answer.status, answer.error["code"]) == (431, "headers_too_large")


@pytest.mark.parametrize("trailer", [b"x: " + b"y" * 300_000, b"0" * 300_000])
async def test_trailers_and_frames_are_bounded_as_well(gateway, trailer):
    """What the parser keeps to itself counts."""
    async with running(Engine()) as engine, gateway(engine) as one:
        client = await one.talk()
        client.send(
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
        )
        client.send(b"1\r\nx\r\n0\r\n" + trailer)
        client.send(trailer)
        answer = await client.answer()
    assert answer.status in (400, 431)
    assert engine.asked == []


@pytest.mark.parametrize(
    "request_line",
    [
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"GARBAGE\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /v1/completions HTTP/1.1\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n",
        b"POST /v1/completions HTTP/1.1\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello",
        b"CONNECT example.com:443 HTTP/1.1\r\n\r\n",
    ],
)
async def test_what_is_not_http_is_told_so_and_closed(gateway, request_line):
    """Also where two lengths contradict each other: nobody may smuggle a request."""
    async with running(Engine()) as engine, gateway(engine) as one:
        client = await one.talk()
        client.send(request_line)
        answer = await client.answer()
        assert await client.is_closed()
    assert answer.status == 400
    assert engine.asked == []


async def test_a_question_for_another_protocol_is_ignored(gateway):
    """Java's client asks for HTTP/2 beside its first request, and is answered in HTTP/1.1."""
    body = json.dumps(CHAT).encode()
    async with running(Engine()) as engine, gateway(engine) as one:
        client = await one.talk()
        client.send(
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n"
            b"connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\n"
            b"http2-settings: AAE\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
        )
        first = await client.answer()
        client.post(CHAT)
        second = await client.answer()
    assert (first.status, second.status) == (200, 200)
    assert [json.loads(asked.body) for asked in engine.asked] == [CHAT, CHAT]


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"", None),
        (b"POST /v1/chat/comple", 408),
        (b"POST /v1/chat/completions HTTP/1.1\r\ncontent-length: 50\r\n\r\n{", 408),
    ],
)
async def test_slow_clients_are_not_waited_for(gateway, sent, status):
    """A head and a body have to come within their times, an idle connection is closed."""
    times = {"head_seconds": 0.1, "body_seconds": 0.1, "idle_seconds": 0.1}
    async with running(Engine()) as engine, gateway(engine, **times) as one:
        client = await one.talk()
        client.send(sent)
        if status is not None:
            answer = await client.answer()
            assert (answer.status, answer.error["code"]) == (status, "too_slow")
        assert await client.is_closed()


async def test_a_client_that_opens_a_thousand_connections_does_not_shut_others_out(gateway):
    """Beyond its own bound it is turned away; those that are in go on."""
    async with running(Engine()) as engine, gateway(engine, connections_of_client=50) as one:
        early = await one.talk()
        flood = await asyncio.gather(*(one.talk() for _ in range(300)))
        answers = await asyncio.gather(*(client.answer() for client in flood[49:]))
        early.post(CHAT)
        assert (await early.answer()).status == 200
        assert len(one.made.server._connections) == 50
    assert {answer.status for answer in answers} == {429}
    assert {answer.error["code"] for answer in answers} == {"connections_of_client_full"}


async def test_a_slow_reader_delays_nobody_and_costs_little(gateway):
    """What it does not take is left with its engine; another stream is done meanwhile."""
    stop = asyncio.Event()
    piece = framed(word("x" * 8_000))

    async def script(asked: Asked) -> None:
        if json.loads(asked.body).get("user") != "slow":
            asked.writer.write(CHUNKED + framed(word("a", "stop")) + b"0\r\n\r\n")
            return
        asked.writer.write(CHUNKED)
        while not stop.is_set() and not asked.writer.is_closing():
            asked.writer.write(piece)
            try:
                await asyncio.wait_for(asked.writer.drain(), 0.2)
            except TimeoutError:
                stop.set()

    async with running(Engine(script)) as engine, gateway(engine) as one:
        slow, fast = await one.talk(), await one.talk()
        slow.writer.transport.pause_reading()
        slow.post({**STREAMED, "user": "slow"})
        await asyncio.wait_for(stop.wait(), 10)
        (flight,) = one.made.proxy.flights.values()
        assert flight.leg.is_paused
        assert slow.reader.at_eof() is False
        fast.post(STREAMED)
        assert (await fast.answer()).is_whole


async def test_a_reader_that_never_reads_is_cut_off(gateway):
    """Its seat is free again after a time."""

    async def script(asked: Asked) -> None:
        asked.writer.write(CHUNKED)
        while not asked.writer.is_closing():
            asked.writer.write(framed(word("x" * 60_000)))
            await asked.writer.drain()

    times = {"stalled_seconds": 0.2}
    async with running(Engine(script)) as engine, gateway(engine, **times) as one:
        client = await one.talk()
        client.writer.transport.pause_reading()
        client.post(STREAMED)
        (attempt,) = await one.kept.until(1)
        assert one.made.gate.instances["e0"].running == {}
    assert (attempt.status, attempt.reason) == ("aborted", "client_left")


async def test_what_is_nowhere_is_said_in_openai_s_words(gateway):
    """Paths and methods."""
    async with running(Engine()) as engine, gateway(engine) as one:
        client = await one.talk()
        client.get("/nowhere")
        nowhere = await client.answer()
        client.get("/v1/chat/completions")
        method = await client.answer()
    assert (nowhere.status, nowhere.error["code"]) == (404, "not_found")
    assert (method.status, method.error["code"]) == (405, "method_not_allowed")
