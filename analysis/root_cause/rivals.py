"""What simpler methods say of the same case: scores by column, NaN where they say nothing."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping

import numpy as np

from analysis.root_cause.table import Case, Floats

Rival = Callable[[Case], Floats]


def largest_z(case: Case) -> Floats:
    """|mean in the fault - mean before| over the deviation before."""
    before, during = _sides(case)
    with _quiet():
        spread = np.nanstd(before, axis=0)
        shift = np.abs(np.nanmean(during, axis=0) - np.nanmean(before, axis=0))
        made: Floats = np.divide(shift, spread, out=np.full(len(shift), np.nan), where=spread > 0)
    return made


def correlation(case: Case) -> Floats:
    """|Pearson's correlation| with the target over all samples."""
    return _correlation(case.values, case.target)


def correlation_near(case: Case) -> Floats:
    """The same from the reference on, or as long before the onset as the fault lasts."""
    rows = len(case.times) - case.onset
    start = case.reference_start
    start = max(0, case.onset - rows) if start == case.onset else start
    return _correlation(case.values[start:], case.target)


def robust_scorer(case: Case) -> Floats:
    """Largest value in the fault less the median before, over the interquartile range before.

    The second half of BARO (Pham, Ha, Zhang, FSE 2024, arXiv 2405.09330).
    """
    before, during = _sides(case)
    with _quiet():
        low, middle, high = np.nanquantile(before, (0.25, 0.5, 0.75), axis=0)
        width = np.where(high > low, high - low, 1.0)
        made: Floats = np.nanmax(during - middle, axis=0) / width
    return made


def _sides(case: Case) -> tuple[Floats, Floats]:
    return case.values[: case.onset], case.values[case.onset :]


def _correlation(values: Floats, target: int) -> Floats:
    made = np.full(values.shape[1], np.nan)
    goal = values[:, target]
    for i in range(values.shape[1]):
        one = values[:, i]
        known = np.isfinite(one) & np.isfinite(goal)
        if known.sum() >= 3 and np.ptp(one[known]) > 0 and np.ptp(goal[known]) > 0:
            made[i] = abs(np.corrcoef(one[known], goal[known])[0, 1])
    return made


def _quiet() -> warnings.catch_warnings[None]:
    """Columns without a sample give NaN; numpy warns of each."""
    return warnings.catch_warnings(action="ignore", category=RuntimeWarning)


RIVALS: Mapping[str, Rival] = {
    "largest z-score": largest_z,
    "correlation, all samples": correlation,
    "correlation, around the onset": correlation_near,
    "robust scorer of BARO": robust_scorer,
}
