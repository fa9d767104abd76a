"""A request that a replica does not begin to answer goes to another, too: the first one counts."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.gateway.ask import Ask, SloClass
from controller.gateway.doubles.engine import (
    ANSWER,
    CHUNKED,
    DONE,
    STREAM,
    Asked,
    Engine,
    running,
    whole,
    word,
)
from controller.gateway.fleet import Instance
from controller.gateway.gate import Gate, Policies
from controller.gateway.hedging import Hedges, Share
from controller.gateway.pace_book import PaceBook
from controller.gateway.queueing.fcfs import Fcfs
from controller.gateway.routing.least_outstanding import LeastOutstanding

CHAT = {"model": "tiny", "messages": [{"role": "user", "content": "hello"}]}
STREAMED = {**CHAT, "stream": True}
TWICE = {"hedge_seconds": 0.02, "hedge_share": 1.0}


class Pair:
    """Two engines: the n-th request that either gets is answered by the n-th of the scripts."""

    def __init__(self, *scripts) -> None:
        self._scripts = list(scripts)
        self.asked: list[Asked] = []
        self.closed: list[int] = []
        self.came = asyncio.Condition()
        self.engines = (Engine(self._script), Engine(self._script))

    async def _script(self, asked: Asked) -> None:
        number = len(self.asked)
        self.asked.append(asked)
        async with self.came:
            self.came.notify_all()
        await self._scripts[number](self, asked, number)

    async def has(self, what) -> None:
        """Wait until it is so."""
        async with self.came, asyncio.timeout(5):
            await self.came.wait_for(what)


@asynccontextmanager
async def both(gateway, pair: Pair, **told):
    """A gateway before both."""
    first, second = pair.engines
    async with running(first), running(second), gateway(first, second, **told) as one:
        yield one


async def never(pair: Pair, asked: Asked, number: int) -> None:
    """It answers nothing, and sees its connection closed."""
    assert await asked.reader.read() == b""
    async with pair.came:
        pair.closed.append(number)
        pair.came.notify_all()


async def heads(pair: Pair, asked: Asked, number: int) -> None:
    """Like vLLM, which says how its answer begins before it computed anything."""
    asked.writer.write(CHUNKED)
    await never(pair, asked, number)


async def answers(pair: Pair, asked: Asked, number: int) -> None:
    """At once."""
    asked.writer.write(STREAM if json.loads(asked.body).get("stream") else ANSWER)


async def answers_late(pair: Pair, asked: Asked, number: int) -> None:
    """When the other one has the request as well."""
    await pair.has(lambda: len(pair.asked) > 1)
    await answers(pair, asked, number)


async def breaks(pair: Pair, asked: Asked, number: int) -> None:
    """When the other one has the request as well."""
    await pair.has(lambda: len(pair.asked) > 1)
    asked.writer.close()


async def is_busy(pair: Pair, asked: Asked, number: int) -> None:
    """503, when the other one has the request as well."""
    await pair.has(lambda: len(pair.asked) > 1)
    asked.writer.write(whole({"error": {"message": "full"}}, "503 Service Unavailable"))


def is_idle(one) -> bool:
    """No seat is taken, nothing is held."""
    instances = one.made.gate.instances.values()
    return not any(
        each.running or each.held_tokens or each.prompt_tokens_ahead for each in instances
    )


@pytest.mark.parametrize("first", [never, heads])
@pytest.mark.parametrize("body", [CHAT, STREAMED])
async def test_the_second_replica_answers_where_the_first_does_not(gateway, body, first):
    """The client reads the second's very bytes; the first is stopped, and both are rows."""
    pair = Pair(first, answers)
    async with both(gateway, pair, **TWICE) as one:
        client = await one.talk()
        client.post(body)
        answer = await client.answer()
        await pair.has(lambda: pair.closed == [0])
        lost, won = await one.kept.until(2)
        assert is_idle(one)
        client.get("/metrics")
        page = (await client.answer()).body.decode()
    text = word("a") + word("b") + word("", "stop") + DONE
    assert answer.is_whole
    assert answer.body == (text if body is STREAMED else ANSWER.partition(b"\r\n\r\n")[2])
    assert answer.headers["x-servescope-attempt"] == "2"
    assert answer.headers["x-servescope-instance"] == won.instance != lost.instance
    assert (lost.status, lost.reason, lost.is_last, lost.ask.attempt) == (
        "aborted", "hedged", False, 1,
    )  # fmt: skip
    assert (won.status, won.is_last, won.ask.attempt, won.ask.number) == (
        "ok", True, 2, lost.ask.number,
    )  # fmt: skip
    assert won.trace.span_id != lost.trace.span_id
    assert pair.asked[0].body == pair.asked[1].body
    assert pair.asked[0].headers["x-request-id"] == pair.asked[1].headers["x-request-id"]
    assert 'servescope_gateway_hedges_total{outcome="won"} 1.0' in page


