"""How sure a ratio is."""

from __future__ import annotations

import math

Z_95 = 1.959963984540054


def wilson(hits: float, trials: float, z: float = Z_95) -> tuple[float, float] | None:
    """Wilson score interval of a proportion, 95 % by default; None without trials.

    Args:
        hits: number of successes, 0 <= hits <= trials.
        trials: number of events.
        z: standard normal quantile.

    Raises:
        ValueError: when hits lies outside [0, trials].

    Source: E. B. Wilson, JASA 22 (1927) 209-212.
    """
    if not 0 <= hits <= trials:
        raise ValueError(f"{hits} hits of {trials} trials")
    if trials == 0:
        return None
    ratio = hits / trials
    square = z * z / trials
    middle = (ratio + square / 2) / (1 + square)
    half = z / (1 + square) * math.sqrt(ratio * (1 - ratio) / trials + square / (4 * trials))
    # Rounding must not push the ends past the observed ratio.
    return max(0.0, min(middle - half, ratio)), min(1.0, max(middle + half, ratio))
