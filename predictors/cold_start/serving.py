"""Cold starts in service: how durations are corrected by outcomes."""

from __future__ import annotations

from predictors.conformal import ConformalSettings
from predictors.serving import ServingSettings


def serving(least_seconds: float = 1.0) -> ServingSettings:
    """How durations are served.

    A container loads a few dozen times a day, so its offsets lean on everybody's: with the usual
    weight of a key's own outcomes, offsets of neighbouring levels cross and widen the intervals.

    Args:
        least_seconds: below it errors are differences, above it ratios.
    """
    return ServingSettings(
        conformal=ConformalSettings(rate=0.1, shrink_rows=1000, log_floor=least_seconds)
    )
