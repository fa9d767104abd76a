"""The replica that has the fewest requests."""

from __future__ import annotations

from controller.gateway.ask import Ask
from controller.gateway.fleet import Instance
from controller.gateway.routing.base import Choice, WaySpec
from controller.gateway.routing.turns import least, outstanding

SPEC = WaySpec("least-outstanding", "Least outstanding requests", "nginx least_conn, and others")


class LeastOutstanding:
    """Fewest requests first, then the smallest share of seats; equals take turns."""

    spec = SPEC

    def choose(self, ask: Ask, choice: Choice) -> Instance | None:
        """The one with the fewest."""
        return least(choice.free, ask, outstanding)

    def sent(self, ask: Ask, instance: Instance, now: float) -> None:
        """Nothing to remember: the gate counts."""

    def ended(self, ask: Ask, instance: Instance, now: float, *, is_failed: bool) -> None:
        """Nothing to learn."""

    def gone(self, name: str) -> None:
        """Nothing to forget."""
