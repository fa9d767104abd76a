"""Pods and EndpointSlices of Kubernetes as targets, under the labels that Prometheus gives them.

Which of them are scraped when no rule says so:

- `prometheus.io/scrape: "true"` (annotation): the port in `prometheus.io/port`, the path and scheme
  beside it; `"false"` leaves the pod out whatever else it carries;
- `nvidia.com/metrics-enabled: "true"` (label, NVIDIA Dynamo): the system port, 9090;
- `llm-d.ai/engine-type` or `llm-d.ai/inferenceServing` (labels, llm-d): the port called `metrics`,
  `http-metrics` or `http`, else the first one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from collector.discovery.model import DiscoveredTarget

PROMETHEUS = "prometheus.io/"
DYNAMO_MARK = "nvidia.com/metrics-enabled"
DYNAMO_PORT = 9090
LLM_D_MARKS = ("llm-d.ai/engine-type", "llm-d.ai/inferenceServing", "llm-d.ai/inference-serving")
_PORT_NAMES = ("metrics", "http-metrics", "http")
_NO_LABEL = re.compile(r"[^a-zA-Z0-9_]")
_OVER = frozenset(("Succeeded", "Failed"))

Object = Mapping[str, Any]


def pod_targets(pod: Object, *, every: bool = False) -> tuple[DiscoveredTarget, ...]:
    """The targets of one pod.

    Args:
        pod: as the API gives it (core/v1).
        every: one target for each declared port of each pod, as Prometheus does; else only those
            that are marked for scraping.
    """
    status, spec = _of(pod, "status"), _of(pod, "spec")
    address = status.get("podIP")
    if not address or status.get("phase") in _OVER:
        return ()
    told = {**_pod_labels(pod, spec, status), **_about_object(pod, "pod")}
    ports = [
        (port, {"__meta_kubernetes_pod_container_name": str(container.get("name", ""))})
        for container in _rows(spec.get("containers"))
        for port in _rows(container.get("ports"))
        if port.get("protocol", "TCP") == "TCP"
    ]
    meta = _of(pod, "metadata")
    return _marked(meta, address, told, [_port(*row) for row in ports], every=every)


def slice_targets(endpoints: Object, *, every: bool = False) -> tuple[DiscoveredTarget, ...]:
    """The targets of one EndpointSlice (discovery.k8s.io/v1); endpoints not ready are kept out."""
    meta = _of(endpoints, "metadata")
    told = {
        "__meta_kubernetes_namespace": str(meta.get("namespace", "")),
        "__meta_kubernetes_endpointslice_name": str(meta.get("name", "")),
        "__meta_kubernetes_endpointslice_address_type": str(endpoints.get("addressType", "")),
        **_about_object(endpoints, "endpointslice"),
    }
    service = _of(meta, "labels").get("kubernetes.io/service-name")
    if service:
        told["__meta_kubernetes_service_name"] = str(service)
    ports = [_port(port, {}, "port") for port in _rows(endpoints.get("ports"))]
    found: list[DiscoveredTarget] = []
    for endpoint in _rows(endpoints.get("endpoints")):
        if _of(endpoint, "conditions").get("ready") is False:
            continue
        about = {**told, **_endpoint_labels(endpoint)}
        for address in endpoint.get("addresses") or ():
            found += _marked(meta, str(address), about, ports, every=every)
    return tuple(found)


def _endpoint_labels(endpoint: Object) -> dict[str, str]:
    told = {}
    if endpoint.get("nodeName"):
        told["__meta_kubernetes_pod_node_name"] = str(endpoint["nodeName"])
    ref = _of(endpoint, "targetRef")
    if ref.get("kind") == "Pod":
        told["__meta_kubernetes_pod_name"] = str(ref.get("name", ""))
    return told


def _pod_labels(pod: Object, spec: Object, status: Object) -> dict[str, str]:
    meta = _of(pod, "metadata")
    told = {
        "__meta_kubernetes_namespace": str(meta.get("namespace", "")),
        "__meta_kubernetes_pod_name": str(meta.get("name", "")),
        "__meta_kubernetes_pod_uid": str(meta.get("uid", "")),
        "__meta_kubernetes_pod_ip": str(status.get("podIP", "")),
        "__meta_kubernetes_pod_phase": str(status.get("phase", "")),
        "__meta_kubernetes_pod_ready": _ready(status),
        "__meta_kubernetes_pod_node_name": str(spec.get("nodeName", "")),
        "__meta_kubernetes_pod_host_ip": str(status.get("hostIP", "")),
    }
    for owner in _rows(meta.get("ownerReferences")):
        if owner.get("controller"):
            told["__meta_kubernetes_pod_controller_kind"] = str(owner.get("kind", ""))
            told["__meta_kubernetes_pod_controller_name"] = str(owner.get("name", ""))
    return told


def _ready(status: Object) -> str:
    for condition in _rows(status.get("conditions")):
        if condition.get("type") == "Ready":
            return str(condition.get("status", "")).lower()
    return "unknown"


def _about_object(found: Object, role: str) -> dict[str, str]:
    meta = _of(found, "metadata")
    return {
        f"__meta_kubernetes_{role}_{kind}_{_NO_LABEL.sub('_', name)}": str(value)
        for kind, told in (("label", "labels"), ("annotation", "annotations"))
        for name, value in _of(meta, told).items()
    }


_Port = tuple[int, str, Mapping[str, str]]  # number, name, labels


def _port(port: Object, about: Mapping[str, str], role: str = "pod_container_port") -> _Port:
    name, number = (
        str(port.get("name") or ""),
        int(port.get("containerPort") or port.get("port", 0)),
    )
    told = {
        **about,
        f"__meta_kubernetes_{role}_name": name,
        f"__meta_kubernetes_{role}_number": str(number),
    }
    return number, name, told


def _marked(
    meta: Object, address: str, told: Mapping[str, str], ports: Sequence[_Port], *, every: bool
) -> tuple[DiscoveredTarget, ...]:
    """One target for each port that the marks choose; for each port at all with `every`."""
    host = f"[{address}]" if ":" in address else address
    notes = {
        name.removeprefix(PROMETHEUS): str(value)
        for name, value in _of(meta, "annotations").items()
        if name.startswith(PROMETHEUS)
    }
    marks = {"__scheme__": notes.get("scheme", ""), "__metrics_path__": notes.get("path", "")}
    about = {**told, **{name: value for name, value in marks.items() if value}}
    chosen = ports if every else _chosen(notes, _of(meta, "labels"), ports)
    return tuple(
        DiscoveredTarget(f"{host}:{number}" if number else host, {**about, **more})
        for number, _, more in chosen
    )


def _chosen(
    notes: Mapping[str, str], labels: Mapping[str, Any], ports: Sequence[_Port]
) -> Sequence[_Port]:
    scrape = notes.get("scrape", "").lower()
    if scrape == "false":
        return ()
    if scrape == "true":
        told = notes.get("port", "")
        return (_declared(int(told), ports),) if told.isdecimal() else _best(ports)
    if str(labels.get(DYNAMO_MARK, "")).lower() == "true":
        return (_declared(DYNAMO_PORT, ports),)
    if any(labels.get(mark) for mark in LLM_D_MARKS):
        return _best(ports)
    return ()


def _declared(number: int, ports: Iterable[_Port]) -> _Port:
    return next((port for port in ports if port[0] == number), (number, "", {}))


def _best(ports: Sequence[_Port]) -> Sequence[_Port]:
    for name in _PORT_NAMES:
        for port in ports:
            if port[1] == name:
                return (port,)
    return ports[:1]


def _of(told: Object, name: str) -> Mapping[str, Any]:
    """A part of an object that is another object; empty when it is not there, or null."""
    part = told.get(name)
    return part if isinstance(part, Mapping) else {}


def _rows(told: Any) -> list[Mapping[str, Any]]:
    return [row for row in told or () if isinstance(row, Mapping)]
