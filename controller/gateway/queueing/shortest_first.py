"""Shortest predicted first, with an end to how often somebody is passed.

Learning to rank needs only the order of lengths, so a predictor that is off by a factor does as
well. So that nobody starves, every n-th place goes to the one that waited longest, if it waited
for long: with k before it by arrival, it goes after n (k + 1) others at the latest.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator

from controller.gateway.ask import Ask
from controller.gateway.queueing.base import INPUT_WEIGHT, OUTPUT_WEIGHT, LineSpec, Room
from controller.gateway.queueing.fifo import Fifo, arrival
from controller.gateway.queueing.lanes import Lanes
from controller.gateway.queueing.ranking import Key
from store.errors import ControllerError

SOURCE = "arXiv 2408.15792 (learning to rank), section 4"


class _Lane:
    """A heap by length beside the order of arrival; who left is thrown out when it comes up."""

    def __init__(self, every: int, patience_seconds: float) -> None:
        self._every, self._patience_seconds = every, patience_seconds
        self._asks = Fifo()
        self._heap: list[tuple[Key, Ask]] = []
        self._gone = 0

    def __len__(self) -> int:
        return len(self._asks)

    def put(self, ask: Ask, now: float) -> None:
        self._asks.put(ask)
        heapq.heappush(self._heap, (self.key(ask), ask))

    def drop(self, ask: Ask) -> bool:
        if not self._asks.drop(ask):
            return False
        self._gone += 1
        if len(self._heap) > 2 * len(self._asks) + 64:
            self._heap = [(self.key(one), one) for one in self._asks]
            heapq.heapify(self._heap)
        return True

    def candidates(self, room: Room, now: float) -> Iterator[Ask]:
        while self._heap and self._heap[0][1] not in self._asks:
            heapq.heappop(self._heap)
        oldest = self._asks.first()
        is_its_turn = self._gone % self._every == self._every - 1
        if oldest is not None and is_its_turn and now - oldest.arrived >= self._patience_seconds:
            return iter((oldest,))
        return iter([self._heap[0][1]] if self._heap else [])

    def key(self, ask: Ask) -> Key:
        cost = INPUT_WEIGHT * ask.input_tokens + OUTPUT_WEIGHT * ask.expected_output_tokens
        return (cost / ask.weight, *arrival(ask))


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
        if every < 1 or patience_seconds < 0:
            raise ControllerError("every must be 1 or more, and patience_seconds 0 or more")
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
