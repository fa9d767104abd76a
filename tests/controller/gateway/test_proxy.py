"""The proxy, over real sockets: what clients get, what engines are sent, what is kept of it."""

from __future__ import annotations

import asyncio
import json

from controller.gateway.doubles.engine import (
    CHUNKED,
    DONE,
    STREAM,
    Asked,
    Engine,
    framed,
    running,
    whole,
    word,
)

CHAT = {"model": "tiny", "messages": [{"role": "user", "content": "hello"}]}
STREAMED = {**CHAT, "stream": True}


async def test_a_whole_answer_is_passed_on_as_it_is(gateway):
    """Status, body and usage; the row knows what the engine counted."""
    async with running(Engine()) as engine, gateway(engine) as one:
        client = await one.talk()
        client.post(
            CHAT, x_request_id="mine-1", traceparent="00-" + "a" * 32 + "-" + "b" * 16 + "-01"
        )
        answer = await client.answer()
        (attempt,) = await one.kept.until(1)
    assert answer.status == 200
    assert json.loads(answer.body)["choices"][0]["message"]["content"] == "hello there"
    assert answer.headers["x-request-id"] == engine.asked[0].headers["x-request-id"] == "mine-1"
    assert engine.asked[0].headers["traceparent"].startswith("00-aaaa")
    assert json.loads(engine.asked[0].body) == CHAT
    assert (attempt.status, attempt.http_status, attempt.finish_reason) == ("ok", 200, "stop")
    assert (attempt.usage.input_tokens, attempt.output_tokens) == (9, 2)
    assert attempt.instance == "e0"
    assert attempt.ttft_seconds is None


async def test_a_stream_is_passed_on_byte_by_byte(gateway):
    """The client reads the very bytes of the engine, and the row counts its tokens."""
    async with running(Engine()) as engine, gateway(engine) as one:
        client = await one.talk()
        client.post(STREAMED)
        answer = await client.answer()
        (attempt,) = await one.kept.until(1)
    assert answer.is_whole
    assert answer.body == word("a") + word("b") + word("", "stop") + DONE
    assert (attempt.status, attempt.streamed_tokens, attempt.finish_reason) == ("ok", 2, "stop")
    assert attempt.gaps.count == 1
    assert attempt.ttft_seconds is not None
    assert 0 <= attempt.queue_seconds <= attempt.ttft_seconds <= attempt.e2e_seconds


async def test_one_connection_serves_many_requests_of_a_client(gateway):
    """Keep-alive, also for requests that were sent ahead, and in their order."""
    async with running(Engine()) as engine, gateway(engine) as one:
        client = await one.talk()
        for _ in range(3):
            client.post(CHAT)
        client.post(STREAMED)
        answers = [await client.answer() for _ in range(4)]
    assert [answer.status for answer in answers] == [200] * 4
    assert answers[3].body.endswith(DONE)


async def test_more_requests_than_seats_wait_in_the_gateway(gateway):
    """An engine with one slot never has two; the second goes there when the first is over."""
    first_may_end = asyncio.Event()
    seen = []

    async def script(asked: Asked) -> None:
        seen.append(json.loads(asked.body)["user"])
        if seen == ["first"]:
            await first_may_end.wait()
        asked.writer.write(whole({"choices": []}))

    async with running(Engine(script, slots=1)) as engine, gateway(engine) as one:
        a, b = await one.talk(), await one.talk()
        a.post({**CHAT, "user": "first"})
        while not seen:
            await asyncio.wait({asyncio.ensure_future(asyncio.to_thread(lambda: None))})
        b.post({**CHAT, "user": "second"})
        probe = await one.talk()
        waiting = 0
        while not waiting:
            probe.get("/gateway/status")
            waiting = json.loads((await probe.answer()).body)["queue"]["waiting"]
        assert seen == ["first"]
        first_may_end.set()
        assert (await a.answer()).status == (await b.answer()).status == 200
        attempts = await one.kept.until(2)
    assert seen == ["first", "second"]
    assert attempts[1].ask.tenant == "second"
    assert attempts[1].queue_seconds > 0


async def test_a_client_that_leaves_frees_its_seat_at_once(gateway):
    """The engine's connection is closed, and who waited is served."""
    begun, closed = asyncio.Event(), asyncio.Event()

    async def script(asked: Asked) -> None:
        if len(engine.asked) > 1:
            asked.writer.write(STREAM)
            return
        asked.writer.write(CHUNKED + framed(word("a")))
        begun.set()
        await asked.reader.read()
        closed.set()

    async with running(Engine(script, slots=1)) as engine, gateway(engine) as one:
        leaves, waits = await one.talk(), await one.talk()
        leaves.post(STREAMED)
        await begun.wait()
        waits.post(STREAMED)
        leaves.writer.close()
        assert (await waits.answer()).is_whole
        await asyncio.wait_for(closed.wait(), 5)
        attempts = await one.kept.until(2)
    assert {(each.status, each.reason) for each in attempts} == {
        ("aborted", "client_left"),
        ("ok", ""),
    }


