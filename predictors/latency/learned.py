"""Boosted quantiles beside physics: for what no physics of the present state can tell.

How long an answer decodes hangs on who comes after it. Trees know what usually came, physics what
cannot be otherwise; their quantiles are mixed, by a share that is chosen in blocks of time that
neither had seen. Trees that do not help there are left out.

Of the whole time they learn ratios to what physics says, so that what it alone knows of a request,
the length that was predicted for it, counts in both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from predictors.distribution import LEVELS, Floats, Quantiles
from predictors.latency.features import State
from predictors.latency.residual import LEAST_ROWS
from predictors.scoring import pinball
from predictors.trees import Trees, from_boosting, learnable_columns

_PARTS = ("low", "middle", "high")
_PART_LEVELS = (0.1, 0.5, 0.9)
# The distance from the middle to either side is at least this, in logarithms: 2 %.
_LEAST_WIDTH = 0.02
# Shares of the trees that are tried.
_SHARES = (0.25, 0.5, 0.75, 1.0)
# Rows are judged in so many parts of time: longer ones than queues last, shorter ones than loads.
PARTS = 12
# What they must gain in unseen blocks to be worth their place.
_LEAST_GAIN = 0.02
_MOST_LOG = 25.0


@dataclass(frozen=True, slots=True)
class Learned:
    """Trees for three levels, the spread around them, and their share.

    Attributes:
        trees: 0.1, 0.5 and 0.9 quantile of the outcome's logarithm, or of its ratio to physics.
        spread: (k,) at LEVELS, in distances from the middle to the side.
        share: of the trees in the answer, in (0, 1].
        is_ratio: whether they tell ratios to the median of physics.
    """

    trees: tuple[Trees, Trees, Trees]
    spread: Floats
    share: float
    is_ratio: bool

    def mixed(self, design: Floats, told: Floats) -> Floats:
        """(n, k) quantiles at LEVELS.

        Args:
            design: (n, f) as `design_of` makes it.
            told: (n, k) quantiles by physics, above 0.
        """
        parts = np.stack([trees.predict(design) for trees in self.trees], axis=1)
        alone = _levelled(parts, self.spread) + _base(told, self.is_ratio)
        return _mixed(alone, told, self.share)

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """For `artifact.write`."""
        kept = {"learned": np.array([*self.spread, self.share, float(self.is_ratio)])}
        for name, trees in zip(_PARTS, self.trees, strict=True):
            kept |= trees.arrays(f"learned_{name}")
        return kept

    @classmethod
    def from_arrays(cls, arrays: dict[str, npt.NDArray[Any]]) -> Learned | None:
        """What `arrays` gave; None where there were no trees."""
        if "learned" not in arrays:
            return None
        low, middle, high = (Trees.from_arrays(arrays, f"learned_{name}") for name in _PARTS)
        *spread, share, is_ratio = arrays["learned"].tolist()
        return cls((low, middle, high), np.array(spread), share, bool(is_ratio))


def design_of(state: State, told: Floats, tokens: Floats) -> Floats:
    """(n, f): the state as it is, what physics says of it, and the expected tokens.

    Args:
        state: n rows.
        told: (n, k) quantiles by physics.
        tokens: (n,) expected output tokens.
    """
    counts = (
        *(state.own, state.running, state.waiting, state.ahead, state.context, state.slots),
        *(state.scraped_running, state.scraped_waiting, state.step, state.prompt_rate),
        *(state.usage, state.oldest, state.last_ttft, state.arrivals, state.firsts, state.most),
    )
    at = [LEVELS.index(level) for level in _PART_LEVELS]
    return np.column_stack([*counts, tokens, np.log(np.maximum(told[:, at], 1e-9))])


def learned(
    design: Floats, real: Floats, told: Floats, seed: int, *, is_ratio: bool = False
) -> tuple[Learned | None, Floats]:
    """Trees, None where they do not help, and (n, k) the answers to parts that were not seen.

    Args:
        design: (n, f) by time, as `design_of` makes it, of physics that had not seen the row.
        real: (n,) outcomes above 0.
        told: (n, k) quantiles by the same physics.
        seed: of the boosting.
        is_ratio: whether ratios to the median of physics are learnt.
    """
    base = _base(told, is_ratio)
    target, blocks = np.log(real) - base[:, 0], np.arange(len(real)) * PARTS // max(len(real), 1)
    parts = np.full((len(real), len(_PARTS)), np.nan)
    for block in np.unique(blocks):
        inside = blocks == block
        if (~inside).sum() < LEAST_ROWS or np.ptp(target[~inside]) < 1e-9:
            return None, told
        trees = _grown(design[~inside], target[~inside], seed)
        parts[inside] = np.stack([part.predict(design[inside]) for part in trees], axis=1)
    spread = _spread(target, parts)
    alone = _levelled(parts, spread) + base
    losses = {share: _loss(_mixed(alone, told, share), told, real) for share in _SHARES}
    share = min(losses, key=losses.__getitem__)
    if losses[share] > 1 - _LEAST_GAIN:
        return None, told
    trees = _grown(design, target, seed)
    return Learned(trees, spread, share, is_ratio), _mixed(alone, told, share)


def _mixed(alone: Floats, told: Floats, share: float) -> Floats:
    """Quantiles between both, in ratios."""
    return np.asarray(np.exp(share * alone + (1 - share) * np.log(np.maximum(told, 1e-9))))


def _base(told: Floats, is_ratio: bool) -> Floats:
    """(n, 1) logarithm of what the trees are relative to."""
    middle = np.log(np.maximum(told[:, LEVELS.index(0.5)], 1e-9))
    return (middle if is_ratio else np.zeros(len(told)))[:, None]


def _levelled(parts: Floats, spread: Floats) -> Floats:
    """(n, k) logarithms at LEVELS."""
    down, up = _widths(parts)
    return np.clip(parts[:, 1:2] + np.where(spread < 0, down, up) * spread, -_MOST_LOG, _MOST_LOG)


def _widths(parts: Floats) -> tuple[Floats, Floats]:
    low, middle, high = (parts[:, number, None] for number in range(len(_PARTS)))
    return np.maximum(middle - low, _LEAST_WIDTH), np.maximum(high - middle, _LEAST_WIDTH)


def _spread(target: Floats, parts: Floats) -> Floats:
    """How far out the levels lie in rows whose block the trees had not seen."""
    down, up = (side[:, 0] for side in _widths(parts))
    miss = target - parts[:, 1]
    return np.asarray(np.quantile(miss / np.where(miss < 0, down, up), LEVELS))


def _loss(mixed: Floats, told: Floats, real: Floats) -> float:
    """Loss beside that of physics, in seconds and in ratios alike."""
    seconds, ratios = (
        pinball(Quantiles.of(LEVELS, scale(mixed)), scale(real)).mean()
        / max(pinball(Quantiles.of(LEVELS, scale(told)), scale(real)).mean(), 1e-12)
        for scale in (np.asarray, np.log)
    )
    return float(np.sqrt(seconds * ratios))


def _grown(design: Floats, target: Floats, seed: int) -> tuple[Trees, Trees, Trees]:
    from threadpoolctl import threadpool_limits

    columns = learnable_columns(design)
    with threadpool_limits(1):
        low, middle, high = (
            from_boosting(_boosting(level, seed).fit(columns, target)) for level in _PART_LEVELS
        )
    return low, middle, high


def _boosting(level: float, seed: int) -> Any:
    from sklearn.ensemble import HistGradientBoostingRegressor

    return HistGradientBoostingRegressor(
        loss="quantile",
        quantile=level,
        max_iter=100,
        learning_rate=0.08,
        max_leaf_nodes=15,
        min_samples_leaf=20,
        early_stopping=False,
        random_state=seed,
    )
