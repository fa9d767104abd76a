"""How far the requests were that ran on an instance when another one arrived."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from predictors.distribution import Floats
from predictors.latency.features import REPRESENTATIVES

Stamps = npt.NDArray[np.int64]
_PACE_WEIGHT = 0.1
# At one instant: what ended makes room, a first token counts, then comes the question. A request
# that is answered as it comes does not meet itself.
_END, _FIRST, _ASKED, _FIRST_AT_ONCE = range(4)


def oldest_waits(sent: Stamps, first: Stamps) -> Floats:
    """(n,) seconds that the first in line had waited when each request was sent; 0 without a line.

    Args:
        sent: microseconds, rising.
        first: when the first token came, microseconds.
    """
    waits = np.zeros(len(sent))
    heads, firsts = sent.tolist(), first.tolist()
    head = 0
    for number, at in enumerate(heads):
        # Whoever had a first token by then never waits again.
        while head < number and firsts[head] <= at:
            head += 1
        if head < number and heads[head] < at:
            waits[number] = (at - heads[head]) / 1e6
    return waits


def generated(
    sent: Stamps, first: Stamps, ended: Stamps, tokens: Floats, step_seconds: Floats
) -> list[list[float] | None]:
    """Tokens that running requests had put out when each request was sent, rising.

    The time since their first token times the pace: that of the engine's newest scrape, else of the
    answers that had ended. None where nothing tells a pace.

    Args:
        sent: microseconds, rising.
        first: when the first token came.
        ended: when it ended.
        tokens: it put out; NaN unknown.
        step_seconds: of the engine for a token of each request, as scraped last; NaN unknown.
    """
    made: list[list[float] | None] = [None] * len(sent)
    running: list[int] = []
    pace = math.nan
    firsts, counts, steps = first.tolist(), tokens.tolist(), step_seconds.tolist()
    for at, kind, number in _events(sent, first, ended):
        if kind == _END:
            del running[bisect_left(running, firsts[number])]
            if counts[number] >= 2:
                seen = (counts[number] - 1) * 1e6 / (at - firsts[number])
                pace = seen if math.isnan(pace) else pace + _PACE_WEIGHT * (seen - pace)
        elif kind == _ASKED:
            told = 1 / steps[number] if steps[number] > 0 else pace
            made[number] = _aged(running, at, told)
        else:
            running.append(firsts[number])
    return made


def _aged(running: list[int], at: int, pace: float) -> list[float] | None:
    """Tokens of the running requests, the newest first; None where no pace is known."""
    count = len(running)
    if not count:
        return []
    if math.isnan(pace):
        return None
    shown = min(count, REPRESENTATIVES)
    places = [int((place + 0.5) / shown * count) for place in range(shown)]
    return [(at - running[-1 - place]) / 1e6 * pace for place in places]


def _events(sent: Stamps, first: Stamps, ended: Stamps) -> Iterator[tuple[int, int, int]]:
    """What happened, in order: microsecond, kind, number of the request."""
    numbers = np.arange(len(sent))
    # Without a second token nobody is ever seen running.
    ran = numbers[first < ended]
    begins = np.where(first[ran] <= sent[ran], _FIRST_AT_ONCE, _FIRST)
    at = np.concatenate([ended[ran], first[ran], sent])
    kinds = np.concatenate([np.full(len(ran), _END), begins, np.full(len(sent), _ASKED)])
    who = np.concatenate([ran, ran, numbers])
    order = np.lexsort((kinds, at))
    return zip(at[order].tolist(), kinds[order].tolist(), who[order].tolist(), strict=True)
