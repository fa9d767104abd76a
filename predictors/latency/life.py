"""How long answers are, and when running requests make room.

The survival curve of output lengths, learnt per group of rows with requests cut at their limit as
censored, gives the chance that a request that has put out g tokens ends within x more.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from predictors.distribution import Floats

# The curve is kept at every fourth token; beyond its end the last rate of ending goes on.
STEP_TOKENS = 4
TABLE = 4096
MEAN_TOKENS = 256.0
# This many requests of a prior kind stand beside what was seen.
PRIOR_REQUESTS = 4.0


@dataclass(frozen=True, slots=True)
class Lives:
    """Survival curves of g groups.

    Attributes:
        survival: (g, TABLE) chance that an answer is longer than `STEP_TOKENS` times the index;
            falls from 1, never 0.
        means: (g,) mean length in tokens.
    """

    survival: Floats
    means: Floats

    def reached(self, group: npt.NDArray[np.int64], tokens: Floats) -> Floats:
        """Chance that an answer is longer than `tokens`; shapes broadcast."""
        place = np.minimum(tokens * (1 / STEP_TOKENS), TABLE - 1.0).astype(np.int64)
        return np.asarray(self.survival.ravel()[group * TABLE + place], dtype=np.float64)

    def ages(self, group: npt.NDArray[np.int64], count: int) -> Floats:
        """(n, count) ages of requests met at a random time: rising, in tokens."""
        shares = (np.arange(count) + 0.5) / count
        grid = np.arange(TABLE, dtype=np.float64) * STEP_TOKENS
        made = np.empty((len(self.survival), count))
        for number, curve in enumerate(self.survival):
            seen = np.cumsum(curve)
            made[number] = np.interp(shares, seen / seen[-1], grid)
        return made[group]


def curve_of(
    lengths: npt.ArrayLike, is_cut: npt.ArrayLike, parent: Floats | None = None
) -> tuple[Floats, float]:
    """(survival at every `STEP_TOKENS`, mean tokens) of answers, some cut at their limit.

    Args:
        lengths: tokens of finished answers, > 0.
        is_cut: whether each ended at its limit rather than by itself.
        parent: the curve of the parent group, which counts for `PRIOR_REQUESTS` answers.

    Source: Kaplan and Meier (1958), Nonparametric estimation from incomplete observations.
    """
    bins = np.minimum(np.asarray(lengths, dtype=np.float64) / STEP_TOKENS, TABLE - 1.0)
    places = bins.astype(np.int64)
    cut = np.asarray(is_cut, dtype=bool)
    ended = np.bincount(places[~cut], minlength=TABLE).astype(np.float64)
    gone = np.bincount(places, minlength=TABLE)
    at_risk = gone[::-1].cumsum()[::-1].astype(np.float64)
    usual = _exponential() if parent is None else parent
    hazard = 1 - np.append(usual[1:] / usual[:-1], usual[-1] / usual[-2])
    # Few answers say little about late tokens: there the parent's rate of ending goes on.
    share = (ended + PRIOR_REQUESTS * usual * hazard) / (at_risk + PRIOR_REQUESTS * usual)
    curve = np.concatenate([[1.0], np.cumprod(1 - np.clip(share, 0.0, 0.999))[:-1]])
    curve = np.maximum(curve, 1e-9)
    # Beyond the longest answer seen there are limits, not longer answers.
    seen = int(places.max(initial=0)) + 1 if len(places) else TABLE
    return curve, float(curve[:seen].sum() * STEP_TOKENS)


def _exponential() -> Floats:
    at = np.arange(TABLE, dtype=np.float64) * STEP_TOKENS
    return np.asarray(np.maximum(np.exp(-at / MEAN_TOKENS), 1e-9), dtype=np.float64)


def ended_within(
    lives: Lives, group: npt.NDArray[np.int64], generated: Floats, left: Floats, tokens: Floats
) -> tuple[Floats, Floats]:
    """Of running requests, how many end within some tokens each.

    Args:
        lives: the curves.
        group: (n,) curve of each row.
        generated: (n, k) tokens that representatives have put out.
        left: (n, k) tokens to their limits, infinite without.
        tokens: (n, m) more tokens each.

    Returns:
        (n, m) mean share that ends, and (n, m) mean of p (1 - p), both of one running request.
    """
    more = tokens[:, :, None]
    now = lives.reached(group[:, None], generated)[:, None, :]
    after = lives.reached(group[:, None, None], generated[:, None, :] + more)
    stays = np.where(left[:, None, :] <= more, 0.0, after / now)
    count = generated.shape[1]
    staying = stays.sum(axis=2) / count
    return 1 - staying, staying - (stays * stays).sum(axis=2) / count
