"""Open-loop load: requests leave when they are due, whether the engine keeps up or not.

Times count from the intended moment, so that waiting for our own client is not hidden (coordinated
omission). TPOT = (last token - first token) / (output tokens - 1).
"""

from __future__ import annotations

import asyncio
import json
import math
import random
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import httpx2

from analysis.latency import tpot_seconds
from store.clock import Clock

MOST_IN_FLIGHT = 64
REQUEST_SECONDS = 60.0
_WORDS = ("the", "queue", "of", "a", "busy", "engine", "grows", "until", "somebody", "counts")


@dataclass(frozen=True, slots=True)
class Client:
    """Who asks: a tenant with its own pace and lengths.

    Attributes:
        tenant: its name.
        requests_per_second: mean rate; gaps are exponential.
        input_words: about how long its prompts are.
        output_tokens: the most it asks for.
        swing_ratio: how far the rate goes up and down around its mean, 0 to 1.
        swing_seconds: from one high to the next.
        fields: of the request body, in place of the usual ones.
    """

    tenant: str
    requests_per_second: float
    input_words: int
    output_tokens: int
    swing_ratio: float = 0.0
    swing_seconds: float = 1200.0
    fields: Mapping[str, Any] = field(default_factory=dict)


CLIENTS = (
    Client("chat", 2.0, 30, 40),
    Client("agent", 0.5, 120, 20),
    Client("batch", 0.2, 250, 120),
)
"""The demo's own: unequal, as real ones are."""


@dataclass(frozen=True, slots=True)
class Sent:
    """One request as its sender saw it; columns as of `store.append.REQUEST_FRAME`."""

    request_id: str
    arrived_at: datetime
    status: str
    tenant: str
    model: str
    instance: str
    finish_reason: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    ttft_seconds: float | None = None
    tpot_seconds: float | None = None
    e2e_seconds: float | None = None


@dataclass(slots=True)
class _Stream:
    """What one streamed answer has told so far; seconds of the clock."""

    first: float | None = None
    last: float | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    finish_reason: str | None = None


class _Under(NamedTuple):
    """What requests run under: the client that asks, and the group that waits for them."""

    asker: httpx2.AsyncClient
    group: asyncio.TaskGroup


