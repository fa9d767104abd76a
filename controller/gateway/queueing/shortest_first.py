"""Shortest predicted first, with an end to how often somebody is passed.

Learning to rank needs only the order of lengths, so a predictor that is off by a factor does as
well. So that nobody starves, every n-th place goes to the one that waited longest, if it waited
for long: with k before it by arrival, it goes after n (k + 1) others at the latest.
"""

from __future__ import annotations

from collections.abc import Iterator

from controller.gateway.ask import Ask
from controller.gateway.queueing.base import LineSpec, Room
from controller.gateway.queueing.lanes import Lanes
from controller.gateway.queueing.shortest import Shortest, check_starvation

SOURCE = "arXiv 2408.15792 (learning to rank), section 4"


class _Lane(Shortest):
    def put(self, ask: Ask, now: float = 0.0) -> None:
        super().put(ask)

    def candidates(self, room: Room, now: float) -> Iterator[Ask]:
        first = self.first(now)
        return iter(() if first is None else (first,))


class ShortestFirst:
    """See the head of this module."""

    def __init__(self, every: int = 8, patience_seconds: float = 10.0) -> None:
        """Set the bound.

        Args:
            every: the one that waited longest has every n-th place; 1 is first come, first served.
            patience_seconds: if it waited for so long.

        Raises:
            ControllerError: a value out of range.
        """
        check_starvation(every, patience_seconds)
        self.spec = LineSpec(
            "shortest-first", "Shortest predicted first", SOURCE,
            {"every": every, "patience_seconds": patience_seconds},
        )  # fmt: skip
        self._lanes = Lanes(lambda: _Lane(every, patience_seconds))

    def put(self, ask: Ask, now: float) -> None:
        """By its length."""
        self._lanes.put(ask, now)

    def take(self, room: Room, now: float) -> Ask | None:
        """The shortest, or whoever waited longest."""
        return self._lanes.take(room, now)

    def drop(self, ask: Ask) -> bool:
        """Forget it."""
        return self._lanes.drop(ask)

    def served(self, ask: Ask, output_tokens: int, *, is_over: bool, now: float) -> None:
        """What was predicted stays."""
