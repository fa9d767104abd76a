"""Requests a second that one replica serves inside the objective, from its profile.

In a steady state every step carries the prompt tokens and the sequences that came meanwhile. Its
seconds s solve s = step(p, b, k) with p = rate * input * s, b = rate * output * s and k = b *
(input + output / 2). The pace of a sequence is s; the most that can be served is the largest rate
with s inside the objective, and batch, budget and cache inside their limits.
"""

from __future__ import annotations

import math

from controller.observation import Objective
from controller.profile import Profile

# A queue of random arrivals grows long before the limit is reached.
USABLE_SHARE = 0.85
_HALVINGS = 40
_MOST_RATE = 1e5


def requests_per_second(
    profile: Profile,
    objective: Objective,
    input_tokens: float,
    output_tokens: float,
    role: str = "whole",
) -> float:
    """What one replica serves.

    Args:
        profile: of the replica.
        objective: bounds.
        input_tokens: prompt tokens that have to be computed, a request.
        output_tokens: of a request.
        role: "prefill" computes prompts alone, "decode" decodes alone.
    """
    prompt = 0.0 if role == "decode" else max(input_tokens, 0.0)
    output = 0.0 if role == "prefill" else max(output_tokens, 1.0)
    low, high = 0.0, _MOST_RATE
    for _ in range(_HALVINGS):
        middle = math.sqrt(max(low, 1e-6) * high)
        if _is_served(profile, objective, middle, prompt, output, max(input_tokens, 0.0)):
            low = middle
        else:
            high = middle
    return low * USABLE_SHARE


def _is_served(
    profile: Profile,
    objective: Objective,
    rate: float,
    prompt: float,
    output: float,
    context: float,
) -> bool:
    bound = objective.tpot_seconds or math.inf
    seconds = profile.step.seconds(0, 1, context) if output else profile.step.seconds(prompt, 0, 0)
    for _ in range(200):
        batch = rate * output * seconds
        tokens = rate * prompt * seconds
        if batch > profile.sequences or batch * (context + output / 2) > profile.cache_tokens:
            return False
        if tokens + batch > profile.token_budget and profile.is_chunked:
            return False
        again = _pace(profile, rate, prompt, batch, tokens, context + output / 2)
        if not math.isfinite(again) or (output and again > bound):
            return False
        if abs(again - seconds) <= 1e-9 + 1e-6 * seconds:
            return True
        seconds = again
    return False


def _pace(
    profile: Profile, rate: float, prompt: float, batch: float, tokens: float, context: float
) -> float:
    """Seconds between two tokens of a sequence (or of a step, where nothing decodes)."""
    if profile.is_chunked and batch > 0:
        shared = profile.step.seconds(tokens, batch, batch * context)
        return shared + profile.request_seconds * tokens / max(prompt, 1.0)
    alone = profile.step.seconds(prompt, 0, 0) + profile.request_seconds if prompt else 0.0
    busy = rate * alone
    if batch == 0:
        # Prompts alone: what comes must be computed as fast as it comes.
        return alone if busy < 1 else math.inf
    if busy >= 1:
        return math.inf
    return profile.step.seconds(0, batch, batch * context) / (1 - busy)
