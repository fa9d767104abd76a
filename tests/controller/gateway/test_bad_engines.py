"""Engines that hang, break off, lie or talk nonsense: the client is told, and never too late."""

from __future__ import annotations

import asyncio
import json

import pytest

from controller.gateway.ask import Ask
from controller.gateway.doubles.engine import (
    CHUNKED,
    DONE,
    Asked,
    Engine,
    framed,
    running,
    usual,
    whole,
    word,
)

CHAT = {"model": "tiny", "messages": [{"role": "user", "content": "hello"}]}
STREAMED = {**CHAT, "stream": True}


async def hang(asked: Asked) -> None:
    """Take the request and say nothing."""
    await asked.reader.read()


async def test_an_engine_that_hangs_costs_its_deadline_and_no_more(gateway):
    """504; the engine's connection is closed, and its seat free."""
    async with running(Engine(hang)) as engine, gateway(engine) as one:
        client = await one.talk()
        client.post(CHAT, x_request_timeout="0.1")
        answer = await client.answer()
        (attempt,) = await one.kept.until(1)
        assert one.made.gate.instances["e0"].running == {}
    assert (answer.status, answer.error["code"]) == (504, "deadline_exceeded")
    assert (attempt.status, attempt.http_status) == ("failed", 504)
    assert len(engine.asked) == 1


async def test_the_deadline_counts_in_the_queue_as_well(gateway):
    """One that waits behind a hanging one is told at its own deadline."""
    async with running(Engine(hang, slots=1)) as engine, gateway(engine) as one:
        first, second = await one.talk(), await one.talk()
        first.post(CHAT)
        while not engine.asked:
            await asyncio.to_thread(lambda: None)
        second.post(CHAT, x_request_timeout="0.1")
        answer = await second.answer()
        (attempt,) = await one.kept.until(1)
        assert one.made.gate.counted.expired == 1
        assert not one.made.gate.waiting
    assert (answer.status, answer.error["code"]) == (504, "deadline_exceeded")
    assert attempt.queue_seconds is None


async def test_an_engine_that_stops_in_the_middle_is_not_waited_for(gateway):
    """As llama-server does after SIGTERM: the stream stays open and silent."""

    async def script(asked: Asked) -> None:
        asked.writer.write(CHUNKED + framed(word("a")))
        await hang(asked)

    async with running(Engine(script)) as engine, gateway(engine, silence_seconds=0.2) as one:
        client = await one.talk()
        client.post(STREAMED)
        answer = await client.answer()
        (attempt,) = await one.kept.until(1)
    assert not answer.is_whole
    assert b"upstream_silent" in answer.body
    assert (attempt.status, attempt.reason, attempt.streamed_tokens) == (
        "failed",
        "upstream_silent",
        1,
    )


@pytest.mark.parametrize("cut", ["", 'data: {"id": "chatc'])
async def test_a_reset_in_the_middle_of_a_stream_is_an_error_event(gateway, cut):
    """After what came, one readable error; no [DONE], no end of HTTP, and the connection closes."""

    async def script(asked: Asked) -> None:
        asked.writer.write(CHUNKED + framed(word("a") + cut.encode()))
        await asked.writer.drain()
        asked.writer.transport.abort()

    async with running(Engine(script)) as engine, gateway(engine) as one:
        client = await one.talk()
        client.post(STREAMED)
        answer = await client.answer()
        (attempt,) = await one.kept.until(1)
    assert answer.status == 200
    assert not answer.is_whole
    assert DONE not in answer.body
    events = [line[6:] for line in answer.body.decode().splitlines() if line.startswith("data: ")]
    first, last = map(json.loads, events)
    assert first["choices"][0]["delta"]["content"] == "a"
    assert last["error"]["code"] == "upstream_reset"
    assert (attempt.status, attempt.reason, attempt.is_last) == ("failed", "upstream_reset", True)


