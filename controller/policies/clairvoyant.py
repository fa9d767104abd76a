"""Knows every future rate: what could be saved at best by any rule on rates. Replay only."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from controller import observation as seen
from controller.capacity import requests_per_second
from controller.numbers import Floats
from controller.observation import Observation, PoolView
from controller.policies.parts import bounded, each_pool, in_range, told, up
from controller.policy import Memory, PolicySpec, Proposal, Reason
from controller.simulator.workload import Workload
from store.errors import ControllerError

BIN_SECONDS = 5.0
SPEC = PolicySpec(
    "clairvoyant",
    "Clairvoyant rate",
    15.0,
    "ours",
    needs_future=True,
    parameters={"margin": 1.0},
    knob="margin",
    knob_values=(0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.4),
)


@dataclass(frozen=True, slots=True)
class Clairvoyant:
    """As many as the highest rate until a replica asked for now would be ready, and one period on.

    Args:
        workload: that is replayed.
        margin: on the need.
    """

    workload: Workload
    margin: float = 1.0
    spec: PolicySpec = field(default=SPEC, init=False)

    def __post_init__(self) -> None:
        """Refuse what cannot be asked for."""
        in_range(SPEC.name, "margin", self.margin, 0.01, 100)
        if not isinstance(self.workload, Workload):
            raise ControllerError(
                "policy clairvoyant needs the future",
                hint="it runs in replay alone, which hands it the workload",
            )

    def decide(self, observation: Observation, memory: Memory) -> tuple[Proposal, Memory]:
        """Every 15 s."""
        proposal, _ = each_pool(observation, memory, self._pool)
        return proposal, {}

    def _pool(
        self, observation: Observation, pool: PoolView, memory: Memory
    ) -> tuple[int, Reason, Memory]:
        if pool.profile is None or not len(self.workload):
            return pool.target, Reason(pool.name, "no_profile", "no profile: held"), {}
        lead = (pool.startup.quantile(0.99) if pool.startup else 0.0) + SPEC.period_seconds
        rate = self._highest(observation.at, observation.at + lead)
        hit = min(told(pool, seen.PREFIX_HIT_RATIO) or 0.0, 1.0)
        capacity = requests_per_second(
            pool.profile,
            observation.objective,
            float(self.workload.prompt.mean()) * (1 - hit),
            float(self.workload.output.mean()),
            pool.role,
        )
        target = bounded(pool, up(self.margin * rate / max(capacity, 1e-9)))
        text = f"{rate:.2f} requests/s come within {lead:.0f} s"
        numbers = {"rate": rate, "capacity": capacity}
        return target, Reason(pool.name, "future", text, numbers), {}

    def _highest(self, start: float, end: float) -> float:
        arrived: Floats = self.workload.arrived
        edges = np.arange(max(start - BIN_SECONDS, 0.0), end + 2 * BIN_SECONDS, BIN_SECONDS)
        if len(edges) < 2:
            return 0.0
        low, high = np.searchsorted(arrived, [edges[0], edges[-1]])
        counts = np.histogram(arrived[low:high], edges)[0]
        # Three bins together: single ones are ruled by chance.
        smooth = np.convolve(counts, np.ones(3) / 3, mode="same") if len(counts) > 2 else counts
        return float(smooth.max(initial=0.0)) / BIN_SECONDS