async def test_the_first_may_still_be_first(gateway):
    """Then the second is stopped, and nobody is told of a second attempt."""
    pair = Pair(answers_late, never)
    async with both(gateway, pair, **TWICE) as one:
        client = await one.talk()
        client.post(STREAMED)
        answer = await client.answer()
        await pair.has(lambda: pair.closed == [1])
        lost, won = await one.kept.until(2)
        assert is_idle(one)
    assert answer.body.endswith(DONE)
    assert "x-servescope-attempt" not in answer.headers
    assert (lost.reason, lost.ask.attempt, lost.is_last) == ("hedged", 2, False)
    assert (won.status, won.ask.attempt, won.is_last) == ("ok", 1, True)
    assert won.trace.span_id != lost.trace.span_id


async def test_a_client_that_leaves_ends_both(gateway):
    """Both engines stop, both seats are free, both attempts are rows."""
    pair = Pair(never, never)
    async with both(gateway, pair, **TWICE) as one:
        client = await one.talk()
        client.post(STREAMED)
        await pair.has(lambda: len(pair.asked) == 2)
        client.writer.close()
        await pair.has(lambda: sorted(pair.closed) == [0, 1])
        attempts = await one.kept.until(2)
        assert is_idle(one)
    assert [(each.status, each.reason, each.is_last) for each in attempts] == [
        ("aborted", "client_left", False), ("aborted", "client_left", True),
    ]  # fmt: skip


async def test_a_deadline_ends_both(gateway):
    """The client is told once."""
    pair = Pair(never, never)
    async with both(gateway, pair, deadline_seconds=0.2, **TWICE) as one:
        client = await one.talk()
        client.post(CHAT)
        assert (await client.answer()).status == 504
        await pair.has(lambda: len(pair.closed) == len(pair.asked))
        await one.kept.until(len(pair.asked))
        assert is_idle(one)


@pytest.mark.parametrize("fault", [breaks, is_busy])
@pytest.mark.parametrize("place", [0, 1])
async def test_where_one_of_two_fails_the_other_goes_on(gateway, fault, place):
    """Nothing is asked a third time."""

    async def late(pair, asked, number):
        await pair.has(lambda: len(one.kept.attempts) == 1)
        await answers(pair, asked, number)

    pair = Pair(*((fault, late) if place == 0 else (late, fault)))
    async with both(gateway, pair, **TWICE) as one:
        client = await one.talk()
        client.post(STREAMED)
        (failed,) = await one.kept.until(1)
        async with pair.came:
            pair.came.notify_all()
        answer = await client.answer()
        *_, last = await one.kept.until(2)
        assert is_idle(one)
    assert answer.body.endswith(DONE)
    assert (failed.status, failed.is_last, failed.ask.attempt) == ("failed", False, place + 1)
    assert (last.status, last.is_last, last.ask.attempt) == ("ok", True, 2 - place)
    assert len(pair.asked) == 2


