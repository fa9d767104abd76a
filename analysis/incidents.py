"""Incidents: stretches of time in which an instance was slower than it used to be at its load.

One begins where three of four known bins in a row are slowed by more than the threshold, and ends
where three of four are back within its root. The threshold is the larger of 1.2 and what the
instance's own healthy bins exceed hardly ever (three robust deviations).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.root_cause.table import Floats

LEAST_SLOWDOWN = 1.2
_DEVIATIONS = 3.0
_WINDOW, _ENOUGH = 4, 3
# So many bins without a word end an incident: nobody knows how it went on.
SILENT_BINS = 10
_DRAWS, _BLOCK = 200, 3
_ENDS = (0.025, 0.975)


@dataclass(frozen=True, slots=True)
class Stretch:
    """One incident in bins.

    Attributes:
        first: first slowed bin.
        last: last slowed bin.
        ending: "going on", "recovered" or "silent".
    """

    first: int
    last: int
    ending: str


def threshold(spread: float) -> float:
    """Slowdown from which an incident begins, > 1, for a spread of healthy ln(slowdown)."""
    if not np.isfinite(spread):
        return LEAST_SLOWDOWN
    return max(LEAST_SLOWDOWN, float(np.exp(_DEVIATIONS * spread)))


def stretches(slowdown: Floats, begins: float) -> list[Stretch]:
    """All incidents of a course, the oldest first.

    Args:
        slowdown: (bins,) NaN where unknown.
        begins: see `threshold`.
    """
    known = np.flatnonzero(np.isfinite(slowdown)).tolist()
    ends = float(np.sqrt(begins))
    made: list[Stretch] = []
    first: int | None = None
    for place, here in enumerate(known):
        recent = known[max(0, place + 1 - _WINDOW) : place + 1]
        if first is not None and here - known[place - 1] > SILENT_BINS:
            made.append(Stretch(first, _last(slowdown, first, here, ends), "silent"))
            first, recent = None, [here]
        if first is None:
            slowed = [bin_ for bin_ in recent if slowdown[bin_] >= begins]
            if len(slowed) >= _ENOUGH and (not made or slowed[0] > made[-1].last):
                first = slowed[0]
        elif sum(slowdown[bin_] < ends for bin_ in recent if bin_ > first) >= _ENOUGH:
            made.append(Stretch(first, _last(slowdown, first, here, ends), "recovered"))
            first = None
    if first is not None:
        is_silent = len(slowdown) - 1 - known[-1] > SILENT_BINS
        last = _last(slowdown, first, len(slowdown), ends)
        made.append(Stretch(first, last, "silent" if is_silent else "going on"))
    return made


def _last(slowdown: Floats, first: int, end: int, ends: float) -> int:
    part = slowdown[first:end]
    return first + int(np.flatnonzero(np.nan_to_num(part) >= ends)[-1])


def ratio(slowdown: Floats, part: slice) -> tuple[float, float, float]:
    """Median slowdown of a stretch and its 95 % interval, from blocks of three bins drawn again.

    Args:
        slowdown: (bins,).
        part: at least one known bin.
    """
    values = slowdown[part]
    values = values[np.isfinite(values)]
    middle = float(np.median(values))
    block = min(_BLOCK, len(values))
    dice = np.random.default_rng(0)
    starts = dice.integers(0, len(values) - block + 1, (_DRAWS, -(-len(values) // block)))
    rows = (starts[:, :, None] + np.arange(block)).reshape(_DRAWS, -1)[:, : len(values)]
    low, high = np.quantile(np.median(values[rows], axis=1), _ENDS)
    return middle, float(low), float(high)
