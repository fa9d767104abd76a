"""What one replica serves inside the objective, from its profile: a fluid in balance.

Prompts take a share of a replica's time; what is left goes to the steps of its batch of b
sequences:

    share left     1 - busy,  busy = rate * prompt seconds
    pace           s = (base + b each + b^2 each_squared) / (1 - busy)      seconds between tokens
    balance        rate = b / (output * s)

The most that is served is the rate at which the pace, the batch or the prompts reach their limit.
In the simulator the share of requests that miss jumps at just this rate, for 1 to 16 replicas.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from controller.numbers import Floats
from controller.observation import Objective
from controller.profile import Profile

# A queue of random arrivals grows long before the limit is reached; one replica alone.
USABLE_SHARE = 0.85
# One miss in a hundred under a steady load takes this more, by the square root of the replicas.
SPREAD = 0.15
MOST_BUSY = 0.98
# A replica that no prompt may find busy is of no use to anybody; bounds are not that strict.
MOST_IDLE = 0.95
# An objective of all requests leaves no room for chance; nobody can promise that.
LEAST_MISSED = 1e-3
_HALVINGS = 50


class Replica(NamedTuple):
    """One replica as a fluid sees it.

    Attributes:
        prompt_seconds: of its time that a request's prompt takes.
        base_seconds: a step that decodes.
        each_seconds: and each sequence of it.
        each_squared_seconds: and their square.
        output_tokens: of a request.
        most: sequences at once.
        ttft_seconds: bound; infinite without.
        tpot_seconds: bound; infinite without.
        spread: of one replica's capacity that chance takes; of n together as much, by their root.
        rarity: of a miss: -log of the share that may be missed; 0 where replicas do both, and the
            pace tells who is late.
    """

    prompt_seconds: float
    base_seconds: float
    each_seconds: float
    each_squared_seconds: float
    output_tokens: float
    most: float
    ttft_seconds: float
    tpot_seconds: float
    spread: float
    rarity: float


def replica(
    profile: Profile, objective: Objective, input_tokens: float, output_tokens: float, role: str
) -> Replica:
    """What a profile comes to for requests of a mean size.

    Args:
        profile: of the replica.
        objective: bounds.
        input_tokens: prompt tokens that have to be computed, a request.
        output_tokens: of a request.
        role: "prefill" computes prompts alone, "decode" decodes alone.
    """
    step, context = profile.step, input_tokens + output_tokens / 2
    prompt = step.prompt_token_seconds * input_tokens
    prompt += step.prompt_token_squared_seconds * input_tokens**2
    # Prompts that share steps with decoding do not pay for the step itself.
    alone = 0.0 if profile.is_chunked else step.fixed_seconds
    prompt = 0.0 if role == "decode" else prompt + alone + profile.request_seconds
    most = max(min(float(profile.sequences), profile.cache_tokens / max(context, 1.0)), 1.0)
    return Replica(
        prompt,
        step.fixed_seconds + step.decoding_seconds,
        step.sequence_seconds + step.cached_token_seconds * context,
        step.sequence_squared_seconds,
        0.0 if role == "prefill" else max(output_tokens, 1.0),
        most,
        math.inf if objective.ttft_seconds is None else objective.ttft_seconds,
        math.inf if objective.tpot_seconds is None else objective.tpot_seconds,
        *_chance(profile, objective, role, input_tokens, prompt, most),
    )


def _chance(
    profile: Profile,
    objective: Objective,
    role: str,
    input_tokens: float,
    prompt_seconds: float,
    most: float,
) -> tuple[float, float]:
    """(spread, rarity) of a replica.

    Prompts alone wait for each other, and their sizes scatter as much as times of an exponential
    law (coefficients of variation 0.96 in both Azure traces). So one replica is an M/M/1 queue, and
    of its requests a share exp(-(1 - busy) bound / prompt) is later than the bound. Where replicas
    only decode, requests wait for one of `most` seats, and as many are wanted at once as by
    Poisson's law: by the root of their number.
    """
    if role == "whole":
        return SPREAD, 0.0
    allowed = max(1 - objective.attainment_ratio, LEAST_MISSED)
    rarity = -math.log(allowed)
    if role == "decode":
        return max(SPREAD, NormalDist().inv_cdf(1 - allowed) / math.sqrt(most)), rarity
    moving = profile.transfer_seconds + profile.transfer_token_seconds * input_tokens
    bound = (objective.ttft_seconds or math.inf) - moving
    idle = rarity * prompt_seconds / bound if bound > 0 else MOST_IDLE
    return SPREAD + (1 - SPREAD) * min(idle, MOST_IDLE), rarity


def most_per_second(one: Replica) -> float:
    """Requests a second that one replica serves at most inside the objective, without chance."""
    most = MOST_BUSY / one.prompt_seconds if one.prompt_seconds > 0 else math.inf
    if one.output_tokens <= 0:
        return most
    low, high = 1e-9, one.most
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        is_inside = _balanced(one, middle)[1] <= one.tpot_seconds
        low, high = (middle, high) if is_inside else (low, middle)
    return min(most, _balanced(one, low)[0])


def _balanced(one: Replica, b: float) -> tuple[float, float]:
    """(requests a second, pace) with b sequences: rate = b (1 - rate a) / (output step)."""
    step = one.base_seconds + (one.each_seconds + one.each_squared_seconds * b) * b
    rate = b / (one.output_tokens * step + b * one.prompt_seconds)
    return rate, step / max(1 - rate * one.prompt_seconds, 1e-6)


def staffed(rate: float, capacity: float, spread: float = SPREAD) -> float:
    """Replicas for a rate, chance allowed for: the n with n - spread sqrt(n) = rate / capacity."""
    need = max(rate, 0.0) / capacity
    root = (spread + math.sqrt(spread * spread + 4 * need)) / 2
    return root * root if need > 0 else 0.0


def all_staffed(rates: Floats, capacity: float, spread: float = SPREAD) -> Floats:
    """`staffed` of (n,) rates, to the same bits."""
    need = np.maximum(rates, 0.0) / capacity
    root = (spread + np.sqrt(spread * spread + 4 * need)) / 2
    return np.where(need > 0, root * root, 0.0)


def requests_per_second(
    profile: Profile,
    objective: Objective,
    input_tokens: float,
    output_tokens: float,
    role: str = "whole",
) -> float:
    """What one replica serves with room for chance.

    Args:
        profile: of the replica.
        objective: bounds.
        input_tokens: prompt tokens that have to be computed, a request.
        output_tokens: of a request.
        role: "prefill" computes prompts alone, "decode" decodes alone.
    """
    one = replica(profile, objective, input_tokens, output_tokens, role)
    return most_per_second(one) * USABLE_SHARE
