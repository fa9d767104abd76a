"""One request as all that decides about it sees it: sizes, tenant and times, never the prompt."""

from __future__ import annotations

import math
from dataclasses import dataclass

PREFIX_BLOCK_TOKENS = 64
"""Prompts are compared by blocks of so many tokens; the router of each engine has its own size."""

ONLINE = "online"


@dataclass(frozen=True, slots=True)
class SloClass:
    """What requests of one kind are promised.

    Attributes:
        name: "online", "batch", …
        ttft_seconds: bound of the first token; None promises nothing.
        tpot_seconds: bound of the time between tokens; None promises nothing.
        priority: higher goes first; 0 is usual.
        is_best_effort: fills only what the others leave, and may be put back in the queue.
    """

    name: str = ONLINE
    ttft_seconds: float | None = None
    tpot_seconds: float | None = None
    priority: int = 0
    is_best_effort: bool = False


@dataclass(slots=True, eq=False)
class Ask:
    """One request. Times are seconds of the gateway's monotonic clock.

    Sizes that were estimated stay as they are until it is over: sums are kept of them. What the
    engine says of the prompt goes to `told_input_tokens`.

    Attributes:
        number: in the order of arrival at this gateway.
        arrived: when its last byte had been read.
        tenant: who pays; never empty ("anonymous" where nobody said).
        model: as the client named it.
        input_tokens: of the prompt, estimated.
        expected_output_tokens: mean of the predicted length; > 0.
        likely_output_tokens: its 0.9 quantile; never more than `most_output_tokens`.
        most_output_tokens: what the client allows; None where it did not say.
        weight: the tenant's share, > 0; 2 may have twice as much as 1.
        slo: class.
        session: conversation or program the request belongs to; "" is none.
        prefix: hashes of the prompt's beginning, the n-th of its first n blocks of
            PREFIX_BLOCK_TOKENS.
        deadline: when nobody waits for it any more.
        started: when it was handed to a replica; NaN before.
        first: when its first token came; NaN before.
        instance: name of the replica that has it; "" while it waits.
        cached_tokens: of the prompt that the replica is thought, or said, to have kept.
        output_tokens: so far.
        told_input_tokens: of the prompt, by the engine; None before, or where it does not tell.
        is_stream: whether its tokens come one by one; else nobody sees the first.
        is_computed: whether its prompt is computed, as far as is known.
        attempt: 1 for the first try.
        tried: replicas that failed it; others are preferred.
        fingerprint: hash of the whole prompt, by which it is known again; 0 is unknown.
    """

    number: int
    arrived: float
    tenant: str
    model: str
    input_tokens: int
    expected_output_tokens: float
    likely_output_tokens: float
    most_output_tokens: int | None = None
    weight: float = 1.0
    slo: SloClass = SloClass()
    session: str = ""
    prefix: tuple[int, ...] = ()
    deadline: float = math.inf
    started: float = math.nan
    first: float = math.nan
    instance: str = ""
    cached_tokens: int = 0
    output_tokens: int = 0
    told_input_tokens: int | None = None
    is_stream: bool = True
    is_computed: bool = False
    attempt: int = 1
    tried: tuple[str, ...] = ()
    fingerprint: int = 0

    @property
    def has_started(self) -> bool:
        """Whether a replica has it."""
        return not math.isnan(self.started)

    @property
    def has_first(self) -> bool:
        """Whether its first token came."""
        return not math.isnan(self.first)

    @property
    def held_tokens(self) -> int:
        """Tokens it takes of a replica's cache now."""
        return self.input_tokens + self.output_tokens
