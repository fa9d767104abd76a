"""Ray Serve's default: ongoing requests over a look-back, a direction must last.

Source: ray-project/ray python/ray/serve/autoscaling_policy.py,
doc/source/serve/advanced-guides/advanced-autoscaling.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from controller.observation import Observation, PoolView
from controller.policies.parts import bounded, each_pool, in_range, ongoing, up
from controller.policies.windows import added, mean, within
from controller.policy import Memory, PolicySpec, Proposal, Reason

LOOK_BACK_SECONDS = 30.0
UP_SECONDS, DOWN_SECONDS = 30.0, 600.0
SPEC = PolicySpec(
    "ray-serve",
    "Ray Serve",
    # Its loop runs every 0.1 s and sees nothing new between two scrapes.
    1.0,
    "ray-project/ray python/ray/serve/autoscaling_policy.py",
    parameters={
        "target_ongoing": 2,
        "look_back_seconds": LOOK_BACK_SECONDS,
        "up_seconds": UP_SECONDS,
        "down_seconds": DOWN_SECONDS,
        "zero_seconds": None,
        "up_factor": 1,
        "down_factor": 1,
    },
    knob="target_ongoing",
    knob_values=(1, 2, 4, 8, 12, 16, 24, 32),
)


@dataclass(frozen=True, slots=True)
class RayServe:
    """ceil(ongoing / target), once that direction was wanted for its delay.

    Args:
        target_ongoing: requests a replica should have.
        look_back_seconds: over which they are averaged.
        up_seconds: for so long more must be wanted.
        down_seconds: for so long less must be wanted.
        zero_seconds: for so long nothing must be wanted before the last one goes; None: as down.
        up_factor: on the step up.
        down_factor: on the step down.
    """

    target_ongoing: float = 2.0
    look_back_seconds: float = LOOK_BACK_SECONDS
    up_seconds: float = UP_SECONDS
    down_seconds: float = DOWN_SECONDS
    zero_seconds: float | None = None
    up_factor: float = 1.0
    down_factor: float = 1.0
    spec: PolicySpec = field(default=SPEC, init=False)

    def __post_init__(self) -> None:
        """Refuse what AutoscalingConfig refuses."""
        in_range(SPEC.name, "target_ongoing", self.target_ongoing, 0.01, 1e6)
        in_range(SPEC.name, "look_back_seconds", self.look_back_seconds, 0.1, 3600)
        for name in ("up_seconds", "down_seconds", "zero_seconds"):
            in_range(SPEC.name, name, getattr(self, name), 0, 86_400)
        in_range(SPEC.name, "up_factor", self.up_factor, 0.01, 1000)
        in_range(SPEC.name, "down_factor", self.down_factor, 0.01, 1000)

    def decide(self, observation: Observation, memory: Memory) -> tuple[Proposal, Memory]:
        """Every second."""
        return each_pool(observation, memory, self._pool)

    def _pool(
        self, observation: Observation, pool: PoolView, memory: Memory
    ) -> tuple[int, Reason, Memory]:
        at, now = observation.at, ongoing(pool)
        history = memory.get("ongoing", [])
        if now is not None:
            history = added(history, at, now, self.look_back_seconds)
        mine = {"ongoing": history, "direction": memory.get("direction", [0, at])}
        seen_over = mean(within(history, at, self.look_back_seconds))
        if seen_over is None:
            text = "no ongoing requests are known: nothing changes"
            return pool.target, Reason(pool.name, "no_data", text), mine
        if pool.ready == 0:
            return self._cold(pool, now or 0.0, mine)
        wanted = bounded(pool, self._wanted(seen_over, pool.ready))
        if pool.target > 1:
            # The last one goes on its own.
            wanted = max(wanted, 1)
        direction = (wanted > pool.target) - (wanted < pool.target)
        before, since = mine["direction"]
        since = since if direction == before else at
        is_due = direction != 0 and at - since >= self._delay(direction, pool.target)
        mine["direction"] = [0, at] if is_due else [direction, since]
        text = f"{seen_over:.1f} ongoing, {self.target_ongoing:g} a replica: {wanted}"
        numbers = {"ongoing": seen_over, "wanted": float(wanted), "lasted_seconds": at - since}
        code = "due" if is_due else "delay" if direction else "steady"
        return wanted if is_due else pool.target, Reason(pool.name, code, text, numbers), mine

    def _cold(
        self, pool: PoolView, now: float, mine: dict[str, object]
    ) -> tuple[int, Reason, Memory]:
        """Without a running replica there is no delay: any request asks for the first."""
        target = pool.target
        if now > 0:
            target = bounded(pool, max(math.ceil(self.up_factor), target))
        text = f"no replica runs, {now:g} requests wait"
        return target, Reason(pool.name, "cold", text), mine

    def _wanted(self, ongoing_requests: float, running: int) -> int:
        change = ongoing_requests / self.target_ongoing - running
        factor = self.up_factor if change > 0 else self.down_factor
        wanted = up(running + factor * change)
        # A small factor must not hold it for ever.
        is_stuck = wanted == running and up(running + change) < running
        return wanted - 1 if is_stuck else wanted

    def _delay(self, direction: int, target: int) -> float:
        if direction > 0:
            return self.up_seconds
        if target == 1 and self.zero_seconds is not None:
            return self.zero_seconds
        return self.down_seconds
