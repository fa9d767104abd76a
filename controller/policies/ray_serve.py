"""Ray Serve's default: ongoing requests over a look-back, a direction must last.

Source: ray-project/ray python/ray/serve/autoscaling_policy.py,
doc/source/serve/advanced-guides/advanced-autoscaling.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from controller import observation as seen
from controller.observation import Observation, PoolView
from controller.policies.windows import added, mean, within
from controller.policy import Memory, PolicySpec, Proposal, Reason

LOOK_BACK_SECONDS = 30.0
UP_SECONDS, DOWN_SECONDS = 30.0, 600.0


@dataclass(frozen=True, slots=True)
class RayServe:
    """ceil(ongoing / target), once that direction was wanted for its delay.

    Args:
        target_ongoing: requests a replica should have.
        up_seconds: for so long more must be wanted.
        down_seconds: for so long less must be wanted.
        period_seconds: of its loop; Ray's is 0.1 s, which sees nothing new between scrapes.
    """

    target_ongoing: float = 2.0
    up_seconds: float = UP_SECONDS
    down_seconds: float = DOWN_SECONDS
    spec: PolicySpec = field(
        default=PolicySpec(
            "ray-serve",
            "Ray Serve",
            1.0,
            "ray-project/ray python/ray/serve/autoscaling_policy.py",
            parameters={"target_ongoing": 2, "up_seconds": 30, "down_seconds": 600},
            knob="target_ongoing",
            knob_values=(2, 4, 8, 12, 16, 24, 32),
        ),
        init=False,
    )

    def decide(self, observation: Observation, memory: Memory) -> tuple[Proposal, Memory]:
        """Every second."""
        targets, reasons, kept = {}, [], {}
        for pool in observation.pools:
            target, reason, mine = self._pool(observation.at, pool, memory.get(pool.name, {}))
            targets[pool.name] = target
            reasons.append(reason)
            kept[pool.name] = mine
        return Proposal(targets, tuple(reasons)), kept

    def _pool(self, at: float, pool: PoolView, memory: Memory) -> tuple[int, Reason, Memory]:
        parts = [
            pool.reading(name).value
            for name in (seen.REQUESTS_RUNNING, seen.REQUESTS_WAITING, seen.REQUESTS_HELD)
        ]
        known = [part for part in parts if part is not None and math.isfinite(part)]
        history = memory.get("ongoing", [])
        if known:
            history = added(history, at, sum(known), LOOK_BACK_SECONDS)
        ongoing = mean(within(history, at, LOOK_BACK_SECONDS))
        if ongoing is None:
            text = "no ongoing requests are known: nothing changes"
            return pool.target, Reason(pool.name, "no_data", text), {"ongoing": history}
        wanted = math.ceil(ongoing / self.target_ongoing)
        wanted = min(max(wanted, pool.limits.least), pool.limits.most)
        direction = (wanted > pool.target) - (wanted < pool.target)
        before, since = memory.get("direction", [0, at])
        since = since if direction == before else at
        lasted = at - since
        is_due = (direction > 0 and lasted >= self.up_seconds) or (
            direction < 0 and lasted >= self.down_seconds
        )
        kept = {"ongoing": history, "direction": [0, at] if is_due else [direction, since]}
        text = f"{ongoing:.1f} ongoing over 30 s, {self.target_ongoing:g} a replica: {wanted}"
        numbers = {"ongoing": ongoing, "wanted": float(wanted), "lasted_seconds": lasted}
        code = "due" if is_due else "delay" if direction else "steady"
        return wanted if is_due else pool.target, Reason(pool.name, code, text, numbers), kept
