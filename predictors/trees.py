"""Boosted trees and forests as arrays: kept without pickles, answered without scikit-learn.

All trees of a model lie behind each other in a few arrays. Small trees (at most 64 leaves) are
answered without walking: a node whose question is answered with "right" strikes the leaves on its
left out, and the first leaf left is the answer. Per feature the strikes of all trees are summed up
beforehand for every interval between two thresholds, so that a row costs one look-up a feature.

Source: Lucchese et al. (2015), QuickScorer: a fast algorithm to rank documents with additive
ensembles of regression trees, SIGIR.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from predictors.distribution import Floats
from store.errors import PredictorError

# A word of strikes has one bit a leaf.
MOST_LEAVES = 64
# Above it the look-up tables cost more memory than walking costs time.
MOST_TABLE_BYTES = 64 << 20
# Rows answered at once: more would leave the processor's cache.
_ROWS_AT_ONCE = 1024

Words = npt.NDArray[np.uint64]
_NAMES = ("roots", "feature", "threshold", "left", "right", "missing_left", "value")


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
    # The tables, once somebody asked; empty until then.
    _made: list[_Scorer | None] = field(default_factory=list, compare=False, repr=False)

    def predict(self, columns: Floats) -> Floats:
        """(n,) raw answers for (n, f) rows; NaN is unknown."""
        if not self._made:
            self._made.append(_scorer(self))
        scorer = self._made[0]
        if scorer is None:
            return self.walked(columns)
        parts = [
            scorer.sums(columns[start : start + _ROWS_AT_ONCE])
            for start in range(0, len(columns), _ROWS_AT_ONCE)
        ]
        return self.baseline + (np.concatenate(parts) if parts else np.zeros(0))

    def walked(self, columns: Floats) -> Floats:
        """The same answers, node by node: for trees of any size."""
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
        kept = {f"{prefix}.{name}": getattr(self, name) for name in _NAMES}
        return {**kept, f"{prefix}.scalars": np.array([self.baseline, self.depth])}

    @classmethod
    def from_arrays(cls, arrays: dict[str, npt.NDArray[Any]], prefix: str) -> Trees:
        """What `arrays` gave.

        Raises:
            PredictorError: an array is missing.
        """
        try:
            parts: dict[str, Any] = {name: arrays[f"{prefix}.{name}"] for name in _NAMES}
            baseline, depth = arrays[f"{prefix}.scalars"]
        except KeyError as error:
            raise PredictorError(f"the model has no array {error.args[0]}") from error
        return cls(**parts, baseline=float(baseline), depth=int(depth))


@dataclass(frozen=True, slots=True)
class _Scorer:
    """Strikes by feature.

    Attributes:
        features: (f,) columns that any node asks.
        edges: thresholds of each of them, rising, without repeats.
        strikes: for each of them (edges + 2, t) words: bit l of tree t is set while leaf l can
            still be reached by a value in that interval; the last row is for NaN.
        values: (t * leaves,) what each leaf adds, the leaves of a tree from left to right.
        starts: (t,) first leaf of each tree.
    """

    features: tuple[int, ...]
    edges: tuple[Floats, ...]
    strikes: tuple[Words, ...]
    values: Floats
    starts: npt.NDArray[np.int64]

    def sums(self, columns: Floats) -> Floats:
        reachable: Words | None = None
        for feature, edges, strikes in zip(self.features, self.edges, self.strikes, strict=True):
            asked = columns[:, feature]
            # NaN sorts behind everything, where its own row lies.
            place = np.searchsorted(edges, asked)
            place[np.isnan(asked)] = len(edges) + 1
            here = strikes[place]
            reachable = here if reachable is None else np.bitwise_and(reachable, here, out=here)
        if reachable is None:
            return np.full(len(columns), self.values[self.starts].sum())
        first = reachable & (~reachable + np.uint64(1))
        # A power of two is exact as a float, and its exponent is the number of the bit.
        leaf = np.frexp(first.astype(np.float64))[1] - 1
        return np.asarray(self.values[leaf + self.starts].sum(axis=1), dtype=np.float64)


def _scorer(trees: Trees) -> _Scorer | None:
    spans = [_leaf_spans(trees, int(root)) for root in trees.roots]
    width = max(len(leaves) for leaves, _ in spans)
    asked = np.unique(trees.feature[trees.feature >= 0])
    edges = tuple(np.unique(trees.threshold[trees.feature == feature]) for feature in asked)
    size = sum(len(some) + 2 for some in edges) * len(trees.roots) * 8
    if width > MOST_LEAVES or size > MOST_TABLE_BYTES:
        return None
    strikes = [np.full((len(some) + 2, len(spans)), ~np.uint64(0)) for some in edges]
    numbers = {int(feature): number for number, feature in enumerate(asked)}
    for tree, (_, nodes) in enumerate(spans):
        for node, (first, last) in nodes.items():
            table = strikes[number := numbers[int(trees.feature[node])]]
            place = int(np.searchsorted(edges[number], trees.threshold[node]))
            keep = ~np.uint64(((1 << (last - first)) - 1) << first)
            # Values above the threshold go right: intervals behind it, NaN only if told so.
            table[place + 1 : -1, tree] &= keep
            if not trees.missing_left[node]:
                table[-1, tree] &= keep
    values = np.zeros((len(spans), width))
    for tree, (leaves, _) in enumerate(spans):
        values[tree, : len(leaves)] = trees.value[leaves]
    starts = np.arange(len(spans), dtype=np.int64) * width
    return _Scorer(tuple(asked.tolist()), edges, tuple(strikes), values.ravel(), starts)


def _leaf_spans(trees: Trees, root: int) -> tuple[list[int], dict[int, tuple[int, int]]]:
    """Leaves from left to right, and for every asking node the leaves under its left child."""
    leaves: list[int] = []
    spans: dict[int, tuple[int, int]] = {}
    begun: dict[int, int] = {}
    # A node is met twice: before its left subtree (False) and after it (True).
    waiting: list[tuple[int, bool]] = [(root, False)]
    while waiting:
        node, is_left_done = waiting.pop()
        if trees.feature[node] < 0:
            leaves.append(node)
        elif is_left_done:
            spans[node] = (begun[node], len(leaves))
            waiting.append((int(trees.right[node]), False))
        else:
            begun[node] = len(leaves)
            waiting += [(node, True), (int(trees.left[node]), False)]
    return leaves, spans


def learnable_columns(columns: Floats) -> Floats:
    """(n, f) columns as scikit-learn takes them: it refuses infinities and columns of NaN alone."""
    bounded = np.where(np.isinf(columns), np.sign(columns) * 1e300, columns)
    return np.where(np.isnan(bounded).all(axis=0), 0.0, bounded)


def from_boosting(model: Any) -> Trees:
    """The trees of a fitted HistGradientBoostingRegressor without categorical splits."""
    found = [stage[0].nodes for stage in model._predictors]
    if any(nodes["is_categorical"].any() for nodes in found):
        raise PredictorError("trees with categorical splits are not kept: encode them as numbers")
    return _behind_each_other(
        [
            {
                "leaf": nodes["is_leaf"].astype(bool),
                "feature": nodes["feature_idx"],
                "threshold": nodes["num_threshold"],
                "left": nodes["left"],
                "right": nodes["right"],
                "missing_left": nodes["missing_go_to_left"],
                "value": nodes["value"],
            }
            for nodes in found
        ],
        baseline=float(np.ravel(model._baseline_prediction)[0]),
        depth=int(max((nodes["depth"].max() for nodes in found), default=0)),
    )


def from_forest(model: Any) -> Trees:
    """The trees of a fitted RandomForestRegressor of one output; their mean is its answer."""
    trees = [estimator.tree_ for estimator in model.estimators_]
    return _behind_each_other(
        [
            {
                "leaf": tree.children_left < 0,
                "feature": tree.feature,
                "threshold": tree.threshold,
                "left": tree.children_left,
                "right": tree.children_right,
                "missing_left": tree.missing_go_to_left,
                "value": tree.value[:, 0, 0] / len(trees),
            }
            for tree in trees
        ],
        baseline=0.0,
        depth=int(max((tree.max_depth for tree in trees), default=0)),
    )


def _behind_each_other(
    found: Sequence[dict[str, npt.NDArray[Any]]], baseline: float, depth: int
) -> Trees:
    if not found:
        raise PredictorError("the model has no trees")
    sizes = [len(nodes["leaf"]) for nodes in found]
    starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32)
    nodes = {name: np.concatenate([some[name] for some in found]) for name in found[0]}
    offset = np.repeat(starts[:-1], sizes)
    here = np.arange(starts[-1], dtype=np.int32)
    leaf = nodes["leaf"]
    return Trees(
        roots=starts[:-1],
        feature=np.where(leaf, -1, nodes["feature"]).astype(np.int32),
        threshold=nodes["threshold"].astype(np.float64),
        left=np.where(leaf, here, nodes["left"].astype(np.int32) + offset).astype(np.int32),
        right=np.where(leaf, here, nodes["right"].astype(np.int32) + offset).astype(np.int32),
        missing_left=nodes["missing_left"].astype(bool),
        value=np.where(leaf, nodes["value"], 0.0).astype(np.float64),
        baseline=baseline,
        depth=depth,
    )
