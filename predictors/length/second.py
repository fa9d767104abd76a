"""A second opinion on the middle of a distribution: boosted trees beside the networks.

Trees see steps where networks see slopes, so their mistakes differ. They learn the logarithm of
the median of each pair from the inputs of the networks; the networks' distribution is moved a part
of the way towards it and keeps its shape.

Source: Friedman (2001), Greedy Function Approximation, Annals of Statistics 29(5).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from predictors.distribution import Floats
from predictors.length.bins import COUNT, LOG_EDGES, Lengths
from predictors.length.network import Examples, Ints, Matrix
from predictors.trees import Trees, from_boosting

# Of the way between the two medians (in log tokens).
_WEIGHT = 0.25
# Small trees: a single row is answered level by level.
_RATE, _LEAVES, _DEPTH, _COLUMNS_RATIO = 0.12, 31, 6, 0.2


@dataclass(frozen=True, slots=True)
class SecondOpinion:
    """Fitted trees.

    Attributes:
        trees: of what is left of the log median after the model's own mean.
        columns: of the inputs that they ask; each model is a column behind them.
        means: (models,) mean log median of each; row 0 is "any".
    """

    trees: Trees
    columns: Ints
    means: Floats

    def moved(self, shares: Floats, inputs: Matrix, model: Ints) -> Floats:
        """(n, COUNT) shares, a part of the way towards what the trees say."""
        asked = _columns(inputs, self.columns, model, len(self.means))
        # Walking beats the tables: these have hundreds of columns, and the trees are shallow.
        said = self.trees.walked(asked) + self.means[model]
        middle = Lengths.of(shares).quantiles((0.5,)).values[:, 0]
        return shifted(shares, _WEIGHT * (said - np.log(middle)))

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """For `artifact.write`."""
        kept = {"second.columns": self.columns, "second.means": self.means}
        return kept | self.trees.arrays("second.trees")

    @classmethod
    def from_arrays(cls, arrays: dict[str, npt.NDArray[Any]]) -> SecondOpinion | None:
        """What `arrays` gave; None in a model that has none."""
        if "second.columns" not in arrays:
            return None
        trees = Trees.from_arrays(arrays, "second.trees")
        return cls(trees, arrays["second.columns"], arrays["second.means"])


def shifted(shares: Floats, far: Floats) -> Floats:
    """(n, COUNT) shares of each row moved by `far` (n,) log tokens; the ends keep what passes."""
    below = np.hstack([np.zeros((len(shares), 1)), np.cumsum(shares, axis=1)])
    places = np.clip(LOG_EDGES - far[:, None], LOG_EDGES[0], LOG_EDGES[-1])
    bins = np.clip(np.searchsorted(LOG_EDGES, places, side="right") - 1, 0, COUNT - 1)
    inside = (places - LOG_EDGES[bins]) / (LOG_EDGES[bins + 1] - LOG_EDGES[bins])
    rows = np.arange(len(shares))[:, None]
    moved = below[rows, bins] + inside * shares[rows, bins]
    moved[:, 0], moved[:, -1] = 0.0, 1.0
    return np.asarray(np.maximum(np.diff(moved, axis=1), 0.0), dtype=np.float64)


def fit_second(
    examples: Examples, columns: Sequence[int], models: int, trees: int, seed: int
) -> SecondOpinion | None:
    """Trees of these examples; None without any, or where nearly all answers were cut.

    Args:
        examples: as the networks learn from.
        columns: of the inputs, to ask.
        models: how many, "any" included.
        trees: how many.
        seed: of the trees.
    """
    from sklearn.ensemble import HistGradientBoostingRegressor

    # The median of a pair is unknown where half of its answers were cut.
    known = np.flatnonzero(examples.cut.sum(axis=1) < 0.5)
    if len(known) < 2 or not trees:
        return None
    seen = (examples.ended + examples.cut)[known].astype(np.float64)
    middle = np.log(Lengths.of(seen).quantiles((0.5,)).values[:, 0])
    model = examples.model[known]
    count = np.bincount(model, minlength=models)
    means = np.bincount(model, middle, models) / np.maximum(count, 1)
    means = np.where(count > 0, means, middle.mean())
    means[0] = middle.mean()
    chosen = np.asarray(columns, dtype=np.int64)
    boosted = HistGradientBoostingRegressor(
        loss="absolute_error",
        learning_rate=_RATE,
        max_iter=trees,
        max_leaf_nodes=_LEAVES,
        max_depth=_DEPTH,
        max_features=_COLUMNS_RATIO,
        l2_regularization=1.0,
        early_stopping=False,
        random_state=seed,
    )
    asked = _columns(examples.inputs[examples.prompt[known]], chosen, model, models)
    boosted.fit(asked, middle - means[model], sample_weight=examples.weight[known])
    return SecondOpinion(from_boosting(boosted), chosen, means)


def _columns(inputs: Matrix, columns: Ints, model: Ints, models: int) -> Floats:
    own = np.zeros((len(inputs), models), np.float32)
    own[np.arange(len(inputs)), model] = 1.0
    return np.hstack([inputs[:, columns], own])
