"""How sure a ratio is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import polars as pl

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


def skill_interval(
    loss: Sequence[float], rival_loss: Sequence[float], *, seed: int = 0, resamples: int = 500
) -> tuple[float, float] | None:
    """95 % interval of 1 - sum(loss) / sum(rival_loss), by drawing whole blocks again.

    Args:
        loss: of each block.
        rival_loss: of the same blocks.
        seed: of the drawing; the same blocks give the same interval.
        resamples: how often they are drawn.

    Returns:
        Both ends; None when the rival made no error in any drawing.

    Source: Kunsch (1989), The jackknife and the bootstrap for general stationary observations,
    Annals of Statistics 17(3).
    """
    import numpy as np

    ours, theirs = np.asarray(loss, np.float64), np.asarray(rival_loss, np.float64)
    if not len(ours):
        return None
    drawn = _drawn(seed, resamples, len(ours))
    bottom = theirs[drawn].sum(axis=1)
    possible = bottom > 0
    if not possible.any():
        return None
    ratios = 1 - ours[drawn].sum(axis=1)[possible] / bottom[possible]
    low, high = np.quantile(ratios, [0.025, 0.975])
    return float(low), float(high)


@lru_cache(maxsize=64)
def _drawn(seed: int, resamples: int, blocks: int) -> Any:
    """(resamples, blocks) numbers of blocks: the same for as many, so they are drawn once."""
    import numpy as np

    return np.random.default_rng(seed).integers(0, blocks, (resamples, blocks))


def with_ends(
    frame: pl.DataFrame, name: str, ends: Sequence[tuple[float | None, float | None]]
) -> pl.DataFrame:
    """The frame with `name`_low and `name`_high, one pair a row; None where none is known."""
    return frame.with_columns(
        pl.Series(f"{name}_low", [low for low, _ in ends], dtype=pl.Float64),
        pl.Series(f"{name}_high", [high for _, high in ends], dtype=pl.Float64),
    )
