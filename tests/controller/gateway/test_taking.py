"""So many requests in a turn, each tenant in a line of its own, and what is too rich to parse."""

from __future__ import annotations

import asyncio
import json
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.gateway.doubles.engine import Engine, running
from controller.gateway.doubles.turns import turns
from controller.gateway.http.exchange import Exchange, Wire
from controller.gateway.openai.richness import LARGE_BYTES, MOST_PARTS, PART, is_too_rich
from controller.gateway.taking import SMALL_IN_A_TURN, Taking, sender
from controller.gateway.tenant_book import hash_of
from controller.gateway.tenant_file import book_of
from controller.gateway.tenants import Tenants
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

    def __init__(self, key: str, name: str, body: bytes = b"") -> None:
        self.key, self.name, self.body = key, name, body


def whose(sent: Sent) -> str:
    """Who sent it."""
    return sent.key


async def test_who_sends_many_large_ones_waits_behind_itself() -> None:
    """Another's only one is read second, and what else there is to do comes between all of them."""
    done = asyncio.Event()
    seen: list[str] = []

    def take(sent: Sent) -> None:
        seen.append(sent.name)
        asyncio.get_running_loop().call_soon(seen.append, "small")
        if seen.count("small") == 3:
            done.set()

    taking = Taking(take, whose, WallClock())  # type: ignore[arg-type]
    large = WIDE.encode() + b" "
    gone = Sent("a", "gone", large)
    gone.is_gone = True
    names = ("a1", "a2", "a3", "b1")
    one, two, three, other = (Sent(name[0], name, large) for name in names)
    for sent in (one, gone, two, three, other):
        taking.put(sent)  # type: ignore[arg-type]
    assert len(taking.large) == 5
    async with asyncio.timeout(5):
        await done.wait()
    assert seen[:7] == ["a1", "small", "b1", "small", "a2", "small", "a3"]
    assert taking.left == 1
    assert not taking.large


async def test_a_thousand_small_ones_leave_room_in_each_turn() -> None:
    """Another's only one is read in the next turn, and no turn reads more than its share."""
    done = asyncio.Event()
    seen: list[tuple[int, str]] = []
    turn = 0

    def count() -> None:
        nonlocal turn
        turn += 1
        if not done.is_set():
            asyncio.get_running_loop().call_soon(count)

    def take(sent: Sent) -> None:
        seen.append((turn, sent.name))
        if len(seen) == 1_001:
            done.set()

    count()
    taking = Taking(take, whose, WallClock())  # type: ignore[arg-type]
    began = turn
    for number in range(1_000):
        taking.put(Sent("crowd", f"crowd {number}"))  # type: ignore[arg-type]
    taking.put(Sent("one", "one"))  # type: ignore[arg-type]
    assert len(taking.small) == 1_001 - SMALL_IN_A_TURN
    async with asyncio.timeout(5):
        await done.wait()
    assert {name: at for at, name in seen}["one"] <= began + 2
    assert max(Counter(at for at, _ in seen).values()) <= SMALL_IN_A_TURN
    crowd = [name for _, name in seen if name != "one"]
    assert crowd == [f"crowd {number}" for number in range(1_000)]
    assert not taking.small


async def test_few_are_read_at_once() -> None:
    """Who comes alone waits for no turn; those who left meanwhile are not read."""
    seen: list[str] = []

    def take(sent: Sent) -> None:
        seen.append(sent.name)

    taking = Taking(take, whose, WallClock())  # type: ignore[arg-type]
    for number in range(SMALL_IN_A_TURN):
        taking.put(Sent("a", str(number)))  # type: ignore[arg-type]
    assert len(seen) == SMALL_IN_A_TURN
    gone = Sent("b", "gone")
    taking.put(gone)  # type: ignore[arg-type]
    gone.is_gone = True
    await turns(3)
    taking.put(Sent("a", "next"))  # type: ignore[arg-type]
    assert seen[SMALL_IN_A_TURN:] == ["next"]


def sent_by(body: bytes, **headers: str) -> Exchange:
    """From one address, with these headers."""
    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    wire: Wire = None  # type: ignore[assignment]
    return Exchange(
        wire, b"POST", b"/v1/completions", pairs, body, stays=True, is_chunked=True, peer="10.0.0.9"
    )


def test_a_line_is_a_tenants() -> None:
    """By the body's `user` where nothing else tells; made-up keys have their address's line."""
    key = "sk-scope-acme"
    callers = Tenants(WallClock())
    assert sender(sent_by(b'{"user": "ann"}'), callers) == "tenant ann"
    assert sender(sent_by(b"x" * 9_000 + b'"user":"ann"}'), callers) == "tenant ann"
    assert sender(sent_by(b"{"), callers) == "tenant anonymous"
    callers.book = book_of({"tenant": {"acme": {"keys": [hash_of(key)]}}}, "tenants.toml")
    assert sender(sent_by(b"", authorization=f"Bearer {key}"), callers) == "tenant acme"
    made_up = {sender(sent_by(b"", authorization=f"Bearer sk-{n}"), callers) for n in range(9)}
    assert made_up == {"10.0.0.9"}
    assert (callers.unauthorized, callers.shared) == (0, 0)


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
