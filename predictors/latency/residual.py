"""What physics leaves over: a boosted location and the spread around it, in ratios.

The spread is that of rows whose block of time took no part in the fit, so that it is not the
flattering one of rows that were learnt by heart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from predictors.distribution import LEVELS, Floats
from predictors.latency.engine import Z90
from predictors.trees import Trees, from_boosting, learnable_columns

# Below this a location would be learnt by heart.
LEAST_ROWS = 100
FREE, QUEUED, SLOTTED = range(3)
REGIMES = 3
# A regime's own spread counts as much as that of all at this many rows; and so many rows of a
# usual spread stand beside what was seen.
_SHRINK_ROWS, _PRIOR_ROWS = 30.0, 10.0
_PRIOR_SPREAD = 0.35
# Normal quantiles at LEVELS.
_NORMAL = np.array([-1.6449, -1.2816, -0.6745, 0.0, 0.6745, 1.2816, 1.6449, 2.3263])
# The location mends physics; it does not replace it where nothing like it was seen.
_MOST_SHIFT = 1.5
# It may cost this much in seconds, where the longest waits decide, for what it gains in ratios.
_MOST_WORSE = 1.02


@dataclass(frozen=True, slots=True)
class Residual:
    """Corrections to logarithms.

    Attributes:
        trees: location from the design; None with too few rows.
        spread: (REGIMES, k) log offsets at LEVELS.
    """

    trees: Trees | None
    spread: Floats

    def shift(self, design: Floats) -> Floats:
        """(n,) what is added to the logarithm of the physics."""
        if self.trees is None:
            return np.zeros(len(design))
        return np.clip(self.trees.predict(design), -_MOST_SHIFT, _MOST_SHIFT)

    def quantiles(
        self, middle: Floats, regime: npt.NDArray[np.int64], low: Floats, high: Floats
    ) -> Floats:
        """(n, k) quantiles.

        Args:
            middle: (n,) logarithms of the located answers.
            regime: (n,) each row's.
            low: (n,) log of the 0.1 quantile over the middle by physics alone, <= 0.
            high: (n,) the same of the 0.9 quantile, >= 0.
        """
        own = self.spread[regime]
        physics = np.where(_NORMAL < 0, -low[:, None], high[:, None]) * _NORMAL / Z90
        # The spread seen holds what physics knows to be uncertain: the wider of the two.
        wider = np.where(_NORMAL < 0, np.minimum(own, physics), np.maximum(own, physics))
        offsets = np.where(_NORMAL == 0, own, wider)
        return np.exp(np.clip(middle[:, None] + offsets, -50.0, 50.0))

    @classmethod
    def of_spread(cls, misses: Floats, regime: npt.NDArray[np.int64]) -> Residual:
        """No location, only what was missed by."""
        return cls(None, spread_of(misses, regime))

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """For `artifact.write`."""
        return {"spread": self.spread, **({} if self.trees is None else self.trees.arrays("shift"))}

    @classmethod
    def from_arrays(cls, arrays: dict[str, npt.NDArray[Any]]) -> Residual:
        """What `arrays` gave."""
        trees = Trees.from_arrays(arrays, "shift") if "shift.roots" in arrays else None
        return cls(trees, arrays["spread"])


def fitted(
    design: Floats,
    misses: Floats,
    regime: npt.NDArray[np.int64],
    blocks: npt.NDArray[np.int64],
    seconds: Floats,
    seed: int,
) -> tuple[Residual, Floats]:
    """A residual, and (n,) what its location leaves in rows of blocks it did not see.

    A location that does not help in unseen blocks is left out.

    Args:
        design: (n, f) of rows whose physics was fitted without their block.
        misses: (n,) log of outcome over physics.
        regime: (n,) each row's.
        blocks: (n,) of time.
        seconds: (n,) outcomes.
        seed: of the boosting.
    """
    unseen = misses.copy()
    for block in np.unique(blocks):
        inside = blocks == block
        if (~inside).sum() >= LEAST_ROWS:
            trees = _boosted(design[~inside], misses[~inside], seed)
            unseen[inside] -= Residual(trees, np.zeros((REGIMES, 0))).shift(design[inside])
    if len(design) < LEAST_ROWS or not _helps(unseen, misses, seconds):
        return Residual.of_spread(misses, regime), misses
    return Residual(_boosted(design, misses, seed), spread_of(unseen, regime)), unseen


def _helps(unseen: Floats, misses: Floats, seconds: Floats) -> bool:
    """Whether the location was nearer in blocks it did not see, in ratio and in seconds."""
    if np.abs(unseen).mean() >= np.abs(misses).mean():
        return False
    left, before = (np.abs(seconds * (1 - np.exp(-part))).mean() for part in (unseen, misses))
    return bool(left <= before * _MOST_WORSE)


def spread_of(misses: Floats, regime: npt.NDArray[np.int64]) -> Floats:
    """(REGIMES, k) quantiles of misses, each regime's shrunk to that of all, or to a wide one."""
    usual = _NORMAL * _PRIOR_SPREAD
    every = _shrunk(misses, usual, _PRIOR_ROWS)
    # Of a load that was never seen nobody knows how well it is understood.
    wary = np.where(_NORMAL < 0, np.minimum(every, usual), np.maximum(every, usual))
    wary = np.where(_NORMAL == 0, every, wary)
    parts = [misses[regime == number] for number in range(REGIMES)]
    return np.sort(np.stack([_shrunk(part, wary, _SHRINK_ROWS) for part in parts]), axis=1)


def _shrunk(misses: Floats, parent: Floats, rows: float) -> Floats:
    if not len(misses):
        return parent
    share = len(misses) / (len(misses) + rows)
    return np.asarray(share * np.quantile(misses, LEVELS) + (1 - share) * parent)


def _boosted(design: Floats, misses: Floats, seed: int) -> Trees | None:
    from sklearn.ensemble import HistGradientBoostingRegressor
    from threadpoolctl import threadpool_limits

    if np.ptp(misses) < 1e-9:
        return None
    model = HistGradientBoostingRegressor(
        loss="absolute_error",
        max_iter=80,
        learning_rate=0.06,
        max_leaf_nodes=8,
        min_samples_leaf=20,
        l2_regularization=5.0,
        early_stopping=False,
        random_state=seed,
    )
    # A few thousand rows are done sooner by one thread than by several that wait for each other.
    with threadpool_limits(1):
        return from_boosting(model.fit(learnable_columns(design), misses))
