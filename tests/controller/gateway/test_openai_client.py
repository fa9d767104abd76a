"""The official `openai` client, unchanged, against the gateway over a real socket."""

from __future__ import annotations

import pytest

from controller.gateway.doubles.engine import CHUNKED, Asked, Engine, framed, running, word

openai = pytest.importorskip("openai", reason="the official client: pip install openai")

MESSAGES = [{"role": "user", "content": "hello"}]


async def test_it_works_whole_and_streaming(gateway):
    """Answers, usage, models and streams arrive as from OpenAI itself."""
    async with (
        running(Engine()) as engine,
        gateway(engine) as one,
        openai.AsyncOpenAI(base_url=f"{one.url}/v1", api_key="none") as client,
    ):
        models = await client.models.list()
        whole = await client.chat.completions.create(model="tiny", messages=MESSAGES)
        stream = await client.chat.completions.create(model="tiny", messages=MESSAGES, stream=True)
        words = [chunk.choices[0].delta.content async for chunk in stream]
    assert [model.id for model in models.data] == ["tiny"]
    assert whole.choices[0].message.content == "hello there"
    assert whole.usage.total_tokens == 11
    assert words == ["a", "b", None]
    assert {asked.headers.get("authorization") for asked in engine.asked} == {None}


async def test_errors_are_those_that_it_knows(gateway):
    """An unknown model, a refusal, a stream that breaks: each is the exception for it."""

    async def breaks(asked: Asked) -> None:
        asked.writer.write(CHUNKED + framed(word("a")))
        await asked.writer.drain()
        asked.writer.transport.abort()

    limits = {"rules": ({"name": "token-bucket", "requests_per_minute": 1},)}
    async with running(Engine(breaks)) as engine, gateway(engine, **limits) as one:
        client = openai.AsyncOpenAI(base_url=f"{one.url}/v1", api_key="none", max_retries=0)
        async with client:
            with pytest.raises(openai.NotFoundError, match="no model 'huge'"):
                await client.chat.completions.create(model="huge", messages=MESSAGES)
            stream = await client.chat.completions.create(
                model="tiny", messages=MESSAGES, stream=True
            )
            with pytest.raises(openai.APIError, match="closed the connection"):
                async for _ in stream:
                    pass
            with pytest.raises(openai.RateLimitError) as refused:
                await client.chat.completions.create(model="tiny", messages=MESSAGES)
    assert int(refused.value.response.headers["retry-after"]) > 0
    assert int(refused.value.response.headers["x-ratelimit-limit-requests"]) == 1
