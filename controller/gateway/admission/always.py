"""Let everybody in: the queue's own ends are all there is."""

from __future__ import annotations

from controller.gateway.admission.base import Refusal, RuleSpec
from controller.gateway.ask import Ask
from controller.gateway.fleet import Sight

SPEC = RuleSpec("always", "Everybody", "every engine's default")


class Always:
    """No limit."""

    spec = SPEC

    def judge(self, ask: Ask, sight: Sight) -> Refusal | None:
        """In."""
        return None

    def entered(self, ask: Ask, now: float) -> None:
        """Nothing to book."""

    def ended(self, ask: Ask, now: float) -> None:
        """Nothing to correct."""
