"""A fixed number of replicas: what every autoscaler has to beat."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from controller.observation import Observation
from controller.policies.parts import in_range
from controller.policy import MOST_REPLICAS, Memory, PolicySpec, Proposal, Reason

SPEC = PolicySpec(
    "static",
    "Fixed",
    60.0,
    "ours",
    parameters={"replicas": None},
    knob="replicas",
    knob_values=(1, 2, 3, 4, 5, 6, 8, 10, 12, 14, 16, 18, 22, 26, 32, 40),
)


@dataclass(frozen=True, slots=True)
class Static:
    """Keep it.

    Args:
        replicas: of every pool, or of each by name; None keeps what is there.
    """

    replicas: int | Mapping[str, int] | None = None
    spec: PolicySpec = field(default=SPEC, init=False)

    def __post_init__(self) -> None:
        """Refuse what is no number of replicas."""
        each = self.replicas if isinstance(self.replicas, Mapping) else {"replicas": self.replicas}
        for name, value in each.items():
            in_range(SPEC.name, name, value, 0, MOST_REPLICAS)

    def decide(self, observation: Observation, memory: Memory) -> tuple[Proposal, Memory]:
        """The same as ever."""
        targets = {pool.name: int(self._of(pool.name, pool.target)) for pool in observation.pools}
        reasons = tuple(
            Reason(name, "fixed", f"{target} replicas, whatever happens")
            for name, target in targets.items()
        )
        return Proposal(targets, reasons), {}

    def _of(self, pool: str, now: int) -> int:
        if isinstance(self.replicas, Mapping):
            return self.replicas.get(pool, now)
        return now if self.replicas is None else self.replicas
