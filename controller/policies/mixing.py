"""How many replicas of which type: the cheapest that serve in time, of what there is and can be.

An integer programme in replicas of each type: some are kept, some are added. What is needed now has
to come from replicas that serve or will be ready as soon as the quick types are; one that serves is
given up only for one that serves. Chance takes more of few large replicas than of many small ones:

    capacity >= need + 0.15 sqrt(sum of n c^2)            c: requests a second of a replica

After Mélange (arXiv 2404.14527) for the choice of types by price; its load is at rest, ours is not.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from controller.capacity import SPREAD, staffed
from controller.policies.parts import up

# Moving to other types must save this share of what is there.
WORTH_MOVING = 0.05
_MOST_NODES = 5_000
_ROUNDS = 6
_TINY = 1e-6


@dataclass(frozen=True, slots=True)
class Kind:
    """A pool of one type.

    Attributes:
        name: of the pool.
        capacity: requests a second of a replica inside the objective.
        price: of a replica an hour, in whatever is compared.
        least: replicas.
        most: replicas.
        there: replicas that serve or will.
        ready: those that serve.
        soon: those that will serve by the time that a quick one could.
        is_quick: whether one that is asked for now is among the quick ones.
    """

    name: str
    capacity: float
    price: float
    least: int
    most: int
    there: int = 0
    ready: int = 0
    soon: int = 0
    is_quick: bool = True

    @property
    def per_request(self) -> float:
        """Price of a request a second, for an hour."""
        return self.price / self.capacity


def settled(kinds: Sequence[Kind], need: float) -> dict[str, int]:
    """The cheapest mix for a load that stays; what is there is kept where moving saves little."""
    still = [replace(kind, ready=0, soon=kind.there, is_quick=True) for kind in kinds]
    return mixed(still, need)


def mixed(
    kinds: Sequence[Kind], need: float, lower: Mapping[str, int] | None = None
) -> dict[str, int]:
    """The cheapest replicas of each type for a need, chance allowed for.

    Args:
        kinds: at least one; their limits may not contradict themselves.
        need: requests a second.
        lower: replicas of each at least, inside its limits.
    """
    least = min(kind.capacity for kind in kinds)
    # No mix needs less for chance than one of the smallest.
    wanted = staffed(need, least) * least
    found = np.zeros(len(kinds), np.int64)
    for _ in range(_ROUNDS):
        found = _solved(kinds, wanted, lower or {})
        short = need + _chance(kinds, found) - sum(
            kind.capacity * n for kind, n in zip(kinds, found.tolist(), strict=True)
        )  # fmt: skip
        if need <= 0 or short <= _TINY or wanted >= _reachable(kinds):
            break
        wanted += short
    return {kind.name: int(n) for kind, n in zip(kinds, found, strict=True)}


def price_of(kinds: Sequence[Kind], replicas: Mapping[str, int]) -> float:
    """What replicas cost an hour."""
    return sum(kind.price * replicas[kind.name] for kind in kinds)


def alone(kinds: Sequence[Kind], need: float) -> list[tuple[Kind, int]]:
    """Types that could do it without the others, with how many: the cheapest first."""
    found = [(kind, up(staffed(need, kind.capacity))) for kind in kinds]
    able = [(kind, n) for kind, n in found if n <= kind.most]
    return sorted(able, key=lambda one: (one[0].price * one[1], one[0].name))


def _reachable(kinds: Sequence[Kind]) -> float:
    """Requests a second that could be served in time at the most."""
    return sum(
        kind.capacity * (kind.most if kind.is_quick else min(kind.soon, kind.there, kind.most))
        for kind in kinds
    )


def _chance(kinds: Sequence[Kind], counts: np.ndarray) -> float:
    squares = sum(kind.capacity**2 * float(n) for kind, n in zip(kinds, counts, strict=True))
    return SPREAD * math.sqrt(squares)


def _solved(kinds: Sequence[Kind], need: float, lower: Mapping[str, int]) -> np.ndarray:
    """Of each kind: kept ones that serve, kept ones that will soon, kept ones, added ones."""
    from scipy.optimize import Bounds, LinearConstraint, milp

    count = len(kinds)
    capacity = np.array([kind.capacity for kind in kinds])
    # The earlier of two that are alike, so that the same question has the same answer.
    price = np.array([max(kind.price, _TINY) for kind in kinds]) * (1 + 1e-5 * np.arange(count))
    ready = np.array([min(kind.ready, kind.there) for kind in kinds], dtype=np.float64)
    soon = np.array([min(kind.soon, kind.there) for kind in kinds], dtype=np.float64)
    there = np.array([kind.there for kind in kinds], dtype=np.float64)
    quick = np.array([kind.is_quick for kind in kinds], dtype=np.float64)
    most = np.array([max(kind.most, kind.least) for kind in kinds], dtype=np.float64)
    least = np.array([max(kind.least, lower.get(kind.name, 0)) for kind in kinds])
    none, one = np.zeros((count, count)), np.eye(count)
    zero = np.zeros(count)
    # Of replicas that serve, will soon, are kept, are added.
    cost = np.concatenate([zero, zero, (1 - WORTH_MOVING) * price, price])
    present = min(need, float(capacity @ np.minimum(ready, most)))
    in_time = min(need, _reachable(kinds))
    rows = [
        (np.concatenate([capacity, zero, zero, zero])[None], present * (1 - _TINY), np.inf),
        (
            np.concatenate([zero, capacity, zero, capacity * quick])[None],
            in_time * (1 - _TINY),
            np.inf,
        ),
        (np.hstack([-one, none, one, none]), 0.0, np.inf),
        (np.hstack([none, -one, one, none]), 0.0, np.inf),
        (np.hstack([none, none, one, one]), np.minimum(least, most), most),
    ]
    found = milp(
        cost,
        integrality=np.ones(4 * count),
        bounds=Bounds(np.zeros(4 * count), np.concatenate([ready, soon, there, most])),
        constraints=[LinearConstraint(matrix, low, high) for matrix, low, high in rows],
        options={"node_limit": _MOST_NODES, "mip_rel_gap": 1e-9},
    )
    if found.x is None:
        # More serve than may: as many as may.
        return np.asarray(np.minimum(np.maximum(there, least), most), dtype=np.int64)
    answer = np.rint(found.x).astype(np.int64)
    return np.asarray(answer[2 * count : 3 * count] + answer[3 * count :])
