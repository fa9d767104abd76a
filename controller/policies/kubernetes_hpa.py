"""Kubernetes HorizontalPodAutoscaler, autoscaling/v2.

Sources: kubernetes/kubernetes pkg/controller/podautoscaler/{horizontal,replica_calculator}.go;
kubernetes/website, tasks/run-application/horizontal-pod-autoscale.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from controller import observation as seen
from controller.observation import Observation, PoolView, ReplicaView
from controller.policies.windows import added, within
from controller.policy import Memory, PolicySpec, Proposal, Reason

TOLERANCE = 0.1
DOWN_SECONDS, UP_SECONDS = 300.0, 0.0
PERIOD_SECONDS = 15.0
# Of replicas that are not ready yet, the metric of a pod counts from here on.
_UP_RATIO, _UP_PODS = 1.0, 4


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric of a HPA.

    Attributes:
        signal: a signal of the pool, or "ongoing": running and waiting of each replica.
        target: value a replica should have.
        kind: "pods" averages over replicas and knows which are missing; "external" has one value
            for all, divided by the target (AverageValue).
    """

    signal: str
    target: float
    kind: Literal["pods", "external"] = "pods"


@dataclass(frozen=True, slots=True)
class KubernetesHpa:
    """The largest of what its metrics want, held back by windows and rates.

    Args:
        metrics: at least one.
        tolerance: ratios this near to 1 change nothing.
        down_seconds: the highest recommendation of so long counts when going down.
        up_seconds: the lowest when going up.
        spec: name and period.
    """

    metrics: tuple[Metric, ...] = (Metric("ongoing", 16.0),)
    tolerance: float = TOLERANCE
    down_seconds: float = DOWN_SECONDS
    up_seconds: float = UP_SECONDS
    spec: PolicySpec = field(
        default=PolicySpec(
            "kubernetes-hpa",
            "Kubernetes HPA (ongoing requests)",
            PERIOD_SECONDS,
            "kubernetes/kubernetes pkg/controller/podautoscaler",
            parameters={"target_ongoing": 16, "tolerance": TOLERANCE, "down_seconds": DOWN_SECONDS},
            knob="target_ongoing",
            knob_values=(4, 8, 12, 16, 24, 32, 48),
        )
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
        current = pool.target
        if current == 0:
            return 0, Reason(pool.name, "off", "scaled to zero: a HPA does nothing then"), memory
        wanted = self._wanted(pool, current)
        if wanted is None:
            text = "a metric cannot be read, and the others ask for less: nothing changes"
            return current, Reason(pool.name, "metric_missing", text), memory
        # A new HPA begins with what is there, so that it does not scale down at once.
        past = memory.get("recommended", [[at, current]])
        recommended = added(past, at, wanted, max(self.down_seconds, self.up_seconds))
        calm = self._stabilised(recommended, at, current, wanted)
        changes = memory.get("changes", [])
        limited = _rated(at, current, calm, changes)
        limited = min(max(limited, max(pool.limits.least, 1)), pool.limits.most)
        kept = {
            "recommended": recommended,
            "changes": added(changes, at, limited - current, PERIOD_SECONDS)
            if limited != current
            else list(changes),
        }
        numbers = {"wanted": float(wanted), "stabilised": float(calm)}
        text = f"metrics want {wanted}, windows leave {calm}"
        return limited, Reason(pool.name, "metric", text, numbers), kept

    def _wanted(self, pool: PoolView, current: int) -> int | None:
        found = [self._one(pool, metric, current) for metric in self.metrics]
        known = [one for one in found if one is not None]
        if not known:
            return None
        most = max(known)
        return most if len(known) == len(found) or most > current else None

    def _one(self, pool: PoolView, metric: Metric, current: int) -> int | None:
        if metric.kind == "external":
            value = pool.reading(metric.signal).value
            if value is None or not math.isfinite(value):
                return None
            ratio = value / (metric.target * current)
            near = abs(ratio - 1) <= self.tolerance
            return current if near else math.ceil(value / metric.target)
        return self._of_pods(pool, metric, current)

    def _of_pods(self, pool: PoolView, metric: Metric, current: int) -> int | None:
        ready, missing, unready = [], 0, 0
        for replica in pool.replicas:
            if replica.state == "draining":
                continue
            value = _value(replica, metric.signal)
            if replica.state == "starting":
                unready += 1
            elif value is None:
                missing += 1
            else:
                ready.append(value)
        if not ready:
            return None
        ratio = sum(ready) / len(ready) / metric.target
        if not missing and (not unready or ratio <= 1):
            near = abs(ratio - 1) <= self.tolerance
            return current if near else math.ceil(ratio * len(ready))
        # What is not known is taken so that it speaks against the change.
        values = [*ready, *([metric.target] * missing if ratio < 1 else [0.0] * missing)]
        values += [0.0] * unready if ratio > 1 else []
        again = sum(values) / len(values) / metric.target
        turned = (ratio > 1 and again < 1) or (ratio < 1 and again > 1)
        if abs(again - 1) <= self.tolerance or turned:
            return current
        wanted = math.ceil(again * len(values))
        turned = (again < 1 and wanted > current) or (again > 1 and wanted < current)
        return current if turned else wanted

    def _stabilised(
        self, recommended: Sequence[Sequence[float]], at: float, current: int, wanted: int
    ) -> int:
        highest = int(max(within(recommended, at, self.down_seconds), default=wanted))
        lowest = int(min(within(recommended, at, self.up_seconds), default=wanted))
        calm = max(current, min(lowest, wanted))
        return min(calm, highest) if highest < calm else calm


def _value(replica: ReplicaView, signal: str) -> float | None:
    if signal == "ongoing":
        parts = (replica.requests_running, replica.requests_waiting)
        known = [part for part in parts if part is not None and math.isfinite(part)]
        return sum(known) if len(known) == len(parts) else None
    value = getattr(replica, signal, None)
    return value if value is not None and math.isfinite(value) else None


def _rated(at: float, current: int, wanted: int, changes: Sequence[Sequence[float]]) -> int:
    """Default policies: up the larger of 100 % and 4 pods in 15 s; down 100 % in 15 s."""
    if wanted <= current:
        return wanted
    ups = sum(max(change, 0) for change in within(changes, at, PERIOD_SECONDS))
    before = current - ups
    return int(min(wanted, max(math.ceil(before * (1 + _UP_RATIO)), before + _UP_PODS)))


def queue_length_hpa() -> KubernetesHpa:
    """production-stack's default: KEDA on `vllm:num_requests_waiting`, 5 a replica.

    Source: vllm-project/production-stack helm ScaledObject template.
    """
    return KubernetesHpa(
        (Metric(seen.REQUESTS_WAITING, 5.0, "external"),),
        spec=PolicySpec(
            "queue-length-hpa",
            "HPA on queue length (production-stack's default)",
            PERIOD_SECONDS,
            "vllm-project/production-stack helm, ScaledObject",
            parameters={"target_waiting": 5},
            knob="target_waiting",
            knob_values=(1, 2, 5, 10),
        ),
    )


def ongoing_hpa(target_ongoing: float = 16.0, down_seconds: float = DOWN_SECONDS) -> KubernetesHpa:
    """Requests running and waiting, on average over the replicas."""
    return KubernetesHpa((Metric("ongoing", target_ongoing),), down_seconds=down_seconds)
