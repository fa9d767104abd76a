"""Prefill and decoding pools of one stream of requests: who belongs together, how large both are.

Every request passes both, so the smaller one decides what is served, and what one cannot pass on
needs no room in the other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from controller import observation as seen
from controller.capacity import requests_per_second
from controller.observation import Limits, Objective, Observation, PoolView
from controller.policies.parts import told, up
from controller.profile import Profile


@dataclass(frozen=True, slots=True)
class Stage:
    """One of both pools.

    Attributes:
        profile: of its replicas.
        limits: of its size.
    """

    profile: Profile
    limits: Limits


@dataclass(frozen=True, slots=True)
class Pairing:
    """How large both should be.

    Attributes:
        prefill: replicas.
        decode: replicas.
        prefill_per_second: requests that one prefill replica serves.
        decode_per_second: requests that one decoding replica serves.
        served_per_second: requests that both serve together.
        binding: "prefill" or "decode" where its limit keeps both from more; "" where all is served.
        alone_seconds: to the first token on an idle pair: one prompt, and its transfer.
    """

    prefill: int
    decode: int
    prefill_per_second: float
    decode_per_second: float
    served_per_second: float
    binding: str
    alone_seconds: float

    @property
    def ratio(self) -> float:
        """Prefill replicas for each decoding one, were they divisible."""
        if self.prefill_per_second <= 0:
            return math.inf
        return self.decode_per_second / self.prefill_per_second


def paired(
    rate: float,
    input_tokens: float,
    output_tokens: float,
    prefill: Stage,
    decode: Stage,
    objective: Objective,
    hit_ratio: float = 0.0,
    margin: float = 1.0,
) -> Pairing:
    """The smallest pair that serves a rate inside the objective, as far as the limits go.

    Args:
        rate: requests a second.
        input_tokens: prompt tokens of a request, cached ones too.
        output_tokens: of a request.
        prefill: pool that computes prompts.
        decode: pool that decodes.
        objective: bounds.
        hit_ratio: of the prompt tokens that need not be computed, 0 to 1.
        margin: on the rate.
    """
    computed = input_tokens * (1 - min(max(hit_ratio, 0.0), 1.0))
    each = (
        requests_per_second(prefill.profile, objective, computed, output_tokens, "prefill"),
        requests_per_second(decode.profile, objective, input_tokens, output_tokens, "decode"),
    )
    need = max(rate, 0.0) * margin
    most = [stage.limits.most * one for stage, one in zip((prefill, decode), each, strict=True)]
    served = min(need, *most)
    binding = "" if served >= need else ("prefill", "decode")[most.index(min(most))]
    first, second = (
        min(max(up(served / max(one, 1e-9)), stage.limits.least), stage.limits.most)
        for stage, one in zip((prefill, decode), each, strict=True)
    )
    return Pairing(first, second, *each, served, binding, _alone(prefill.profile, computed))


def _alone(profile: Profile, tokens: float) -> float:
    budget = profile.token_budget
    steps = math.ceil(tokens / budget) if profile.is_chunked else 1
    computing = steps * profile.step.seconds(min(tokens, budget) if steps > 1 else tokens, 0, 0)
    sending = profile.transfer_seconds + profile.transfer_token_seconds * tokens
    return profile.request_seconds + computing + sending


def pairs_of(pools: Sequence[PoolView]) -> list[tuple[PoolView, PoolView]]:
    """(prefill, decode) in the order of the observation: the first with the first, and so on."""
    first = [pool for pool in pools if pool.role == "prefill"]
    second = [pool for pool in pools if pool.role == "decode"]
    return list(zip(first, second, strict=False))


def shared(observation: Observation) -> Observation:
    """Both pools of a pair know the traffic of the pair.

    Requests arrive at the prefill pool and end at the decoding one: the rate is seen there, the
    outputs here, and the size of prompts at either.
    """
    pairs = pairs_of(observation.pools)
    if not pairs:
        return observation
    partner: dict[str, PoolView] = {}
    for first, second in pairs:
        partner |= {first.name: second, second.name: first}
    pools = tuple(_with_traffic(pool, partner.get(pool.name)) for pool in observation.pools)
    return replace(observation, pools=pools)


def _with_traffic(pool: PoolView, partner: PoolView | None) -> PoolView:
    if partner is None:
        return pool
    is_first = pool.role == "prefill"
    theirs = [seen.OUTPUT_TOKENS] if is_first else [seen.REQUESTS_PER_SECOND, seen.PREFIX_HIT_RATIO]
    if told(pool, seen.INPUT_TOKENS) is None:
        theirs.append(seen.INPUT_TOKENS)
    taken = {name: partner.signals[name] for name in theirs if told(partner, name) is not None}
    history = pool.history if is_first else partner.history or pool.history
    return replace(pool, signals={**pool.signals, **taken}, history=history)
