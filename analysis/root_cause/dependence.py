"""Does a signal move with the target, and which of the two moves first?

The measure is Pearson's correlation of both around the onset, at each shift in time. A signal that
moves best together with a *later* target leads; one that follows the target is its consequence
rather than its cause.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.root_cause.table import Case, Floats

# Another shift must fit this much better than the one before it to be believed.
_BETTER_BY = 0.02
_LEAST_PAIRS = 3


@dataclass(frozen=True, slots=True)
class Dependence:
    """(columns,) arrays; strengths are 0 to 1, 0 where nothing can be said.

    Attributes:
        leads: best correlation, in the harmful direction, with the target at the same time or
            later.
        lag_steps: how many steps the target came later, at that best.
        follows: best correlation with an earlier target.
        is_known: whether the target moved at all around the onset.
    """

    leads: Floats
    lag_steps: Floats
    follows: Floats
    is_known: bool


def dependence(case: Case, most_lag_steps: int) -> Dependence:
    """How each signal moves with the target from the reference to the end of the fault."""
    rows = len(case.times) - case.onset
    near = case.reference_start
    start = max(0, case.onset - rows) if near == case.onset else near
    part = case.oriented[start:]
    target = part[:, case.target]
    columns = part.shape[1]
    leads, lags, follows = np.zeros(columns), np.zeros(columns), np.zeros(columns)
    for i, signal in enumerate(case.signals):
        either = signal.harm == 0
        leads[i], lags[i] = _best(part[:, i], target, range(most_lag_steps + 1), either)
        follows[i], _ = _best(target, part[:, i], range(1, most_lag_steps + 1), either)
    return Dependence(leads, lags, follows, is_known=bool(_moves(target)))


def _best(early: Floats, late: Floats, lags: range, either: bool) -> tuple[float, int]:
    best, at = 0.0, 0
    for lag in lags:
        found = _correlation(early[: len(early) - lag], late[lag:])
        strength = abs(found) if either else found
        if strength > best + (_BETTER_BY if best else 0.0):
            best, at = strength, lag
    return best, at


def _correlation(one: Floats, other: Floats) -> float:
    known = np.isfinite(one) & np.isfinite(other)
    if known.sum() < _LEAST_PAIRS:
        return 0.0
    a, b = one[known] - one[known].mean(), other[known] - other[known].mean()
    size = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / size) if size > 0 else 0.0


def _moves(values: Floats) -> bool:
    known = values[np.isfinite(values)]
    return len(known) >= _LEAST_PAIRS and float(np.ptp(known)) > 0
