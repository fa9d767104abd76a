"""Has what is predicted changed? Page-Hinkley on where outcomes fall within the prediction.

The rank of an outcome in its predicted distribution is spread evenly between 0 and 1 while the
world is as it was learnt, or lies as far off as ever. When its mean moves, the world has moved.

The test is ours because the library that has it loads 180 MB beside it, which a server would carry
for these few lines; it is what the tests compare with.
Source: Page (1954), Continuous inspection schemes; Hinkley (1971), Inference about the change-point
from cumulative sum tests.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from predictors.distribution import Floats, Quantiles

# On even ranks no alarm in 200,000 rows; a move of their mean by 0.2 is found after 99 rows in the
# mean, 139 at most (20 seeds).
LEAST_ROWS, SLACK, THRESHOLD = 60, 0.05, 15.0
FIRST_ROWS = 300
"""So many outcomes are left to a predictor to find its feet: a young history moves by itself."""
WIDEN_FACTOR = 1.0
"""Spreads of error that are added to intervals when the world has moved."""


class PageHinkley:
    """Whether the mean of a row of numbers has moved, up or down.

    Args:
        least_rows: before so many nothing is said.
        slack: moves of the mean up to this are none.
        threshold: how much deviation beyond the slack must add up.
    """

    def __init__(
        self, least_rows: int = LEAST_ROWS, slack: float = SLACK, threshold: float = THRESHOLD
    ) -> None:
        self._least_rows, self._slack, self._threshold = least_rows, slack, threshold
        self._rows = 0
        self._mean = 0.0
        self._above = self._below = 0.0

    def moved(self, value: float) -> bool:
        """Take in the next number; True when the mean has moved, and then it starts afresh."""
        self._rows += 1
        self._mean += (value - self._mean) / self._rows
        away = value - self._mean
        # Sums since their own lowest and highest point.
        self._above = max(self._above + away - self._slack, 0.0)
        self._below = max(self._below - away - self._slack, 0.0)
        has_moved = max(self._above, self._below) > self._threshold
        if has_moved and self._rows >= self._least_rows:
            self._rows, self._mean, self._above, self._below = 0, 0.0, 0.0, 0.0
            return True
        return False


class Drift:
    """Watches one predictor. Not thread-safe: one owner."""

    def __init__(self) -> None:
        self._test = PageHinkley()
        self._first = FIRST_ROWS

    def watch(self, quantiles: Quantiles, outcomes: npt.ArrayLike) -> bool:
        """Whether the world has moved, by these finished rows; then it starts again.

        Args:
            quantiles: as the model made them, before any correction.
            outcomes: (n,); NaN is unknown.
        """
        real = np.asarray(outcomes, dtype=np.float64)
        known = np.isfinite(real)
        if not known.any():
            return False
        ranks = ranks_of(quantiles.take(known), real[known])[self._first :]
        self._first = max(self._first - int(known.sum()), 0)
        # All are taken in, also those after an alarm.
        return sum(self._test.moved(rank) for rank in ranks.tolist()) > 0


def ranks_of(quantiles: Quantiles, outcomes: Floats) -> Floats:
    """(n,) where each outcome falls in its distribution: the middle of the levels beside it."""
    edges = np.concatenate([[0.0], quantiles.levels, [1.0]])
    middles = (edges[:-1] + edges[1:]) / 2
    # Of ties half counts as below: many tokens are exactly a limit.
    below = (quantiles.values < outcomes[:, None]).sum(axis=1)
    upto = (quantiles.values <= outcomes[:, None]).sum(axis=1)
    return np.asarray((middles[below] + middles[upto]) / 2, dtype=np.float64)
