"""What answers say besides the engine's words: limits, replica, attempt, whether to ask again."""

from __future__ import annotations

import pytest

from controller.gateway.ask import Ask
from controller.gateway.doubles.engine import Asked, Engine, running, whole
from controller.gateway.proxy_headers import replica_headers

CHAT = {"model": "tiny", "messages": [{"role": "user", "content": "hello"}]}
STREAMED = {**CHAT, "stream": True}
LIMITS = ({"name": "token-bucket", "requests_per_minute": 60, "tokens_per_minute": 6_000},)


@pytest.mark.parametrize("body", [CHAT, STREAMED])
async def test_an_answer_says_what_its_tenant_has_left(gateway, body):
    """With this request booked; a refusal says the same limit in the same words."""
    async with running(Engine()) as engine, gateway(engine, rules=LIMITS) as one:
        client = await one.talk()
        client.post(body)
        first = (await client.answer()).headers
        client.post(body)
        second = (await client.answer()).headers
    assert first["x-ratelimit-limit-requests"] == "60"
    assert first["x-ratelimit-remaining-requests"] == "59"
    assert second["x-ratelimit-remaining-requests"] == "58"
    assert first["x-ratelimit-reset-requests"].endswith("s")
    assert int(first["x-ratelimit-remaining-tokens"]) < 6_000
    assert float(first["x-ratelimit-reset-tokens"][:-1]) > 0


async def test_a_tenant_without_limits_is_told_of_none(gateway):
    """Nothing is invented."""
    async with running(Engine()) as engine, gateway(engine) as one:
        client = await one.talk()
        client.post(CHAT)
        headers = (await client.answer()).headers
    assert not [name for name in headers if name.startswith("x-ratelimit")]


async def test_an_answer_names_its_replica_once(gateway):
    """Ours in place of the engine's; the attempt only where it was not the first."""

    async def speaks(asked: Asked) -> None:
        said = whole({"choices": []})
        own = b"x-servescope-instance: other\r\nx-ratelimit-limit-requests: 9\r\n\r\n"
        asked.writer.write(said.replace(b"\r\n\r\n", b"\r\n" + own, 1))

    async with running(Engine(speaks)) as engine, gateway(engine, rules=LIMITS) as one:
        client = await one.talk()
        client.send(
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 33\r\n\r\n"
            b'{"model": "tiny", "messages": []}'
        )
        head = (await client.reader.readuntil(b"\r\n\r\n")).lower()
    assert head.count(b"x-servescope-instance") == 1
    assert b"x-servescope-instance: e0\r\n" in head
    assert head.count(b"x-ratelimit-limit-requests") == 1
    assert b"x-ratelimit-limit-requests: 60\r\n" in head
    assert b"x-servescope-attempt" not in head


async def test_the_replica_may_stay_unnamed(gateway):
    """One setting."""
    async with running(Engine()) as engine, gateway(engine, names_instance=False) as one:
        client = await one.talk()
        client.post(CHAT)
        assert "x-servescope-instance" not in (await client.answer()).headers


async def test_a_second_attempt_is_told(gateway):
    """Who looks for slow requests sees which were tried twice, also when all failed."""

    async def breaks(asked: Asked) -> None:
        asked.writer.close()

    bad = Engine(breaks)
    async with running(bad), running(Engine()) as good, gateway(bad, good) as one:
        client = await one.talk()
        told = {}
        while not bad.asked:
            client.post(CHAT)
            told = (await client.answer()).headers
    assert (told["x-servescope-instance"], told["x-servescope-attempt"]) == ("e1", "2")

    async with running(Engine(breaks)) as only, gateway(only, retries=1) as one:
        client = await one.talk()
        client.post(CHAT)
        failed = await client.answer()
    assert (failed.status, failed.headers["x-servescope-attempt"]) == (502, "2")
    assert failed.headers["x-servescope-instance"] == "e0"
    assert "x-should-retry" not in failed.headers


async def test_what_never_helps_is_not_asked_again(gateway, tmp_path):
    """SDKs would: a wrong body, key or model, or one that is too large, stays so."""
    file = tmp_path / "tenants.toml"
    file.write_text("[tenant.a]\nkeys = ['sha256:" + "0" * 64 + "']\n")
    async with running(Engine()) as engine, gateway(engine, body_bytes=1_000) as one:
        client = await one.talk()
        answers = []
        for body in (b"{", b'{"model": "huge", "messages": []}'):
            client.post_raw(body)
            answers.append(await client.answer())
        client.post({**CHAT, "pad": "x" * 2_000})
        answers.append(await client.answer())
    async with running(Engine()) as engine, gateway(engine, tenants_file=str(file)) as one:
        client = await one.talk()
        client.post(CHAT, authorization="Bearer nobodys")
        answers.append(await client.answer())
    assert [one.status for one in answers] == [400, 404, 413, 401]
    assert {one.headers.get("x-should-retry") for one in answers} == {"false"}


def test_a_name_cannot_end_a_line():
    """Names come from files."""
    ask = Ask(1, 0.0, "a", "m", 1, 1.0, 1.0, instance="pool/ü\r\nx-evil: 1")
    ((_, said),) = replica_headers(ask, names_instance=True)
    assert said == b"pool/%C3%BC%0D%0Ax-evil:%201"
