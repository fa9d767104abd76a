"""How large a whole fleet must be for a rate: the cheapest one for each, by what replicas can do.

A whole pool serves its replicas times what each can; a prefill and a decoding pool serve what the
smaller of both can; entry pools add up. So the cheapest fleets for all rates are found exactly, by
adding one pool after the other to those that no other beats in price and rate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from controller.capacity import requests_per_second
from controller.numbers import Floats
from controller.observation import Objective
from controller.profile import Profile

# More cheapest fleets than this differ by less than anybody can tell.
MOST_RUNGS = 1500
_TINY = 1e-9


@dataclass(frozen=True, slots=True)
class Kind:
    """One pool as sizing sees it.

    Attributes:
        name: of the pool.
        role: "whole", "prefill" or "decode".
        per_second: requests that a replica serves inside the objective.
        unit: what a replica costs, in whatever is compared.
        least: replicas.
        most: replicas.
        there: replicas that there are already.
        start: what starting one more costs, in units of having one.
    """

    name: str
    role: str
    per_second: float
    unit: float
    least: int
    most: int
    there: int = 0
    start: float = 0.0


@dataclass(frozen=True, slots=True)
class Ladder:
    """The cheapest fleets, rising in rate and in cost.

    Attributes:
        names: of the pools.
        per_second: (m,) requests that each fleet serves.
        cost: (m,) in units.
        replicas: (m, pools).
    """

    names: tuple[str, ...]
    per_second: Floats
    cost: Floats
    replicas: np.ndarray

    def __len__(self) -> int:
        return len(self.cost)

    def at(self, rung: int) -> dict[str, int]:
        """Replicas of each pool."""
        return dict(zip(self.names, self.replicas[rung].tolist(), strict=True))

    def serving(self, rate: float) -> dict[str, int]:
        """The cheapest fleet for a rate; the largest where none is enough."""
        rung = int(np.searchsorted(self.per_second, rate - _TINY))
        return self.at(min(rung, len(self) - 1))


def ladder(kinds: Sequence[Kind]) -> Ladder:
    """The cheapest fleets of these pools.

    Args:
        kinds: at least one; the first prefill pool belongs to the first decoding one, and so on.
    """
    width = len(kinds)
    found: tuple[Floats, Floats, np.ndarray] = (
        np.zeros(1), np.zeros(1), np.zeros((1, width), np.int64)
    )  # fmt: skip
    for part in _parts(kinds):
        found = _added(found, part)
    return Ladder(tuple(kind.name for kind in kinds), *found)


def served(kinds: Sequence[Kind], replicas: np.ndarray) -> Floats:
    """(n,) requests a second of fleets given as (n, pools)."""
    each = replicas * np.array([kind.per_second for kind in kinds])
    total = np.zeros(len(replicas))
    for at in _units(kinds):
        total += each[:, list(at)].min(axis=1)
    return np.asarray(total)


def price(kinds: Sequence[Kind], replicas: np.ndarray) -> Floats:
    """(n,) units that fleets cost."""
    units, there, start = (
        np.array([getattr(kind, name) for kind in kinds]) for name in ("unit", "there", "start")
    )
    return np.asarray((replicas + np.maximum(replicas - there, 0) * start) @ units)


def per_second(
    profile: Profile, role: str, objective: Objective, sizes: tuple[float, float], hit: float = 0.0
) -> float:
    """Requests a second of a replica.

    Args:
        profile: of the replica.
        role: of its pool.
        objective: bounds.
        sizes: prompt and output tokens of a request.
        hit: share of the prompt that need not be computed, 0 to 1; a decoding one keeps it all.
    """
    prompt = sizes[0] * (1 - (0.0 if role == "decode" else hit))
    return requests_per_second(profile, objective, prompt, sizes[1], role)


def _units(kinds: Sequence[Kind]) -> list[tuple[int, ...]]:
    """Places of pools that serve together: each whole one alone, prefill with decode."""
    of = {
        role: [place for place, kind in enumerate(kinds) if kind.role == role]
        for role in ("whole", "prefill", "decode")
    }
    return [
        *((place,) for place in of["whole"]),
        *zip(of["prefill"], of["decode"], strict=False),
    ]


def _parts(kinds: Sequence[Kind]) -> list[tuple[Floats, Floats, np.ndarray]]:
    made = []
    for places in _units(kinds):
        ranges = [np.arange(kinds[at].least, kinds[at].most + 1) for at in places]
        counts = np.stack([one.ravel() for one in np.meshgrid(*ranges, indexing="ij")], axis=1)
        whole = np.zeros((len(counts), len(kinds)), np.int64)
        whole[:, list(places)] = counts
        mine = [kinds[at] for at in places]
        rate = (counts * np.array([kind.per_second for kind in mine])).min(axis=1)
        made.append(_best(rate, price(mine, counts), whole))
    return made


def _added(
    one: tuple[Floats, Floats, np.ndarray], other: tuple[Floats, Floats, np.ndarray]
) -> tuple[Floats, Floats, np.ndarray]:
    rate = (one[0][:, None] + other[0][None]).ravel()
    cost = (one[1][:, None] + other[1][None]).ravel()
    replicas = (one[2][:, None] + other[2][None]).reshape(len(rate), -1)
    return _best(rate, cost, replicas)


def _best(rate: Floats, cost: Floats, replicas: np.ndarray) -> tuple[Floats, Floats, np.ndarray]:
    """Those that no other beats, rising; thinned where there are too many."""
    order = np.lexsort((-rate, cost))
    highest = np.maximum.accumulate(rate[order])
    before = np.concatenate([[-np.inf], highest[:-1]])
    kept = order[rate[order] > before + _TINY]
    if len(kept) > MOST_RUNGS:
        kept = kept[np.unique(np.linspace(0, len(kept) - 1, MOST_RUNGS).astype(int))]
    return rate[kept], cost[kept], replicas[kept]
