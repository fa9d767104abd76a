"""Lanes by model and priority: who waits for another model, or goes first anyway, stands elsewhere.

A line is fair within a lane. A higher priority goes first, whatever its tenants had. In a lane
nobody passes one that does not fit (unless its queue offers several), or large requests would wait
for ever; the lanes of other models go on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Generic, Protocol, TypeVar

from controller.gateway.ask import Ask
from controller.gateway.queueing.base import Room
from controller.gateway.queueing.ranking import Key


class Queue(Protocol):
    """Who waits in one lane."""

    def put(self, ask: Ask, now: float) -> None:
        """Add one."""
        ...

    def drop(self, ask: Ask) -> bool:
        """Take one out; tells whether it was there."""
        ...

    def candidates(self, room: Room, now: float) -> Iterable[Ask]:
        """Who may go next, best first; at least one where anybody waits and may go."""
        ...

    def key(self, ask: Ask) -> Key:
        """What decides between the candidates of two models; smallest first."""
        ...

    def __len__(self) -> int: ...


Q = TypeVar("Q", bound=Queue)


class Lanes(Generic[Q]):
    """A queue for each model and priority, made when needed, forgotten when empty."""

    def __init__(self, make: Callable[[], Q]) -> None:
        self._make = make
        self._lanes: dict[str, dict[int, Q]] = {}

    def __iter__(self) -> Iterator[Q]:
        return (queue for lanes in self._lanes.values() for queue in lanes.values())

    def put(self, ask: Ask, now: float) -> None:
        """Into its lane."""
        lanes = self._lanes.setdefault(ask.model, {})
        queue = lanes.get(ask.slo.priority)
        if queue is None:
            queue = lanes[ask.slo.priority] = self._make()
        queue.put(ask, now)

    def drop(self, ask: Ask) -> bool:
        """Out of its lane; tells whether it was there."""
        lanes = self._lanes.get(ask.model, {})
        queue = lanes.get(ask.slo.priority)
        if queue is None or not queue.drop(ask):
            return False
        if not len(queue):
            del lanes[ask.slo.priority]
            if not lanes:
                del self._lanes[ask.model]
        return True

    def take(self, room: Room, now: float) -> Ask | None:
        """The best that fits, out of its lane."""
        heads = []
        for lanes in self._lanes.values():
            priority = max(lanes)
            offered = iter(lanes[priority].candidates(room, now))
            first = next(offered, None)
            if first is not None:
                heads.append((-priority, lanes[priority].key(first), first, offered))
        for *_, first, others in sorted(heads, key=lambda head: head[:2]):
            found = next((ask for ask in chain((first,), others) if room.fits(ask)), None)
            if found is not None:
                self.drop(found)
                return found
        return None