class Load:
    """Sends requests of several clients to one engine and reports each when it is over.

    Args:
        url: of the engine; loopback.
        clock: the time.
        report: takes each request when it has ended.
        clients: who asks.
        seed: of gaps and lengths.
        name: goes in front of request ids, so that two loads never share one.
    """

    def __init__(
        self,
        url: str,
        clock: Clock,
        report: Callable[[Sent], None],
        *,
        clients: Sequence[Client] = CLIENTS,
        seed: int = 7,
        name: str = "load",
    ) -> None:
        self._url = url
        self._clock = clock
        self._report = report
        self._clients = clients
        self._seed = seed
        self._name = name
        self._instance = url.removeprefix("http://")
        self._slots = asyncio.Semaphore(MOST_IN_FLIGHT)

    async def run(self, seconds: float) -> None:
        """Send for `seconds`, then wait for what is still under way."""
        # One connection a request: llama-server closes it after a stream although it says not to.
        limits = httpx2.Limits(max_connections=None, max_keepalive_connections=0)
        async with (
            httpx2.AsyncClient(
                base_url=self._url, timeout=REQUEST_SECONDS, limits=limits, trust_env=False
            ) as asker,
            asyncio.TaskGroup() as group,
        ):
            for number, client in enumerate(self._clients):
                group.create_task(self._send(client, number, seconds, _Under(asker, group)))

    async def _send(self, client: Client, number: int, seconds: float, under: _Under) -> None:
        dice = random.Random(f"{self._seed}-{number}")  # noqa: S311 - load, not secrets
        began = self._clock.monotonic()
        for count, due in enumerate(_moments(client, dice, seconds)):
            wait = began + due - self._clock.monotonic()
            if wait > 0:
                await self._clock.sleep(wait)
            body = _body(client, dice)
            identity = f"{self._name}-{client.tenant}-{count}"
            under.group.create_task(self.ask(under.asker, client, identity, body, began + due))

    async def ask(
        self,
        asker: httpx2.AsyncClient,
        client: Client,
        identity: str,
        body: dict[str, Any],
        due: float,
    ) -> None:
        """Send one request and report it when it is over.

        Args:
            asker: a client of the engine.
            client: who asks.
            identity: of the request.
            body: what is sent.
            due: when it was meant to leave, seconds of the clock.
        """
        heard = _Stream()
        status = "ok"
        async with self._slots:
            try:
                async with asyncio.timeout(REQUEST_SECONDS):
                    await self._stream(asker, body, heard)
            except httpx2.HTTPStatusError as error:
                status = "refused" if error.response.status_code in (429, 503) else "failed"
            except (httpx2.HTTPError, TimeoutError, ValueError):
                status = "failed"
        arrived = self._clock.now() - timedelta(seconds=self._clock.monotonic() - due)
        self._report(_sent(client, identity, self._instance, arrived, status, heard, due))

    async def _stream(
        self, asker: httpx2.AsyncClient, body: dict[str, Any], heard: _Stream
    ) -> None:
        async with asker.stream("POST", "/v1/completions", json=body) as answer:
            answer.raise_for_status()
            async for piece in _events(answer):
                self._hear(piece, heard)
        if heard.first is None:
            raise ValueError("the answer held no token")

    def _hear(self, piece: dict[str, Any], heard: _Stream) -> None:
        choice: dict[str, Any] = next(iter(piece.get("choices") or []), {})
        if choice.get("text"):
            heard.last = self._clock.monotonic()
            heard.first = heard.first or heard.last
        heard.finish_reason = choice.get("finish_reason") or heard.finish_reason
        usage = piece.get("usage") or {}
        heard.input_tokens = usage.get("prompt_tokens", heard.input_tokens)
        heard.output_tokens = usage.get("completion_tokens", heard.output_tokens)


def _moments(client: Client, dice: random.Random, seconds: float) -> Iterator[float]:
    """Poisson arrivals, thinned where the rate swings: seconds from the start."""
    highest = client.requests_per_second * (1 + client.swing_ratio)
    due = dice.expovariate(highest)
    while due < seconds:
        turn = math.sin(2 * math.pi * due / client.swing_seconds)
        share = (1 + client.swing_ratio * turn) / (1 + client.swing_ratio)
        if share >= 1 or dice.random() < share:
            yield due
        due += dice.expovariate(highest)


def _body(client: Client, dice: random.Random) -> dict[str, Any]:
    words = dice.choices(_WORDS, k=max(1, round(client.input_words * dice.lognormvariate(0, 0.4))))
    return {
        "model": "tiny",
        "prompt": " ".join(words),
        "max_tokens": max(2, round(client.output_tokens * dice.uniform(0.3, 1.0))),
        "stream": True,
        "stream_options": {"include_usage": True},
        "ignore_eos": True,
        "cache_prompt": False,
        **client.fields,
    }


async def _events(answer: httpx2.Response) -> AsyncIterator[dict[str, Any]]:
    async for line in answer.aiter_lines():
        if line.startswith("data: ") and line != "data: [DONE]":
            yield json.loads(line[6:])


def _sent(
    client: Client,
    identity: str,
    instance: str,
    arrived_at: datetime,
    status: str,
    heard: _Stream,
    due: float,
) -> Sent:
    sent = Sent(
        request_id=identity,
        arrived_at=arrived_at.replace(tzinfo=None),
        status=status,
        tenant=client.tenant,
        model="tiny",
        instance=instance,
        finish_reason=heard.finish_reason,
        input_tokens=heard.input_tokens,
        output_tokens=heard.output_tokens,
    )
    if status != "ok" or heard.first is None or heard.last is None:
        return sent
    return replace(
        sent,
        ttft_seconds=heard.first - due,
        tpot_seconds=tpot_seconds(heard.first, heard.last, heard.output_tokens or 0),
        e2e_seconds=heard.last - due,
    )
