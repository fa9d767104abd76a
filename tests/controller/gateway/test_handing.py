"""Prefill and decoding apart: engines that speak vLLM's words for it, one request at both."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack, asynccontextmanager

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.gateway.ask import Ask
from controller.gateway.doubles.engine import DONE, STREAM, Asked, Engine, running, whole, word
from controller.gateway.fleet import Instance
from controller.gateway.gate import Gate, Policies
from controller.gateway.pace_book import PaceBook
from controller.gateway.queueing.fcfs import Fcfs
from controller.gateway.routing.registry import make, wrapped
from controller.gateway.transfer import decode_body, prefill_body, told_parameters

CHAT = {"model": "tiny", "messages": [{"role": "user", "content": "hello"}], "temperature": 0.5}
STREAMED = {**CHAT, "stream": True, "stream_options": {"include_usage": True}, "min_tokens": 3}
WHERE = {
    "do_remote_decode": False, "do_remote_prefill": True, "remote_engine_id": "p",
    "remote_block_ids": [4, 8], "remote_host": "10.0.0.1", "remote_port": 5600,
}  # fmt: skip
PREFILLED = {
    "id": "cmpl-1", "object": "chat.completion", "model": "tiny", "kv_transfer_params": WHERE,
    "choices": [{"index": 0, "finish_reason": "length", "message": {"content": "x"}}],
    "usage": {"prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 10},
}  # fmt: skip


async def prefills(asked: Asked) -> None:
    """As vLLM's prefill engine."""
    asked.writer.write(whole(PREFILLED))


async def decodes(asked: Asked) -> None:
    """As its decoding engine: it streams."""
    asked.writer.write(STREAM)


async def breaks(asked: Asked) -> None:
    """It closes the connection."""
    asked.writer.close()


async def is_busy(asked: Asked) -> None:
    """503."""
    asked.writer.write(whole({"error": {"message": "full"}}, "503 Service Unavailable"))


async def talks_nonsense(asked: Asked) -> None:
    """200, and no JSON."""
    asked.writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n<>")


@asynccontextmanager
async def apart(gateway, folder, prefill, decode, **told):
    """A gateway before engines of both kinds, named p0, p1, … and d0, d1, …"""
    groups = []
    async with AsyncExitStack() as stack:
        for role, engines in (("prefill", prefill), ("decode", decode)):
            for number, engine in enumerate(engines):
                await stack.enter_async_context(running(engine))
                labels = {"role": role, "replica": f"{role[0]}{number}"}
                groups.append({"targets": [engine.url], "labels": labels})
        file = folder / "engines.json"
        file.write_text(json.dumps(groups))
        settings = {"way": "prefill-decode", "upstreams_file": str(file), **told}
        yield await stack.enter_async_context(gateway(**settings))


def is_idle(one) -> bool:
    """No seat is taken, nothing is held or booked."""
    gate = one.made.gate
    instances = gate.instances.values()
    return not gate.handing._twins and not any(
        each.running or each.held_tokens or each.prompt_tokens_ahead for each in instances
    )


async def test_a_prompt_is_computed_here_and_its_output_there(gateway, tmp_path):
    """Each engine is sent what it needs, the client reads the second's bytes, both are rows."""
    first, second = Engine(prefills), Engine(decodes)
    async with apart(gateway, tmp_path, [first], [second]) as one:
        client = await one.talk()
        client.post(STREAMED, x_request_id="mine")
        answer = await client.answer()
        done, last = await one.kept.until(2)
        assert is_idle(one)
        client.get("/metrics")
        page = (await client.answer()).body.decode()
    asked = json.loads(first.asked[0].body)
    assert asked["kv_transfer_params"]["do_remote_decode"] is True
    assert (asked["max_tokens"], asked["stream"]) == (1, False)
    assert asked["messages"] == CHAT["messages"]
    assert not {"stream_options", "min_tokens"} & asked.keys()
    assert json.loads(second.asked[0].body) == {**STREAMED, "kv_transfer_params": WHERE}
    assert {each.asked[0].headers["x-request-id"] for each in (first, second)} == {"mine"}
    assert answer.body == word("a") + word("b") + word("", "stop") + DONE
    assert answer.headers["x-servescope-instance"] == "d0"
    assert (done.instance, done.status, done.is_last, done.ask.attempt) == ("p0", "ok", False, 1)
    assert (last.instance, last.status, last.is_last, last.ask.attempt) == ("d0", "ok", True, 2)
    assert done.usage.input_tokens == 9
    assert last.ask.output_tokens == last.streamed_tokens == 2
    assert done.trace.span_id != last.trace.span_id
    assert 'servescope_gateway_handed_on_total{outcome="with_cache"} 1.0' in page


