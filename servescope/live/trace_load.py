"""A recorded trace sent to real engines: its arrivals and sizes, meaningless tokens.

Requests leave when they are due, each to the engine that has the fewest of ours under way.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import httpx2

from servescope.live.load import REQUEST_SECONDS, Client, Load, Sent
from store.clock import Clock

# Byte tokens; the rest of a vocabulary may hold control tokens.
_TOKENS = 256
# Between two looks for an engine, where there is none.
_LOOK_SECONDS = 0.1
LLAMA_FIELDS: Mapping[str, Any] = {
    "cache_prompt": False,
    # Half a character is not sent before the other half: bytes beyond ASCII would hide tokens.
    "logit_bias": [[token, False] for token in range(127, _TOKENS)],
}
"""What llama-server is asked besides."""


@dataclass(frozen=True, slots=True)
class Planned:
    """One request to send.

    Attributes:
        at_seconds: after the start.
        input_tokens: at least 1.
        output_tokens: at least 1.
    """

    at_seconds: float
    input_tokens: int
    output_tokens: int


class TraceLoad:
    """Sends planned requests to engines behind one router.

    Args:
        urls: of the engines, loopback; or what tells them, where they come and go.
        clock: the time.
        report: takes each request when it has ended.
        name: goes in front of request ids.
        tenant: who asks.
        seed: of the tokens that are sent.
        fields: of each request besides, as the engine understands them.
    """

    def __init__(
        self,
        urls: Sequence[str] | Callable[[], Sequence[str]],
        clock: Clock,
        report: Callable[[Sent], None],
        *,
        name: str = "trace",
        tenant: str = "trace",
        seed: int = 7,
        fields: Mapping[str, Any] = LLAMA_FIELDS,
    ) -> None:
        self._clock = clock
        self._report = report
        self._urls = urls if callable(urls) else partial(list, urls)
        self._loads: dict[str, Load] = {}
        self._under_way: Counter[str] = Counter()
        self._who = Client(tenant, 0.0, 0, 0)
        self._name = name
        self._seed = seed
        self._fields = fields

    async def run(self, plan: Sequence[Planned], until: Callable[[], bool] = lambda: False) -> None:
        """Send all of it and wait for the answers.

        Args:
            plan: by time.
            until: asked before each request; True sends no more.
        """
        dice = random.Random(self._seed)  # noqa: S311 - load, not secrets
        began = self._clock.monotonic()
        async with asyncio.TaskGroup() as group:
            for number, one in enumerate(plan):
                wait = began + one.at_seconds - self._clock.monotonic()
                if wait > 0:
                    await self._clock.sleep(wait)
                if until():
                    break
                due = began + one.at_seconds
                group.create_task(self._ask(number, body_of(one, dice, self._fields), due))

    async def _ask(self, number: int, body: dict[str, Any], due: float) -> None:
        while not (urls := self._urls()):
            # No engine takes requests yet: it waits, and its time runs.
            await self._clock.sleep(_LOOK_SECONDS)
        url = min(urls, key=self._under_way.__getitem__)
        load = self._loads.setdefault(url, Load(url, self._clock, self._report, name=self._name))
        self._under_way[url] += 1
        try:
            limits = httpx2.Limits(max_connections=None, max_keepalive_connections=0)
            async with httpx2.AsyncClient(
                base_url=url, timeout=REQUEST_SECONDS, limits=limits, trust_env=False
            ) as asker:
                await load.ask(asker, self._who, f"{self._name}-{number}", body, due)
        finally:
            self._under_way[url] -= 1


def body_of(
    planned: Planned, dice: random.Random, fields: Mapping[str, Any] = LLAMA_FIELDS
) -> dict[str, Any]:
    """A completion request of exactly these sizes."""
    return {
        "model": "tiny",
        "prompt": [dice.randrange(_TOKENS) for _ in range(planned.input_tokens)],
        "max_tokens": planned.output_tokens,
        "stream": True,
        "stream_options": {"include_usage": True},
        "ignore_eos": True,
        **fields,
    }
