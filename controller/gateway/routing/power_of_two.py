"""Two at random, and the less loaded of them."""

from __future__ import annotations

from controller.gateway.ask import Ask
from controller.gateway.fleet import Instance
from controller.gateway.routing.base import Choice, WaySpec
from controller.gateway.routing.turns import least, mixed, outstanding

SPEC = WaySpec(
    "power-of-two",
    "Power of two choices",
    "Mitzenmacher, 2001; vLLM production-stack and sglang-router offer it",
    {"seed": 0},
)


class PowerOfTwo:
    """Several gateways that know little of each other do not all choose the same replica.

    Args:
        seed: of the dice, which fall by the request's number.
    """

    def __init__(self, seed: int = 0) -> None:
        self.spec = WaySpec(SPEC.name, SPEC.title, SPEC.source, {"seed": seed})
        self._seed = seed

    def choose(self, ask: Ask, choice: Choice) -> Instance | None:
        """The one of two that has fewer requests."""
        free = choice.free
        if len(free) <= 2:
            return least(free, ask, outstanding)
        dice = mixed(ask.number * 64 + ask.attempt, self._seed)
        first = dice % len(free)
        other = (first + 1 + (dice >> 32) % (len(free) - 1)) % len(free)
        return least((free[first], free[other]), ask, outstanding)

    def sent(self, ask: Ask, instance: Instance, now: float) -> None:
        """Nothing to remember: the gate counts."""

    def ended(self, ask: Ask, instance: Instance, now: float, *, is_failed: bool) -> None:
        """Nothing to learn."""

    def gone(self, name: str) -> None:
        """Nothing to forget."""