@pytest.mark.parametrize(
    ("place", "fault"),
    [("prefill", breaks), ("prefill", is_busy), ("prefill", talks_nonsense), ("decode", breaks),
     ("decode", is_busy)],
)  # fmt: skip
async def test_a_fault_of_either_is_tried_again(gateway, tmp_path, place, fault):
    """From the prompt on, elsewhere, as nothing reached the client."""
    bad, good = Engine(fault), Engine(prefills if place == "prefill" else decodes)
    other = Engine(decodes if place == "prefill" else prefills)
    both, alone = [bad, good], [other]
    roles = (both, alone) if place == "prefill" else (alone, both)
    async with apart(gateway, tmp_path, *roles) as one:
        client = await one.talk()
        count = 0
        while not bad.asked:
            client.post(STREAMED)
            assert (await client.answer()).body.endswith(DONE)
            count += 1
        attempts = await one.kept.until(2 * count + (1 if place == "prefill" else 2))
        assert is_idle(one)
    (failed,) = [each for each in attempts if each.status == "failed"]
    assert failed.instance == f"{place[0]}0"
    assert not failed.is_last
    assert sum(each.is_last for each in attempts) == count


async def test_what_is_wrong_with_a_request_is_told_by_the_first(gateway, tmp_path):
    """Nobody decodes it."""

    async def says_no(asked: Asked) -> None:
        asked.writer.write(whole({"error": {"message": "too long"}}, "400 Bad Request"))

    decoder = Engine(decodes)
    async with apart(gateway, tmp_path, [Engine(says_no)], [decoder]) as one:
        client = await one.talk()
        client.post(STREAMED)
        answer = await client.answer()
        (attempt,) = await one.kept.until(1)
        assert is_idle(one)
    assert (answer.status, answer.error["message"]) == (400, "too long")
    assert (attempt.instance, attempt.reason, attempt.is_last) == ("p0", "engine_400", True)
    assert decoder.asked == []


async def test_without_a_word_of_its_cache_the_second_computes_all(gateway, tmp_path):
    """The client's request as it is; it is counted, as somebody forgot to configure the engine."""

    async def forgets(asked: Asked) -> None:
        asked.writer.write(whole({**PREFILLED, "kv_transfer_params": None}))

    decoder = Engine(decodes)
    async with apart(gateway, tmp_path, [Engine(forgets)], [decoder]) as one:
        client = await one.talk()
        client.post({**STREAMED, "kv_transfer_params": {"remote_host": "evil"}})
        assert (await client.answer()).body.endswith(DONE)
        counted = one.made.gate.handing.counted
    assert json.loads(decoder.asked[0].body) == STREAMED
    assert counted == {"without": 1}


@pytest.mark.parametrize("place", ["prefill", "decode"])
async def test_a_client_that_leaves_frees_both_seats(gateway, tmp_path, place):
    """Whichever of both has it just then; its engine stops."""
    begun, closed = asyncio.Event(), asyncio.Event()

    async def hangs(asked: Asked) -> None:
        begun.set()
        assert await asked.reader.read() == b""
        closed.set()

    first = Engine(hangs if place == "prefill" else prefills)
    second = Engine(hangs if place == "decode" else decodes)
    async with apart(gateway, tmp_path, [first], [second]) as one:
        client = await one.talk()
        client.post(STREAMED)
        await asyncio.wait_for(begun.wait(), 5)
        taken = {each.name: len(each.running) for each in one.made.gate.instances.values()}
        client.writer.close()
        await asyncio.wait_for(closed.wait(), 5)
        *_, last = await one.kept.until(1 if place == "prefill" else 2)
        assert is_idle(one)
    assert taken == {"p0": int(place == "prefill"), "d0": 1}
    assert (last.status, last.reason) == ("aborted", "client_left")


async def test_no_prompt_is_computed_without_a_place_to_go_on(gateway, tmp_path):
    """Where every decoding seat is taken, the next request waits in the gateway."""
    begun, may_end = asyncio.Event(), asyncio.Event()

    async def late(asked: Asked) -> None:
        begun.set()
        await may_end.wait()
        asked.writer.write(STREAM)

    first, second = Engine(prefills, slots=4), Engine(late, slots=1)
    async with apart(gateway, tmp_path, [first], [second]) as one:
        a, b = await one.talk(), await one.talk()
        a.post(STREAMED)
        await asyncio.wait_for(begun.wait(), 5)
        b.post(STREAMED)
        probe = await one.talk()
        waiting = 0
        while not waiting:
            probe.get("/gateway/status")
            waiting = json.loads((await probe.answer()).body)["queue"]["waiting"]
        asked = len(first.asked)
        may_end.set()
        assert (await a.answer()).is_whole
        assert (await b.answer()).is_whole
        await one.kept.until(4)
        assert is_idle(one)
    assert asked == 1


