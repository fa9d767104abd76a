"""Starts of pods, asked from Kubernetes through the official client (extra `kubernetes`).

The API knows more than kube-state-metrics: how long an image was pulled, and whether the node had
it (events, which the cluster forgets after an hour), and the container's own start and end.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from collector.discovery.kubernetes import KubernetesPlace, connect, every_object
from collector.starts.observation import StartObservation
from collector.starts.pods import ImagePull, PodTimes, observe_pod
from store.told import moment

_PAGE_OBJECTS = 500
_TIMEOUT_SECONDS = 10.0
_CONDITIONS = {
    "PodScheduled": "scheduled_at",
    "Initialized": "initialised_at",
    "ContainersReady": "containers_ready_at",
    "Ready": "ready_at",
}
Object = Mapping[str, Any]
NameOf = Callable[[str, str, str], str]
"""Namespace, pod and its address -> what the instance is called."""


def pod_name(namespace: str, pod: str, address: str) -> str:
    """The pod's own name: what an instance is called while no target is known for it."""
    return pod


class KubernetesStarts:
    """Reads the starts of the pods of a place; blocks, so call it in a worker thread.

    Args:
        place: cluster, namespace and label selector.
        name_of: what the instance behind a pod is called.
        model: what these pods serve; None when it is not known.
    """

    def __init__(
        self, place: KubernetesPlace, name_of: NameOf = pod_name, model: str | None = None
    ) -> None:
        self._place = place
        self._name_of = name_of
        self._model = model
        self._client: Any = None

    def read(self) -> list[StartObservation]:
        """What the cluster tells now about starts.

        Raises:
            ConfigError: the client is not installed or not configured.
            Exception: what the client raises when the API server does not answer.
        """
        if self._client is None:
            self._client = connect(self._place)
        pulls = image_pulls(self._events())
        found: list[StartObservation] = []
        for pod in self._pods():
            times = pod_times(pod, pulls)
            address = str(_of(pod, "status").get("podIP") or "")
            name = self._name_of(times.namespace, times.pod, address)
            found += observe_pod(times, name, self._model)
        return found

    def close(self) -> None:
        """Close the connections; safe twice."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def _pods(self) -> Iterator[Object]:
        from kubernetes import client as api

        core = api.CoreV1Api(self._client)
        selector = self._place.label_selector
        more = {"label_selector": selector} if selector else {}
        return every_object(
            self._asked(core.list_pod_for_all_namespaces, core.list_namespaced_pod, more)
        )

    def _events(self) -> Iterator[Object]:
        from kubernetes import client as api

        core = api.CoreV1Api(self._client)
        more = {"field_selector": "involvedObject.kind=Pod"}
        return every_object(
            self._asked(core.list_event_for_all_namespaces, core.list_namespaced_event, more)
        )

    def _asked(
        self, everywhere: Any, there: Any, more: Mapping[str, str]
    ) -> Callable[[str | None], Any]:
        namespace = self._place.namespace
        method, names = (there, (namespace,)) if namespace else (everywhere, ())

        def ask(token: str | None) -> Any:
            page = {"_continue": token} if token else {}
            answer = method(
                *names,
                limit=_PAGE_OBJECTS,
                _request_timeout=_TIMEOUT_SECONDS,
                _preload_content=False,
                **more,
                **page,
            )
            return json.loads(answer.data)

        return ask


def pod_times(pod: Object, pulls: Mapping[tuple[str, str], tuple[ImagePull, ...]]) -> PodTimes:
    """When a pod reached which state.

    Args:
        pod: as the API gives it (core/v1).
        pulls: images by namespace and pod, as of `image_pulls`.
    """
    meta, spec, status = _of(pod, "metadata"), _of(pod, "spec"), _of(pod, "status")
    namespace, name = str(meta.get("namespace", "")), str(meta.get("name", ""))
    moments = {
        _CONDITIONS[row["type"]]: _time(row.get("lastTransitionTime"))
        for row in status.get("conditions") or ()
        if row.get("type") in _CONDITIONS and row.get("status") == "True"
    }
    container: Object = next(iter(status.get("containerStatuses") or ()), {})
    state = _of(container, "state")
    ended = _of(state, "terminated") or _of(_of(container, "lastState"), "terminated")
    running = _of(state, "running")
    return PodTimes(
        namespace,
        name,
        node=spec.get("nodeName"),
        created_at=_time(meta.get("creationTimestamp")),
        started_at=_time(status.get("startTime")),
        container_started_at=_time(running.get("startedAt")),
        failed_at=_time(ended.get("finishedAt")),
        pulls=pulls.get((namespace, name), ()),
        **moments,
    )


def image_pulls(events: Iterable[Object]) -> dict[tuple[str, str], tuple[ImagePull, ...]]:
    """Images that were pulled, by namespace and pod, from the events `Pulling` and `Pulled`."""
    begun: dict[tuple[str, str], datetime] = {}
    found: dict[tuple[str, str], list[ImagePull]] = {}
    for event in sorted(events, key=lambda event: str(_stamp(event) or "")):
        about, at = _of(event, "involvedObject"), _stamp(event)
        key = (str(about.get("namespace", "")), str(about.get("name", "")))
        if at is None:
            continue
        if event.get("reason") == "Pulling":
            begun[key] = at
        elif event.get("reason") == "Pulled":
            was_there = "already present" in str(event.get("message", ""))
            start = at if was_there else begun.pop(key, at)
            found.setdefault(key, []).append(ImagePull(start, at, was_there))
    return {key: tuple(pulls) for key, pulls in found.items()}


def _stamp(event: Object) -> datetime | None:
    return _time(event.get("eventTime") or event.get("firstTimestamp"))


def _time(text: object) -> datetime | None:
    if not isinstance(text, str):
        return None
    try:
        return moment(text)
    except ValueError:
        return None


def _of(thing: Object, name: str) -> Object:
    found = thing.get(name)
    return found if isinstance(found, Mapping) else {}
