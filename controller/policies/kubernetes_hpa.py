"""Kubernetes HorizontalPodAutoscaler, autoscaling/v2.

Sources: kubernetes/kubernetes pkg/controller/podautoscaler/{horizontal,replica_calculator}.go;
kubernetes/website, tasks/run-application/horizontal-pod-autoscale.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from controller import observation as seen
from controller.observation import Observation, PoolView
from controller.policies.parts import (
    ONGOING,
    bounded,
    each_pool,
    in_range,
    of_replica,
    one_of,
    told,
    up,
)
from controller.policies.windows import added, newer
from controller.policy import MOST_REPLICAS, Memory, PolicySpec, Proposal, Reason
from store.errors import ControllerError

TOLERANCE = 0.1
DOWN_SECONDS, UP_SECONDS = 300.0, 0.0
PERIOD_SECONDS, MOST_WINDOW_SECONDS = 15.0, 3600.0
# Default policies: up by the larger of 100 % and 4 pods in 15 s; down by all in 15 s.
_UP_RATIO, _UP_PODS = 1.0, 4
POD_SIGNALS = (
    ONGOING,
    "requests_running",
    "requests_waiting",
    "kv_cache_usage_ratio",
    "waiting_tokens",
    "context_tokens",
)
SPEC = PolicySpec(
    "kubernetes-hpa",
    "Kubernetes HPA (ongoing requests)",
    PERIOD_SECONDS,
    "kubernetes/kubernetes pkg/controller/podautoscaler",
    parameters={
        "target_ongoing": 16,
        "tolerance_up": TOLERANCE,
        "tolerance_down": TOLERANCE,
        "up_seconds": UP_SECONDS,
        "down_seconds": DOWN_SECONDS,
    },
    knob="target_ongoing",
    knob_values=(2, 4, 8, 12, 16, 24, 32, 48),
)
QUEUE_SPEC = PolicySpec(
    "queue-length-hpa",
    "HPA on queue length (production-stack's default)",
    PERIOD_SECONDS,
    "vllm-project/production-stack helm, ScaledObject",
    parameters={"target_waiting": 5},
    knob="target_waiting",
    knob_values=(1, 2, 5, 10),
)


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric of a HPA.

    Attributes:
        signal: of the pool, or "ongoing": running and waiting of each replica.
        target: value a replica should have.
        kind: "pods" averages over replicas and knows which are missing; "external" has one value
            for all, divided by the target (AverageValue).
    """

    signal: str
    target: float
    kind: Literal["pods", "external"] = "pods"

    def __post_init__(self) -> None:
        """Refuse what no replica tells."""
        in_range(SPEC.name, f"target of {self.signal}", self.target, 1e-6, 1e9)
        allowed = POD_SIGNALS if self.kind == "pods" else tuple(seen.SIGNALS)
        one_of(SPEC.name, f"signal of a {self.kind} metric", self.signal, allowed)


@dataclass(frozen=True, slots=True)
class KubernetesHpa:
    """The largest of what its metrics want, held back by windows and rates.

    Args:
        metrics: at least one.
        tolerance_up: ratios this little above 1 change nothing.
        tolerance_down: ratios this little below 1 change nothing.
        down_seconds: the highest recommendation of so long counts when going down.
        up_seconds: the lowest when going up.
        spec: name and period.
    """

    metrics: tuple[Metric, ...] = (Metric(ONGOING, 16.0),)
    tolerance_up: float = TOLERANCE
    tolerance_down: float = TOLERANCE
    down_seconds: float = DOWN_SECONDS
    up_seconds: float = UP_SECONDS
    spec: PolicySpec = field(default=SPEC)

    def __post_init__(self) -> None:
        """Refuse what the API refuses."""
        name = self.spec.name
        if not self.metrics:
            raise ControllerError(
                f"policy {name} has no metric", hint="give at least one target, like target_ongoing"
            )
        in_range(name, "tolerance_up", self.tolerance_up, 0, 10)
        in_range(name, "tolerance_down", self.tolerance_down, 0, 1)
        in_range(name, "up_seconds", self.up_seconds, 0, MOST_WINDOW_SECONDS)
        in_range(name, "down_seconds", self.down_seconds, 0, MOST_WINDOW_SECONDS)

    def decide(self, observation: Observation, memory: Memory) -> tuple[Proposal, Memory]:
        """Every 15 s."""
        return each_pool(observation, memory, self._pool)

    def _pool(
        self, observation: Observation, pool: PoolView, memory: Memory
    ) -> tuple[int, Reason, Memory]:
        at, current = observation.at, pool.target
        if current == 0:
            return 0, Reason(pool.name, "off", "scaled to zero: a HPA does nothing then"), memory
        inside = self._inside(pool, current)
        if inside != current:
            text = f"{current} replicas are outside the limits"
            return inside, Reason(pool.name, "limits", text), memory
        wanted = self._wanted(pool, current)
        if wanted is None:
            text = "a metric cannot be read, and the others ask for no more: nothing changes"
            return current, Reason(pool.name, "metric_missing", text), memory
        # A new HPA begins with what is there, so that it does not scale down at once.
        past = memory.get("recommended", [[at, current]])
        recommended = added(past, at, wanted, max(self.down_seconds, self.up_seconds))
        calm = self._stabilised(recommended, at, current, wanted)
        changes = memory.get("changes", [])
        limited = self._inside(pool, _rated(at, current, calm, changes))
        if limited != current:
            changes = added(changes, at, limited - current, PERIOD_SECONDS)
        kept = {"recommended": recommended, "changes": list(changes)}
        numbers = {"wanted": float(wanted), "stabilised": float(calm)}
        text = f"metrics want {wanted}, windows leave {calm}"
        return limited, Reason(pool.name, "metric", text, numbers), kept

    def _inside(self, pool: PoolView, wanted: int) -> int:
        """Between the limits; a HPA that runs keeps one."""
        return min(max(bounded(pool, wanted), 1), max(pool.limits.most, 0))

    def _wanted(self, pool: PoolView, current: int) -> int | None:
        found = [self._one(pool, metric, current) for metric in self.metrics]
        known = [one for one in found if one is not None]
        if not known:
            return None
        most = max(known)
        return most if len(known) == len(found) or most > current else None

    def _one(self, pool: PoolView, metric: Metric, current: int) -> int | None:
        if metric.kind == "pods":
            return self._of_pods(pool, metric, current)
        value = told(pool, metric.signal)
        if value is None:
            return None
        near = self._is_near(value / (metric.target * current))
        return current if near else up(value / metric.target)

    def _is_near(self, ratio: float) -> bool:
        return 1 - self.tolerance_down <= ratio <= 1 + self.tolerance_up

    def _of_pods(self, pool: PoolView, metric: Metric, current: int) -> int | None:
        told_of, missing, unready = _groups(pool, metric.signal)
        if not told_of:
            return None
        ratio = sum(told_of) / len(told_of) / metric.target
        if not missing and (not unready or ratio <= 1):
            return current if self._is_near(ratio) else up(ratio * len(told_of))
        # What is not known is taken so that it speaks against the change.
        values = list(told_of)
        if ratio < 1:
            values += [metric.target] * missing
        elif ratio > 1:
            values += [0.0] * (missing + unready)
        again = sum(values) / len(values) / metric.target
        if self._is_near(again) or _is_turned(ratio, again):
            return current
        wanted = up(again * len(values))
        is_turned = (again < 1 and wanted > current) or (again > 1 and wanted < current)
        return current if is_turned else wanted

    def _stabilised(
        self, recommended: Sequence[Sequence[float]], at: float, current: int, wanted: int
    ) -> int:
        lowest = int(min([wanted, *newer(recommended, at, self.up_seconds)]))
        highest = int(max([wanted, *newer(recommended, at, self.down_seconds)]))
        return min(max(current, lowest), highest)