async def test_embeddings_have_nothing_to_decode(gateway, tmp_path):
    """They are answered where prompts are computed, and take no other seat."""
    first, second = Engine(), Engine(decodes)
    async with apart(gateway, tmp_path, [first], [second]) as one:
        client = await one.talk()
        client.post({"model": "tiny", "input": "hello"}, "/v1/embeddings")
        assert (await client.answer()).status == 200
        (attempt,) = await one.kept.until(1)
        assert is_idle(one)
    assert (attempt.instance, attempt.ask.attempt) == ("p0", 1)
    assert json.loads(first.asked[0].body) == {"model": "tiny", "input": "hello"}
    assert second.asked == []


@given(
    st.dictionaries(
        st.text(max_size=20), st.integers(-(2**63), 2**63 - 1) | st.text() | st.booleans()
    )
)
def test_what_is_not_about_the_transfer_stays(told):
    """The second engine is sent the client's words; the first one token's worth of them."""
    told = {name: one for name, one in told.items() if name != "kv_transfer_params"}
    body = orjson.dumps(told)
    assert orjson.loads(decode_body(body, None)) == told
    assert orjson.loads(decode_body(body, WHERE)) == {**told, "kv_transfer_params": WHERE}
    first = orjson.loads(prefill_body(body))
    changed = {"stream", "max_tokens", "max_completion_tokens", "min_tokens", "stream_options",
               "min_completion_tokens"}  # fmt: skip
    assert {name: one for name, one in told.items() if name not in changed}.items() <= first.items()
    assert told_parameters(orjson.dumps({"kv_transfer_params": WHERE})) == WHERE


class Flow:
    """Requests before a gate whose replicas are apart."""

    def __init__(self) -> None:
        way = wrapped(make("prefill-decode"), {"sticky": {}})
        self.gate = Gate(Policies(Fcfs(), way), paces=PaceBook())
        for name, role, seats in (("p0", "prefill", 2), ("p1", "prefill", 1), ("d0", "decode", 2),
                                  ("d1", "decode", 1)):  # fmt: skip
            self.gate.join(Instance(name, "", seats=seats, role=role))
        self.here: dict[int, Ask] = {}
        self.number = 0

    def comes(self, pick: int, now: float) -> None:
        self.number += 1
        self.gate.arrive(Ask(self.number, now, "ab"[pick % 2], "m", 50, 9.0, 20.0), now)

    def moves(self, pick: int, now: float) -> None:
        one = self._one(pick)
        if one and self.gate.handing.has(one):
            self.gate.handing.move(one, now, has_cache=True)

    def answers(self, pick: int, now: float) -> None:
        one = self._one(pick)
        if one and not self.gate.handing.has(one):
            self.gate.produced(one, 1 + pick, now)

    def ends(self, pick: int, now: float) -> None:
        if one := self._one(pick):
            self.gate.ended(self.here.pop(one.number), now)

    def fails(self, pick: int, now: float) -> None:
        if one := self._one(pick):
            self.gate.put_back(self.here.pop(one.number), now)

    def start(self, now: float) -> None:
        for one, instance in self.gate.starts(now):
            assert instance.role == "prefill"
            assert self.gate.handing.has(one)
            self.here[one.number] = one
        for each in self.gate.instances.values():
            assert len(each.running) <= each.seats

    def _one(self, pick: int) -> Ask | None:
        return self.here[sorted(self.here)[pick % len(self.here)]] if self.here else None


STEPS = (Flow.comes, Flow.moves, Flow.answers, Flow.ends, Flow.fails)


@settings(max_examples=150)
@given(st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 9)), max_size=60))
def test_seats_of_both_come_out_even(steps):
    """Nobody starts without a seat at both, none is taken twice, and none stays taken."""
    flow = Flow()
    for now, (step, pick) in enumerate(steps):
        step(flow, pick, now)
        flow.start(now)
    while flow.here:
        flow.ends(0, 99)
        flow.start(99)
    assert not flow.gate.waiting
    for one in flow.gate.instances.values():
        assert (len(one.running), one.held_tokens, one.prompt_tokens_ahead) == (0, 0, 0)
    assert not +flow.gate.policies.way.inner._tokens
