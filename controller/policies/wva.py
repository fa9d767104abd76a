"""Workload Variant Autoscaler: saturation V1 (spare cache and queue) and V2 (tokens).

Source: llm-d/llm-d-workload-variant-autoscaler docs/saturation-scaling-config.md, internal/engines.
Left out: the HPA that acts on its gauge, priorities, and the queueing-model analyser.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from controller import observation as seen
from controller.observation import Observation, PoolView
from controller.policies.parts import bounded, each_pool, in_range, of_replica, one_of, sizes, up
from controller.policies.windows import added, within
from controller.policy import Memory, PolicySpec, Proposal, Reason

PERIOD_SECONDS, MAX_SECONDS = 60.0, 60.0
KV_SATURATED, QUEUE_SATURATED = 0.80, 5.0
KV_SPARE, QUEUE_SPARE = 0.10, 3.0
# V2: demand over capacity at which it grows, and under which it shrinks.
UP_SHARE, DOWN_SHARE, REMEMBERED = 0.85, 0.70, 10
SPEC = PolicySpec(
    "wva",
    "WVA, saturation",
    PERIOD_SECONDS,
    "llm-d/llm-d-workload-variant-autoscaler internal/engines",
    parameters={
        "analyzer": "v1",
        "kv_saturated": KV_SATURATED,
        "queue_saturated": QUEUE_SATURATED,
        "kv_spare": KV_SPARE,
        "queue_spare": QUEUE_SPARE,
        "up_share": UP_SHARE,
        "down_share": DOWN_SHARE,
        "variants": "each",
    },
    knob="kv_saturated",
    knob_values=(0.15, 0.2, 0.3, 0.4, 0.6, 0.8),
)

Loads = list[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Wva:
    """V1: one up when the spare is small, one down when it stays large over one replica fewer.

    Args:
        analyzer: "v1", or "v2": demand and supply in tokens.
        kv_saturated: cache usage from which a replica is saturated.
        queue_saturated: waiting requests from which it is.
        kv_spare: mean spare cache under which one more is wanted.
        queue_spare: mean spare queue under which one more is wanted.
        up_share: V2: of its capacity that a replica should bear.
        down_share: V2: of the capacity that is kept when it shrinks.
        variants: "each" pool is a model of its own, or "all" whole ones are variants of one (V1):
            then the cheapest grows and the dearest shrinks.
    """

    analyzer: str = "v1"
    kv_saturated: float = KV_SATURATED
    queue_saturated: float = QUEUE_SATURATED
    kv_spare: float = KV_SPARE
    queue_spare: float = QUEUE_SPARE
    up_share: float = UP_SHARE
    down_share: float = DOWN_SHARE
    variants: str = "each"
    spec: PolicySpec = field(default=SPEC, init=False)

    def __post_init__(self) -> None:
        """Refuse what the config map refuses."""
        one_of(SPEC.name, "analyzer", self.analyzer, ("v1", "v2"))
        one_of(SPEC.name, "variants", self.variants, ("each", "all"))
        in_range(SPEC.name, "kv_saturated", self.kv_saturated, 0.01, 1)
        in_range(SPEC.name, "queue_saturated", self.queue_saturated, 0.01, 1e6)
        in_range(SPEC.name, "kv_spare", self.kv_spare, 0, self.kv_saturated)
        in_range(SPEC.name, "queue_spare", self.queue_spare, 0, self.queue_saturated)
        in_range(SPEC.name, "up_share", self.up_share, 0.01, 1)
        in_range(SPEC.name, "down_share", self.down_share, 0.01, self.up_share)

    def decide(self, observation: Observation, memory: Memory) -> tuple[Proposal, Memory]:
        """Every 60 s."""
        if self.variants == "each":
            return each_pool(observation, memory, self._pool)
        return self._together(observation, memory)

    def _together(self, observation: Observation, memory: Memory) -> tuple[Proposal, Memory]:
        """All whole pools serve one model: the cheapest grows, the dearest shrinks."""
        proposal, kept = each_pool(observation, memory, self._pool)
        mine = [pool for pool in observation.pools if pool.role == "whole"]
        if self.analyzer != "v1" or len(mine) < 2:
            return proposal, kept
        found = [_peaks(pool, observation.at, memory.get(pool.name, {}))[0] for pool in mine]
        peaks = [one for part in found for one in part]
        step, code, text, numbers = self._step(peaks)
        if any(pool.starting for pool in mine):
            step, code, text = 0, "pending", "replicas are starting: nothing changes"
        targets = {**proposal.targets, **{pool.name: pool.target for pool in mine}}
        chosen = _chosen(mine, step)
        if chosen is not None:
            targets[chosen.name] = chosen.target + step
        names = {pool.name for pool in mine}
        reasons = [reason for reason in proposal.reasons if reason.pool not in names]
        reasons += [Reason(pool.name, code, text, numbers) for pool in mine]
        return Proposal(targets, tuple(reasons)), kept

    def _pool(
        self, observation: Observation, pool: PoolView, memory: Memory
    ) -> tuple[int, Reason, Memory]:
        at = observation.at
        peaks, kept = _peaks(pool, at, memory)
        if not peaks:
            text = "no replica told anything within 5 minutes: held"
            return pool.target, Reason(pool.name, "stale", text), kept
        if self.analyzer == "v2":
            return self._by_tokens(pool, peaks, memory, kept)
        if pool.starting:
            text = f"{pool.starting} replicas are starting: nothing changes"
            return pool.target, Reason(pool.name, "pending", text), kept
        step, code, text, numbers = self._step(peaks)
        target = bounded(pool, pool.target + step)
        return target, Reason(pool.name, code, text, numbers), kept

    def _step(self, peaks: Loads) -> tuple[int, str, str, dict[str, float]]:
        """(+1, -1 or 0; why) of replicas that bear these loads."""
        if not peaks:
            return 0, "stale", "no replica told anything within 5 minutes: held", {}
        calm = [
            one for one in peaks if one[0] < self.kv_saturated and one[1] < self.queue_saturated
        ]
        kv, queue = self._spare(calm, len(calm))
        step, code = 0, "spare"
        if kv < self.kv_spare or queue < self.queue_spare:
            step, code = 1, "saturated"
        elif len(calm) >= 2:
            fewer_kv, fewer_queue = self._spare(calm, len(calm) - 1)
            if fewer_kv >= self.kv_spare and fewer_queue >= self.queue_spare:
                step, code = -1, "room"
        text = f"{len(calm)} of {len(peaks)} unsaturated, spare cache {kv:.2f}, queue {queue:.1f}"
        return step, code, text, {"spare_kv_ratio": kv, "spare_queue": queue}

    def _spare(self, calm: Loads, replicas: int) -> tuple[float, float]:
        """Mean spare cache and queue when `replicas` bear what the calm ones have."""
        if not replicas:
            return 0.0, 0.0
        kv, queue = (sum(one[part] for one in calm) / replicas for part in (0, 1))
        return self.kv_saturated - kv, self.queue_saturated - queue

    def _by_tokens(
        self, pool: PoolView, peaks: Loads, memory: Memory, kept: dict[str, object]
    ) -> tuple[int, Reason, Memory]:
        if pool.profile is None:
            text = "how much a replica's cache holds is not known: held"
            return pool.target, Reason(pool.name, "no_profile", text), kept
        cache, (prompt, output) = pool.profile.cache_tokens, sizes(pool)
        bearing = list(memory.get("bearing", []))
        bearing += [kv * cache for kv, queue in peaks if queue >= self.queue_saturated and kv > 0]
        kept["bearing"] = bearing = bearing[-REMEMBERED:]
        by_batch = pool.profile.sequences * (prompt + output / 2)
        compute = sum(bearing) / len(bearing) if bearing else by_batch
        capacity = max(min(cache * self.kv_saturated, compute), 1.0)
        demand = sum(kv * cache + queue * prompt for kv, queue in peaks)
        demand *= max(pool.ready, 1) / len(peaks)
        supply = pool.supply * capacity
        missing = demand / self.up_share - supply
        spare = supply - demand / self.down_share
        target, code = pool.target, "spare"
        if missing > 0:
            target, code = pool.supply + up(missing / capacity), "demand"
        elif spare >= capacity and not pool.starting and len(peaks) == pool.ready:
            target, code = pool.supply - math.floor(spare / capacity), "room"
        text = f"{demand:.0f} tokens asked for, {capacity:.0f} a replica"
        numbers = {"demand_tokens": demand, "capacity_tokens": capacity}
        return bounded(pool, max(target, 1)), Reason(pool.name, code, text, numbers), kept


def _chosen(pools: Sequence[PoolView], step: int) -> PoolView | None:
    """Which variant takes a step: the cheapest up, the dearest down, inside its limits."""
    if step > 0:
        able = [pool for pool in pools if pool.target < pool.limits.most]
        return min(able, key=lambda pool: (_price(pool), pool.name), default=None)
    able = [pool for pool in pools if step < 0 and pool.target > max(pool.limits.least, 0)]
    return max(able, key=lambda pool: (_price(pool), pool.name), default=None)


def _price(pool: PoolView) -> float:
    """Of a replica; a card costs a card where no price is given."""
    if pool.profile is None:
        return 1.0
    price = pool.profile.price_per_hour
    return float(pool.profile.gpus) if price is None else price


def _peaks(pool: PoolView, at: float, memory: Memory) -> tuple[Loads, dict[str, object]]:
    """Of each ready replica the highest (cache usage, queue) of a minute; what to remember."""
    kept: dict[str, list[list[list[float]]]] = {}
    peaks: Loads = []
    past = memory.get("replicas", {})
    for replica in pool.replicas:
        pair = (
            of_replica(replica, seen.KV_CACHE_USAGE_RATIO),
            of_replica(replica, seen.REQUESTS_WAITING),
        )
        if replica.state != "ready" or None in pair:
            continue
        before: Sequence[Sequence[Sequence[float]]] = past.get(replica.name, ([], []))
        parts = [
            added(before[part], at, value or 0.0, MAX_SECONDS) for part, value in enumerate(pair)
        ]
        kept[replica.name] = parts
        kv, queue = (max(within(part, at, MAX_SECONDS)) for part in parts)
        peaks.append((kv, queue))
    return peaks, {"replicas": kept, "bearing": list(memory.get("bearing", []))}
