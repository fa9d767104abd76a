"""How much of the KV cache running answers will need at most, before it happens.

Answers that are being written grow by a token a step until they end. Sorted by what remains, the
longest first, the need is highest just before one of them ends: when the k longest are left, each
has grown by what remains of the k-th. What remains is drawn from each answer's own distribution,
given what is already out, so that the peak is a distribution too.

Source: Past-Future scheduler (ASPLOS 2025), arXiv 2507.10150: max over k of
remaining_k * k + sum of the tokens held by the first k.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from predictors.distribution import Floats
from predictors.length.bins import Lengths


@dataclass(frozen=True, slots=True)
class Peak:
    """The highest need of a batch, as draws.

    Attributes:
        tokens: (draws,) of the KV cache, rising.
    """

    tokens: Floats

    def at(self, level: float) -> float:
        """Tokens that are enough in a share `level` of the draws."""
        return float(np.quantile(self.tokens, level))

    def probability_fits(self, capacity_tokens: float) -> float:
        """Share of the draws in which `capacity_tokens` are never exceeded."""
        return float((self.tokens <= capacity_tokens).mean())


def peak_tokens(remaining: npt.ArrayLike, held: npt.ArrayLike) -> float:
    """The highest number of cached tokens when each answer's remainder is known.

    Args:
        remaining: (n,) tokens still to come of each running answer.
        held: (n,) tokens each holds now: prompt and what is already out.
    """
    left = np.asarray(remaining, dtype=np.float64)
    if not len(left):
        return 0.0
    order = np.argsort(-left, kind="stable")
    used = np.cumsum(np.asarray(held, dtype=np.float64)[order])
    counts = np.arange(1, len(left) + 1)
    return float((left[order] * counts + used).max())


def peak_of(
    lengths: Lengths,
    prompt_tokens: npt.ArrayLike,
    given: npt.ArrayLike,
    draws: int = 200,
    seed: int = 0,
) -> Peak:
    """The peak of running answers as a distribution.

    Args:
        lengths: of the n answers, as predicted when they arrived.
        prompt_tokens: (n,) of their prompts.
        given: (n,) tokens already out.
        draws: how many times what remains is drawn.
        seed: of the draws.
    """
    n = len(lengths)
    if n == 0:
        return Peak(np.zeros(draws))
    out = np.broadcast_to(np.asarray(given, dtype=np.float64), (n,))
    held = np.asarray(prompt_tokens, dtype=np.float64) + out
    # A grid of quantiles drawn from at random costs one inversion instead of one a draw.
    levels = tuple(((np.arange(100) + 0.5) / 100).tolist())
    grid = lengths.remaining(out, levels).values
    random = np.random.default_rng(seed)
    picked = random.integers(0, len(levels), (draws, n))
    peaks = [peak_tokens(grid[np.arange(n), one], held) for one in picked]
    return Peak(np.sort(np.array(peaks)))


def admits(peak: Peak, capacity_tokens: float, risk_ratio: float = 0.05) -> bool:
    """Whether the batch may run: it outgrows the cache with at most that probability."""
    return 1 - peak.probability_fits(capacity_tokens) <= risk_ratio
