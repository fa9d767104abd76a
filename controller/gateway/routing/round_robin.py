"""In turn, by seats: one with twice the seats gets twice the requests."""

from __future__ import annotations

from controller.gateway.ask import Ask
from controller.gateway.fleet import Instance
from controller.gateway.routing.base import Choice, WaySpec
from controller.gateway.routing.turns import least

SPEC = WaySpec(
    "round-robin",
    "Round robin, weighted by seats",
    "stride scheduling (Waldspurger and Weihl, 1995), with a lift for those that were away",
)


class RoundRobin:
    """Each has a pass that grows by 1 / seats with every request; the lowest is next.

    One that is new, or was full for a while, starts where the others are: it does not get
    everything until it has caught up.
    """

    spec = SPEC

    def __init__(self) -> None:
        self._pass: dict[str, float] = {}
        self._reached = 0.0

    def choose(self, ask: Ask, choice: Choice) -> Instance | None:
        """The one whose turn it is."""
        return least(choice.free, ask, self._turn)

    def _turn(self, one: Instance) -> float:
        behind = self._reached - 1.0 / max(one.seats, 1)
        return max(self._pass.get(one.name, self._reached), behind)

    def sent(self, ask: Ask, instance: Instance, now: float) -> None:
        """It had its turn."""
        turn = self._turn(instance)
        self._reached = max(self._reached, turn)
        self._pass[instance.name] = turn + 1.0 / max(instance.seats, 1)

    def ended(self, ask: Ask, instance: Instance, now: float, *, is_failed: bool) -> None:
        """Nothing to learn."""

    def gone(self, name: str) -> None:
        """Its place in the round is free."""
        self._pass.pop(name, None)
