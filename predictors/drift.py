"""Has what is predicted changed? Page-Hinkley on where outcomes fall within the prediction.

The rank of an outcome in its predicted distribution is spread evenly between 0 and 1 while the
world is as it was learnt, or lies as far off as ever. When its mean moves, the world has moved.
Source: Page (1954), Continuous inspection schemes; the test is that of `river`.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from predictors.distribution import Floats, Quantiles

# On even ranks no alarm in 200,000 rows; a move of their mean by 0.2 is found after 96 rows in the
# mean, 134 at most (20 seeds).
LEAST_ROWS, SLACK, THRESHOLD = 60, 0.05, 15.0
WIDEN_FACTOR = 1.0
"""Spreads of error that are added to intervals when the world has moved."""


def is_watched() -> bool:
    """Whether the library with the test is installed."""
    return importlib.util.find_spec("river") is not None


class Drift:
    """Watches one predictor. Not thread-safe: one owner."""

    def __init__(self) -> None:
        self._test: Any = None

    def watch(self, quantiles: Quantiles, outcomes: npt.ArrayLike) -> bool:
        """Whether the world has moved, by these finished rows; then it starts again.

        Args:
            quantiles: as the model made them, before any correction.
            outcomes: (n,); NaN is unknown.
        """
        real = np.asarray(outcomes, dtype=np.float64)
        known = np.isfinite(real)
        if not known.any() or not is_watched():
            return False
        ranks = ranks_of(quantiles.take(known), real[known])
        return self._moved(ranks.tolist())

    def _moved(self, ranks: Iterable[float]) -> bool:
        if self._test is None:
            self._test = _page_hinkley()
        has_moved = False
        for rank in ranks:
            self._test.update(rank)
            if self._test.drift_detected:
                has_moved = True
                self._test = _page_hinkley()
        return has_moved


def ranks_of(quantiles: Quantiles, outcomes: Floats) -> Floats:
    """(n,) where each outcome falls in its distribution: the middle of the levels beside it."""
    edges = np.concatenate([[0.0], quantiles.levels, [1.0]])
    middles = (edges[:-1] + edges[1:]) / 2
    # Of ties half counts as below: many tokens are exactly a limit.
    below = (quantiles.values < outcomes[:, None]).sum(axis=1)
    upto = (quantiles.values <= outcomes[:, None]).sum(axis=1)
    return np.asarray((middles[below] + middles[upto]) / 2, dtype=np.float64)


def _page_hinkley() -> Any:
    from river.drift import PageHinkley

    return PageHinkley(min_instances=LEAST_ROWS, delta=SLACK, threshold=THRESHOLD, mode="both")
