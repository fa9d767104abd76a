"""AIBrix APA: a ratio to the target, its own tolerance and rates.

Source: vllm-project/aibrix pkg/controller/podautoscaler/algorithm/apa.go.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from controller import observation as seen
from controller.observation import Observation, PoolView
from controller.policies.windows import added, within
from controller.policy import Memory, PolicySpec, Proposal, Reason

TOLERANCE, RATE = 0.1, 2.0
WINDOW_SECONDS, DOWN_COOLDOWN_SECONDS = 180.0, 300.0
PANIC_RATIO, PANIC_SECONDS = 2.0, 60.0


@dataclass(frozen=True, slots=True)
class AibrixApa:
    """n * value / target, outside of 10 % around 1, at most twice or half.

    Args:
        signal: averaged over the ready replicas.
        target: of it.
    """

    signal: str = seen.KV_CACHE_USAGE_RATIO
    target: float = 0.5
    spec: PolicySpec = field(
        default=PolicySpec(
            "aibrix-apa",
            "AIBrix APA (cache usage)",
            15.0,
            "vllm-project/aibrix pkg/controller/podautoscaler/algorithm/apa.go",
            parameters={"target": 0.5, "tolerance": TOLERANCE, "rate": RATE},
            knob="target",
            knob_values=(0.1, 0.2, 0.3, 0.4, 0.5, 0.7),
        ),
        init=False,
    )

    def decide(self, observation: Observation, memory: Memory) -> tuple[Proposal, Memory]:
        """Every 15 s."""
        targets, reasons, kept = {}, [], {}
        for pool in observation.pools:
            target, reason, mine = self._pool(observation.at, pool, memory.get(pool.name, {}))
            targets[pool.name] = target
            reasons.append(reason)
            kept[pool.name] = mine
        return Proposal(targets, tuple(reasons)), kept

    def _pool(self, at: float, pool: PoolView, memory: Memory) -> tuple[int, Reason, Memory]:
        value = pool.reading(self.signal).value
        history = memory.get("values", [])
        if value is None or not math.isfinite(value):
            text = f"{self.signal} cannot be read: nothing changes"
            return pool.target, Reason(pool.name, "no_data", text), dict(memory)
        history = added(history, at, value, WINDOW_SECONDS)
        seen_values = within(history, at, WINDOW_SECONDS)
        stable = sum(seen_values) / len(seen_values)
        recent = within(history, at, PANIC_SECONDS)
        panic = sum(recent) / len(recent)
        is_panic = panic / self.target >= PANIC_RATIO
        now, n = (panic if is_panic else stable), max(pool.ready, 1)
        ratio, wanted = now / self.target, pool.target
        if ratio > 1 + TOLERANCE:
            wanted = max(min(math.ceil(n * ratio), math.ceil(RATE * n)), pool.target)
        elif ratio < 1 - TOLERANCE:
            wanted = min(max(math.ceil(n * ratio), math.floor(n / RATE)), pool.target)
        wanted = min(max(wanted, pool.limits.least), pool.limits.most)
        scaled_at = memory.get("scaled_at", -math.inf)
        is_cool = wanted >= pool.target or at - (scaled_at or 0.0) >= DOWN_COOLDOWN_SECONDS
        target = wanted if is_cool else pool.target
        kept = {
            "values": history,
            "scaled_at": at if target != pool.target else memory.get("scaled_at"),
        }
        text = f"{self.signal} {now:.3g} of {self.target:g}: {wanted}"
        code = "cooldown" if not is_cool else "panic" if is_panic else "ratio"
        return target, Reason(pool.name, code, text, {"value": now, "wanted": float(wanted)}), kept
