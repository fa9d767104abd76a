"""Requests, the shortest predicted first, with an end to how often the earliest is passed."""

from __future__ import annotations

import heapq
from collections.abc import Iterator

from controller.gateway.ask import Ask
from controller.gateway.queueing.base import INPUT_WEIGHT, OUTPUT_WEIGHT
from controller.gateway.queueing.fifo import Fifo, arrival
from controller.gateway.queueing.ranking import Key
from store.errors import ControllerError


class Shortest:
    """A heap by length beside the order of arrival; who left is thrown out when it comes up.

    Every `every`-th that leaves is the one that came first, if it waited `patience_seconds`: with
    k before it, it goes after `every` (k + 1) others at the latest.
    """

    def __init__(self, every: int, patience_seconds: float) -> None:
        self._every, self._patience_seconds = every, patience_seconds
        self._asks = Fifo()
        self._heap: list[tuple[Key, Ask]] = []
        self._gone = 0

    def __len__(self) -> int:
        return len(self._asks)

    def __iter__(self) -> Iterator[Ask]:
        """By arrival."""
        return iter(self._asks)

    def put(self, ask: Ask) -> None:
        """Add one."""
        self._asks.put(ask)
        heapq.heappush(self._heap, (self.key(ask), ask))

    def drop(self, ask: Ask) -> bool:
        """Take one out; tells whether it was there."""
        if not self._asks.drop(ask):
            return False
        self._gone += 1
        if len(self._heap) > 2 * len(self._asks) + 64:
            self._heap = [(self.key(one), one) for one in self._asks]
            heapq.heapify(self._heap)
        return True

    def first(self, now: float) -> Ask | None:
        """Who goes next."""
        while self._heap and self._heap[0][1] not in self._asks:
            heapq.heappop(self._heap)
        oldest = self._asks.first()
        is_its_turn = self._gone % self._every == self._every - 1
        if oldest is not None and is_its_turn and now - oldest.arrived >= self._patience_seconds:
            return oldest
        return self._heap[0][1] if self._heap else None

    def key(self, ask: Ask) -> Key:
        """Predicted service over weight."""
        cost = INPUT_WEIGHT * ask.input_tokens + OUTPUT_WEIGHT * ask.expected_output_tokens
        return (cost / ask.weight, *arrival(ask))


def check_starvation(every: int, patience_seconds: float) -> None:
    """Refuse what bounds nothing.

    Raises:
        ControllerError: naming which.
    """
    if every < 1 or not 0 <= patience_seconds < float("inf"):
        raise ControllerError("every must be 1 or more, and patience_seconds 0 or more")
