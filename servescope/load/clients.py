"""Made-up clients as a plan: each a tenant with its own pace and lengths."""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from servescope.load.planning import BLOCK_TOKENS, Planned


@dataclass(frozen=True, slots=True)
class Client:
    """Who asks.

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


def of_clients(clients: Sequence[Client], seconds: float, seed: int = 7) -> Iterator[Planned]:
    """What they ask for in that time, as it comes due; a load of hours takes no memory."""
    streams = (
        _of_client(client, random.Random(f"{seed}-{number}"), seconds)  # noqa: S311 - load
        for number, client in enumerate(clients)
    )
    merged = heapq.merge(*streams, key=lambda one: one[0])
    for number, (at, tenant, words, tokens) in enumerate(merged):
        yield _planned(number, at, tenant, words, tokens, seed)


def of_sizes(sizes: Iterable[tuple[float, int, int]], tenant: str, seed: int = 7) -> list[Planned]:
    """One tenant's requests.

    Args:
        sizes: (seconds after the start, input tokens, output tokens), by time.
        tenant: who asks.
        seed: of the words or tokens that are sent.
    """
    return [
        _planned(number, at, tenant, prompt, output, seed)
        for number, (at, prompt, output) in enumerate(sizes)
    ]


def arrivals(client: Client, dice: random.Random, seconds: float) -> Iterator[float]:
    """Poisson, thinned where the rate swings: seconds from the start."""
    highest = client.requests_per_second * (1 + client.swing_ratio)
    due = dice.expovariate(highest)
    while due < seconds:
        turn = math.sin(2 * math.pi * due / client.swing_seconds)
        share = (1 + client.swing_ratio * turn) / (1 + client.swing_ratio)
        if share >= 1 or dice.random() < share:
            yield due
        due += dice.expovariate(highest)


def _of_client(
    client: Client, dice: random.Random, seconds: float
) -> Iterator[tuple[float, str, int, int]]:
    for due in arrivals(client, dice, seconds):
        words = max(1, round(client.input_words * dice.lognormvariate(0, 0.4)))
        tokens = max(2, round(client.output_tokens * dice.uniform(0.3, 1.0)))
        yield due, client.tenant, words, tokens


def _planned(number: int, at: float, tenant: str, prompt: int, output: int, seed: int) -> Planned:
    """Of no session: its words are its own."""
    words = seed * 1_000_003 + number
    return Planned(number, at, tenant, "", prompt, output, BLOCK_TOKENS, words)
