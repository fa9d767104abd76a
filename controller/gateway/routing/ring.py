"""A consistent hash ring: a replica that comes or goes moves only its own share of the keys."""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Container

from controller.gateway.routing.turns import mixed, name_bits

POINTS = 64
"""Of each replica on a ring; the largest share is then about 1.3 times the mean one."""


class Ring:
    """Names on a circle of 2^64 places.

    Args:
        seed: rings of different seeds are independent of each other.
    """

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed
        self._places: list[int] = []
        self._owner: dict[int, str] = {}
        self._names: set[str] = set()

    def __contains__(self, name: str) -> bool:
        return name in self._names

    def add(self, name: str) -> None:
        """Put a name on it; one that is there stays."""
        if name in self._names:
            return
        self._names.add(name)
        bits = name_bits(name)
        for point in range(POINTS):
            place = mixed(bits + point, self._seed)
            if place not in self._owner:
                self._owner[place] = name
                insort(self._places, place)

    def remove(self, name: str) -> None:
        """Take a name off."""
        if name not in self._names:
            return
        self._names.discard(name)
        self._owner = {place: one for place, one in self._owner.items() if one != name}
        self._places = sorted(self._owner)

    def owner(self, key: int, among: Container[str], without: str = "") -> str | None:
        """The first name at or after the key's place that is among those asked for.

        Args:
            key: any number.
            among: names that count.
            without: one that does not.
        """
        count = len(self._places)
        start = bisect_right(self._places, mixed(key, self._seed))
        for step in range(count):
            name = self._owner[self._places[(start + step) % count]]
            if name != without and name in among:
                return name
        return None
