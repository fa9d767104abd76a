"""What simple rules would have come to on a recorded course of rates: a fluid model.

A rule keeps at least `floor` replicas and else enough for `gain` times the highest rate of the last
`hold` seconds. Replicas that are wanted at j are ready at j + start-up, so at k as many are ready
as were wanted all the time since k - start-up. Requests flow into one queue that all ready replicas
empty; those that come while the queue takes longer than the bound miss it.
"""

from __future__ import annotations

import math

import numpy as np

from controller.numbers import Floats
from controller.simulator.jit import jit


@jit
def tried(
    rates: Floats,
    bin_seconds: float,
    capacity: float,
    startup_bins: int,
    bound_seconds: float,
    floor: float,
    gain: float,
    hold_bins: int,
    least: float,
    most: float,
) -> tuple[float, float]:
    """(replica-seconds, requests that miss the bound) of one rule.

    Args:
        rates: (n,) requests a second in each bin.
        bin_seconds: length of a bin.
        capacity: requests a second of a ready replica.
        startup_bins: bins until a replica is ready.
        bound_seconds: a request that would wait longer misses.
        floor: replicas at least.
        gain: on the highest rate seen.
        hold_bins: how long the highest rate is remembered.
        least: replicas the pool must have.
        most: replicas it may have.
    """
    n = len(rates)
    wanted = np.empty(n)
    for k in range(n):
        high = 0.0
        # The bin that goes on is not known yet.
        for j in range(max(0, k - max(hold_bins, 1)), k):
            high = max(high, rates[j])
        if k == 0:
            high = rates[0]
        need = math.ceil(gain * high / capacity - 1e-9)
        wanted[k] = min(max(max(floor, need), least), most)
    paid, missed, queue = 0.0, 0.0, 0.0
    for k in range(n):
        ready = wanted[k]
        for j in range(max(0, k - startup_bins), k):
            ready = min(ready, wanted[j])
        paid += wanted[k] * bin_seconds
        came, served = rates[k] * bin_seconds, ready * capacity * bin_seconds
        before = queue
        queue = max(queue + came - served, 0.0)
        allowed = bound_seconds * ready * capacity
        if max(before, queue) > allowed and came > 0:
            missed += came * late_share(before, queue, allowed)
    return paid, missed


@jit
def late_share(before: float, after: float, allowed: float) -> float:
    """Share of a bin in which a queue that goes evenly from one length to another is too long."""
    if before > allowed and after > allowed:
        return 1.0
    if abs(after - before) < 1e-12:
        return 0.0
    share = (max(before, after) - allowed) / abs(after - before)
    return min(max(share, 0.0), 1.0)
