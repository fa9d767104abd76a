"""Requests of a tenant by a deadline that grows with what they cost: short ones pass long ones.

    deadline = arrival + seconds x (input tokens + 2 expected output tokens) / weight

A request is passed by those alone that arrive before its deadline, so it waits no longer than so
much more than first come, first served would let it. With 0 seconds it is that; with very many,
shortest first.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections.abc import Callable, Iterator

from controller.gateway.ask import Ask
from controller.gateway.queueing.base import INPUT_WEIGHT, OUTPUT_WEIGHT
from controller.gateway.queueing.fifo import Fifo
from controller.gateway.rates import FadingRate

Place = tuple[float, float, int]
EVERY_SECONDS = 0.5


class Patience:
    """Seconds a unit of service, from how much service there was lately.

    The same whatever the fleet's size: while a request is passed, the fleet serves `times` its own
    cost. Before anything is known it is 0.
    """

    def __init__(self, times: float, most_seconds: float) -> None:
        self._times, self._most_seconds = times, most_seconds
        self._rate = FadingRate()
        self._sum, self._at = 0.0, -math.inf
        self.seconds = 0.0

    def served(self, service: float, now: float) -> None:
        """So much was served. It is a token at a time, so the rate is looked at now and then."""
        self._sum += service
        if now - self._at < EVERY_SECONDS:
            return
        self._rate.add(self._sum, now)
        self._sum, self._at = 0.0, now
        rate = self._rate.per_second(now)
        if rate:
            self.seconds = min(self._times / rate, self._most_seconds)


class Soonest:
    """The earliest deadline first; equal ones by arrival."""

    def __init__(self, seconds: Callable[[], float], longest_seconds: float) -> None:
        self._seconds, self._longest_seconds = seconds, longest_seconds
        self._arrivals = Fifo()
        self._place: dict[int, Place] = {}
        self._order: list[Place] = []
        self._asks: dict[int, Ask] = {}

    def __len__(self) -> int:
        return len(self._order)

    def __iter__(self) -> Iterator[Ask]:
        """By arrival."""
        return iter(self._arrivals)

    def put(self, ask: Ask) -> None:
        """Add one; its deadline stays."""
        self._arrivals.put(ask)
        cost = INPUT_WEIGHT * ask.input_tokens + OUTPUT_WEIGHT * ask.expected_output_tokens
        later = min(self._seconds() * cost / ask.weight, self._longest_seconds)
        place = self._place[ask.number] = (ask.arrived + later, ask.arrived, ask.number)
        self._asks[ask.number] = ask
        insort(self._order, place)

    def drop(self, ask: Ask) -> bool:
        """Take one out; tells whether it was there."""
        if not self._arrivals.drop(ask):
            return False
        del self._order[bisect_left(self._order, self._place.pop(ask.number))]
        del self._asks[ask.number]
        return True

    def soonest(self, most: int, within_seconds: float) -> Iterator[Ask]:
        """The first, then others of which the deadline is not much later."""
        latest = self._order[0][0] + within_seconds
        return (self._asks[number] for at, _, number in self._order[:most] if at <= latest)