@pytest.mark.parametrize(
    "said",
    [
        b"\x00\x01\x02 what?\r\n\r\n",
        b"HTTP/1.1 banana\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"x: " + b"y" * 200_000,
        b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nshort",
        b"",
    ],
)
async def test_garbage_and_lies_about_length_are_a_502(gateway, said):
    """An answer that is not whole is not passed on, and no other replica is there to ask."""

    async def script(asked: Asked) -> None:
        asked.writer.write(said)
        await asked.writer.drain()
        asked.writer.close()

    async with running(Engine(script)) as engine, gateway(engine, retries=1) as one:
        client = await one.talk()
        client.post(CHAT)
        answer = await client.answer()
        attempts = await one.kept.until(2)
        client.get("/healthz")
        assert (await client.answer()).status == 200
    assert answer.status == 502
    assert answer.error["code"] in ("upstream_reset", "upstream_garbage")
    assert [each.is_last for each in attempts] == [False, True]


async def test_more_than_was_announced_does_not_reach_the_next_client(gateway):
    """What follows an answer belongs to nobody; the connection is not used again."""

    async def script(asked: Asked) -> None:
        asked.writer.write(
            whole({"choices": []}) + b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison"
        )

    async with running(Engine(script)) as engine, gateway(engine) as one:
        client = await one.talk()
        for _ in range(2):
            client.post(CHAT)
            assert json.loads((await client.answer()).body) == {"choices": []}
    assert engine.asked[0].writer is not engine.asked[1].writer


async def test_an_engine_s_own_error_is_passed_on(gateway):
    """A wrong request is the client's to mend: no retry, no ejection."""

    async def script(asked: Asked) -> None:
        asked.writer.write(whole({"error": {"message": "too long"}}, "400 Bad Request"))

    async with running(Engine(script)) as engine, gateway(engine) as one:
        client = await one.talk()
        for _ in range(8):
            client.post(CHAT)
            answer = await client.answer()
            assert (answer.status, answer.error["message"]) == (400, "too long")
        assert one.made.gate.instances["e0"].state == "ready"
    assert len(engine.asked) == 8


async def test_a_stream_that_ends_without_an_end_is_no_success(gateway):
    """HTTP says whole, but neither a reason nor [DONE] came: the row says so."""

    async def script(asked: Asked) -> None:
        asked.writer.write(CHUNKED + framed(word("a")) + b"0\r\n\r\n")

    async with running(Engine(script)) as engine, gateway(engine) as one:
        client = await one.talk()
        client.post(STREAMED)
        assert (await client.answer()).body == word("a")
        (attempt,) = await one.kept.until(1)
    assert (attempt.status, attempt.reason) == ("failed", "upstream_incomplete")


async def test_an_engine_that_dies_takes_only_its_own_streams(gateway):
    """The next requests go to the other, and it is back when it answers again."""
    alive = Engine()
    async with running(alive), gateway(alive) as one:
        async with running(Engine()) as dies:
            one.made.health.add("dies", dies.url)
            one.made.health.tend()
            while "dies" not in one.made.gate.instances:
                await asyncio.to_thread(lambda: None)
        client, served = await one.talk(), []
        while one.made.gate.instances["dies"].state == "ready":
            client.post(CHAT)
            served.append((await client.answer()).status)
        assert set(served) <= {200}
        client.get("/gateway/status")
        told = json.loads((await client.answer()).body)["instances"]
        problem = next(each["problem"] for each in told if each["name"] == "dies")
    assert "reached" in problem


async def test_without_any_replica_a_request_waits_a_while_and_is_told(gateway):
    """503 with a reason, once nobody came back."""
    async with running(Engine()) as engine, gateway(engine, hold_seconds=0.2) as one:
        one.made.gate.instances["e0"].mark("ejected", 0.0)
        one.made.health.upstreams["e0"].next_at = 1e12
        client = await one.talk()
        client.post(CHAT)
        answer = await client.answer()
        (attempt,) = await one.kept.until(1)
    assert (answer.status, answer.error["code"]) == (503, "no_replica")
    assert attempt.status == "refused"


