"""Large bodies: one in a turn, each sender in a line of its own, and what is too rich to parse."""

from __future__ import annotations

import asyncio
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.gateway.doubles.engine import Engine, running
from controller.gateway.large_bodies import LargeBodies
from controller.gateway.openai.richness import LARGE_BYTES, MOST_PARTS, PART, is_too_rich
from store.clock import WallClock

WIDE = " " * LARGE_BYTES
JSON = st.recursive(
    st.none() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=20,
)


class Sent:
    """As much of an exchange as is looked at."""

    is_gone = False
    peer = "here"

    def __init__(self, key: str, name: str) -> None:
        self.key, self.name = key.encode(), name

    def header(self, name: bytes) -> bytes:
        """Who sent it."""
        return self.key


async def test_who_sends_many_waits_behind_itself() -> None:
    """Another's only one is read second, and what else there is to do comes between all of them."""
    done = asyncio.Event()
    seen: list[str] = []

    def take(sent: Sent) -> None:
        seen.append(sent.name)
        asyncio.get_running_loop().call_soon(seen.append, "small")
        if seen.count("small") == 3:
            done.set()

    large = LargeBodies(take, WallClock())  # type: ignore[arg-type]
    gone = Sent("a", "gone")
    gone.is_gone = True
    for sent in (Sent("a", "a1"), gone, Sent("a", "a2"), Sent("a", "a3"), Sent("b", "b1")):
        large.put(sent)  # type: ignore[arg-type]
    assert len(large) == 5
    async with asyncio.timeout(5):
        await done.wait()
    assert seen[:7] == ["a1", "small", "b1", "small", "a2", "small", "a3"]
    assert len(large) == 0


async def test_a_large_request_is_served_like_any_other(gateway) -> None:
    """A long text, and a prompt of two hundred thousand token numbers."""
    text = {"model": "tiny", "messages": [{"role": "user", "content": "a, b " * 60_000}]}
    numbers = {"model": "tiny", "prompt": list(range(200_000))}
    async with running(Engine()) as engine, gateway(engine) as one:
        client = await one.talk()
        client.post(text)
        assert (await client.answer()).status == 200
        client.post(numbers, "/v1/completions")
        assert (await client.answer()).status == 200
        attempts = await one.kept.until(2)
    assert [json.loads(asked.body) for asked in engine.asked] == [text, numbers]
    assert attempts[1].ask.input_tokens == 200_000


@settings(max_examples=100)
@given(JSON)
def test_what_people_send_is_never_too_rich(told: object) -> None:
    """However it is nested, and however long a text in it is."""
    assert not is_too_rich(json.dumps([told, WIDE, '{[,\\"' * 20_000]).encode())


@pytest.mark.parametrize("one", ["{}", "[]", '"a"', '{"a":1}', "[1]", '"\\""'])
def test_what_holds_up_the_parser_is_too_rich(one: str) -> None:
    """Objects, lists and texts by the ten thousand, however they are written."""
    assert is_too_rich(f"[{','.join([one] * MOST_PARTS)}{WIDE}]".encode())
    assert not is_too_rich(f"[{','.join([one] * (MOST_PARTS // 4))}{WIDE}]".encode())


@pytest.mark.parametrize("piece", [b'\\"', b'"', b'"\\', b"{", b"1,", b'"",'])
def test_a_text_that_never_ends_is_looked_at_once(piece: bytes) -> None:
    """It is one part up to the end of the body, not tried again from each of its quotes."""
    body = b'"' + piece * 1000
    seen = [found.span() for found in PART.finditer(body)]
    assert sum(end - start for start, end in seen) >= len(body) - 2
