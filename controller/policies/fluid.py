"""What a course of replicas would have come to on a recorded course of rates: a fluid model.

Requests are a fluid. Prompts take a share of each replica's time, what is left of it goes to the
steps of the batch, and the batch grows where requests come faster than they end. So a fleet that is
too small is not late at once: its batches fill first, and that is time in which replicas can start.

    share left     1 - busy,  busy = (rate / n) * prompt seconds
    pace           s = (base + b * each + b^2 * each_squared) / (1 - busy)   seconds between tokens
    ends           n * b / (output * s)                                      requests a second
    b              sequences of a replica; those beyond `most` wait

A request misses where its wait is longer than the TTFT bound, or the mean pace over its life slower
than the TPOT bound. Chance: single requests scatter around the mean by 0.2 / sqrt(n) of it,
measured with the simulator on steady loads of 1 to 16 replicas and on bursts (mean error of the
share that misses: 1.6 points on bursts, 0.6 where fewer than five in a hundred miss). In a
prefill or a decoding pool requests wait for a turn or a seat: see `chance_waiting`.
"""

from __future__ import annotations

import math

import numpy as np

from controller.capacity import MOST_BUSY, Replica
from controller.numbers import Floats
from controller.simulator.jit import jit

SUBSTEPS = 5
# Paces of single requests scatter around the mean one, less the more replicas share the load.
_SCATTER = 0.2
# Between two tokens where nobody serves. No infinity: paces are summed, and subtracted again.
NEVER_SECONDS = 1e3


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
def missed(
    one: Replica,
    capacity: float,
    rates: Floats,
    ready: Floats,
    bin_seconds: float,
    blocks: int,
    enough: float,
) -> Floats:
    """(blocks,) requests that miss the objective in each part of the time.

    Args:
        one: a replica.
        capacity: requests a second that it serves at most.
        rates: (n,) requests a second in each bin.
        ready: (n * SUBSTEPS,) replicas that serve.
        bin_seconds: length of a bin.
        blocks: equal parts of the time.
        enough: so many tell all there is to know; the rest is not counted.
    """
    count, dt = len(ready), bin_seconds / SUBSTEPS
    pace, waits = np.empty(count), np.empty(count)
    inside, prompts = 0.0, 0.0
    for at in range(count):
        inside, prompts, pace[at], waits[at] = flowed(
            one, rates[at // SUBSTEPS], ready[at], inside, prompts, dt
        )
    total, late, found = np.cumsum(pace), 0.0, np.zeros(blocks)
    for at in range(count):
        end = int(min(at + one.output_tokens * pace[at] / dt, count - 1.0))
        mean = pace[at] if end == at else (total[end] - total[at]) / (end - at)
        share = chance_late(mean / one.tpot_seconds, ready[at])
        if one.rarity > 0:
            share = max(share, chance_waiting(one, rates[at // SUBSTEPS] / capacity, ready[at]))
        if waits[at] > one.ttft_seconds:
            share = 1.0
        share *= rates[at // SUBSTEPS] * dt
        found[at * blocks // count] += share
        late += share
        if late > enough:
            break
    return found


@jit
def chance_late(ratio: float, ready: float) -> float:
    """Share of the requests slower than their bound where the mean one takes `ratio` of it."""
    if ratio < 0.2:
        return 0.0
    return 0.5 + 0.5 * math.erf(
        (ratio - 1) / (_SCATTER / math.sqrt(max(ready, 1.0))) / math.sqrt(2)
    )


@jit
def chance_waiting(one: Replica, need: float, ready: float) -> float:
    """Share that waits too long where a replica does one part; what is allowed where `staffed`.

    Args:
        one: a replica.
        need: replicas that the rate would fill.
        ready: replicas that serve.
    """
    if ready < 0.5:
        return 1.0
    idle = max(1 - need / ready, 0.0)
    return math.exp(-one.rarity * idle * math.sqrt(ready) / one.spread)


@jit
def flowed(
    one: Replica, rate: float, ready: float, inside: float, prompts: float, dt: float
) -> tuple[float, float, float, float]:
    """(sequences inside, prompts that wait, pace, wait) after `dt` seconds of a rate."""
    if ready < 0.5:
        return inside + rate * dt, prompts, NEVER_SECONDS, math.inf
    busy = rate / ready * one.prompt_seconds
    through = rate
    if busy > MOST_BUSY or prompts > 0:
        through = ready * MOST_BUSY / one.prompt_seconds
        prompts = max(prompts + (rate - through) * dt, 0.0)
        busy = MOST_BUSY if prompts > 0 else min(busy, MOST_BUSY)
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
