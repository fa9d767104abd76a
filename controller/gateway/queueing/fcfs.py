"""First come, first served: what every engine does by itself."""

from __future__ import annotations

from collections import OrderedDict

from controller.gateway.ask import Ask
from controller.gateway.queueing.base import LineSpec, Room

SPEC = LineSpec("fcfs", "First come, first served", "every engine's default")


class Fcfs:
    """In the order of arrival; one that does not fit lets nobody past it."""

    spec = SPEC

    def __init__(self) -> None:
        self._asks: OrderedDict[int, Ask] = OrderedDict()

    def put(self, ask: Ask, now: float) -> None:
        """At the end; one that was put back goes to the front again."""
        self._asks[ask.number] = ask
        if ask.attempt > 1:
            self._asks.move_to_end(ask.number, last=False)

    def take(self, room: Room, now: float) -> Ask | None:
        """The first, if it fits."""
        first = next(iter(self._asks.values()), None)
        if first is None or not room.fits(first):
            return None
        return self._asks.pop(first.number)

    def drop(self, ask: Ask) -> bool:
        """Forget it."""
        return self._asks.pop(ask.number, None) is not None

    def served(self, ask: Ask, output_tokens: int, *, is_over: bool, now: float) -> None:
        """What anybody received changes nothing."""
