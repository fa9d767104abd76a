"""A quantile forest: what ended in the same leaves as a row is the distribution of its outcome.

Nothing about the shape is assumed, so two humps (cache hit, cache miss) stay two humps. Half of the
trees see logarithms of the outcome, half its ratio to an anchor (what history or physics expects),
so that a host ten times slower than any known one is still answered in its own scale.

Source: Meinshausen (2006), Quantile Regression Forests, JMLR 7.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from predictors.distribution import Floats
from store.errors import PredictorError

# What stands for unknown: below every feature there is, so that a split can set it apart.
UNKNOWN = -1e6
# Bytes of a large model fit; what is larger is absurd.
_MOST = 1e12
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class ForestSettings:
    """How it is grown.

    Attributes:
        trees: of each of four kinds (bagged or with random cuts; outcome or its ratio).
        leaf_rows: least rows of a leaf.
        features_ratio: share of the features a split may choose from.
        most_rows: rows a tree is grown from at most.
    """

    trees: int = 30
    leaf_rows: int = 5
    features_ratio: float = 0.33
    most_rows: int = 20_000


@dataclass(frozen=True, slots=True)
class Forest:
    """Trees behind each other in flat arrays, and the targets in their leaves.

    Attributes:
        roots: (t,) first node of each tree.
        is_ratio: (t,) whether the tree's targets are ratios to the anchor.
        feature: (m,) column a node asks; -1 in a leaf.
        threshold: (m,) values <= it go left.
        left: (m,) next node; a leaf points at itself.
        right: (m,) the same.
        first: (m,) where a leaf's targets begin in `targets`.
        size: (m,) how many they are; 0 in other nodes.
        targets: logarithms, sorted inside each leaf.
        depth: longest way from a root to a leaf.
    """

    roots: Ints
    is_ratio: npt.NDArray[np.bool_]
    feature: Ints
    threshold: Floats
    left: Ints
    right: Ints
    first: Ints
    size: Ints
    targets: Floats
    depth: int

    def quantiles(self, columns: Floats, anchors: Floats, levels: Floats) -> Floats:
        """(n, k) quantiles of the logarithm.

        Args:
            columns: (n, f) features; NaN is unknown.
            anchors: (n,) logarithm of what is expected.
            levels: (k,) in (0, 1).
        """
        leaves = self._leaves(filled(columns))
        made = np.empty((len(columns), len(levels)))
        for number, leaf in enumerate(leaves):
            made[number] = self._weighted(leaf, float(anchors[number]), levels)
        return made

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """For `artifact.write`."""
        names = ("roots", "is_ratio", "feature", "threshold", "left", "right", "first", "size")
        kept: dict[str, npt.NDArray[Any]] = {name: getattr(self, name) for name in names}
        return kept | {"targets": self.targets, "depth": np.array([self.depth])}

    @classmethod
    def from_arrays(cls, arrays: dict[str, npt.NDArray[Any]]) -> Forest:
        """What `arrays` gave.

        Raises:
            PredictorError: an array is missing.
        """
        try:
            parts: dict[str, Any] = {name: arrays[name] for name in cls.__slots__}
        except KeyError as error:
            raise PredictorError(f"the model has no array {error.args[0]}") from error
        return cls(**{**parts, "depth": int(parts["depth"][0])})

    def _leaves(self, columns: Floats) -> Ints:
        at = np.broadcast_to(self.roots, (len(columns), len(self.roots))).copy()
        rows = np.arange(len(columns))[:, None]
        for _ in range(self.depth):
            asked = columns[rows, np.maximum(self.feature[at], 0)]
            at = np.where(asked <= self.threshold[at], self.left[at], self.right[at])
        return at

    def _weighted(self, leaves: Ints, anchor: float, levels: Floats) -> Floats:
        sizes = self.size[leaves]
        place = np.repeat(self.first[leaves] - np.concatenate([[0], np.cumsum(sizes)[:-1]]), sizes)
        values = self.targets[place + np.arange(len(place))]
        values = values + np.repeat(np.where(self.is_ratio, anchor, 0.0), sizes)
        weights = np.repeat(1.0 / sizes, sizes)
        order = np.argsort(values)
        risen = np.cumsum(weights[order])
        middle = (risen - 0.5 * weights[order]) / risen[-1]
        return np.asarray(np.interp(levels, middle, values[order]), dtype=np.float64)


def filled(columns: Floats) -> Floats:
    """Unknown and absurd values as numbers that a threshold can be compared with."""
    return np.where(np.isnan(columns), UNKNOWN, np.clip(columns, UNKNOWN + 1, _MOST)).astype(
        np.float32
    )


def grow(
    columns: Floats, targets: Floats, anchors: Floats, seed: int, settings: ForestSettings
) -> Forest:
    """Grow a forest.

    Args:
        columns: (n, f) features; NaN is unknown.
        targets: (n,) logarithm of the outcome.
        anchors: (n,) logarithm of what was expected.
        seed: of everything random.
        settings: how many trees, how deep.
    """
    from sklearn.ensemble import ExtraTreesRegressor, RandomForestRegressor

    given = filled(columns)
    trees: list[_Tree] = []
    for number, (kind, is_ratio) in enumerate(
        (kind, is_ratio)
        for kind in (RandomForestRegressor, ExtraTreesRegressor)
        for is_ratio in (False, True)
    ):
        aim = targets - anchors if is_ratio else targets
        model = kind(
            n_estimators=settings.trees,
            min_samples_leaf=min(settings.leaf_rows, max(1, len(aim) // 4)),
            max_features=settings.features_ratio,
            bootstrap=True,
            max_samples=min(len(aim), settings.most_rows),
            random_state=seed + number,
        )
        model.fit(given, aim)
        trees += [_tree(member.tree_, given, aim, is_ratio) for member in model.estimators_]
    return _joined(trees)


@dataclass(frozen=True, slots=True)
class _Tree:
    feature: Ints
    threshold: Floats
    left: Ints
    right: Ints
    size: Ints
    targets: Floats
    depth: int
    is_ratio: bool


def _tree(grown: Any, columns: Floats, aim: Floats, is_ratio: bool) -> _Tree:
    nodes = np.arange(grown.node_count)
    leaf = grown.children_left < 0
    fallen = grown.apply(columns)
    # Every row counts in its leaf, also those that the tree was not grown from.
    order = np.lexsort((aim, fallen))
    return _Tree(
        feature=np.where(leaf, -1, grown.feature),
        threshold=grown.threshold.astype(np.float64),
        left=np.where(leaf, nodes, grown.children_left),
        right=np.where(leaf, nodes, grown.children_right),
        size=np.bincount(fallen, minlength=grown.node_count),
        targets=aim[order],
        depth=int(grown.max_depth),
        is_ratio=is_ratio,
    )


def _joined(trees: list[_Tree]) -> Forest:
    counts = np.array([len(tree.feature) for tree in trees])
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    size = np.concatenate([tree.size for tree in trees])
    return Forest(
        roots=starts,
        is_ratio=np.array([tree.is_ratio for tree in trees]),
        feature=np.concatenate([tree.feature for tree in trees]),
        threshold=np.concatenate([tree.threshold for tree in trees]),
        left=np.concatenate([t.left + start for t, start in zip(trees, starts, strict=True)]),
        right=np.concatenate([t.right + start for t, start in zip(trees, starts, strict=True)]),
        first=np.concatenate([[0], np.cumsum(size)[:-1]]),
        size=size,
        targets=np.concatenate([tree.targets for tree in trees]),
        depth=max(tree.depth for tree in trees),
    )
