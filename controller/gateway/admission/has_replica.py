"""Nobody waits for a replica that is not coming."""

from __future__ import annotations

from controller.gateway.admission.base import Refusal, RuleSpec
from controller.gateway.admission.parts import in_range
from controller.gateway.ask import Ask
from controller.gateway.fleet import Sight

SPEC = RuleSpec(
    "has-replica",
    "A replica that serves, or soon will",
    "ours; Knative's activator holds requests of a revision that starts",
    {"hold_seconds": 30.0},
)


class HasReplica:
    """503 where no replica serves the model and none will in time.

    Args:
        hold_seconds: a request waits for a replica that is likely to serve within so long.
    """

    spec = SPEC

    def __init__(self, hold_seconds: float = 30.0) -> None:
        in_range(SPEC.name, "hold_seconds", hold_seconds, 0.0, 3600.0)
        self._hold = hold_seconds

    def judge(self, ask: Ask, sight: Sight) -> Refusal | None:
        """Out where it would wait for nothing."""
        if any(one.state == "ready" and one.seats > 0 for one in sight.instances):
            return None
        soonest = min((one.late_at for one in sight.starting), default=None)
        if soonest is not None and soonest - sight.now <= self._hold:
            return None
        text = f"no replica serves {ask.model} now"
        if soonest is None:
            return Refusal("no_replica", text + " and none is starting", status=503)
        # From then on it may come in and wait here.
        wait = soonest - sight.now - self._hold
        return Refusal("no_replica", text + "; one is starting", status=503, wait_seconds=wait)

    def entered(self, ask: Ask, now: float) -> None:
        """Nothing to book."""

    def ended(self, ask: Ask, now: float) -> None:
        """Nothing to correct."""