async def test_another_replica_is_tried_while_the_client_has_seen_nothing(gateway):
    """A replica that breaks off before its first byte costs the client nothing."""

    async def breaks(asked: Asked) -> None:
        asked.writer.close()

    async def busy(asked: Asked) -> None:
        asked.writer.write(whole({"error": {"message": "full"}}, "503 Service Unavailable"))

    for script in (breaks, busy):
        bad = Engine(script)
        async with running(bad), running(Engine()) as good, gateway(bad, good) as one:
            client, served = await one.talk(), []
            while not bad.asked:
                client.post(CHAT)
                served.append((await client.answer()).status)
            *_, failed, last = await one.kept.until(len(served) + 1)
        assert set(served) == {200}
        assert (failed.status, failed.is_last, failed.instance) == ("failed", False, "e0")
        assert (last.status, last.is_last, last.instance) == ("ok", True, "e1")
        assert last.retries == 1


async def test_models_are_those_of_all_engines(gateway):
    """Each once; an unknown one is told in a clear error."""
    big = Engine(models=("big", "tiny"))
    async with running(Engine()) as small, running(big), gateway(small, big) as one:
        client = await one.talk()
        client.get("/v1/models")
        answer = await client.answer()
        client.post({**CHAT, "model": "huge"})
        unknown = await client.answer()
        client.post({**CHAT, "model": "big"})
        served = await client.answer()
    assert sorted(each["id"] for each in json.loads(answer.body)["data"]) == ["big", "tiny"]
    assert (unknown.status, unknown.error["code"]) == (404, "model_not_found")
    assert served.status == 200
    assert len(big.asked) == 1


async def test_best_effort_makes_way_for_a_promise(gateway, tmp_path):
    """It is stopped before its client saw anything, and waits for its turn."""
    stopped = asyncio.Event()

    async def script(asked: Asked) -> None:
        if len(engine.asked) == 1:
            await asked.reader.read()
            stopped.set()
            return
        asked.writer.write(whole({"choices": [], "user": json.loads(asked.body)["user"]}))

    engine = Engine(script, slots=1)
    file = tmp_path / "tenants.toml"
    file.write_text("[class.batch]\nbest_effort = true\n[tenant.night]\nclass = 'batch'\n")
    settings = {"tenants_file": str(file), "places": ("leftover",), "line": "vtc-deadline"}
    async with running(engine), gateway(engine, **settings) as one:
        night, day = await one.talk(), await one.talk()
        night.post({**CHAT, "user": "night"})
        while not engine.asked:
            await asyncio.to_thread(lambda: None)
        day.post({**CHAT, "user": "day"})
        served = json.loads((await day.answer()).body)["user"]
        await asyncio.wait_for(stopped.wait(), 5)
        attempts = await one.kept.until(2)
    assert served == "day"
    assert [(each.status, each.reason, each.is_last) for each in attempts[:2]] == [
        ("aborted", "made_way", False),
        ("ok", "", True),
    ]


async def test_making_way_is_no_retry(gateway, tmp_path):
    """A request that made way and then meets a broken engine is asked for again, as any other."""
    of_night: list[Asked] = []

    async def script(asked: Asked) -> None:
        user = json.loads(asked.body)["user"]
        if user == "night":
            of_night.append(asked)
            if len(of_night) == 1:
                await asked.reader.read()
                return
            if len(of_night) == 2:
                asked.writer.write(whole({"error": "out of memory"}, "503 Service Unavailable"))
                return
        asked.writer.write(whole({"choices": [], "user": user}))

    engine = Engine(script, slots=1)
    file = tmp_path / "tenants.toml"
    file.write_text("[class.batch]\nbest_effort = true\n[tenant.night]\nclass = 'batch'\n")
    settings = {"tenants_file": str(file), "places": ("leftover",), "line": "vtc-deadline"}
    async with running(engine), gateway(engine, retries=1, **settings) as one:
        night, day = await one.talk(), await one.talk()
        night.post({**CHAT, "user": "night"})
        while not engine.asked:
            await asyncio.to_thread(lambda: None)
        day.post({**CHAT, "user": "day"})
        assert (await day.answer()).status == 200
        assert (await asyncio.wait_for(night.answer(), 5)).status == 200
    assert len(of_night) == 3
