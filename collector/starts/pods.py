"""Times of a pod -> observations of its start.

Kubernetes tells moments; what lies between two of them is a phase. The same function reads what
kube-state-metrics exposes and what the API answers (`collector.kube_events`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from collector.starts.observation import StartObservation


@dataclass(frozen=True, slots=True)
class ImagePull:
    """One image that was pulled, or found on the node.

    Attributes:
        started_at: aware UTC.
        ended_at: aware UTC.
        was_there: whether the node had it already.
    """

    started_at: datetime
    ended_at: datetime
    was_there: bool = False


@dataclass(frozen=True, slots=True)
class PodTimes:
    """When a pod reached which state; aware UTC, None while it has not.

    Attributes:
        namespace: of the pod.
        pod: its name.
        node: where it was placed.
        created_at: it was asked for.
        scheduled_at: it got a node.
        started_at: the node took it up.
        initialised_at: its init containers were done.
        container_started_at: its engine's container ran.
        containers_ready_at: all containers passed their probes.
        ready_at: it may get traffic.
        failed_at: the container ended before it was ready.
        pulls: its images.
    """

    namespace: str
    pod: str
    node: str | None = None
    created_at: datetime | None = None
    scheduled_at: datetime | None = None
    started_at: datetime | None = None
    initialised_at: datetime | None = None
    container_started_at: datetime | None = None
    containers_ready_at: datetime | None = None
    ready_at: datetime | None = None
    failed_at: datetime | None = None
    pulls: tuple[ImagePull, ...] = field(default=())


SIGNALS: Mapping[str, str] = {
    "pod_created_unix_seconds": "created_at",
    "pod_scheduled_unix_seconds": "scheduled_at",
    "pod_started_unix_seconds": "started_at",
    "pod_initialised_unix_seconds": "initialised_at",
    "container_start_unix_seconds": "container_started_at",
    "pod_containers_ready_unix_seconds": "containers_ready_at",
    "pod_ready_unix_seconds": "ready_at",
}
"""Signal of kube-state-metrics -> the moment it tells."""
# phase, from, to: where a moment is not known, the nearest known one before it stands in.
_STEPS = (
    ("schedule", "created_at", "scheduled_at"),
    ("init", "started_at", "initialised_at"),
    ("container", "initialised_at", "containers_ready_at"),
    ("probe", "containers_ready_at", "ready_at"),
)


def observe_pod(times: PodTimes, instance: str, model: str | None = None) -> list[StartObservation]:
    """What Kubernetes saw of one start.

    A restarted container keeps the times of its pod: a moment that lies before the one it follows
    belongs to an earlier life and is left out.

    Args:
        times: of the pod.
        instance: what the pod is called elsewhere, or its name.
        model: what it serves.
    """
    found: list[StartObservation] = []
    cache = _cache_state(times)

    def add(phase: str, start: datetime, end: datetime, words: str) -> None:
        evidence = f"kubernetes: {words}"
        found.append(
            StartObservation(instance, phase, start, end, evidence, model, times.node, cache)
        )

    for phase, begins, ends in _STEPS:
        start, end = getattr(times, begins), getattr(times, ends)
        if start is not None and end is not None and end > start:
            add(phase, start, end, f"{_words(begins)} to {_words(ends)} of pod {times.pod}")
    for pull in times.pulls:
        if pull.ended_at > pull.started_at:
            add("image", pull.started_at, pull.ended_at, f"image of pod {times.pod}")
    if times.ready_at is not None:
        add("ready", times.ready_at, times.ready_at, f"condition Ready of pod {times.pod}")
    if times.failed_at is not None and times.ready_at is None:
        add("failed", times.failed_at, times.failed_at, f"container of pod {times.pod} ended")
    return found


def _cache_state(times: PodTimes) -> str | None:
    """Whether the node had the image: the only cache that Kubernetes knows."""
    if not times.pulls:
        return None
    return "warm" if all(pull.was_there for pull in times.pulls) else "cold"


def _words(name: str) -> str:
    return name.removesuffix("_at").replace("_", " ")
