"""AIBrix APA: a ratio to the target, its own tolerance and rates.

Source: vllm-project/aibrix pkg/controller/podautoscaler/algorithm/apa.go, context/context.go;
docs/source/features/autoscaling/metric-based-autoscaling.rst. Left out: bounds by calendar.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from controller import observation as seen
from controller.observation import Observation, PoolView
from controller.policies.parts import ONGOING, bounded, each, each_pool, in_range, one_of, up
from controller.policies.windows import added, mean, newer, within
from controller.policy import Memory, PolicySpec, Proposal, Reason

TOLERANCE, RATE = 0.1, 2.0
WINDOW_SECONDS, DOWN_COOLDOWN_SECONDS = 180.0, 300.0
PANIC_RATIO, PANIC_SECONDS = 2.0, 60.0
SPEC = PolicySpec(
    "aibrix-apa",
    "AIBrix APA (cache usage)",
    15.0,
    "vllm-project/aibrix pkg/controller/podautoscaler/algorithm/apa.go",
    parameters={
        "target": 0.5,
        "signal": seen.KV_CACHE_USAGE_RATIO,
        "tolerance_up": TOLERANCE,
        "tolerance_down": TOLERANCE,
        "up_rate": RATE,
        "down_rate": RATE,
        "down_seconds": DOWN_COOLDOWN_SECONDS,
        "panic_ratio": PANIC_RATIO,
    },
    knob="target",
    knob_values=(0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.7),
)


@dataclass(frozen=True, slots=True)
class AibrixApa:
    """n * value / target, outside of 10 % around 1, at most twice or half.

    Args:
        target: of the signal, an average replica.
        signal: averaged over the ready replicas; "ongoing" is running and waiting.
        others: more targets by signal; the largest of what they want counts.
        tolerance_up: ratios this little above 1 change nothing.
        tolerance_down: ratios this little below 1 change nothing.
        up_rate: at most so many times as many at once.
        down_rate: at least the number over this at once.
        up_seconds: the lowest recommendation of so long counts when going up.
        down_seconds: the highest recommendation of so long counts when going down.
        panic_ratio: of the last minute's value to the target, from which that minute counts.
    """

    target: float = 0.5
    signal: str = seen.KV_CACHE_USAGE_RATIO
    others: Mapping[str, float] = field(default_factory=dict)
    tolerance_up: float = TOLERANCE
    tolerance_down: float = TOLERANCE
    up_rate: float = RATE
    down_rate: float = RATE
    up_seconds: float = 0.0
    down_seconds: float = DOWN_COOLDOWN_SECONDS
    panic_ratio: float = PANIC_RATIO
    spec: PolicySpec = field(default=SPEC, init=False)

    def __post_init__(self) -> None:
        """Refuse what a PodAutoscaler refuses."""
        for signal, target in self._metrics().items():
            one_of(SPEC.name, "signal", signal, (ONGOING, *seen.SIGNALS))
            in_range(SPEC.name, f"target of {signal}", target, 1e-6, 1e9)
        in_range(SPEC.name, "tolerance_up", self.tolerance_up, 0, 10)
        in_range(SPEC.name, "tolerance_down", self.tolerance_down, 0, 1)
        in_range(SPEC.name, "up_rate", self.up_rate, 1.001, 1000)
        in_range(SPEC.name, "down_rate", self.down_rate, 1.001, 1000)
        in_range(SPEC.name, "up_seconds", self.up_seconds, 0, 3600)
        in_range(SPEC.name, "down_seconds", self.down_seconds, 0, 3600)
        in_range(SPEC.name, "panic_ratio", self.panic_ratio, 1, 1000)

    def _metrics(self) -> dict[str, float]:
        return {self.signal: self.target, **self.others}

    def decide(self, observation: Observation, memory: Memory) -> tuple[Proposal, Memory]:
        """Every 15 s."""
        return each_pool(observation, memory, self._pool)

    def _pool(
        self, observation: Observation, pool: PoolView, memory: Memory
    ) -> tuple[int, Reason, Memory]:
        at = observation.at
        histories = dict(memory.get("values", {}))
        for signal in self._metrics():
            value = each(pool, signal)
            if value is not None:
                histories[signal] = added(histories.get(signal, []), at, value, WINDOW_SECONDS)
        found = {s: self._now(histories.get(s, []), at, t) for s, t in self._metrics().items()}
        ratios = [ratio for ratio in found.values() if ratio is not None]
        past: list[list[float]] = list(memory.get("recommended", []))
        kept: dict[str, Any] = {"values": histories, "recommended": past}
        if not ratios:
            text = f"{', '.join(found)} cannot be read: nothing changes"
            return pool.target, Reason(pool.name, "no_data", text), kept
        ratio = max(ratios)
        wanted = bounded(pool, self._wanted(ratio, pool.target))
        if wanted < pool.target and len(ratios) < len(found):
            text = "a metric cannot be read, and the others ask for less: nothing changes"
            return pool.target, Reason(pool.name, "metric_missing", text), kept
        most = max(self.up_seconds, self.down_seconds)
        kept["recommended"] = past = added(past, at, wanted, most)
        target = self._calm(past, at, wanted, pool.target)
        code = "ratio" if target == wanted else "cooldown"
        text = f"{ratio:.3g} of the target: {wanted}"
        return (
            target,
            Reason(pool.name, code, text, {"ratio": ratio, "wanted": float(wanted)}),
            kept,
        )

    def _now(self, history: list[list[float]], at: float, target: float) -> float | None:
        """The ratio over three minutes, or over the last one where that panics."""
        recent, stable = (
            mean(within(history, at, seconds)) for seconds in (PANIC_SECONDS, WINDOW_SECONDS)
        )
        if stable is None:
            return None
        if recent is not None and recent / target >= self.panic_ratio:
            return recent / target
        return stable / target

    def _wanted(self, ratio: float, current: int) -> int:
        n = max(current, 1)
        if ratio > 1 + self.tolerance_up:
            return min(up(n * ratio), math.ceil(self.up_rate * n))
        if ratio < 1 - self.tolerance_down:
            return max(up(n * ratio), math.floor(n / self.down_rate))
        return current

    def _calm(self, past: list[list[float]], at: float, wanted: int, current: int) -> int:
        if wanted < current:
            return min(current, int(max([wanted, *newer(past, at, self.down_seconds)])))
        if wanted > current:
            return max(current, int(min([wanted, *newer(past, at, self.up_seconds)])))
        return wanted