def _groups(pool: PoolView, signal: str) -> tuple[list[float], int, int]:
    """(values of those that told, how many told nothing, how many start), without drained ones."""
    alive = [replica for replica in pool.replicas if replica.state != "draining"]
    unready = sum(replica.state == "starting" for replica in alive)
    found = [of_replica(replica, signal) for replica in alive if replica.state == "ready"]
    values = [value for value in found if value is not None]
    return values, len(found) - len(values), unready


def _is_turned(ratio: float, again: float) -> bool:
    return (ratio > 1 and again < 1) or (ratio < 1 and again > 1)


def _rated(at: float, current: int, wanted: int, changes: Sequence[Sequence[float]]) -> int:
    """Not faster than the default policies allow."""
    if wanted <= current:
        return wanted
    # What the pool had when the period began.
    before = current - sum(newer(changes, at, PERIOD_SECONDS))
    most = max(up(before * (1 + _UP_RATIO)), int(before) + _UP_PODS, current)
    return min(wanted, most)


def queue_length_hpa(target_waiting: float = 5.0) -> KubernetesHpa:
    """production-stack's default: KEDA on `vllm:num_requests_waiting`, 5 a replica.

    Source: vllm-project/production-stack helm ScaledObject template.
    """
    in_range(QUEUE_SPEC.name, "target_waiting", target_waiting, 1e-6, MOST_REPLICAS)
    return KubernetesHpa(
        (Metric(seen.REQUESTS_WAITING, target_waiting, "external"),), spec=QUEUE_SPEC
    )


def kubernetes_hpa(
    target_ongoing: float | None = 16.0,
    target_waiting: float | None = None,
    target_kv_cache_usage_ratio: float | None = None,
    target_requests_per_second: float | None = None,
    tolerance_up: float = TOLERANCE,
    tolerance_down: float = TOLERANCE,
    up_seconds: float = UP_SECONDS,
    down_seconds: float = DOWN_SECONDS,
) -> KubernetesHpa:
    """A HPA on one or several metrics; those without a target are left out.

    Args:
        target_ongoing: running and waiting requests of a replica, a pods metric.
        target_waiting: waiting requests of a replica, a pods metric.
        target_kv_cache_usage_ratio: cache usage of a replica, a pods metric.
        target_requests_per_second: arrivals a replica, an external metric.
        tolerance_up: ratios this little above 1 change nothing.
        tolerance_down: ratios this little below 1 change nothing.
        up_seconds: stabilisation window up.
        down_seconds: stabilisation window down.
    """
    wanted: tuple[tuple[str, float | None, Literal["pods", "external"]], ...] = (
        (ONGOING, target_ongoing, "pods"),
        ("requests_waiting", target_waiting, "pods"),
        ("kv_cache_usage_ratio", target_kv_cache_usage_ratio, "pods"),
        (seen.REQUESTS_PER_SECOND, target_requests_per_second, "external"),
    )
    metrics = tuple(
        Metric(signal, target, kind) for signal, target, kind in wanted if target is not None
    )
    return KubernetesHpa(metrics, tolerance_up, tolerance_down, down_seconds, up_seconds)
