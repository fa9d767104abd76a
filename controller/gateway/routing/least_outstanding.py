"""The replica that has the fewest requests."""

from __future__ import annotations

from collections.abc import Sequence

from controller.gateway.ask import Ask
from controller.gateway.fleet import Instance
from controller.gateway.routing.base import WaySpec

SPEC = WaySpec("least-outstanding", "Least outstanding requests", "nginx least_conn, and others")


class LeastOutstanding:
    """Fewest requests first; ties go by the share of seats, then by name."""

    spec = SPEC

    def choose(self, ask: Ask, instances: Sequence[Instance], now: float) -> Instance | None:
        """The one with the fewest."""

        def load(one: Instance) -> tuple[int, float, str]:
            return len(one.running), len(one.running) / max(one.seats, 1), one.name

        return min(instances, key=load, default=None)

    def sent(self, ask: Ask, instance: Instance, now: float) -> None:
        """Nothing to remember: the gate counts."""

    def ended(self, ask: Ask, instance: Instance, now: float, *, is_failed: bool) -> None:
        """Nothing to learn."""