async def test_where_both_fail_it_is_tried_again(gateway):
    """Both were attempts; the next is the third."""
    pair = Pair(breaks, breaks, answers)
    async with both(gateway, pair, **TWICE) as one:
        client = await one.talk()
        client.post(STREAMED)
        answer = await client.answer()
        attempts = await one.kept.until(3)
        assert is_idle(one)
    assert answer.body.endswith(DONE)
    assert answer.headers["x-servescope-attempt"] == "3"
    assert sorted(each.ask.attempt for each in attempts) == [1, 2, 3]
    assert [each.is_last for each in attempts] == [False, False, True]


async def test_nothing_is_sent_twice_unless_it_is_asked_for(gateway):
    """Off by default; and a share of 0 is off."""
    for told in ({}, {"hedge_seconds": 0.001, "hedge_share": 0.0}):
        wait = asyncio.Event()

        async def late(pair, asked, number, wait=wait):
            await wait.wait()
            await answers(pair, asked, number)

        pair = Pair(late, answers, answers)
        async with both(gateway, pair, **told) as one:
            client, other = await one.talk(), await one.talk()
            client.post(CHAT)
            await pair.has(lambda pair=pair: len(pair.asked) == 1)
            for _ in range(2):
                other.post(CHAT)
                assert (await other.answer()).status == 200
            wait.set()
            assert (await client.answer()).status == 200
            attempts = await one.kept.until(3)
        assert {each.ask.attempt for each in attempts} == {1}


def ask(number: int, tenant: str = "a") -> Ask:
    return Ask(number, 0.0, tenant, "m", 100, 50.0, 90.0)


def fleet(*seats: int) -> Gate:
    gate = Gate(Policies(Fcfs(), LeastOutstanding()), paces=PaceBook())
    for number, count in enumerate(seats):
        gate.join(Instance(f"r{number}", "", seats=count))
    return gate


def test_no_seat_is_taken_from_those_that_wait():
    """Nor is one that is not there; nor that of the replica that has it, or failed it."""
    gate = fleet(1, 1)
    hedges = Hedges(gate, 1.0, 1.0)
    first, second, third = ask(1), ask(2), ask(3)
    for one in (first, second):
        hedges.saw(0.0)
        gate.arrive(one, 0.0)
    gate.starts(0.0)
    assert hedges.twin(first, 2, 1.0) is None
    gate.ended(second, 1.0)
    gate.arrive(third, 1.0)
    assert hedges.twin(first, 2, 1.0) is None
    gate.left(third, 1.0)
    first.tried = ("r0", "r1")
    assert hedges.twin(first, 2, 1.0) is None
    first.tried = ()
    twin = hedges.twin(first, 2, 1.0)
    assert twin is not None
    assert {twin.instance, first.instance} == {"r0", "r1"}


def test_only_what_has_no_effects_and_somebody_waits_for_is_sent_twice():
    """Generation and embeddings, and nothing that fills what others leave."""
    hedges, night = Hedges(fleet(1), 1.0, 1.0), ask(2)
    night.slo = SloClass("batch", is_best_effort=True)
    assert hedges.may_be("/v1/chat/completions", ask(1))
    assert hedges.may_be("/v1/embeddings", ask(1))
    assert not hedges.may_be("/v1/files", ask(1))
    assert not hedges.may_be("/v1/chat/completions", night)
    assert not Hedges(fleet(1), None, 1.0).may_be("/v1/chat/completions", ask(1))


@settings(max_examples=200)
@given(
    st.lists(st.tuples(st.booleans(), st.floats(0, 20)), max_size=150),
    st.sampled_from((0.0, 0.05, 0.3, 1.0)),
)
def test_no_more_than_the_share_is_sent_twice(steps, ratio):
    """In the minute up to any moment in which one was: at most so many of its requests."""
    share, now, requests, sent = Share(ratio), 0.0, [], []
    for is_request, pause in steps:
        now += pause
        if is_request:
            share.saw(now)
            requests.append(now)
        elif share.takes(now):
            sent.append(now)
            lately = [sum(now - 60 <= at for at in kept) for kept in (sent, requests)]
            assert lately[0] <= ratio * lately[1]


