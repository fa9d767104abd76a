"""KEDA: an ordinary HPA between 1 and N, and KEDA itself between 0 and 1.

Source: kedacore/keda pkg/scaling/executor/scale_scaledobjects.go, keda-docs
concepts/scaling-deployments.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from controller import observation as seen
from controller.observation import Observation, PoolView
from controller.policies.kubernetes_hpa import KubernetesHpa, Metric
from controller.policy import Memory, PolicySpec, Proposal, Reason

POLLING_SECONDS, COOLDOWN_SECONDS = 30.0, 300.0


@dataclass(frozen=True, slots=True)
class Keda:
    """Scale on one external value; to zero when it was inactive for the cooldown.

    Args:
        signal: the trigger's value.
        target: of it a replica.
        activation: above it the trigger is active.
        cooldown_seconds: after the last activity, before it goes to zero.
        fallback_replicas: where the trigger failed three times in a row; None holds.
    """

    signal: str = seen.REQUESTS_WAITING
    target: float = 5.0
    activation: float = 0.0
    cooldown_seconds: float = COOLDOWN_SECONDS
    fallback_replicas: int | None = None
    spec: PolicySpec = field(
        default=PolicySpec(
            "keda",
            "KEDA on requests in flight",
            POLLING_SECONDS,
            "kedacore/keda pkg/scaling/executor",
            parameters={"polling_seconds": 30, "cooldown_seconds": 300},
            knob="target",
            knob_values=(4, 8, 12, 16, 24, 32),
        ),
        init=False,
    )

    def decide(self, observation: Observation, memory: Memory) -> tuple[Proposal, Memory]:
        """Every 30 s."""
        targets, reasons, kept = {}, [], {}
        for pool in observation.pools:
            target, reason, mine = self._pool(observation, pool, memory.get(pool.name, {}))
            targets[pool.name] = target
            reasons.append(reason)
            kept[pool.name] = mine
        return Proposal(targets, tuple(reasons)), kept

    def _pool(
        self, observation: Observation, pool: PoolView, memory: Memory
    ) -> tuple[int, Reason, Memory]:
        at, value = observation.at, pool.reading(self.signal).value
        failures = 0 if value is not None else memory.get("failures", 0) + 1
        kept = {**memory, "failures": failures}
        if value is None:
            target = pool.target
            if self.fallback_replicas is not None and failures >= 3:
                target = self.fallback_replicas
            text = f"the trigger failed {failures} times"
            return target, Reason(pool.name, "trigger_failed", text), kept
        if value > self.activation:
            kept["active_at"] = at
        idle = at - kept.get("active_at", at if pool.target else at - self.cooldown_seconds)
        kept.setdefault("active_at", at)
        if pool.target == 0:
            target = 1 if value > self.activation else 0
            return target, Reason(pool.name, "activation", f"{value:g} asked for"), kept
        if pool.limits.least == 0 and idle >= self.cooldown_seconds:
            return 0, Reason(pool.name, "idle", f"inactive for {idle:.0f} s"), kept
        one = replace(observation, pools=(pool,))
        hpa = KubernetesHpa((Metric(self.signal, self.target, "external"),))
        proposal, inner = hpa.decide(one, {pool.name: memory.get("hpa", {})})
        kept["hpa"] = inner[pool.name]
        return proposal.targets[pool.name], proposal.reasons[0], kept
