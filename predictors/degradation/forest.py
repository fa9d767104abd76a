"""Forests whose leaves keep the quantiles of the outcomes that fell into them.

Averaging leaf quantiles over trees is close to a quantile regression forest (Meinshausen, 2006)
and needs no outcome to be kept.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from predictors.degradation.bodies import Arrays, extra
from predictors.degradation.channels import Inputs
from predictors.distribution import LEVELS, Floats

LEAST_IN_LEAF = 5
CHUNK_ROWS = 512


class Forest:
    """A random forest, or extremely randomised trees.

    Args:
        kind: "random" draws rows and looks for the best cut, "extra" takes all rows and draws
            cuts, which smooths what trees make of a load in between.
        trees: how many.
    """

    def __init__(self, kind: Literal["random", "extra"] = "random", trees: int = 100) -> None:
        self._kind, self._trees = kind, trees
        self._kept: Arrays = {}

    def fit(self, inputs: Inputs, outcomes: Floats, seed: int) -> None:
        """Learn from n rows."""
        name = "RandomForestRegressor" if self._kind == "random" else "ExtraTreesRegressor"
        made = getattr(extra("sklearn.ensemble"), name)
        table = _filled(inputs.summary())
        model = made(self._trees, min_samples_leaf=LEAST_IN_LEAF, random_state=seed, n_jobs=1)
        model.fit(table, outcomes)
        grown = [tree.tree_ for tree in model.estimators_]
        starts = np.concatenate([[0], np.cumsum([tree.node_count for tree in grown])])
        self._kept = _joined(grown, starts)
        self._kept["quantiles"] = np.concatenate(
            [_leaf_quantiles(tree, table, outcomes) for tree in grown]
        )

    def predict(self, inputs: Inputs) -> Floats:
        """(n, k) quantiles."""
        table = _filled(inputs.summary())
        made = np.empty((len(table), len(LEVELS)))
        for start in range(0, len(table), CHUNK_ROWS):
            made[start : start + CHUNK_ROWS] = self._walked(table[start : start + CHUNK_ROWS])
        return made

    def _walked(self, table: npt.NDArray[np.float32]) -> Floats:
        kept, rows = self._kept, np.arange(len(table))[:, None]
        at = np.broadcast_to(kept["roots"], (len(table), len(kept["roots"]))).copy()
        while True:
            asked = kept["feature"][at]
            inner = asked >= 0
            if not inner.any():
                return np.asarray(kept["quantiles"][at].mean(axis=1), dtype=np.float64)
            goes_left = table[rows, np.maximum(asked, 0)] <= kept["threshold"][at]
            further = np.where(goes_left, kept["left"][at], kept["right"][at])
            at = np.where(inner, further, at)

    def arrays(self) -> Arrays:
        """All that was learnt."""
        return self._kept

    def restore(self, arrays: Arrays) -> None:
        """What `arrays` gave."""
        self._kept = arrays


def _filled(table: Floats) -> npt.NDArray[np.float32]:
    # Unknown lies outside of everything known, so that a cut can tell it apart.
    bounded = np.clip(np.where(np.isfinite(table), table, -1e30), -1e30, 1e30)
    return bounded.astype(np.float32)


def _joined(grown: list[Any], starts: npt.NDArray[np.int64]) -> Arrays:
    def moved(name: str) -> npt.NDArray[np.int32]:
        parts = [getattr(tree, name) + start for tree, start in zip(grown, starts, strict=False)]
        return np.concatenate(parts).astype(np.int32)

    feature = np.concatenate([tree.feature for tree in grown])
    return {
        "roots": starts[:-1].astype(np.int32),
        "feature": np.where(feature < 0, -1, feature).astype(np.int32),
        "threshold": np.concatenate([tree.threshold for tree in grown]),
        "left": moved("children_left"),
        "right": moved("children_right"),
    }


def _leaf_quantiles(
    tree: Any, table: npt.NDArray[np.float32], outcomes: Floats
) -> npt.NDArray[np.float32]:
    leaves = tree.apply(table)
    order = np.argsort(leaves, kind="stable")
    edges = np.flatnonzero(np.diff(leaves[order])) + 1
    made = np.zeros((tree.node_count, len(LEVELS)), np.float32)
    for rows in np.split(order, edges):
        made[leaves[rows[0]]] = np.quantile(outcomes[rows], LEVELS)
    return made