class Counter:
    """Requests before a gate, some of them sent twice."""

    def __init__(self) -> None:
        self.gate = fleet(2, 2, 3)
        self.hedges = Hedges(self.gate, 1.0, 1.0)
        self.number = 0
        self.here: dict[int, Ask] = {}
        self.twins: dict[int, Ask] = {}

    def comes(self, pick: int, now: float) -> None:
        self.number += 1
        one = ask(self.number)
        one.is_stream = pick % 2 == 0
        self.gate.arrive(one, now)

    def is_hedged(self, pick: int, now: float) -> None:
        self.hedges.saw(now)
        one = self._one(pick)
        twin = one and self.hedges.twin(one, 2, now)
        self.twins |= {twin.number: twin} if twin else {}

    def second_wins(self, pick: int, now: float, *, is_failed: bool = False) -> None:
        if key := _pick(pick, self.twins):
            self.hedges.won(self.here[key], self.twins.pop(key), now, is_failed=is_failed)

    def first_fails(self, pick: int, now: float) -> None:
        self.second_wins(pick, now, is_failed=True)

    def first_wins(self, pick: int, now: float) -> None:
        if key := _pick(pick, self.twins):
            self.hedges.lost(self.twins.pop(key), now)

    def answers(self, pick: int, now: float) -> None:
        if one := self._one(pick):
            self.gate.produced(one, 1 + pick, now)

    def ends(self, pick: int, now: float) -> None:
        if one := self._one(pick):
            self.gate.ended(self.here.pop(one.number), now)

    def start(self, now: float) -> None:
        self.here |= {one.number: one for one, _ in self.gate.starts(now)}
        for one in self.gate.instances.values():
            assert len(one.running) <= one.seats

    def finish(self) -> None:
        while self.twins:
            self.second_wins(0, 99)
        while self.here:
            self.ends(0, 100)
            self.start(100)

    def _one(self, pick: int) -> Ask | None:
        """Of those that are at one replica."""
        key = _pick(pick, {key: one for key, one in self.here.items() if key not in self.twins})
        return self.here[key] if key else None


def _pick(pick: int, among: dict[int, Ask]) -> int | None:
    return sorted(among)[pick % len(among)] if among else None


STEPS = (
    Counter.comes, Counter.is_hedged, Counter.second_wins, Counter.first_fails, Counter.first_wins,
    Counter.answers, Counter.ends,
)  # fmt: skip


@settings(max_examples=150)
@given(st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 9)), max_size=60))
def test_seats_come_out_even(steps):
    """Whatever happens to them: no seat is taken twice, and at the end nothing is booked."""
    told = Counter()
    for now, (step, pick) in enumerate(steps):
        step(told, pick, now)
        told.start(now)
    told.finish()
    for one in told.gate.instances.values():
        assert (len(one.running), one.held_tokens, one.prompt_tokens_ahead) == (0, 0, 0)


def test_a_replica_that_left_is_forgotten_when_its_last_request_goes_elsewhere():
    """By a second replica that answered, or by another try."""
    for is_hedged in (True, False):
        gate = fleet(1, 1)
        hedges, one = Hedges(gate, 1.0, 1.0), ask(1)
        hedges.saw(0.0)
        gate.arrive(one, 0.0)
        gate.starts(0.0)
        left = one.instance
        twin = hedges.twin(one, 2, 1.0) if is_hedged else None
        gate.leave(left)
        assert left in gate.instances
        if twin is None:
            gate.put_back(one, 2.0)
        else:
            hedges.won(one, twin, 2.0, is_failed=False)
        assert left not in gate.instances
