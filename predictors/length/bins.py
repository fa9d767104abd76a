"""A length distribution as shares of fixed bins: quantiles, P(ends within H), what remains.

Bins grow by about a fifth, as errors of lengths are ratios. Inside a bin the logarithm of the
length is spread evenly.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from predictors.distribution import LEVELS, Floats, Quantiles

# 4 to 4096 tokens in steps of a fifth, then coarser up to what no answer exceeds.
EDGES: Floats = np.concatenate(
    [[1.0], np.geomspace(4, 4096, 39), [6144, 9216, 16384, 32768, 65536, 131072]]
)
LOG_EDGES: Floats = np.log(EDGES)
COUNT = len(EDGES) - 1
# Neighbouring bins share a label this far (in log tokens): ten samples say little about a bin.
SMOOTHING = 0.08
_RANK_POWER = 0.3


def number_of(values: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """The bin of each value."""
    place = np.searchsorted(EDGES, np.asarray(values, dtype=np.float64), side="right") - 1
    return np.clip(place, 0, COUNT - 1)


def softened(values: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """(n, COUNT) share of each bin for one observed length each, spread a little."""
    from scipy.special import ndtr

    logs = np.log(np.maximum(np.asarray(values, dtype=np.float64), 1.0))
    below = ndtr((LOG_EDGES[1:-1] - logs[:, None]) / SMOOTHING)
    ends = np.zeros((len(logs), 1)), np.ones((len(logs), 1))
    return np.diff(np.hstack([ends[0], below, ends[1]]), axis=1).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Lengths:
    """One length distribution a row.

    Attributes:
        shares: (n, COUNT) of each bin, summing to 1.
        most: (n,) tokens no answer of the row exceeds (`max_tokens`); infinite without a limit.
    """

    shares: Floats
    most: Floats

    @classmethod
    def of(cls, weights: npt.ArrayLike, most: npt.ArrayLike | None = None) -> Lengths:
        """From any non-negative weights of the bins."""
        given = np.asarray(weights, dtype=np.float64)
        top = np.inf if most is None else most
        limit = np.broadcast_to(np.asarray(top, dtype=np.float64), (len(given),))
        return cls(given / given.sum(axis=1, keepdims=True), limit)

    def __len__(self) -> int:
        return len(self.shares)

    def quantiles(self, levels: tuple[float, ...] = LEVELS) -> Quantiles:
        """Quantiles in tokens, cut at each row's limit."""
        asked = np.broadcast_to(np.asarray(levels), (len(self), len(levels)))
        return Quantiles(np.asarray(levels, dtype=np.float64), self._inverse(asked))

    def probability_within(self, limit: npt.ArrayLike) -> Floats:
        """P(length <= limit) of each row: (n,). At the row's own limit every answer has ended."""
        limits = np.broadcast_to(np.asarray(limit, dtype=np.float64), (len(self),))
        bins = number_of(limits)
        rows = np.arange(len(self))
        before = self._below()[rows, bins]
        low, high = LOG_EDGES[bins], LOG_EDGES[bins + 1]
        inside = np.clip((np.log(np.maximum(limits, 1.0)) - low) / (high - low), 0, 1)
        chance = np.clip(before + inside * self.shares[rows, bins], 0.0, 1.0)
        return np.where(limits >= self.most, 1.0, np.where(limits < 1, 0.0, chance))

    def ends_within(self, given: npt.ArrayLike, horizon: npt.ArrayLike) -> Floats:
        """P(at most `horizon` tokens are left | more than `given` are out): (n,).

        Args:
            given: tokens already out, >= 0: one number, or one a row.
            horizon: tokens, >= 0: one number, or one a row.
        """
        out = np.broadcast_to(np.asarray(given, dtype=np.float64), (len(self),))
        passed = self.probability_within(out)
        ended = self.probability_within(out + np.asarray(horizon, dtype=np.float64))
        left = 1 - passed
        # Past everything that was predicted nothing is known but that it should have ended.
        return np.where(left > 1e-6, (ended - passed) / np.maximum(left, 1e-6), 1.0)

    def remaining(self, given: npt.ArrayLike, levels: tuple[float, ...] = LEVELS) -> Quantiles:
        """Tokens still to come, knowing that more than `given` are out."""
        out = np.broadcast_to(np.asarray(given, dtype=np.float64), (len(self),))
        passed = self.probability_within(out)[:, None]
        at = np.asarray(levels, dtype=np.float64)
        values = self._inverse(passed + (1 - passed) * at) - out[:, None]
        return Quantiles(at, np.maximum(values, 0.0))

    def expected_remaining(self, given: npt.ArrayLike) -> Floats:
        """Mean number of tokens still to come, knowing that more than `given` are out: (n,)."""
        middle = tuple((np.arange(50) + 0.5) / 50)
        return np.asarray(self.remaining(given, middle).values.mean(axis=1), dtype=np.float64)

    def rank(self) -> Floats:
        """(n,) what to sort requests by, shortest first: a mean between that of logs and of tokens.

        It uses the whole distribution, so it ranks a little better than the median does.
        """
        middles = np.exp(_RANK_POWER * (LOG_EDGES[1:] + LOG_EDGES[:-1]) / 2)
        return np.minimum((self.shares @ middles) ** (1 / _RANK_POWER), self.most)

    def tempered(self, temperature: float) -> Lengths:
        """Flatter for a temperature above 1: what a model is too sure of is spread.

        Source: Guo et al. (2017), On Calibration of Modern Neural Networks, arXiv 1706.04599.
        """
        return Lengths.of(np.maximum(self.shares, 1e-9) ** (1 / temperature), self.most)

    def take(self, rows: npt.ArrayLike) -> Lengths:
        """The rows that an index or a mask names."""
        chosen = np.asarray(rows)
        return Lengths(self.shares[chosen], self.most[chosen])

    def _below(self) -> Floats:
        return np.hstack([np.zeros((len(self), 1)), np.cumsum(self.shares, axis=1)])

    def _inverse(self, asked: Floats) -> Floats:
        below = self._below()
        rows = np.arange(len(self))[:, None]
        bins = (below[:, None, 1:-1] < asked[:, :, None]).sum(axis=2)
        share = np.maximum(self.shares[rows, bins], 1e-12)
        inside = np.clip((asked - below[rows, bins]) / share, 0.0, 1.0)
        logs = LOG_EDGES[bins] + inside * (LOG_EDGES[bins + 1] - LOG_EDGES[bins])
        return np.asarray(np.minimum(np.exp(logs), self.most[:, None]), dtype=np.float64)
