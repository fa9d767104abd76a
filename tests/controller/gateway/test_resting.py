"""A replica that somebody rests ends what it has, and gets nothing new until it is used again."""

from __future__ import annotations

import asyncio
import json

import pytest

from controller.gateway.doubles.engine import ANSWER, Asked, Engine, running
from servescope.cli.main import main

CHAT = {"model": "tiny", "messages": [{"role": "user", "content": "hello"}]}


async def test_a_resting_replica_ends_what_it_has(gateway):
    """The other one serves meanwhile, whatever its health says; undone, it serves again."""
    begun, may_end = asyncio.Event(), asyncio.Event()
    held: list[Asked] = []

    async def script(asked: Asked) -> None:
        if not held:
            held.append(asked)
            begun.set()
            await may_end.wait()
        asked.writer.write(ANSWER)

    async with (
        running(Engine(script)) as a,
        running(Engine(script)) as b,
        gateway(a, b, probe_seconds=0.01) as one,
    ):
        first, other = await one.talk(), await one.talk()
        first.post(CHAT)
        await asyncio.wait_for(begun.wait(), 5)
        name, rests, serves = ("e0", a, b) if a.asked else ("e1", b, a)
        other.post({"instance": name, "drain": True}, "/gateway/drain",
                   content_type="application/json")  # fmt: skip
        told = json.loads((await other.answer()).body)
        for _ in range(8):
            other.post(CHAT)
            assert (await other.answer()).status == 200
        assert (len(rests.asked), len(serves.asked)) == (1, 8)
        may_end.set()
        assert (await first.answer()).status == 200
        other.post({"instance": name, "drain": False}, "/gateway/drain",
                   content_type="application/json")  # fmt: skip
        again = json.loads((await other.answer()).body)
        while len(rests.asked) < 2:
            other.post(CHAT)
            assert (await other.answer()).status == 200
    assert told == {"instance": name, "state": "draining", "running": 1}
    assert again["state"] == "ready"


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b'{"instance": "e0", "drain": true}', "text/plain", 415),
        (b"{", "application/json", 400),
        (b'{"instance": "e0"}', "application/json", 400),
        (b'{"instance": 7, "drain": true}', "application/json", 400),
        (b'{"instance": "nobody", "drain": true}', "application/json", 404),
    ],
)
async def test_what_cannot_be_done_says_why(gateway, body, kind, status):
    """And changes nothing; a page in somebody's browser may not send JSON."""
    async with running(Engine()) as engine, gateway(engine) as one:
        client = await one.talk()
        client.post_raw(body, "/gateway/drain", content_type=kind)
        answer = await client.answer()
        client.post(CHAT)
        assert (await client.answer()).status == 200
    assert answer.status == status
    assert answer.error["message"]


async def test_the_command_tells_the_gateway(gateway, capsys):
    """By its address; what it does not know is said, with what there is."""
    async with running(Engine()) as engine, gateway(engine) as one:

        async def run(*arguments: str) -> tuple[int, str]:
            code = await asyncio.to_thread(main, ["gateway", "drain", *arguments])
            told = capsys.readouterr()
            return code, told.out + told.err

        done = await run("e0", "--url", one.url)
        state = one.made.gate.instances["e0"].state
        undone = await run("e0", "--url", one.url, "--undo")
        unknown = await run("e7", "--url", one.url)
    assert (done[0], state) == (0, "draining")
    assert "gets nothing new; 0 requests run there still" in done[1]
    assert (undone[0], "e0 is ready" in undone[1]) == (0, True)
    assert unknown[0] != 0
    assert "there is no replica 'e7'; there are: e0" in unknown[1]


async def test_no_gateway_is_told_in_one_line(capsys):
    """With what to do."""
    with_nobody = ["gateway", "drain", "e0", "--url", "http://127.0.0.1:1"]
    code = await asyncio.to_thread(main, with_nobody)
    assert code == 4
    assert "give --url" in capsys.readouterr().err
