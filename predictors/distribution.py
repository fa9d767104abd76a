"""A distribution as monotone quantiles, and the questions that can be asked of it.

Between two levels the quantile function is a straight line. Below the lowest and above the highest
level it is flat: nothing is claimed beyond the tails that were predicted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from store.errors import PredictorError

Floats = npt.NDArray[np.float64]

# What every predictor answers with; the tails are for guards, the middle for people.
LEVELS: tuple[float, ...] = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)
# What losses are averaged over, so that figures compare with published ones.
SCORED_LEVELS: tuple[float, ...] = (0.1, 0.25, 0.5, 0.75, 0.9)


@dataclass(frozen=True, slots=True)
class Quantiles:
    """One distribution a row.

    Attributes:
        levels: (k,) rising, each in (0, 1).
        values: (n, k) rising along the second axis, in the unit of the quantity.
    """

    levels: Floats
    values: Floats

    @classmethod
    def of(cls, levels: npt.ArrayLike, values: npt.ArrayLike) -> Quantiles:
        """Sort what crosses (rearrangement never increases the loss).

        Args:
            levels: (k,) rising, each in (0, 1).
            values: (n, k) in any order along the second axis.

        Raises:
            PredictorError: the shapes do not fit, a level is out of range, or a
                value is not finite.

        Source: Chernozhukov, Fernandez-Val, Galichon (2010), Quantile and probability curves
        without crossing, Econometrica 78(3).
        """
        at = np.asarray(levels, dtype=np.float64)
        given = np.asarray(values, dtype=np.float64)
        if given.ndim != 2 or at.ndim != 1 or given.shape[1] != len(at) or not len(at):
            raise PredictorError(
                f"quantiles of shape {given.shape} do not fit {at.shape} levels",
                hint="one row a prediction, one column a level",
            )
        if (np.diff(at) <= 0).any() or at[0] <= 0 or at[-1] >= 1:
            raise PredictorError("levels must rise and lie in (0, 1)", hint=f"got {at.tolist()}")
        if not np.isfinite(given).all():
            raise PredictorError(
                "a quantile is not a finite number",
                hint="answer with the rival where the inputs say nothing",
            )
        return cls(at, np.sort(given, axis=1))

    def __len__(self) -> int:
        return len(self.values)

    def at(self, level: float) -> Floats:
        """The quantile of each row at `level` in (0, 1): (n,)."""
        place = float(np.interp(level, self.levels, np.arange(len(self.levels))))
        low = min(int(place), len(self.levels) - 1)
        high = min(low + 1, len(self.levels) - 1)
        share = place - low
        return self.values[:, low] * (1 - share) + self.values[:, high] * share

    def mean(self) -> Floats:
        """Expected value of each row: (n,). Understates a tail beyond the highest level."""
        at = np.concatenate([[0.0], self.levels, [1.0]])
        values = np.hstack([self.values[:, :1], self.values, self.values[:, -1:]])
        return np.asarray(np.trapezoid(values, at, axis=1), dtype=np.float64)

    def probability_within(self, limit: npt.ArrayLike) -> Floats:
        """P(value <= limit) of each row: (n,), between 0 and 1.

        Args:
            limit: one number, or one a row.
        """
        limits = np.broadcast_to(np.asarray(limit, dtype=np.float64), (len(self),))
        return np.array(
            [_cdf(row, self.levels, asked) for row, asked in zip(self.values, limits, strict=True)],
            dtype=np.float64,
        )

    def remaining(self, given: npt.ArrayLike) -> Quantiles:
        """The distribution of `value - given`, knowing that `value > given`.

        Rows whose highest quantile is already passed answer 0 at every level: by what was
        predicted they should have ended.

        Args:
            given: how much is already out: one number, or one a row.
        """
        out = np.broadcast_to(np.asarray(given, dtype=np.float64), (len(self),))
        passed = self.probability_within(out)
        asked = passed[:, None] + (1 - passed[:, None]) * self.levels[None, :]
        values = np.empty_like(self.values)
        for number, (row, levels) in enumerate(zip(self.values, asked, strict=True)):
            values[number] = np.interp(levels, self.levels, row) - out[number]
        return Quantiles(self.levels, np.maximum.accumulate(np.maximum(values, 0.0), axis=1))

    def take(self, rows: npt.ArrayLike) -> Quantiles:
        """The rows that an index or a mask names."""
        return Quantiles(self.levels, self.values[np.asarray(rows)])


def _cdf(row: Floats, levels: Floats, asked: float) -> float:
    if asked < row[0]:
        return 0.0
    if asked >= row[-1]:
        return 1.0
    # Of several levels with one value the highest is the share at or below it.
    above = int(np.searchsorted(row, asked, side="right"))
    low, high = row[above - 1], row[above]
    share = (asked - low) / (high - low)
    return float(levels[above - 1] + share * (levels[above] - levels[above - 1]))
