"""How good a set of predicted distributions was. One evaluator for every predictor and rival."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from analysis.intervals import skill_interval
from predictors.distribution import SCORED_LEVELS, Floats, Quantiles


@dataclass(frozen=True, slots=True)
class Scores:
    """Scores on n rows. A figure that cannot be known is NaN, never 0.

    Attributes:
        n: rows with an outcome.
        pinball: mean over `SCORED_LEVELS` and rows, in the unit of the quantity.
        mae: mean absolute error of the median.
        mae_capped: the same after both were cut at `cap`; equal to `mae` without a cap.
        median_ape: median of |error| / outcome over rows with outcome > 0.
        wmape: sum of |error| / sum of outcomes.
        kendall_tau: rank correlation (tau-b) of median and outcome; NaN when one is constant.
        coverage_q90: share of outcomes at or below the 0.9 quantile; 0.90 is asked for.
        coverage_80: share between the 0.1 and the 0.9 quantile; 0.80 is asked for.
        width_80: mean distance of these two, in the unit of the quantity.
    """

    n: int
    pinball: float
    mae: float
    mae_capped: float
    median_ape: float
    wmape: float
    kendall_tau: float
    coverage_q90: float
    coverage_80: float
    width_80: float


_NOTHING = Scores(0, *[math.nan] * 9)


def pinball(quantiles: Quantiles, outcomes: npt.ArrayLike) -> Floats:
    """Mean pinball loss over `SCORED_LEVELS` of each row: (n,).

    Source: Koenker and Bassett (1978), Regression Quantiles, Econometrica 46(1).
    """
    real = np.asarray(outcomes, dtype=np.float64)
    total = np.zeros(len(real))
    for level in SCORED_LEVELS:
        short = real - quantiles.at(level)
        total += np.maximum(level * short, (level - 1) * short)
    return total / len(SCORED_LEVELS)


def score(
    quantiles: Quantiles, outcomes: npt.ArrayLike, cap: float | None = None, with_tau: bool = True
) -> Scores:
    """Score the rows whose outcome is known.

    Args:
        quantiles: n rows.
        outcomes: (n,) in the unit of the quantity; NaN unknown.
        cap: outcomes and medians are cut here for `mae_capped`.
        with_tau: whether to rank, which costs n log n.
    """
    real = np.asarray(outcomes, dtype=np.float64)
    known = np.isfinite(real)
    if not known.any():
        return _NOTHING
    quantiles, real = quantiles.take(known), real[known]
    middle, low, high = quantiles.at(0.5), quantiles.at(0.1), quantiles.at(0.9)
    error = np.abs(real - middle)
    most = math.inf if cap is None else cap
    positive = real > 0
    return Scores(
        n=len(real),
        pinball=float(pinball(quantiles, real).mean()),
        mae=float(error.mean()),
        mae_capped=float(np.abs(np.minimum(real, most) - np.minimum(middle, most)).mean()),
        median_ape=float(np.median(error[positive] / real[positive]))
        if positive.any()
        else math.nan,
        wmape=float(error.sum() / real.sum()) if real.sum() > 0 else math.nan,
        kendall_tau=kendall_tau(middle, real) if with_tau else math.nan,
        coverage_q90=float((real <= high).mean()),
        coverage_80=float(((real >= low) & (real <= high)).mean()),
        width_80=float((high - low).mean()),
    )


def coverage(quantiles: Quantiles, outcomes: npt.ArrayLike) -> Floats:
    """Share of known outcomes at or below each level: (k,); NaN without an outcome."""
    real = np.asarray(outcomes, dtype=np.float64)
    known = np.isfinite(real)
    if not known.any():
        return np.full(len(quantiles.levels), np.nan)
    below = real[known, None] <= quantiles.values[known]
    return np.asarray(below.mean(axis=0), dtype=np.float64)


def kendall_tau(predicted: npt.ArrayLike, real: npt.ArrayLike) -> float:
    """Kendall's tau-b; NaN when one side is constant."""
    from scipy.stats import kendalltau

    one, other = np.asarray(predicted, dtype=np.float64), np.asarray(real, dtype=np.float64)
    if len(one) < 2 or np.ptp(one) == 0 or np.ptp(other) == 0:
        return math.nan
    return float(kendalltau(one, other).statistic)


@dataclass(frozen=True, slots=True)
class Skill:
    """1 - ours / rival on the same rows: 0 is no better, 1 is perfect, below 0 is worse.

    Attributes:
        value: of all rows; NaN when the rival made no error.
        low: lower end of the 95 % block-bootstrap interval.
        high: upper end.
        n: rows.
        worst_key: the key with the lowest skill, "" without keys.
        worst_value: its skill.
    """

    value: float
    low: float
    high: float
    n: int
    worst_key: str = ""
    worst_value: float = math.nan


def skill(
    ours: Floats,
    rival: Floats,
    blocks: Sequence[object] | npt.NDArray[np.generic] | None = None,
    keys: Sequence[str] | None = None,
    seed: int = 0,
    resamples: int = 500,
) -> Skill:
    """Compare two losses of the same rows.

    Args:
        ours: (n,) losses of the predictor.
        rival: (n,) losses of the rival.
        blocks: (n,) what belongs together (a prompt, an hour): whole blocks are drawn again, since
            rows of one block are no independent evidence. Without it 30 runs of neighbours.
        keys: (n,) key of each row, for the worst of them (keys of at least 30 rows).
        seed: of the resampling.
        resamples: how many.

    Source: Kunsch (1989), The jackknife and the bootstrap for general stationary observations.
    """
    n = len(ours)
    if n == 0:
        return Skill(math.nan, math.nan, math.nan, 0)
    marks = np.arange(n) * 30 // n if blocks is None else np.asarray(blocks)
    _, place = np.unique(marks, return_inverse=True)
    top = np.bincount(place, weights=ours)
    bottom = np.bincount(place, weights=rival)
    low, high = skill_interval(top.tolist(), bottom.tolist(), seed=seed, resamples=resamples) or (
        math.nan,
        math.nan,
    )
    key, worst = _worst(ours, rival, keys)
    value = float(_ratio(ours.sum(keepdims=True), rival.sum(keepdims=True))[0])
    return Skill(value, low, high, n, key, worst)


def _ratio(ours: Floats, rival: Floats) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(rival > 0, 1 - ours / rival, np.nan)


def _worst(ours: Floats, rival: Floats, keys: Sequence[str] | None) -> tuple[str, float]:
    if keys is None:
        return "", math.nan
    names, place, counts = np.unique(
        np.asarray(keys, dtype=str), return_inverse=True, return_counts=True
    )
    losses = [np.bincount(place, weights=loss).astype(np.float64) for loss in (ours, rival)]
    value = _ratio(*losses)
    value[counts < 30] = np.nan
    if not np.isfinite(value).any():
        return "", math.nan
    number = int(np.nanargmin(value))
    return str(names[number]), float(value[number])
