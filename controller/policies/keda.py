"""KEDA: an ordinary HPA between 1 and N, and KEDA itself between 0 and 1.

Sources: kedacore/keda pkg/scaling/executor/scale_scaledobjects.go, pkg/fallback/fallback.go;
keda-docs concepts/scaling-deployments. KEDA has no default trigger: requests in flight, 16 a
replica, are ours.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from controller import observation as seen
from controller.observation import Grade, Observation, PoolView, Reading
from controller.policies.kubernetes_hpa import KubernetesHpa, Metric
from controller.policies.parts import ONGOING, bounded, each_pool, in_range, one_of, ongoing, told
from controller.policy import MOST_REPLICAS, Memory, PolicySpec, Proposal, Reason

POLLING_SECONDS, COOLDOWN_SECONDS, FAILURES = 30.0, 300.0, 3
BEHAVIOURS = ("static", "currentReplicas", "currentReplicasIfHigher", "currentReplicasIfLower")
SPEC = PolicySpec(
    "keda",
    "KEDA on requests in flight",
    POLLING_SECONDS,
    "kedacore/keda pkg/scaling/executor, pkg/fallback",
    parameters={
        "signal": ONGOING,
        "target": 16,
        "activation": 0,
        "cooldown_seconds": COOLDOWN_SECONDS,
        "fallback_replicas": None,
        "fallback_failures": FAILURES,
        "fallback_behaviour": "static",
    },
    knob="target",
    knob_values=(2, 4, 8, 12, 16, 24, 32),
)


@dataclass(frozen=True, slots=True)
class Keda:
    """Scale on one external value; to zero when it was inactive for the cooldown.

    Args:
        signal: the trigger's value: "ongoing" or a signal of the pool.
        target: of it a replica.
        activation: above it the trigger is active.
        cooldown_seconds: after the last activity, before it goes to zero.
        fallback_replicas: where the trigger failed more often than that in a row; None holds.
        fallback_failures: in a row, and still no fallback.
        fallback_behaviour: how the fallback and the current number are weighed.
    """

    signal: str = ONGOING
    target: float = 16.0
    activation: float = 0.0
    cooldown_seconds: float = COOLDOWN_SECONDS
    fallback_replicas: int | None = None
    fallback_failures: int = FAILURES
    fallback_behaviour: str = "static"
    spec: PolicySpec = field(default=SPEC, init=False)

    def __post_init__(self) -> None:
        """Refuse what a ScaledObject refuses."""
        one_of(SPEC.name, "signal", self.signal, (ONGOING, *seen.SIGNALS))
        one_of(SPEC.name, "fallback_behaviour", self.fallback_behaviour, BEHAVIOURS)
        in_range(SPEC.name, "target", self.target, 1e-6, 1e9)
        in_range(SPEC.name, "activation", self.activation, 0, 1e9)
        in_range(SPEC.name, "cooldown_seconds", self.cooldown_seconds, 0, 86_400)
        in_range(SPEC.name, "fallback_replicas", self.fallback_replicas, 0, MOST_REPLICAS)
        in_range(SPEC.name, "fallback_failures", self.fallback_failures, 0, 1e6)

    def decide(self, observation: Observation, memory: Memory) -> tuple[Proposal, Memory]:
        """Every 30 s."""
        return each_pool(observation, memory, self._pool)

    def _pool(
        self, observation: Observation, pool: PoolView, memory: Memory
    ) -> tuple[int, Reason, Memory]:
        at = observation.at
        value = ongoing(pool) if self.signal == ONGOING else told(pool, self.signal)
        if value is None:
            return self._failed(pool, memory)
        kept = {**memory, "failures": 0}
        is_active = value > self.activation
        # Before anything was seen the cooldown begins.
        kept["active_at"] = at if is_active else memory.get("active_at", at)
        idle = at - kept["active_at"]
        if pool.target == 0:
            target = bounded(pool, max(pool.limits.least, 1)) if is_active else 0
            return target, Reason(pool.name, "activation", f"{value:g} asked for"), kept
        if pool.limits.least <= 0 and not is_active and idle >= self.cooldown_seconds:
            return 0, Reason(pool.name, "idle", f"inactive for {idle:.0f} s"), kept
        return self._scaled(observation, pool, value, kept)

    def _scaled(
        self, observation: Observation, pool: PoolView, value: float, kept: dict[str, object]
    ) -> tuple[int, Reason, Memory]:
        """What the HPA that KEDA makes wants of this value."""
        signal = seen.REQUESTS_RUNNING
        shown = replace(pool, signals={signal: Reading(value, Grade.FRESH)})
        hpa = KubernetesHpa((Metric(signal, self.target, "external"),))
        proposal, inner = hpa.decide(
            replace(observation, pools=(shown,)), {pool.name: kept.get("hpa", {})}
        )
        kept["hpa"] = inner[pool.name]
        return proposal.targets[pool.name], proposal.reasons[0], kept

    def _failed(self, pool: PoolView, memory: Memory) -> tuple[int, Reason, Memory]:
        failures = min(int(memory.get("failures", 0)) + 1, 1_000_000)
        text, target = f"the trigger failed {failures} times in a row", pool.target
        code = "trigger_failed"
        if self.fallback_replicas is not None and failures > self.fallback_failures:
            target, code = bounded(pool, self._fallback(pool.target)), "fallback"
        return target, Reason(pool.name, code, text), {**memory, "failures": failures}

    def _fallback(self, current: int) -> int:
        wanted = self.fallback_replicas or 0
        if self.fallback_behaviour == "currentReplicas":
            return current
        if self.fallback_behaviour == "currentReplicasIfHigher":
            return max(current, wanted)
        if self.fallback_behaviour == "currentReplicasIfLower":
            return min(current, wanted)
        return wanted
