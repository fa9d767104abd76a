"""Silences of a pool: whether the next request is near, from how long its silences were.

A pool that is silent for t, and of whose earlier silences some lasted longer:

    P(a request within h) = (silences of t to t + h, + w) / (silences of t or more, + 1)
    w = h / (t + h)

The 1 and w are one silence of which nothing is known but that it lasted t: where no silence ever
lasted so long, the chance falls as it goes on. So a pool that is asked every hour is likely to be
asked when the hour is nearly over, and one that was given up for the night is not.

After Shahrad et al. (2020), Serverless in the Wild, USENIX ATC (histograms of idle times); whether
a replica should be warm is `predictors.cold_start.prewarm`'s rule of expected cost.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from controller.numbers import Floats
from predictors.cold_start.prewarm import should_be_warm

# Silences that are remembered, newest last; their bins fit in memory whatever they are.
MOST_SILENCES = 400
_MOST_BINS = 10_000_000


def silent_for(rates: Floats) -> Floats:
    """(n,) silent bins in a row just before each bin: what is known when it begins."""
    made = np.zeros(len(rates))
    for at in range(1, len(rates)):
        made[at] = made[at - 1] + 1 if rates[at - 1] <= 0 else 0.0
    return made


def silences(rates: Floats) -> Floats:
    """Bins of every silence between two requests, oldest first."""
    busy = np.flatnonzero(rates > 0)
    lengths = np.diff(busy) - 1
    return np.asarray(lengths[lengths > 0], dtype=np.float64)


def own_silence(rates: Floats) -> Floats:
    """(n,) length of the silence that each bin's `silent_for` will have come to; NaN unknown."""
    made = np.full(len(rates), math.nan)
    busy = np.flatnonzero(rates > 0)
    for start, end in pairwise(busy):
        made[start + 1 : end + 1] = end - start - 1
    return made


def chances(known: Floats, silent: Floats, ahead: int, own: Floats | None = None) -> Floats:
    """(n,) chance of a request in the next `ahead` bins.

    Args:
        known: silences, in bins.
        silent: (n,) bins of silence so far.
        ahead: bins.
        own: (n,) one of `known` that is still to come to an end and must not be looked at; NaN
            for none.
    """
    ordered = np.sort(known)
    lasted = len(ordered) - np.searchsorted(ordered, silent, "left").astype(np.float64)
    longer = len(ordered) - np.searchsorted(ordered, silent + ahead, "left").astype(np.float64)
    if own is not None:
        lasted = np.maximum(lasted - (own >= silent), 0.0)
        longer = np.maximum(longer - (own >= silent + ahead), 0.0)
    prior = ahead / (silent + ahead)
    return np.asarray((lasted - longer + prior) / (lasted + 1), dtype=np.float64)


def is_awaited(chance: Floats, worth: float) -> npt.NDArray[np.bool_]:
    """Whether a replica should be warm where a request is so likely.

    Args:
        chance: of a request.
        worth: chance from which on a cold start costs more than idle replicas: in (0, 1).
    """
    return np.asarray(should_be_warm(chance, 1 - worth, worth))


def woken(rates: Floats, ahead: int) -> Floats:
    """The highest rate in `ahead` bins after each silence between two requests."""
    ends = np.flatnonzero((rates[1:] > 0) & (rates[:-1] <= 0)) + 1
    return np.array([rates[at : at + ahead].max() for at in ends], dtype=np.float64)


def longer(known: Sequence[float], silent: int, rate: float, bins: int) -> tuple[list[int], int]:
    """(silences, bins of silence) after some bins more.

    Args:
        known: silences before.
        silent: bins of silence before.
        rate: in the newest bin.
        bins: how many are new; those before the newest were not seen.
    """
    kept = [int(one) for one in known][-MOST_SILENCES:]
    if rate <= 0:
        return kept, min(silent + bins, _MOST_BINS)
    over = silent + bins - 1
    return ([*kept, over][-MOST_SILENCES:] if over > 0 else kept), 0
