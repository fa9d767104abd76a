"""Knows every future rate: what could be saved at best by any rule on rates. Replay only."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from controller import observation as seen
from controller.capacity import requests_per_second
from controller.numbers import Floats
from controller.observation import Observation
from controller.policy import Memory, PolicySpec, Proposal, Reason
from controller.simulator.workload import Workload

BIN_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Clairvoyant:
    """As many as the highest rate until a replica asked for now would be ready, and one period on.

    Args:
        workload: that is replayed.
        margin: on the need.
    """

    workload: Workload
    margin: float = 1.0
    spec: PolicySpec = field(
        default=PolicySpec(
            "clairvoyant",
            "Clairvoyant rate",
            15.0,
            "ours",
            needs_future=True,
            parameters={"margin": 1.0},
            knob="margin",
            knob_values=(0.8, 0.9, 1.0, 1.1, 1.2, 1.4),
        ),
        init=False,
    )

    def decide(self, observation: Observation, memory: Memory) -> tuple[Proposal, Memory]:
        """Every 15 s."""
        targets, reasons = {}, []
        for pool in observation.pools:
            if pool.profile is None:
                continue
            lead = (pool.startup.quantile(0.99) if pool.startup else 0.0) + self.spec.period_seconds
            rate = self._highest(observation.at, observation.at + lead)
            sizes = (float(self.workload.prompt.mean()), float(self.workload.output.mean()))
            hit = pool.reading(seen.PREFIX_HIT_RATIO).value or 0.0
            capacity = requests_per_second(
                pool.profile, observation.objective, sizes[0] * (1 - hit), sizes[1], pool.role
            )
            need = math.ceil(self.margin * rate / max(capacity, 1e-9) - 1e-9)
            targets[pool.name] = min(max(need, pool.limits.least), pool.limits.most)
            text = f"{rate:.2f} requests/s come within {lead:.0f} s"
            reasons.append(Reason(pool.name, "future", text, {"rate": rate, "capacity": capacity}))
        return Proposal(targets, tuple(reasons)), {}

    def _highest(self, start: float, end: float) -> float:
        arrived: Floats = self.workload.arrived
        edges = np.arange(max(start - BIN_SECONDS, 0.0), end + BIN_SECONDS, BIN_SECONDS)
        low, high = np.searchsorted(arrived, [edges[0], edges[-1]])
        counts = np.histogram(arrived[low:high], edges)[0]
        # Three bins together: single ones are ruled by chance.
        smooth = np.convolve(counts, np.ones(3) / 3, mode="same") if len(counts) > 2 else counts
        return float(smooth.max(initial=0.0)) / BIN_SECONDS
