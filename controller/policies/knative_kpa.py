"""Knative Pod Autoscaler: concurrency over a stable and a panic window.

Source: knative/serving pkg/autoscaler/scaling/autoscaler.go,
config/core/configmaps/autoscaler.yaml. Left out: the activator in the path (excess burst capacity):
a replay holds requests before an empty pool.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from controller import observation as seen
from controller.observation import Observation, PoolView
from controller.policies.parts import bounded, each_pool, in_range, ongoing, up
from controller.policies.windows import added, mean, within
from controller.policy import Memory, PolicySpec, Proposal, Reason

PERIOD_SECONDS = 2.0
STABLE_SECONDS, PANIC_SHARE = 60.0, 0.1
PANIC_RATIO, UP_RATE, DOWN_RATE = 2.0, 1000.0, 2.0
ZERO_GRACE_SECONDS = 30.0
# 70 % of a container concurrency of 100.
TARGET = 70.0
SPEC = PolicySpec(
    "knative-kpa",
    "Knative KPA",
    PERIOD_SECONDS,
    "knative/serving pkg/autoscaler/scaling/autoscaler.go",
    parameters={
        "target": TARGET,
        "stable_seconds": STABLE_SECONDS,
        "panic_share": PANIC_SHARE,
        "panic_ratio": PANIC_RATIO,
        "up_rate": UP_RATE,
        "down_rate": DOWN_RATE,
        "down_delay_seconds": 0,
        "activation_scale": 1,
    },
    knob="target",
    knob_values=(2, 4, 8, 12, 16, 24, 32, 48, 70),
)


@dataclass(frozen=True, slots=True)
class KnativeKpa:
    """Scale to concurrency / target; in panic never down.

    Args:
        target: requests at the same time a replica should have: 70 % of its container concurrency.
        stable_seconds: over which concurrency is averaged.
        panic_share: of the stable window that makes the panic window.
        panic_ratio: wanted over ready replicas from which it panics.
        up_rate: at most so many times the ready replicas.
        down_rate: at least the ready replicas over this.
        down_delay_seconds: the highest of so long counts.
        activation_scale: replicas at least, once there is any load.
        zero: whether it may go to zero where the pool's least is 0.
    """

    target: float = TARGET
    stable_seconds: float = STABLE_SECONDS
    panic_share: float = PANIC_SHARE
    panic_ratio: float = PANIC_RATIO
    up_rate: float = UP_RATE
    down_rate: float = DOWN_RATE
    down_delay_seconds: float = 0.0
    activation_scale: int = 1
    zero: bool = True
    spec: PolicySpec = field(default=SPEC, init=False)

    def __post_init__(self) -> None:
        """Refuse what the config map refuses."""
        name = SPEC.name
        in_range(name, "target", self.target, 0.01, 1e6)
        in_range(name, "stable_seconds", self.stable_seconds, 6, 3600)
        in_range(name, "panic_share", self.panic_share, 0.01, 1)
        in_range(name, "panic_ratio", self.panic_ratio, 1.1, 10)
        in_range(name, "up_rate", self.up_rate, 1.001, 1e6)
        in_range(name, "down_rate", self.down_rate, 1.001, 1e6)
        in_range(name, "down_delay_seconds", self.down_delay_seconds, 0, 3600)
        in_range(name, "activation_scale", self.activation_scale, 1, 1000)

    def decide(self, observation: Observation, memory: Memory) -> tuple[Proposal, Memory]:
        """Every 2 s."""
        return each_pool(observation, memory, self._pool)

    def _pool(
        self, observation: Observation, pool: PoolView, memory: Memory
    ) -> tuple[int, Reason, Memory]:
        at, ready = observation.at, max(1, pool.ready)
        kept: dict[str, Any] = dict(memory) if "panic_at" in memory else _begun(at, pool.ready)
        history: Sequence[Sequence[float]] = kept.get("concurrency", [])
        now = _concurrency(pool)
        if now is not None:
            kept["concurrency"] = history = added(history, at, now, self.stable_seconds)
        stable = mean(within(history, at, self.stable_seconds))
        if stable is None:
            text = "no concurrency is known: nothing changes"
            return pool.target, Reason(pool.name, "no_data", text), kept
        panic = mean(within(history, at, self.stable_seconds * self.panic_share))
        panic = stable if panic is None else panic
        by_stable, by_panic = self._clamped(stable, ready), self._clamped(panic, ready)
        self._mode(kept, at, up(panic / self.target) / ready)
        wanted = by_stable
        if kept["panic_at"] is not None:
            # In panic only increases count.
            wanted = kept["panic_high"] = max(int(kept["panic_high"]), by_stable, by_panic)
        if self.down_delay_seconds:
            past = added(kept.get("wanted", []), at, wanted, self.down_delay_seconds)
            kept["wanted"], wanted = past, int(max(within(past, at, self.down_delay_seconds)))
        wanted = bounded(pool, self._at_least(wanted, at, stable, pool, kept))
        code = "stable" if kept["panic_at"] is None else "panic"
        text = f"concurrency {stable:.1f} stable, {panic:.1f} of late, {self.target:g} a replica"
        return wanted, Reason(pool.name, code, text, {"stable": stable, "panic": panic}), kept

    def _clamped(self, value: float, ready: int) -> int:
        least, most = math.floor(ready / self.down_rate), math.ceil(self.up_rate * ready)
        wanted = min(max(up(value / self.target), least), most)
        return max(wanted, self.activation_scale) if value > 0 else wanted

    def _mode(self, kept: dict[str, Any], at: float, ratio: float) -> None:
        """Into panic, on in panic, or out of it."""
        began: float | None = kept["panic_at"]
        if ratio >= self.panic_ratio:
            kept["panic_at"] = at
        elif began is not None and at - began > self.stable_seconds:
            kept["panic_at"], kept["panic_high"] = None, 0

    def _at_least(
        self, wanted: int, at: float, stable: float, pool: PoolView, kept: dict[str, Any]
    ) -> int:
        """To zero only after a whole stable window without load, and the grace on top."""
        if stable > 0 or "busy_at" not in kept:
            kept["busy_at"] = at
        idle = at - float(kept["busy_at"])
        if stable == 0 and pool.target == 0:
            return wanted
        return wanted if self.zero and idle >= ZERO_GRACE_SECONDS else max(wanted, 1)


def _begun(at: float, ready: int) -> dict[str, Any]:
    """A new autoscaler of several pods begins in panic: an empty window must not shrink it."""
    return {"panic_at": at if ready > 1 else None, "panic_high": ready}


def _concurrency(pool: PoolView) -> float | None:
    """Of all pods: those that told nothing are taken for average ones."""
    value, share = ongoing(pool), pool.reading(seen.REQUESTS_RUNNING).share
    if value is None or not 0 < share < 1:
        return value
    return value / share
