"""A whole gateway learns how fast its engines are and how much they hold, and goes by it.

Time stands still unless an engine says how long it took, so the figures are exact.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable

import pytest

from controller.gateway.ask import Ask, SloClass
from controller.gateway.doubles.client import Client
from controller.gateway.doubles.engine import CHUNKED, DONE, Asked, Engine, framed, running, word
from controller.gateway.doubles.engine import whole as page
from controller.gateway.fleet import Pace
from controller.gateway.hooks import Caller, Headers, Said
from store.clock import WallClock

QUICK, SLOW = Pace(1e-4, 0.02, 1e-3), Pace(4e-4, 0.08, 4e-3)
WORDS = (3, 9, 20)


class StandingClock(WallClock):
    """It is as late as somebody says."""

    def __init__(self) -> None:
        self.at = 1_000.0

    def monotonic(self) -> float:
        return self.at


async def seen(is_so: Callable[[], bool]) -> None:
    """Let everybody work until it is."""
    async with asyncio.timeout(10):
        while not is_so():
            await asyncio.to_thread(lambda: None)


def takes(pace: Pace, clock: StandingClock, running_here: Callable[[], list[Ask]]):
    """A script of an engine with such a pace; it says as many words as it may."""

    async def script(asked: Asked) -> None:
        told = json.loads(asked.body)
        [ask] = running_here()
        clock.at += ask.input_tokens * pace.prompt_token_seconds
        clock.at += pace.step_seconds + pace.sequence_seconds
        asked.writer.write(CHUNKED + framed(word("a")))
        await seen(lambda: ask.has_first)
        more = told["max_tokens"] - 1
        clock.at += more * (pace.step_seconds + pace.sequence_seconds)
        end = framed(word("", "stop")) + framed(DONE) + b"0\r\n\r\n"
        asked.writer.write(b"".join(framed(word("b")) for _ in range(more)) + end)

    return script


async def talk(client: Client, count: int, **more: object) -> list[int]:
    """Prompts of several lengths, one after the other; gives what was answered."""
    found = []
    for number in range(count):
        text = f"{number} " * (20 + 60 * (number % 7))
        words = WORDS[number % 3]
        chat = {"model": "tiny", "messages": [{"role": "user", "content": text}],
                "max_tokens": words, "stream": True}  # fmt: skip
        client.post({**chat, **more})
        found.append((await client.answer()).status)
    return found


async def test_more_goes_to_the_quick_one_once_both_are_known(gateway):
    """`predicted-finish` takes turns while it knows nothing, and then goes by what was learnt."""
    clock = StandingClock()

    def of(name: str) -> Callable[[], list[Ask]]:
        return lambda: list(one.made.gate.instances[name].running.values())

    quick, slow = Engine(takes(QUICK, clock, of("e0"))), Engine(takes(SLOW, clock, of("e1")))
    async with (
        running(quick), running(slow),
        gateway(quick, slow, clock=clock, way="predicted-finish") as one,
    ):  # fmt: skip
        client = await one.talk()
        instances = one.made.gate.instances
        while any(each.pace is None for each in instances.values()):
            assert set(await talk(client, 2)) == {200}
            assert len(quick.asked) + len(slow.asked) < 100
        before = len(quick.asked), len(slow.asked)
        assert set(await talk(client, 20)) == {200}
        client.get("/gateway/status")
        told = json.loads((await client.answer()).body)["instances"]
        client.get("/metrics")
        metrics = (await client.answer()).body.decode()
    assert min(before) >= 10
    assert (len(quick.asked) - before[0], len(slow.asked) - before[1]) == (20, 0)
    assert [each["pace"]["is_learnt"] for each in told] == [True, True]
    assert all(each["pace_rows"]["learnt"] >= 32 for each in told)
    for each, pace in zip(told, (QUICK, SLOW), strict=True):
        step = each["pace"]["step_seconds"] + each["pace"]["sequence_seconds"]
        assert step == pytest.approx(pace.step_seconds + pace.sequence_seconds, rel=0.15)
        assert each["pace"]["prompt_token_seconds"] == pytest.approx(
            pace.prompt_token_seconds, rel=0.15
        )
    assert 'servescope_gateway_instance_step_seconds{instance="e1"}' in metrics
    assert 'servescope_gateway_instance_held_tokens{instance="e1"} 0.0' in metrics


class Promises:
    """Promises everybody a first token within so many seconds."""

    def __init__(self, seconds: float) -> None:
        self._slo = SloClass(ttft_seconds=seconds)

    def caller(self, headers: Headers, said: Said) -> Caller:
        return Caller(self.name(headers, said.user), slo=self._slo)

    def name(self, headers: Headers, user: str) -> str:
        return "somebody"


async def test_who_would_be_late_is_told_so_once_the_pace_is_known(gateway):
    """`early-rejection` lets everybody in before that; then 429, with when to come again."""
    clock, go_on = StandingClock(), asyncio.Event()
    usual = takes(SLOW, clock, lambda: list(one.made.gate.instances["e0"].running.values()))

    async def script(asked: Asked) -> None:
        if b'"long"' in asked.body:
            asked.writer.write(CHUNKED + framed(word("a")))
            await go_on.wait()
            asked.writer.write(framed(word("b", "stop")) + framed(DONE) + b"0\r\n\r\n")
        else:
            await usual(asked)

    long = {"model": "tiny", "stream": True, "max_tokens": 400, "user": "long",
            "messages": [{"role": "user", "content": "x"}]}  # fmt: skip

    async def beside_a_long_one() -> Awaitable[Client]:
        """A request while the only seat is taken for half a minute."""
        go_on.clear()
        first, second = await one.talk(), await one.talk()
        first.post(long)
        await seen(lambda: any(each.has_first for each in instance.running.values()))
        second.post({**long, "user": "second"})
        await seen(lambda: bool(one.made.gate.waiting) or bool(one.made.gate.counted.refused))
        go_on.set()
        assert (await first.answer()).status == 200
        return second

    async with (
        running(Engine(script, slots=1)) as engine,
        gateway(engine, clock=clock, rules=("early-rejection",)) as one,
    ):
        one.made.proxy.hooks.callers = Promises(5.0)
        instance = one.made.gate.instances["e0"]
        unknown = await (await beside_a_long_one()).answer()
        client = await one.talk()
        while instance.pace is None:
            assert set(await talk(client, 2)) == {200}
            assert len(engine.asked) < 60
        late = await (await beside_a_long_one()).answer()
    assert unknown.status == 200
    assert (late.status, late.error["code"]) == (429, "would_miss_ttft")
    assert 1 <= int(late.headers["retry-after"]) <= 60


@pytest.mark.parametrize("place", ["kv-limit", "past-future"])
async def test_a_full_cache_keeps_requests_in_the_line(gateway, place):
    """Seats are free, but the cache that the engine told of has no room for a second one."""
    begun, go_on = [], asyncio.Event()

    async def script(asked: Asked) -> None:
        begun.append(asked)
        asked.writer.write(CHUNKED + framed(word("a")))
        await go_on.wait()
        asked.writer.write(framed(word("b", "stop")) + framed(DONE) + b"0\r\n\r\n")

    engine = Engine(script)
    engine.pages["/props"] = page({"total_slots": 4, "default_generation_settings": {"n_ctx": 250}})
    chat = {"model": "tiny", "stream": True, "max_tokens": 1_000,
            "messages": [{"role": "user", "content": "word " * 500}]}  # fmt: skip
    async with running(engine), gateway(engine, places=(place,)) as one:
        first, second = await one.talk(), await one.talk()
        instance = one.made.gate.instances["e0"]
        first.post(chat)
        await seen(lambda: len(begun) == 1)
        second.post(chat)
        await seen(lambda: bool(one.made.gate.waiting))
        one.made.proxy.pump()
        assert (instance.cache_tokens, instance.free_seats, len(begun)) == (1_000, 3, 1)
        assert instance.held_tokens > 500
        go_on.set()
        answers = [await first.answer(), await second.answer()]
    assert [answer.status for answer in answers] == [200, 200]
    assert len(begun) == 2
