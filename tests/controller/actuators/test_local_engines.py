"""A fleet of real llama-servers: replicas come and go under load, and no request is lost."""

import asyncio
import json

import httpx2
import pytest

from controller.actuators.careful import Careful
from controller.actuators.local_fleet import LocalFleet, LocalPool, LocalSettings
from servescope.live import obtain, tiny_model
from store.clock import WallClock

pytestmark = pytest.mark.engine

BUILD_LLAMA = "no llama-server: `make engine` builds one in minutes"
LIMIT = 60.0


@pytest.fixture
def settings(tmp_path):
    """A fleet of llama-servers with a tiny random model; skips where there is none."""
    found = obtain.find()
    if found is None:
        pytest.skip(BUILD_LLAMA)
    model = tiny_model.write(obtain.cache_folder() / "model" / "servescope-tiny.gguf")
    command = (
        *(str(found), "-m", str(model), "--alias", "tiny", "--host", "{host}", "--port", "{port}"),
        *("-c", "8192", "-np", "4", "-t", "1", "-tb", "1", "--metrics", "--no-webui"),
    )
    pool = LocalPool(command, most=4, model="tiny", leave_seconds=0.2)
    first = 18_700
    return LocalSettings(tmp_path / "fleet", {"chat": pool}, first, first + 7)


async def ready(fleet, count):
    """Wait until so many take requests."""
    clock = WallClock()
    begun = clock.monotonic()
    while len(fleet.endpoints("chat")) != count:
        assert clock.monotonic() - begun < LIMIT, "they were not ready in time"
        await clock.sleep(0.05)


async def stream(url, tokens):
    """Tokens of one streamed answer, and why it ended."""
    body = {"prompt": "the queue of a", "max_tokens": tokens, "stream": True, "ignore_eos": True}
    chunks, reason = 0, None
    async with (
        httpx2.AsyncClient(base_url=url, timeout=30.0, trust_env=False) as client,
        client.stream("POST", "/v1/completions", json=body) as answer,
    ):
        async for line in answer.aiter_lines():
            if line.startswith("data: {"):
                chunks += 1
                reason = json.loads(line[6:])["choices"][0]["finish_reason"] or reason
    return chunks, reason


async def test_no_request_is_lost_when_replicas_leave(settings):
    """Requests that run on a replica that is to leave are answered to their last token."""
    fleet = LocalFleet(settings, WallClock())
    actuator = Careful(fleet, WallClock())
    try:
        assert (await actuator.apply("chat", 3, "up")).outcome == "applied"
        await ready(fleet, 3)
        starts = [one for one in fleet.take_starts() if one.phase == "ready"]
        assert len(starts) == 3
        urls = [one.url for one in fleet.endpoints("chat")]
        asked = [asyncio.create_task(stream(url, 600)) for url in urls]
        await WallClock().sleep(0.2)
        assert (await actuator.apply("chat", 1, "down")).outcome == "applied"
        await ready(fleet, 1)
        for chunks, reason in await asyncio.gather(*asked):
            assert reason == "length"
            assert chunks > 100
        clock, begun = WallClock(), WallClock().monotonic()
        while (await fleet.read("chat")).draining:
            assert clock.monotonic() - begun < LIMIT
            await clock.sleep(0.05)
        told = json.loads((settings.folder / "targets.json").read_text())
        assert [group["labels"]["model"] for group in told] == ["tiny"]
    finally:
        assert await fleet.end()
        await fleet.aclose()
