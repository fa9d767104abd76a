"""Early warning: which threshold a series will pass within the hour, and how sure that is.

A warning that comes early is less often right. The trade is stated, not hidden: for each
probability at which one may warn, how many warnings were right, how many events were warned of,
and how long before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from predictors.demand.windows import WINDOW_SECONDS
from predictors.distribution import Floats, Quantiles


@dataclass(frozen=True, slots=True)
class Trade:
    """What warning at one probability brought.

    Attributes:
        probability: at or above which a warning was given.
        warnings: how many origins warned.
        events: how many origins were followed by the event.
        precision: share of warnings that were right; NaN without a warning.
        recall: share of events that were warned of; NaN without an event.
        lead_seconds: mean time from the warning to the event, of those that were right; NaN
            without any.
    """

    probability: float
    warnings: int
    events: int
    precision: float
    recall: float
    lead_seconds: float


def probability_above(steps: Sequence[Quantiles], threshold: npt.ArrayLike) -> Floats:
    """(n,) probability that a series is above its threshold in any of the asked windows.

    Neighbouring windows rise and fall together, so the highest of their probabilities is taken:
    the least that it can be.

    Args:
        steps: one distribution of n rows for each window ahead.
        threshold: one, or one a row, in the unit of the series.
    """
    above = [1 - one.probability_within(threshold) for one in steps]
    return np.asarray(np.max(above, axis=0), dtype=np.float64)


def first_above(outcomes: Floats, threshold: npt.ArrayLike) -> Floats:
    """(n,) seconds to the first window above the threshold; infinite without one.

    Args:
        outcomes: (n, steps) what came; NaN unknown counts as not above.
        threshold: one, or one a row.
    """
    limit = np.broadcast_to(np.asarray(threshold, dtype=np.float64), (len(outcomes),))
    above = np.nan_to_num(outcomes, nan=-np.inf) > limit[:, None]
    step = np.argmax(above, axis=1) + 1.0
    return np.where(above.any(axis=1), step * WINDOW_SECONDS, np.inf)


def trades(
    probability: Floats, lead_seconds: Floats, at: Sequence[float] = (0.1, 0.2, 0.35, 0.5, 0.65)
) -> list[Trade]:
    """What warning would have brought at each probability in `at`.

    Args:
        probability: (n,) as `probability_above` gives it.
        lead_seconds: (n,) as `first_above` gives it.
        at: probabilities to warn at.
    """
    came = np.isfinite(lead_seconds)
    made = []
    for level in at:
        warned = probability >= level
        right = warned & came
        made.append(
            Trade(
                *(level, int(warned.sum()), int(came.sum())),
                float(right.sum() / warned.sum()) if warned.any() else float("nan"),
                float(right.sum() / came.sum()) if came.any() else float("nan"),
                float(lead_seconds[right].mean()) if right.any() else float("nan"),
            )
        )
    return made
