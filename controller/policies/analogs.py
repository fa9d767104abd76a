"""What came after moments like this one: quantiles of the rate ahead, from a pool's own past.

A moment is described by its rate and by the highest rates of the last minutes: so "just after a
burst" and "long after one" are told apart, and a ramp from a plateau. Its neighbours in the past
are the moments that looked most alike; what followed them is the forecast. Nothing is assumed of
the load's shape (Lorenz 1969 called them analogues; Yakowitz 1987 for the method on series).
"""

from __future__ import annotations

import numpy as np

from controller.numbers import Floats
from controller.simulator.jit import jit

# Minutes over which the highest rate is taken, and how much each counts.
REACHES_SECONDS = (15.0, 30.0, 60.0, 300.0)
WEIGHTS = (4.0, 2.0, 1.0, 1.0)
# Moments this near are no evidence for each other.
APART_SECONDS = 600.0


def described(rates: Floats, bin_seconds: float) -> Floats:
    """(n + 1, f) each moment by what was known before its bin; the last is now.

    Args:
        rates: (n,) requests a second in each bin, n at least 1.
        bin_seconds: length of a bin.
    """
    reaches = np.array([max(round(one / bin_seconds), 1) for one in REACHES_SECONDS])
    scale = max(float(rates.mean()), 1e-9)
    return _highs(rates, reaches) / scale * np.sqrt(WEIGHTS)


@jit
def _highs(rates: Floats, reaches: Floats) -> Floats:
    made = np.empty((len(rates) + 1, len(reaches)))
    for column in range(len(reaches)):
        for k in range(1, len(rates) + 1):
            high = 0.0
            for j in range(max(0, k - reaches[column]), k):
                high = max(high, rates[j])
            made[k, column] = high
    made[0] = made[1]
    return made


@jit
def highest_ahead(rates: Floats, bins: int) -> Floats:
    """(n,) the highest rate from each bin on, so many bins; NaN where the past ends before."""
    n = len(rates)
    made = np.full(n, np.nan)
    for k in range(n - bins + 1):
        high = rates[k]
        for j in range(k + 1, k + bins):
            high = max(high, rates[j])
        made[k] = high
    return made


@jit
def foreseen(
    moments: Floats, ahead: Floats, asked: Floats, first: int, neighbours: int, apart: int
) -> Floats:
    """(m, neighbours) what followed the moments most like each that is asked, the nearest first.

    Args:
        moments: (n, f) of the past.
        ahead: (n,) what followed each; NaN is not known.
        asked: (m, f).
        first: place of `asked[0]` among the moments.
        neighbours: how many; NaN where there are fewer.
        apart: bins that must lie between.
    """
    m, n = len(asked), len(ahead)
    made = np.full((m, neighbours), np.nan)
    best = np.empty(neighbours)
    for k in range(m):
        count, places = 0, np.empty(neighbours, np.int64)
        for j in range(n):
            if np.isnan(ahead[j]) or abs(first + k - j) < apart:
                continue
            distance = 0.0
            for f in range(asked.shape[1]):
                distance += (asked[k, f] - moments[j, f]) ** 2
            if count == neighbours and distance >= best[count - 1]:
                continue
            # Insertion into a short sorted list.
            at = min(count, neighbours - 1)
            while at > 0 and best[at - 1] > distance:
                best[at], places[at] = best[at - 1], places[at - 1]
                at -= 1
            best[at], places[at] = distance, j
            count = min(count + 1, neighbours)
        for place in range(count):
            made[k, place] = ahead[places[place]]
    return made
