"""Workload Variant Autoscaler, saturation V1: spare cache and spare queue.

Source: llm-d/llm-d-workload-variant-autoscaler docs/saturation-scaling-config.md, internal/engines.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from controller.observation import Observation, PoolView, ReplicaView
from controller.policies.windows import added, within
from controller.policy import Memory, PolicySpec, Proposal, Reason

PERIOD_SECONDS, MAX_SECONDS, STALE_SECONDS = 60.0, 60.0, 300.0
KV_SATURATED, QUEUE_SATURATED = 0.80, 5.0
KV_SPARE, QUEUE_SPARE = 0.10, 3.0


@dataclass(frozen=True, slots=True)
class Wva:
    """One up when the spare is small, one down when it stays large over one replica fewer.

    Args:
        queue_saturated: waiting requests from which a replica is saturated.
        kv_saturated: cache usage from which it is.
    """

    queue_saturated: float = QUEUE_SATURATED
    kv_saturated: float = KV_SATURATED
    spec: PolicySpec = field(
        default=PolicySpec(
            "wva",
            "WVA, saturation V1",
            PERIOD_SECONDS,
            "llm-d/llm-d-workload-variant-autoscaler internal/engines",
            parameters={"kv_saturated": KV_SATURATED, "queue_saturated": QUEUE_SATURATED},
            knob="kv_saturated",
            knob_values=(0.2, 0.3, 0.4, 0.6, 0.8),
        ),
        init=False,
    )

    def decide(self, observation: Observation, memory: Memory) -> tuple[Proposal, Memory]:
        """Every 60 s."""
        targets, reasons, kept = {}, [], {}
        for pool in observation.pools:
            target, reason, mine = self._pool(observation.at, pool, memory.get(pool.name, {}))
            targets[pool.name] = target
            reasons.append(reason)
            kept[pool.name] = mine
        return Proposal(targets, tuple(reasons)), kept

    def _pool(self, at: float, pool: PoolView, memory: Memory) -> tuple[int, Reason, Memory]:
        told = [replica for replica in pool.replicas if _is_told(replica)]
        kept = {
            replica.name: [
                added(memory.get(replica.name, [[], []])[number], at, value, MAX_SECONDS)
                for number, value in enumerate(_pair(replica))
            ]
            for replica in told
        }
        if pool.starting:
            text = f"{pool.starting} replicas are starting: nothing changes"
            return pool.target, Reason(pool.name, "pending", text), kept
        if not told:
            return pool.target, Reason(pool.name, "stale", "no fresh metrics: held"), kept
        peaks = [
            tuple(max(within(part, at, MAX_SECONDS)) for part in kept[replica.name])
            for replica in told
        ]
        calm = [
            (kv, queue)
            for kv, queue in peaks
            if kv < self.kv_saturated and queue < self.queue_saturated
        ]
        n = len(calm)
        spare_kv = sum(self.kv_saturated - kv for kv, _ in calm) / n if n else 0.0
        spare_queue = sum(self.queue_saturated - queue for _, queue in calm) / n if n else 0.0
        target, code = pool.target, "spare"
        if spare_kv < KV_SPARE or spare_queue < QUEUE_SPARE:
            target, code = pool.target + 1, "saturated"
        elif n >= 2 and self._fits_without_one(calm):
            target, code = pool.target - 1, "room"
        target = min(max(target, pool.limits.least), pool.limits.most)
        text = (
            f"{n} of {len(told)} unsaturated, spare cache {spare_kv:.2f}, queue {spare_queue:.1f}"
        )
        numbers = {"spare_kv_ratio": spare_kv, "spare_queue": spare_queue}
        return target, Reason(pool.name, code, text, numbers), kept

    def _fits_without_one(self, calm: list[tuple[float, float]]) -> bool:
        n = len(calm)
        kv, queue = (sum(one[number] for one in calm) / (n - 1) for number in (0, 1))
        return self.kv_saturated - kv >= KV_SPARE and self.queue_saturated - queue >= QUEUE_SPARE


def _is_told(replica: ReplicaView) -> bool:
    age = replica.scrape_age_seconds
    fresh = age is not None and age <= STALE_SECONDS
    return replica.state == "ready" and fresh and all(math.isfinite(v) for v in _pair(replica))


def _pair(replica: ReplicaView) -> tuple[float, float]:
    kv, queue = replica.kv_cache_usage_ratio, replica.requests_waiting
    return (math.nan if kv is None else kv), (math.nan if queue is None else queue)
