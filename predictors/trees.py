"""Boosted trees as arrays: kept without pickles, answered without scikit-learn.

All trees of a model lie behind each other in five arrays; a row walks all of them at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from predictors.distribution import Floats
from store.errors import PredictorError


@dataclass(frozen=True, slots=True)
class Trees:
    """A sum of regression trees.

    Attributes:
        roots: (t,) node of each tree's root.
        feature: (m,) column a node asks; -1 in a leaf.
        threshold: (m,) values <= it go left.
        left: (m,) next node; a leaf points at itself.
        right: (m,) the same.
        missing_left: (m,) where NaN goes.
        value: (m,) what a leaf adds.
        baseline: what every row starts from.
        depth: longest way from a root to a leaf.
    """

    roots: npt.NDArray[np.int32]
    feature: npt.NDArray[np.int32]
    threshold: Floats
    left: npt.NDArray[np.int32]
    right: npt.NDArray[np.int32]
    missing_left: npt.NDArray[np.bool_]
    value: Floats
    baseline: float
    depth: int

    def predict(self, columns: Floats) -> Floats:
        """(n,) raw answers for (n, f) rows; NaN is unknown."""
        at = np.broadcast_to(self.roots, (len(columns), len(self.roots))).copy()
        rows = np.arange(len(columns))[:, None]
        for _ in range(self.depth):
            asked = columns[rows, np.maximum(self.feature[at], 0)]
            goes_left = np.where(
                np.isnan(asked), self.missing_left[at], asked <= self.threshold[at]
            )
            at = np.where(goes_left, self.left[at], self.right[at])
        return np.asarray(self.baseline + self.value[at].sum(axis=1), dtype=np.float64)

    def arrays(self, prefix: str) -> dict[str, npt.NDArray[Any]]:
        """For `artifact.write`."""
        return {
            f"{prefix}.roots": self.roots,
            f"{prefix}.feature": self.feature,
            f"{prefix}.threshold": self.threshold,
            f"{prefix}.left": self.left,
            f"{prefix}.right": self.right,
            f"{prefix}.missing_left": self.missing_left,
            f"{prefix}.value": self.value,
            f"{prefix}.scalars": np.array([self.baseline, self.depth]),
        }

    @classmethod
    def from_arrays(cls, arrays: dict[str, npt.NDArray[Any]], prefix: str) -> Trees:
        """What `arrays` gave.

        Raises:
            PredictorError: an array is missing.
        """
        names = ("roots", "feature", "threshold", "left", "right", "missing_left", "value")
        try:
            parts: dict[str, Any] = {name: arrays[f"{prefix}.{name}"] for name in names}
            baseline, depth = arrays[f"{prefix}.scalars"]
        except KeyError as error:
            raise PredictorError(f"the model has no array {error.args[0]}") from error
        return cls(**parts, baseline=float(baseline), depth=int(depth))


def from_boosting(model: Any) -> Trees:
    """The trees of a fitted HistGradientBoostingRegressor without categorical splits."""
    found = [stage[0].nodes for stage in model._predictors]
    if any(nodes["is_categorical"].any() for nodes in found):
        raise PredictorError("trees with categorical splits are not kept: encode them as numbers")
    starts = np.concatenate([[0], np.cumsum([len(nodes) for nodes in found])]).astype(np.int32)
    return Trees(
        roots=starts[:-1],
        **_joined(found, starts),
        baseline=float(np.ravel(model._baseline_prediction)[0]),
        depth=int(max((nodes["depth"].max() for nodes in found), default=0)),
    )


def _joined(found: Sequence[Any], starts: npt.NDArray[np.int32]) -> dict[str, Any]:
    if not found:
        raise PredictorError("the model has no trees")
    nodes = np.concatenate(found)
    offset = np.repeat(starts[:-1], [len(some) for some in found]).astype(np.int32)
    here = np.arange(len(nodes), dtype=np.int32)
    leaf = nodes["is_leaf"].astype(bool)
    return {
        "feature": np.where(leaf, -1, nodes["feature_idx"]).astype(np.int32),
        "threshold": nodes["num_threshold"].astype(np.float64),
        "left": np.where(leaf, here, nodes["left"].astype(np.int32) + offset).astype(np.int32),
        "right": np.where(leaf, here, nodes["right"].astype(np.int32) + offset).astype(np.int32),
        "missing_left": nodes["missing_go_to_left"].astype(bool),
        "value": np.where(leaf, nodes["value"], 0.0).astype(np.float64),
    }
