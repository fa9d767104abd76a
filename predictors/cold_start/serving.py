"""Cold starts in service: how durations are corrected by outcomes."""

from __future__ import annotations

from predictors.conformal import ConformalSettings
from predictors.serving import ServingSettings


def serving(
    least_seconds: float = 1.0, rate: float = 0.1, first_rate: float = 0.5
) -> ServingSettings:
    """How durations are served.

    A container loads a few dozen times a day, so its offsets lean on everybody's: with the usual
    weight of a key's own outcomes, offsets of neighbouring levels cross and widen the intervals.

    Args:
        least_seconds: below it errors are differences, above it ratios.
        rate: step of an offset on a miss; where outcomes come by the thousand, small steps are
            enough, and the middle is not shaken.
        first_rate: the same for the first outcomes.
    """
    conformal = ConformalSettings(rate, first_rate, shrink_rows=1000, log_floor=least_seconds)
    return ServingSettings(conformal=conformal)
