"""A fixed number of replicas: what every autoscaler has to beat."""

from __future__ import annotations

from dataclasses import dataclass, field

from controller.observation import Observation
from controller.policy import Memory, PolicySpec, Proposal, Reason


@dataclass(frozen=True, slots=True)
class Static:
    """Keep it.

    Args:
        replicas: of every pool; None keeps what is there.
    """

    replicas: int | None = None
    spec: PolicySpec = field(
        default=PolicySpec("static", "Fixed", 60.0, "ours", parameters={"replicas": None}),
        init=False,
    )

    def decide(self, observation: Observation, memory: Memory) -> tuple[Proposal, Memory]:
        """The same as ever."""
        targets = {
            pool.name: pool.target if self.replicas is None else self.replicas
            for pool in observation.pools
        }
        reasons = tuple(
            Reason(name, "fixed", f"{target} replicas, whatever happens")
            for name, target in targets.items()
        )
        return Proposal(targets, reasons), {}
