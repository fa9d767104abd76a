"""The gateway's own life: health, pages, TLS, and an end that lets streams end."""

from __future__ import annotations

import asyncio
import json
import shutil
import ssl
import subprocess

import pytest

from controller.gateway.doubles.client import Client
from controller.gateway.doubles.engine import (
    CHUNKED,
    DONE,
    Asked,
    Engine,
    framed,
    running,
    whole,
    word,
)

CHAT = {"model": "tiny", "messages": [{"role": "user", "content": "hello"}]}
STREAMED = {**CHAT, "stream": True}


async def test_an_end_lets_streams_end_and_takes_nothing_new(gateway):
    """After SIGTERM new connections are refused; what runs is whole."""
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def script(asked: Asked) -> None:
        asked.writer.write(CHUNKED + framed(word("a")))
        begun.set()
        await go_on.wait()
        asked.writer.write(framed(word("b", "stop")) + framed(DONE) + b"0\r\n\r\n")

    async with running(Engine(script)) as engine, gateway(engine, drain_seconds=10.0) as one:
        client, idle = await one.talk(), await one.talk()
        client.post(STREAMED)
        await begun.wait()
        one.stop.set()
        assert await idle.is_closed()
        try:
            await one.talk()
            is_refused = False
        except OSError:
            is_refused = True
        go_on.set()
        answer = await client.answer()
        assert await client.is_closed()
    assert is_refused
    assert answer.is_whole
    assert answer.body.endswith(DONE)


async def test_what_does_not_end_in_time_is_told_so(gateway):
    """A stream gets an error event, a request that waits gets 503; both rows say why."""

    async def script(asked: Asked) -> None:
        asked.writer.write(CHUNKED + framed(word("a")))
        await asked.reader.read()

    async with running(Engine(script, slots=1)) as engine, gateway(engine) as one:
        streams, waits = await one.talk(), await one.talk()
        streams.post(STREAMED)
        while not engine.asked:
            await asyncio.to_thread(lambda: None)
        waits.post(CHAT)
        while not one.made.gate.waiting:
            await asyncio.to_thread(lambda: None)
        one.stop.set()
        broken, refused = await streams.answer(), await waits.answer()
        attempts = await one.kept.until(2)
    assert not broken.is_whole
    assert b'"draining"' in broken.body
    assert (refused.status, refused.error["code"]) == (503, "draining")
    assert {each.reason for each in attempts} == {"draining"}


async def test_pages_say_how_it_is(gateway):
    """Alive, ready, metrics without tenants, and a status for this machine."""
    async with running(Engine()) as engine, gateway(engine) as one:
        client = await one.talk()
        client.post({**CHAT, "user": "secret-tenant"})
        assert (await client.answer()).status == 200
        answers = {}
        for path in ("/healthz", "/readyz", "/metrics", "/gateway/status"):
            client.get(path)
            answers[path] = await client.answer()
        one.made.gate.instances["e0"].mark("ejected", 0.0)
        client.get("/readyz")
        unready = await client.answer()
    assert {answer.status for answer in answers.values()} == {200}
    metrics = answers["/metrics"].body.decode()
    assert 'servescope_gateway_attempts_total{reason="",status="ok"} 1.0' in metrics
    assert "secret-tenant" not in metrics
    status = json.loads(answers["/gateway/status"].body)
    assert status["policies"]["line"] == "vtc-deadline"
    assert status["instances"][0]["seats"] == 4
    assert unready.status == 503


async def test_an_engine_that_is_ill_is_left_out_and_comes_back(gateway):
    """By its own health, without any request."""
    engine = Engine()
    async with running(engine), gateway(engine, probe_seconds=0.05) as one:
        instance = one.made.gate.instances["e0"]
        engine.health = whole({"error": "loading"}, "503 Service Unavailable")
        while instance.state == "ready":
            await asyncio.to_thread(lambda: None)
        assert one.made.health.upstreams["e0"].problem == "answers 503"
        engine.health = whole({"status": "ok"})
        while instance.state != "ready":
            await asyncio.to_thread(lambda: None)


async def test_five_errors_in_a_row_leave_a_replica_out(gateway):
    """One that answers 500 to everything while its health is fine; the other serves."""

    async def fails(asked: Asked) -> None:
        asked.writer.write(whole({"error": {"message": "no"}}, "500 Internal Server Error"))

    async with running(Engine(fails)) as bad, running(Engine()) as good, gateway(bad, good) as one:
        client = await one.talk()
        for _ in range(40):
            client.post(CHAT)
            await client.answer()
        assert one.made.gate.instances["e0"].state == "ejected"
        client.post(CHAT)
        assert (await client.answer()).status == 200


async def test_it_serves_tls(gateway, tmp_path):
    """With a certificate by setting, streams and all."""
    certificate, key = _certificate(tmp_path)
    files = {"tls_certificate": str(certificate), "tls_key_file": str(key)}
    async with running(Engine()) as engine, gateway(engine, **files) as one:
        trusted = ssl.create_default_context(cafile=str(certificate))
        reader, writer = await asyncio.open_connection(one.host, one.port, ssl=trusted)
        client = Client(reader, writer)
        one.clients.append(client)
        client.post(STREAMED)
        answer = await client.answer()
    assert answer.body.endswith(DONE)


def _certificate(folder):
    """Of its own, for 127.0.0.1; skips without openssl."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a certificate with")
    pem, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1", "-addext",
         "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(pem)],
        check=True, capture_output=True,
    )  # fmt: skip
    return pem, key
