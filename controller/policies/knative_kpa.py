"""Knative Pod Autoscaler: concurrency over a stable and a panic window.

Source: knative/serving pkg/autoscaler/scaling/autoscaler.go,
config/core/configmaps/autoscaler.yaml.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from controller import observation as seen
from controller.observation import Observation, PoolView
from controller.policies.windows import added, mean, within
from controller.policy import Memory, PolicySpec, Proposal, Reason

STABLE_SECONDS, PANIC_SECONDS = 60.0, 6.0
PANIC_RATIO, UP_RATE, DOWN_RATE = 2.0, 1000.0, 2.0
ZERO_GRACE_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class KnativeKpa:
    """Scale to concurrency / target; in panic never down.

    Args:
        target: requests at the same time a replica should have: 70 % of its container concurrency.
        down_delay_seconds: the highest of so long counts.
        zero: whether it may go to zero.
    """

    target: float = 70.0
    down_delay_seconds: float = 0.0
    zero: bool = False
    spec: PolicySpec = field(
        default=PolicySpec(
            "knative-kpa",
            "Knative KPA",
            2.0,
            "knative/serving pkg/autoscaler/scaling/autoscaler.go",
            parameters={"target": 70.0, "stable_seconds": 60, "panic_seconds": 6},
            knob="target",
            knob_values=(4, 8, 12, 16, 24, 32, 48, 70),
        ),
        init=False,
    )

    def decide(self, observation: Observation, memory: Memory) -> tuple[Proposal, Memory]:
        """Every 2 s."""
        targets, reasons, kept = {}, [], {}
        for pool in observation.pools:
            target, reason, mine = self._pool(observation.at, pool, memory.get(pool.name, {}))
            targets[pool.name] = target
            reasons.append(reason)
            kept[pool.name] = mine
        return Proposal(targets, tuple(reasons)), kept

    def _pool(self, at: float, pool: PoolView, memory: Memory) -> tuple[int, Reason, Memory]:
        now = _concurrency(pool)
        history = memory.get("concurrency", [])
        if now is not None:
            history = added(history, at, now, STABLE_SECONDS)
        stable = mean(within(history, at, STABLE_SECONDS))
        if stable is None:
            text = "no concurrency is known: nothing changes"
            return pool.target, Reason(pool.name, "no_data", text), dict(memory)
        panic = mean(within(history, at, PANIC_SECONDS))
        panic = stable if panic is None else panic
        ready = max(1, pool.ready)
        most, least = math.ceil(UP_RATE * ready), math.floor(ready / DOWN_RATE)
        free = math.ceil(panic / self.target)
        by_stable = min(max(math.ceil(stable / self.target), least), most)
        by_panic = min(max(free, least), most)
        # After a restart with several pods it begins in panic: an empty window must not shrink it.
        began = memory.get("panic_at", at if ready > 1 and not memory else None)
        if free / ready >= PANIC_RATIO:
            began = at
        elif began is not None and at - began > STABLE_SECONDS:
            began = None
        high = 0
        if began is not None:
            high = max(int(memory.get("panic_high", 0)), by_stable, by_panic, pool.supply)
            wanted = high
        else:
            wanted = by_stable
        delayed = added(memory.get("wanted", []), at, wanted, self.down_delay_seconds)
        wanted = int(max(within(delayed, at, self.down_delay_seconds)))
        wanted = self._at_least(wanted, at, stable, memory)
        wanted = min(max(wanted, pool.limits.least), pool.limits.most)
        kept = {"concurrency": history, "wanted": delayed, "panic_at": began, "panic_high": high}
        if stable > 0:
            kept["busy_at"] = at
        elif "busy_at" in memory:
            kept["busy_at"] = memory["busy_at"]
        code = "panic" if began is not None else "stable"
        text = (
            f"concurrency {stable:.1f} over 60 s, {panic:.1f} over 6 s, {self.target:g} a replica"
        )
        return wanted, Reason(pool.name, code, text, {"stable": stable, "panic": panic}), kept

    def _at_least(self, wanted: int, at: float, stable: float, memory: Memory) -> int:
        busy_at = memory.get("busy_at")
        is_idle = stable == 0 and busy_at is not None and at - busy_at >= ZERO_GRACE_SECONDS
        return wanted if self.zero and is_idle else max(wanted, 1)


def _concurrency(pool: PoolView) -> float | None:
    parts = [
        pool.reading(name).value
        for name in (seen.REQUESTS_RUNNING, seen.REQUESTS_WAITING, seen.REQUESTS_HELD)
    ]
    known = [part for part in parts if part is not None and math.isfinite(part)]
    return sum(known) if known else None