async def test_a_connection_that_the_engine_closed_meanwhile_is_no_fault(gateway):
    """A pooled connection may die at any time: the request goes out again, unseen by anybody."""

    async def script(asked: Asked) -> None:
        asked.writer.write(whole({"choices": []}))
        await asked.writer.drain()
        # Closed as soon as the next request is on its way.
        await asked.reader.read(1)
        asked.writer.transport.abort()

    async with running(Engine(script)) as engine, gateway(engine, retries=0) as one:
        client = await one.talk()
        for _ in range(3):
            client.post(CHAT)
            assert (await client.answer()).status == 200
        attempts = await one.kept.until(3)
    assert {each.status for each in attempts} == {"ok"}
    assert len(attempts) == 3


async def test_streams_connections_are_used_again_only_where_the_engine_keeps_them(gateway):
    """An engine that closes after a stream is found out by one trial, not by failed requests."""

    async def closes(asked: Asked) -> None:
        asked.writer.write(CHUNKED + framed(word("a", "stop")) + framed(DONE) + b"0\r\n\r\n")
        await asked.writer.drain()
        asked.writer.close()

    async with running(Engine(closes)) as engine, gateway(engine, retries=0) as one:
        client = await one.talk()
        for _ in range(3):
            client.post(STREAMED)
            assert (await client.answer()).is_whole
        pool = one.made.health.upstreams["e0"].pool
        while pool.keeps_after_stream == "unknown":
            await asyncio.to_thread(lambda: None)
        assert pool.keeps_after_stream == "no"


async def test_an_engine_that_stopped_with_its_streams_open_is_noticed_by_its_health(gateway):
    """llama-server after SIGTERM: silent streams, no new connections; who waits there moves on."""

    async def script(asked: Asked) -> None:
        if json.loads(asked.body).get("stream"):
            asked.writer.write(CHUNKED + framed(word("a")))
        await hang(asked)

    stops = Engine(script)
    times = {"silence_seconds": 0.3, "probe_seconds": 0.05}
    async with running(stops), running(Engine()) as other, gateway(stops, **times) as one:
        streams, waits = await one.talk(), await one.talk()
        streams.post(STREAMED)
        waits.post(CHAT)
        while len(stops.asked) < 2:
            await asyncio.to_thread(lambda: None)
        one.made.health.add("other", other.url)
        stops.health = whole({"error": "stopping"}, "503 Service Unavailable")
        broken, served = await streams.answer(), await waits.answer()
    assert not broken.is_whole
    assert b"upstream_silent" in broken.body
    assert served.status == 200


KEPT = Ask(1_000_000, 0.0, "a", "tiny", 200, 1.0, 1.0, prefix=(11, 12))


async def test_an_engine_that_died_with_many_requests_is_used_again_when_it_is_back(gateway):
    """What broke with it is no reason to leave out what was started in its place."""

    async def dies(asked: Asked) -> None:
        first.health = whole({"error": "starting"}, "503 Service Unavailable")
        asked.writer.transport.abort()

    async with (
        running(Engine(dies, slots=8)) as first,
        running(Engine()) as second,
        gateway(first, second, probe_seconds=0.05, retries=9) as one,
    ):
        clients = [await one.talk() for _ in range(12)]
        for client in clients:
            client.post(CHAT)
        answers = [await client.answer() for client in clients]
        async with asyncio.timeout(10):
            while one.made.health.upstreams["e0"].is_well:
                await asyncio.to_thread(lambda: None)
            one.made.gate.prefixes.sent(KEPT, "e0")
            first.script, first.health = usual, whole({"status": "ok"})
            while one.made.gate.instances["e0"].state != "ready":
                await asyncio.to_thread(lambda: None)
        assert one.made.gate.prefixes.cached_tokens(KEPT, "e0") == 0, "it began with an empty cache"
    assert {answer.status for answer in answers} == {200}
    assert len(first.asked) >= 5
