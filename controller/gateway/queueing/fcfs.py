"""First come, first served: what every engine does by itself."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from controller.gateway.ask import Ask
from controller.gateway.queueing.base import LineSpec, Room
from controller.gateway.queueing.fifo import Fifo, arrival
from controller.gateway.queueing.lanes import Lanes
from controller.gateway.queueing.ranking import Key

SPEC = LineSpec("fcfs", "First come, first served", "every engine's default")


class _Lane(Fifo):
    def put(self, ask: Ask, now: float = 0.0) -> None:
        super().put(ask)

    def candidates(self, room: Room, now: float) -> Iterable[Ask]:
        return islice(self, 1)

    def key(self, ask: Ask) -> Key:
        return arrival(ask)


class Fcfs:
    """In the order of arrival; one that does not fit lets nobody of its model past it."""

    spec = SPEC

    def __init__(self) -> None:
        self._lanes = Lanes(_Lane)

    def put(self, ask: Ask, now: float) -> None:
        """At the end; one that was put back goes where it was."""
        self._lanes.put(ask, now)

    def take(self, room: Room, now: float) -> Ask | None:
        """The first, if it fits."""
        return self._lanes.take(room, now)

    def drop(self, ask: Ask) -> bool:
        """Forget it."""
        return self._lanes.drop(ask)

    def served(self, ask: Ask, output_tokens: int, *, is_over: bool, now: float) -> None:
        """What anybody received changes nothing."""
