"""The chair: one server has it, the others pass on what is for it."""

import asyncio
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import httpx2
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route

from controller.leases.kept import KeptLeases
from controller.leases.memory import MemoryLeaseTable
from servescope.access.caller import Caller, calling
from servescope.chair.chair import CHAIR, Chair, owner_text
from servescope.chair.pass_on import PassOn
from servescope.listening import bind, url_of
from store.access import Rights
from store.clock import VirtualClock

NOW = datetime(2026, 1, 31, tzinfo=UTC)
SECONDS = 9.0


@pytest.fixture
def clock():
    return VirtualClock(NOW)


@pytest.fixture
def table(clock):
    return MemoryLeaseTable(clock)


def chair_of(table, clock, url):
    owner = owner_text(url)
    leases = KeptLeases(table, owner, clock, SECONDS, [CHAIR])
    return leases, Chair(leases, owner, clock)


async def a_while():
    """Let whatever is ready go on."""
    await asyncio.wait_for(asyncio.get_running_loop().run_in_executor(None, int), 5)


async def test_the_chair_is_won_lost_and_never_two_servers(table, clock):
    """The second waits until the first is gone; the first knows when it is not its own any more."""
    leases, one = chair_of(table, clock, "http://one:1")
    others, other = chair_of(table, clock, "http://other:2/")
    leases.round()
    others.round()
    await asyncio.wait_for(one.won(), 5)
    assert (one.is_ours, one.holder_url) == (True, None)
    assert (other.is_ours, other.holder_url) == (False, "http://one:1")
    losing = asyncio.create_task(one.lost())
    clock.advance(SECONDS + 1)
    await a_while()
    assert not losing.done(), "out of date, but nobody else's"
    others.round()
    leases.round()
    clock.advance(1)
    await asyncio.wait_for(losing, 5)
    assert one.holder_url == "http://other:2"


async def test_while_nobody_can_be_asked_the_chair_is_not_lost(table, clock):
    """The place of leases is away for long: what needs the chair waits, and then goes on."""
    leases, one = chair_of(table, clock, "http://one:1")
    leases.round()
    table.is_away = True
    clock.advance(SECONDS * 2)
    leases.round()
    losing = asyncio.create_task(one.lost())
    await a_while()
    assert not one.is_ours
    assert not losing.done()
    assert one.holder_url is None
    table.is_away = False
    leases.round()
    assert one.is_ours
    losing.cancel()


async def told(request: Request):
    """What the server with the chair got."""
    if request.url.path == "/desk/long":
        return StreamingResponse(iter([b"one ", b"two"]), status_code=418, headers={"X-Own": "1"})
    return JSONResponse(
        {
            "method": request.method, "path": str(request.url.path), "query": request.url.query,
            "body": (await request.body()).decode(), "host": request.headers["host"],
            "key": request.headers.get("authorization"), "cookie": request.headers.get("cookie"),
            "is_passed": "servescope-passed" in request.headers,
        }
    )  # fmt: skip


@pytest.fixture
async def holder():
    """A real server with the chair."""
    app = Starlette(routes=[Route("/{path:path}", told, methods=["GET", "POST", "DELETE"])])
    server = uvicorn.Server(uvicorn.Config(app, log_config=None))
    with bind("127.0.0.1:0") as sock:
        running = asyncio.create_task(server.serve(sockets=[sock]))
        while not server.started:
            await a_while()
        yield url_of(sock)
        server.should_exit = True
        await running


class Away:
    """A chair that somebody else has."""

    is_ours = False

    def __init__(self, url):
        self.holder_url = url


@asynccontextmanager
async def standing_by(url):
    """A client of a server that stands by."""
    own = Starlette(routes=[Route("/{path:path}", lambda _: JSONResponse("own"))])
    app = PassOn(own, chair=Away(url), roots=("/desk",), key="the peers' key")
    way = httpx2.ASGITransport(app)
    async with httpx2.AsyncClient(transport=way, base_url="http://fleet.example") as client:
        yield client.request
    await app._client.aclose()


async def test_what_is_for_the_chair_is_passed_on_as_it_came(holder):
    """Method, path, query, body, cookies and the name that was asked; and the answer comes back."""
    async with standing_by(holder) as ask:
        answer = await ask("POST", "/desk/a%20b?x=1&y=%2F", content="text",
                           headers={"Cookie": "session=1"})  # fmt: skip
        assert answer.json() == {
            "method": "POST", "path": "/desk/a b", "query": "x=1&y=%2F", "body": "text",
            "host": "fleet.example", "key": None, "cookie": "session=1", "is_passed": True,
        }  # fmt: skip
        answer = await ask("GET", "/desk/long")
    assert (answer.status_code, answer.text, answer.headers["x-own"]) == (418, "one two", "1")


async def test_what_every_server_can_it_answers_itself(holder):
    """And a path that only begins like one of the chair's is another."""
    async with standing_by(holder) as ask:
        for path in ("/rows", "/desks", "/"):
            assert (await ask("GET", path)).json() == "own"
        assert (await ask("GET", "/desk")).json()["is_passed"]


async def test_commands_of_this_machine_are_let_in_there_by_the_key_of_the_peers(holder):
    """The other server does not know the key that lies beside our store."""
    async with standing_by(holder) as ask:
        with calling(Caller("local", "", Rights())):
            answer = await ask("GET", "/desk", headers={"Authorization": "Bearer our own key"})
        assert answer.json()["key"] == "Bearer the peers' key"
        answer = await ask("GET", "/desk", headers={"Authorization": "Bearer ss_token"})
        assert answer.json()["key"] == "Bearer ss_token"


@pytest.mark.parametrize("url", [None, "http://127.0.0.1:1"])
async def test_while_nobody_has_the_chair_whoever_asks_is_told_to_come_again(url):
    """503 with Retry-After, in a moment."""
    async with standing_by(url) as ask:
        answer = await ask("GET", "/desk")
        page = await ask("GET", "/desk", headers={"Accept": "text/html"})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "3")
    assert "another takes over" in answer.json()["detail"]
    assert page.status_code == 503
    assert 'http-equiv="refresh"' in page.text


async def test_what_was_passed_on_once_is_not_passed_on_again(holder):
    """Two servers that take each other for the holder do not send a request to and fro."""
    async with standing_by(holder) as ask:
        answer = await ask("GET", "/desk", headers={"Servescope-Passed": "1"})
    assert answer.status_code == 503
