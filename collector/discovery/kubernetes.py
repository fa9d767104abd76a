"""Targets from a Kubernetes cluster, asked through the official client (extra `kubernetes`).

The client is large, so it is imported when the first question is asked. It works in a thread: it
knows no other way.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from collector.discovery.kube_objects import pod_targets, slice_targets
from collector.discovery.model import DiscoveredTarget
from store.errors import ConfigError

Role = Literal["pod", "endpointslice"]

_PAGE_OBJECTS = 500
_TIMEOUT_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class KubernetesPlace:
    """Where and for what to ask.

    Args:
        role: `pod` or `endpointslice`.
        namespace: of the objects; empty = all that we may see.
        label_selector: as for kubectl, such as `app=vllm`.
        every: every declared port is a target; else only what is marked for scraping.
        kubeconfig: file with address and credentials; empty = those of the pod we run in, else
            the usual `~/.kube/config`.
        context: entry of the kubeconfig; empty = its current one.
    """

    role: Role = "pod"
    namespace: str = ""
    label_selector: str = ""
    every: bool = False
    kubeconfig: str = ""
    context: str = ""


class KubernetesDiscovery:
    """Pods or EndpointSlices of a cluster; an API server that does not answer keeps the last list.

    Args:
        place: where and for what to ask.
        refresh_seconds: how often to ask.
    """

    def __init__(self, place: KubernetesPlace, refresh_seconds: float = 30.0) -> None:
        self.refresh_seconds = refresh_seconds
        self.problem: str | None = None
        self.place = place
        self._client: Any = None
        self._last: tuple[DiscoveredTarget, ...] = ()

    async def targets(self) -> tuple[DiscoveredTarget, ...]:
        """What is there now, or the last list."""
        try:
            self._last = await asyncio.to_thread(self._list)
            self.problem = None
        except ConfigError as error:
            self.problem = f"{error.message} ({error.hint})"
        except Exception as error:  # noqa: BLE001 - the client raises what urllib3, ssl and yaml do
            self.problem = f"Kubernetes: {_one_line(error)}"
        return self._last

    async def aclose(self) -> None:
        """Close the connections; safe twice."""
        client, self._client = self._client, None
        if client is not None:
            await asyncio.to_thread(client.close)

    def _list(self) -> tuple[DiscoveredTarget, ...]:
        if self._client is None:
            self._client = connect(self.place)
        read = pod_targets if self.place.role == "pod" else slice_targets
        return tuple(
            target
            for found in every_object(_question(self._client, self.place))
            for target in read(found, every=self.place.every)
        )


def connect(place: KubernetesPlace) -> Any:
    """The official client, for the cluster that a place names; whoever gets it closes it.

    Raises:
        ConfigError: it is not installed, or no cluster is configured.
    """
    try:
        from kubernetes import client
        from kubernetes import config as untyped
    except ImportError:
        raise ConfigError(
            "the Kubernetes client is not installed", hint="pip install 'servescope[kubernetes]'"
        ) from None
    config: Any = untyped
    settings = client.Configuration()
    try:
        if place.kubeconfig:
            config.load_kube_config(place.kubeconfig, place.context or None, settings)
        else:
            config.load_config(context=place.context or None, client_configuration=settings)
    except config.ConfigException as error:
        raise ConfigError(f"Kubernetes: {_one_line(error)}", hint="set kubeconfig") from None
    settings.retries = False
    return client.ApiClient(settings)


def _question(client: Any, place: KubernetesPlace) -> Callable[[str | None], Any]:
    """A function that asks for the page behind a token and gives the decoded answer."""
    from kubernetes import client as api

    core, slices = api.CoreV1Api(client), api.DiscoveryV1Api(client)
    methods: dict[Role, tuple[Any, Any]] = {
        "pod": (core.list_pod_for_all_namespaces, core.list_namespaced_pod),
        "endpointslice": (
            slices.list_endpoint_slice_for_all_namespaces,
            slices.list_namespaced_endpoint_slice,
        ),
    }
    everywhere, there = methods[place.role]
    method, names = (there, (place.namespace,)) if place.namespace else (everywhere, ())

    def ask(token: str | None) -> Any:
        more = {"label_selector": place.label_selector} if place.label_selector else {}
        if token:
            more["_continue"] = token
        answer = method(
            *names,
            limit=_PAGE_OBJECTS,
            _request_timeout=_TIMEOUT_SECONDS,
            # The client's own objects cost ten times what the JSON itself does.
            _preload_content=False,
            **more,
        )
        return json.loads(answer.data)

    return ask


def every_object(ask: Callable[[str | None], Any]) -> Iterator[Any]:
    """The objects of all pages.

    Args:
        ask: gives the decoded answer behind a continue token, of the first page for None.
    """
    token: str | None = None
    while True:
        answer = ask(token)
        yield from answer.get("items") or ()
        token = (answer.get("metadata") or {}).get("continue")
        if not token:
            return


def _one_line(error: BaseException) -> str:
    status, reason = getattr(error, "status", None), getattr(error, "reason", None)
    if status:
        return f"HTTP {status} {reason}"
    return (" ".join(str(error).split()) or type(error).__name__)[:200]
