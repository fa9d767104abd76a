"""No more sequences on a replica than keep the promised time between tokens."""

from __future__ import annotations

from controller.gateway.admission.base import RuleSpec
from controller.gateway.admission.pace import mix, most_sequences
from controller.gateway.admission.parts import in_range
from controller.gateway.ask import Ask
from controller.gateway.fleet import Instance

SPEC = RuleSpec(
    "pace-limit",
    "The promised time between tokens",
    "Sarathi-Serve (arXiv 2403.02310), stall-free batching, seen from outside",
    {"slack": 1.0},
)


class PaceLimit:
    """The tightest bound of those that run, and of the newcomer, holds for all.

    Args:
        slack: bounds are multiplied by it; below 1 leaves time for prompts.
    """

    spec = SPEC

    def __init__(self, slack: float = 1.0) -> None:
        in_range(SPEC.name, "slack", slack, 0.01, 100.0)
        self._slack = slack

    def has_room(self, ask: Ask, instance: Instance, now: float) -> bool:
        """Always where nothing runs, or where nobody knows the pace."""
        if instance.pace is None or not instance.running:
            return True
        bounds = [one.slo.tpot_seconds for one in (*instance.running.values(), ask)]
        known = [bound for bound in bounds if bound is not None]
        if not known:
            return True
        sizes = mix([instance]) or (0.0, 1.0)
        most = most_sequences(instance.pace, min(known) * self._slack, sizes)
        return len(instance.running) + 1 <= most

    def entered(self, ask: Ask, now: float) -> None:
        """Nothing to book."""

    def ended(self, ask: Ask, now: float) -> None:
        """Nothing to learn."""
