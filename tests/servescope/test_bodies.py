"""Bodies from outside: bounded, unpacked, not waited for without end."""

import asyncio
import gzip
import tracemalloc
from contextlib import suppress

import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.testclient import TestClient

from servescope.api import problems
from servescope.api.bodies import (
    BodyRules,
    BodySlow,
    BodyTooLarge,
    BodyUnreadable,
    DoorFull,
    Room,
    gunzip,
    read_body,
)

RULES = BodyRules(most_bytes=1000)


def app_of(rules):
    app = FastAPI()
    problems.install(app)

    @app.post("/door")
    async def door(request: Request) -> dict:
        return {"length": len(await read_body(request, rules))}

    return app


@pytest.fixture
def door():
    return TestClient(app_of(RULES))


def request_of(messages, headers=()):
    async def receive():
        return await messages.pop(0)() if callable(messages[0]) else messages.pop(0)

    raw = [(name.encode(), value.encode()) for name, value in headers]
    return Request({"type": "http", "method": "POST", "path": "/", "headers": raw}, receive)


def part(body, more=True):
    return {"type": "http.request", "body": body, "more_body": more}


def test_a_plain_and_a_packed_body_are_read(door):
    """Both encodings give the same bytes."""
    assert door.post("/door", content=b"x" * 900).json() == {"length": 900}
    packed = door.post(
        "/door", content=gzip.compress(b"x" * 900), headers={"Content-Encoding": "GZIP"}
    )
    assert packed.json() == {"length": 900}


def test_the_limit_counts_after_unpacking(door):
    """A small packed body that unpacks to a large one is refused as too large."""
    answer = door.post(
        "/door", content=gzip.compress(b"0" * 1001), headers={"Content-Encoding": "gzip"}
    )
    assert answer.status_code == 413
    assert answer.json()["code"] == "too_large"


def test_a_bomb_is_cut_off_before_it_fills_the_memory():
    """200 MiB of zeros in 200 kB cost no more memory than the limit allows."""
    bomb = gzip.compress(bytes(200 << 20), 9)
    tracemalloc.start()
    with pytest.raises(BodyTooLarge):
        gunzip(bomb, 1 << 20)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20


def test_a_long_body_is_refused_by_its_length(door):
    """Nothing of a body that says it is too long is read."""

    async def never():
        raise AssertionError("the body was asked for")

    request = request_of([never], [("content-length", "1000000000")])
    with pytest.raises(BodyTooLarge):
        asyncio.run(read_body(request, RULES))


async def test_a_body_without_a_length_is_cut_off_at_the_limit():
    """A sender that does not say how much comes is stopped on the way."""
    parts = [part(b"x" * 400) for _ in range(10)]
    with pytest.raises(BodyTooLarge):
        await read_body(request_of(parts), RULES)
    assert len(parts) == 7


async def test_a_slow_sender_is_let_go():
    """A sender that stops within the body gets 408 and the connection back."""

    async def silence():
        await asyncio.Event().wait()

    rules = BodyRules(most_bytes=1000, idle_seconds=0.01)
    with pytest.raises(BodySlow) as refused:
        await read_body(request_of([part(b"x"), silence]), rules)
    answer = problems.from_error(refused.value)
    assert (answer.status_code, answer.headers["connection"]) == (408, "close")


async def test_a_sender_that_drips_is_let_go():
    """One byte now and then does not keep a door open for ever."""

    async def drip():
        await asyncio.wait([asyncio.ensure_future(asyncio.Event().wait())], timeout=0.004)
        return part(b"x")

    rules = BodyRules(most_bytes=1000, seconds=0.05, idle_seconds=0.04)
    with pytest.raises(BodySlow):
        await read_body(request_of([drip] * 100), rules)


async def test_a_sender_that_leaves_is_no_fault_of_ours():
    """A connection that breaks within the body is an unreadable body."""
    with pytest.raises(BodyUnreadable):
        await read_body(request_of([part(b"x"), {"type": "http.disconnect"}]), RULES)


def test_a_door_holds_so_many_requests_and_bytes_at_once():
    """What does not fit is told to come again; a place is free again when its request is done."""
    room = Room(most_requests=2, most_bytes=100)
    with room.entered() as hold:
        hold(60)
        with room.entered() as other, pytest.raises(DoorFull):
            other(60)
        with room.entered(), pytest.raises(DoorFull), room.entered():
            pass
    assert (room.requests, room.bytes) == (0, 0)
    assert problems.from_error(DoorFull("full")).headers["retry-after"] == "1"


def test_an_unknown_encoding_is_refused_by_name(door):
    """The answer says what is taken."""
    answer = door.post("/door", content=b"x", headers={"Content-Encoding": "br"})
    assert answer.status_code == 415
    assert "gzip" in answer.json()["hint"]


def test_a_door_can_bring_its_own_encoding():
    """Snappy and the like are the door's to add."""
    rules = BodyRules(unpackers={"twice": lambda body, most: body * 2})
    answer = TestClient(app_of(rules)).post(
        "/door", content=b"abc", headers={"Content-Encoding": "twice"}
    )
    assert answer.json() == {"length": 6}


@given(st.lists(st.binary(max_size=300), max_size=3))
def test_members_of_gzip_follow_each_other(parts):
    """A file of several members is their contents, one behind the other."""
    assert gunzip(b"".join(map(gzip.compress, parts)), 1000) == b"".join(parts)


def test_a_body_of_very_many_tiny_members_is_refused_at_once():
    """Each member costs time though nothing comes out of it; a few thousand are taken."""
    empty = gzip.compress(b"")
    assert gunzip(empty * 9_999 + gzip.compress(b"x"), 10) == b"x"
    with pytest.raises(BodyUnreadable, match="members"):
        gunzip(empty * 500_000, 10)


@given(st.binary(max_size=200), st.integers(0, 60))
def test_damaged_gzip_is_refused_and_never_a_fault(body, cut):
    """Whatever the bytes are, they are unpacked or refused."""
    for packed in (body, gzip.compress(body)[:-cut] + body):
        with suppress(BodyTooLarge, BodyUnreadable):
            assert len(gunzip(packed, 1000)) <= 1000
