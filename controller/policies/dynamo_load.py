"""What Dynamo's planner makes of the engines' present load: one more, one fewer, or neither.

Source: ai-dynamo/dynamo components/src/dynamo/planner/core/load_scaling.py. There a regression for
each engine is fitted to its forward passes while it runs; scrapes have no forward passes, so the
profile answers here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from controller.observation import Objective, PoolView
from controller.policies.parts import known, sizes
from controller.profile import Profile

# (up, down) of the easy modes: queued prompt tokens over a context, tokens over the cache.
EASY_PREFILL = {"throughput": (1.0, 0.1), "latency": (0.1, 0.0)}
EASY_DECODE = {"throughput": (1.0, 0.6), "latency": (0.4, 0.1)}


@dataclass(frozen=True, slots=True)
class Engine:
    """One ready engine's load.

    Attributes:
        queued: prompt tokens that wait.
        context: tokens in its cache.
        running: sequences that decode.
    """

    queued: float
    context: float
    running: float


def engines_of(pool: PoolView) -> list[Engine] | None:
    """The load of every ready engine; None where one of them tells nothing."""
    found = []
    for replica in pool.replicas:
        if replica.state != "ready":
            continue
        queued, context = known(replica.waiting_tokens), known(replica.context_tokens)
        running = known(replica.requests_running)
        if queued is None or context is None or running is None:
            return None
        found.append(Engine(queued, context, running))
    return found if len(found) == pool.ready and found else None


def by_objective(
    pool: PoolView, profile: Profile, objective: Objective, engines: Sequence[Engine], share: float
) -> int:
    """+1, -1 or 0.

    Args:
        pool: its role says which latencies count; a whole one needs both to shrink.
        profile: of a replica.
        objective: bounds.
        engines: load of each.
        share: of the objective that must hold after one went.
    """
    votes = []
    if pool.role != "decode" and objective.ttft_seconds is not None:
        votes.append(_by_ttft(pool, profile, objective.ttft_seconds, engines, share))
    if pool.role != "prefill" and objective.tpot_seconds is not None:
        votes.append(_by_tpot(profile, objective.tpot_seconds, engines, share))
    if not votes:
        return 0
    return 1 if 1 in votes else min(votes) if set(votes) == {-1} else 0


def by_thresholds(pool: PoolView, profile: Profile, engines: Sequence[Engine], mode: str) -> int:
    """+1, -1 or 0 by fixed bounds, as its easy modes do."""
    prompt = max(sizes(pool)[0], 1.0)
    if pool.role == "prefill":
        (most, least), loads = EASY_PREFILL[mode], [one.queued / prompt for one in engines]
    else:
        most, least = EASY_DECODE[mode]
        loads = [(one.context + one.queued) / profile.cache_tokens for one in engines]
    if all(load >= most for load in loads):
        return 1
    is_calm = all(load <= least if least == 0 else load < least for load in loads)
    return -1 if is_calm and len(engines) > 1 else 0


def _by_ttft(
    pool: PoolView, profile: Profile, bound: float, engines: Sequence[Engine], share: float
) -> int:
    prompt = sizes(pool)[0]
    if all(_ttft(profile, one.queued, prompt, one) > bound for one in engines):
        return 1
    if len(engines) < 2:
        return 0
    fewer = len(engines) / (len(engines) - 1)
    for one in engines:
        after = Engine(one.queued, one.context * fewer, one.running * fewer)
        own = _ttft(profile, 0.0, prompt, after)
        # Only what the queue adds can be spread; its own prompt costs what it costs.
        added = _ttft(profile, one.queued * fewer, prompt, after) - own
        budget = (bound - own) * share
        if budget <= 0 or added >= budget:
            return 0
    return -1


def _ttft(profile: Profile, queued: float, prompt: float, engine: Engine) -> float:
    """Steps until the prompt of a request that comes now is computed."""
    tokens = queued + prompt
    budget = profile.token_budget
    if not profile.is_chunked:
        return profile.step.seconds(tokens, 0, 0)
    steps = math.ceil(tokens / budget)
    shared = profile.step.seconds(min(tokens, budget), engine.running, engine.context)
    return steps * shared


def _by_tpot(profile: Profile, bound: float, engines: Sequence[Engine], share: float) -> int:
    paces = [profile.step.seconds(0, one.running, one.context) for one in engines]
    if all(pace > bound for pace in paces):
        return 1
    if len(engines) < 2:
        return 0
    fewer = len(engines) / (len(engines) - 1)
    for one in engines:
        tokens = (one.context + one.queued) * fewer
        pace = profile.step.seconds(0, one.running * fewer, tokens)
        if tokens >= profile.cache_tokens or pace >= bound * share:
            return 0
    return -1
