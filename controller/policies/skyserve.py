"""SkyServe's request-rate autoscaler.

Source: skypilot-org/skypilot sky/serve/autoscalers.py.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from controller import observation as seen
from controller.observation import Observation, PoolView
from controller.policies.windows import added, mean, within
from controller.policy import Memory, PolicySpec, Proposal, Reason

PERIOD_SECONDS = 20.0
UP_SECONDS, DOWN_SECONDS = 300.0, 1200.0
QPS_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class SkyServe:
    """ceil(requests a second / target), counted in ticks: one contrary tick starts again.

    Args:
        target_qps: requests a second a replica should have.
        up_seconds: for so long more must be wanted.
        down_seconds: for so long less must be wanted.
    """

    target_qps: float = 1.0
    up_seconds: float = UP_SECONDS
    down_seconds: float = DOWN_SECONDS
    spec: PolicySpec = field(
        default=PolicySpec(
            "skyserve",
            "SkyServe",
            PERIOD_SECONDS,
            "skypilot-org/skypilot sky/serve/autoscalers.py",
            parameters={"target_qps": 1.0, "up_seconds": 300, "down_seconds": 1200},
            knob="target_qps",
            knob_values=(0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0),
        ),
        init=False,
    )

    def decide(self, observation: Observation, memory: Memory) -> tuple[Proposal, Memory]:
        """Every 20 s."""
        targets, reasons, kept = {}, [], {}
        for pool in observation.pools:
            target, reason, mine = self._pool(observation.at, pool, memory.get(pool.name, {}))
            targets[pool.name] = target
            reasons.append(reason)
            kept[pool.name] = mine
        return Proposal(targets, tuple(reasons)), kept

    def _pool(self, at: float, pool: PoolView, memory: Memory) -> tuple[int, Reason, Memory]:
        rate = pool.reading(seen.REQUESTS_PER_SECOND).value
        history = memory.get("rate", [])
        if rate is not None and math.isfinite(rate):
            history = added(history, at, rate, QPS_SECONDS)
        qps = mean(within(history, at, QPS_SECONDS))
        if qps is None:
            text = "no request rate is known: nothing changes"
            return pool.target, Reason(pool.name, "no_data", text), {"rate": history}
        wanted = min(max(math.ceil(qps / self.target_qps), pool.limits.least), pool.limits.most)
        ups = memory.get("ups", 0) + 1 if wanted > pool.target else 0
        downs = memory.get("downs", 0) + 1 if wanted < pool.target else 0
        is_due = (
            ups >= self.up_seconds / PERIOD_SECONDS or downs >= self.down_seconds / PERIOD_SECONDS
        )
        kept = {"rate": history, "ups": 0 if is_due else ups, "downs": 0 if is_due else downs}
        text = f"{qps:.2f} requests/s, {self.target_qps:g} a replica: {wanted}"
        numbers = {"qps": qps, "wanted": float(wanted)}
        code = "due" if is_due else "delay" if ups or downs else "steady"
        return wanted if is_due else pool.target, Reason(pool.name, code, text, numbers), kept
