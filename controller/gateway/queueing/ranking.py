"""Names in the order of a value that changes all the time."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Iterator

Key = tuple[float, ...]
Place = tuple[Key, str]


class Ranking:
    """Smallest value first.

    A value that changed is only noted; places are put right when somebody looks. So a token costs
    a note, and who is next costs as much as values changed since, not as there are names.
    """

    def __init__(self, key: Callable[[str], Key]) -> None:
        self._key = key
        self._placed: dict[str, Place] = {}
        self._order: list[Place] = []
        self._changed: dict[str, None] = {}

    def __len__(self) -> int:
        return len(self._placed)

    def __contains__(self, name: str) -> bool:
        return name in self._placed

    def __iter__(self) -> Iterator[str]:
        """In order; do not add or discard on the way."""
        self._settle()
        return (name for _, name in self._order)

    def add(self, name: str) -> None:
        """From now on, or with a new value."""
        if name in self._placed:
            self._changed[name] = None
            return
        place = self._placed[name] = (self._key(name), name)
        insort(self._order, place)

    def touch(self, name: str) -> None:
        """Its value may be another; who is not here is not minded."""
        if name in self._placed:
            self._changed[name] = None

    def discard(self, name: str) -> None:
        """Take it out, if it is there."""
        place = self._placed.pop(name, None)
        if place is not None:
            self._changed.pop(name, None)
            del self._order[bisect_left(self._order, place)]

    def first(self) -> str | None:
        """Who has least."""
        self._settle()
        return self._order[0][1] if self._order else None

    def last(self) -> str | None:
        """Who has most."""
        self._settle()
        return self._order[-1][1] if self._order else None

    def _settle(self) -> None:
        changed, self._changed = self._changed, {}
        for name in changed:
            key, before = self._key(name), self._placed[name]
            if key != before[0]:
                del self._order[bisect_left(self._order, before)]
                place = self._placed[name] = (key, name)
                insort(self._order, place)
