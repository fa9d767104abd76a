"""The cheapest fixed fleet of several pools that keeps the objective: static-peak for fleets.

What replicas can do gives a ladder of fleets, cheap to dear; the first that keeps the objective in
the simulator is a bound. Then fleets around it that cost less are tried, the most able first: one
that keeps it is a new bound, one that does not rules out all that are nowhere larger. So what is
left at the end is the cheapest there is, as far as more replicas never do worse.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from controller.comparison.pareto import first_that
from controller.comparison.sizing import Kind, ladder, price, served

MOST_TRIED = 60
# Replicas of each pool that the search goes around the bound, by the number of pools.
_AROUND = {1: 8, 2: 6, 3: 3, 4: 2}
# What serves less than this share of what failed, by the profiles, is not tried.
_LEAST_SHARE = 0.7
_TINY = 1e-9

Fleet = tuple[int, ...]
# Whether a fleet keeps the objective.
Judge = Callable[[Fleet], bool]


@dataclass(slots=True)
class Search:
    """For one case.

    Args:
        kinds: the pools.
        judge: replays a fleet with one seed.
    """

    kinds: Sequence[Kind]
    judge: Judge
    tried: dict[Fleet, bool] = field(default_factory=dict)

    def bound(self) -> Fleet:
        """The first rung of the ladder that keeps the objective; the largest fleet without one."""
        rungs = ladder(self.kinds)
        rows = [tuple(row) for row in rungs.replicas.tolist()]
        # Nobody serves anything without replicas.
        able = [row for row, rate in zip(rows, rungs.per_second, strict=True) if rate > 0]
        best = first_that(able or rows, self._keeps)
        return best if self._keeps(best) else tuple(kind.most for kind in self.kinds)

    def cheapest(self) -> Fleet:
        """The cheapest that keeps the objective; the largest when none does."""
        best = self.bound()
        if not self.tried.get(best, False):
            return best
        failed = [fleet for fleet, has_kept in self.tried.items() if not has_kept]
        floor = float(served(self.kinds, np.array(failed)).max()) if failed else 0.0
        while len(self.tried) < MOST_TRIED:
            following = self._cheaper(best, floor)
            if following is None:
                break
            if self._keeps(following):
                best = following
        return best

    def dearer(self, than: Fleet) -> list[Fleet]:
        """What to try when a fleet failed after all: the same and a little more, cheap first."""
        reach = [np.arange(at, min(kind.most, at + 2) + 1)
                 for kind, at in zip(self.kinds, than, strict=True)]  # fmt: skip
        around = np.stack([one.ravel() for one in np.meshgrid(*reach, indexing="ij")], axis=1)
        order = np.lexsort((-served(self.kinds, around), self._price(around)))
        return [tuple(row) for row in around[order].tolist() if tuple(row) != than]

    def _keeps(self, fleet: Fleet) -> bool:
        if fleet not in self.tried:
            self.tried[fleet] = self.judge(fleet)
        return self.tried[fleet]

    def _cheaper(self, best: Fleet, floor: float) -> Fleet | None:
        bound = np.array([best])
        around = self._open(best)
        able = served(self.kinds, around)
        is_worth = self._price(around) < self._price(bound)[0] - _TINY
        is_worth &= able >= _LEAST_SHARE * floor
        around, able = around[is_worth], able[is_worth]
        if not len(around):
            return None
        # Among those that seem as able the larger one, which rules out more.
        order = np.lexsort((around.sum(axis=1), able))
        return tuple(around[order[-1]].tolist())

    def _price(self, fleets: np.ndarray) -> np.ndarray:
        return price(self.kinds, fleets)

    def _open(self, center: Fleet) -> np.ndarray:
        """Fleets around one that were not tried, and are not ruled out by one that failed."""
        reach = _AROUND.get(len(self.kinds), 1)
        ranges = [
            np.arange(max(kind.least, at - reach), min(kind.most, at + reach) + 1)
            for kind, at in zip(self.kinds, center, strict=True)
        ]
        made = np.stack([one.ravel() for one in np.meshgrid(*ranges, indexing="ij")], axis=1)
        for fleet, has_kept in self.tried.items():
            is_out = (made == fleet).all(axis=1)
            if not has_kept:
                is_out |= (made <= fleet).all(axis=1)
            made = made[~is_out]
        return made
