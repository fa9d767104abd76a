"""What a course of replicas would have come to on a recorded course of rates: a fluid model.

Requests are a fluid. Prompts take a share of each replica's time, what is left of it goes to the steps
of the batch, and the batch grows where requests come faster than they end. So a fleet that is
too small is not late at once: its batches fill first, and that is time in which replicas can start.

    share left     1 - busy,  busy = (rate / n) * prompt seconds
    pace           s = (base + b * each + b^2 * each_squared) / (1 - busy)   seconds between tokens
    ends           n * b / (output * s)                                      requests a second
    b              sequences of a replica; those beyond `most` wait

A request misses where its wait is longer than the TTFT bound, or the mean pace over its life slower than
the TPOT bound. Chance: single requests scatter around the mean by 0.2 / sqrt(n) of it, measured with the
simulator on steady loads of 1 to 16 replicas and on bursts (mean error of the share that misses: 1.6
points on bursts, 0.6 where fewer than five in a hundred miss).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from controller.numbers import Floats
from controller.observation import Objective
from controller.profile import Profile
from controller.simulator.jit import jit

# One miss in a hundred under a steady load: replicas needed beyond rate / capacity, by their square root.
SPREAD = 0.15
SUBSTEPS = 5
# Paces of single requests scatter around the mean one, less the more replicas share the load.
_SCATTER = 0.2
_MOST_BUSY = 0.98


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
    """

    prompt_seconds: float
    base_seconds: float
    each_seconds: float
    each_squared_seconds: float
    output_tokens: float
    most: float
    ttft_seconds: float
    tpot_seconds: float


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
    return Replica(
        0.0 if role == "decode" else prompt + alone + profile.request_seconds,
        step.fixed_seconds + step.decoding_seconds,
        step.sequence_seconds + step.cached_token_seconds * context,
        step.sequence_squared_seconds,
        0.0 if role == "prefill" else max(output_tokens, 1.0),
        max(min(float(profile.sequences), profile.cache_tokens / max(context, 1.0)), 1.0),
        math.inf if objective.ttft_seconds is None else objective.ttft_seconds,
        math.inf if objective.tpot_seconds is None else objective.tpot_seconds,
    )


def most_per_second(one: Replica) -> float:
    """Requests a second that one replica serves at most inside the objective, without chance."""
    most = _MOST_BUSY / one.prompt_seconds if one.prompt_seconds > 0 else math.inf
    if one.output_tokens <= 0:
        return most
    low, high = 1e-9, one.most
    if _pace(one, one.most, 0.0) * 1.0 <= one.tpot_seconds:
        low = one.most
    for _ in range(0 if low == high else 50):
        middle = (low + high) / 2
        rate = _rate_of(one, middle)
        low, high = (middle, high) if rate[1] <= one.tpot_seconds else (low, middle)
    return min(most, _rate_of(one, low)[0])


def _pace(one: Replica, b: float, busy: float) -> float:
    step = one.base_seconds + (one.each_seconds + one.each_squared_seconds * b) * b
    return step / max(1 - busy, 1e-6)


def _rate_of(one: Replica, b: float) -> tuple[float, float]:
    """(requests a second, pace) in balance with b sequences: rate = b (1 - rate a) / (out step)."""
    step = _pace(one, b, 0.0)
    rate = b / (one.output_tokens * step + b * one.prompt_seconds)
    return rate, step / max(1 - rate * one.prompt_seconds, 1e-6)


def staffed(rate: float, capacity: float) -> float:
    """Replicas for a rate, chance allowed for: the n with n - 0.2 sqrt(n) = rate / capacity."""
    need = max(rate, 0.0) / capacity
    root = (SPREAD + math.sqrt(SPREAD * SPREAD + 4 * need)) / 2
    return root * root if need > 0 else 0.0


@jit
def ready_of(wanted: Floats, startup_substeps: int) -> Floats:
    """(n * SUBSTEPS,) replicas that serve: those wanted all the time since a start-up ago.

    Args:
        wanted: (n,) in each bin.
        startup_substeps: from being asked for until ready.
    """
    made = np.empty(len(wanted) * SUBSTEPS)
    for at in range(len(made)):
        ready = wanted[at // SUBSTEPS]
        for k in range(max(at - startup_substeps, 0) // SUBSTEPS, at // SUBSTEPS):
            ready = min(ready, wanted[k])
        made[at] = ready
    return made


@jit
def missed(one: Replica, rates: Floats, ready: Floats, bin_seconds: float, enough: float) -> float:
    """Requests that miss the objective.

    Args:
        one: a replica.
        rates: (n,) requests a second in each bin.
        ready: (n * SUBSTEPS,) replicas that serve.
        bin_seconds: length of a bin.
        enough: so many tell all there is to know; the rest is not counted.
    """
    count, dt = len(ready), bin_seconds / SUBSTEPS
    pace, waits = np.empty(count), np.empty(count)
    inside, prompts = 0.0, 0.0
    for at in range(count):
        inside, prompts, pace[at], waits[at] = flowed(
            one, rates[at // SUBSTEPS], ready[at], inside, prompts, dt
        )
    total, late = np.cumsum(pace), 0.0
    for at in range(count):
        end = int(min(at + one.output_tokens * pace[at] / dt, count - 1.0))
        mean = pace[at] if end == at else (total[end] - total[at]) / (end - at)
        share = chance_late(mean / one.tpot_seconds, ready[at])
        if waits[at] > one.ttft_seconds:
            share = 1.0
        late += share * rates[at // SUBSTEPS] * dt
        if late > 5 * enough:
            break
    return late


@jit
def chance_late(ratio: float, ready: float) -> float:
    """Share of the requests slower than their bound where the mean one takes `ratio` of it."""
    if ratio < 0.2:
        return 0.0
    return 0.5 + 0.5 * math.erf(
        (ratio - 1) / (_SCATTER / math.sqrt(max(ready, 1.0))) / math.sqrt(2)
    )


@jit
def flowed(
    one: Replica, rate: float, ready: float, inside: float, prompts: float, dt: float
) -> tuple[float, float, float, float]:
    """(sequences inside, prompts that wait, pace, wait) after `dt` seconds of a rate."""
    if ready < 0.5:
        return inside + rate * dt, prompts, math.inf, math.inf
    busy = rate / ready * one.prompt_seconds
    through = rate
    if busy > _MOST_BUSY or prompts > 0:
        through = ready * _MOST_BUSY / one.prompt_seconds
        prompts = max(prompts + (rate - through) * dt, 0.0)
        busy = _MOST_BUSY if prompts > 0 else min(busy, _MOST_BUSY)
    wait = prompts * one.prompt_seconds / ready
    if one.output_tokens <= 0:
        return 0.0, prompts, 0.0, wait
    b = min(inside / ready, one.most)
    step = one.base_seconds + (one.each_seconds + one.each_squared_seconds * b) * b
    pace = step / (1 - busy)
    ends = ready * b / (one.output_tokens * pace)
    if inside > ready * one.most:
        wait += (inside - ready * one.most) / ends
    inside = max(inside + (min(through, rate + prompts / dt) - ends) * dt, 0.0)
    return inside, prompts, pace, wait
