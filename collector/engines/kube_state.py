"""kube-state-metrics: what Kubernetes wants, what it has, and when each pod reached which state.

Read in `docs/metrics/workload/`. The times of a pod, in order, split its cold start: created,
scheduled, started, initialised, containers ready, ready (`collector/starts/` joins them). Series of
a pod end with it. Reasons are series that are there only while they hold; older releases show 0 for
the reasons that do not.
"""

from __future__ import annotations

from collections.abc import Mapping

from collector.engines.adapter import Absent, Engine, Rule
from collector.engines.holders import also_exported

_POD = {"namespace": "namespace", "pod": "pod"}
_CONTAINER = {**_POD, "container": "container"}
_GPU_RESOURCES = ("nvidia_com_gpu", "amd_com_gpu")


def _rows(labels: Mapping[str, str], *pairs: tuple[str, str]) -> tuple[Rule, ...]:
    told = also_exported(labels)
    return tuple(Rule(family, signal, labels=told, across="max") for family, signal in pairs)


def _holds(family: str, signal: str, labels: Mapping[str, str]) -> Rule:
    """A series that is 1 while something holds."""
    told = also_exported(labels)
    return Rule(family, signal, labels=told, across="max", zero_is_unknown=True)


KUBE_STATE = Engine(
    name="kube-state-metrics",
    prefixes=("kube_",),
    rules=(
        *_rows(
            {"namespace": "namespace", "deployment": "deployment"},
            ("deployment_spec_replicas", "deployment_replicas_wanted"),
            ("deployment_status_replicas", "deployment_replicas"),
            ("deployment_status_replicas_ready", "deployment_replicas_ready"),
            ("deployment_status_replicas_available", "deployment_replicas_available"),
            ("deployment_status_replicas_unavailable", "deployment_replicas_unavailable"),
            ("deployment_status_replicas_updated", "deployment_replicas_updated"),
            ("deployment_status_terminating_replicas", "deployment_replicas_terminating"),
        ),
        *_rows(
            {"namespace": "namespace", "statefulset": "statefulset"},
            ("statefulset_replicas", "statefulset_replicas_wanted"),
            ("statefulset_status_replicas_ready", "statefulset_replicas_ready"),
        ),
        *_rows(
            {"namespace": "namespace", "horizontalpodautoscaler": "autoscaler"},
            ("horizontalpodautoscaler_status_desired_replicas", "autoscaler_replicas_wanted"),
            ("horizontalpodautoscaler_spec_max_replicas", "autoscaler_replicas_most"),
            ("horizontalpodautoscaler_spec_min_replicas", "autoscaler_replicas_least"),
        ),
        *_rows(
            _POD,
            ("pod_created", "pod_created_unix_seconds"),
            ("pod_status_scheduled_time", "pod_scheduled_unix_seconds"),
            ("pod_start_time", "pod_started_unix_seconds"),
            ("pod_status_initialized_time", "pod_initialised_unix_seconds"),
            ("pod_status_container_ready_time", "pod_containers_ready_unix_seconds"),
            ("pod_status_ready_time", "pod_ready_unix_seconds"),
            ("pod_deletion_timestamp", "pod_deleted_unix_seconds"),
        ),
        _holds("pod_info", "pod_placed", {**_POD, "node": "node"}),
        _holds("pod_status_phase", "pod_phase", {**_POD, "phase": "phase"}),
        Rule(
            "pod_status_ready",
            "pod_ready_ratio",
            labels=also_exported(_POD),
            across="max",
            where=(("condition", "true"),),
        ),
        *(
            Rule(
                "pod_container_resource_requests",
                "pod_gpus_requested",
                labels=also_exported({**_CONTAINER, "node": "node"}),
                where=(("resource", resource),),
            )
            for resource in _GPU_RESOURCES
        ),
        *_rows(
            _CONTAINER,
            ("pod_container_state_started", "container_start_unix_seconds"),
            ("pod_container_status_restarts_total", "container_restarts_total"),
            ("pod_container_status_last_terminated_exitcode", "container_last_exit_code"),
            (
                "pod_container_status_last_terminated_timestamp",
                "container_last_end_unix_seconds",
            ),
        ),
        _holds(
            "pod_container_status_waiting_reason",
            "container_waiting",
            {**_CONTAINER, "reason": "reason"},
        ),
        _holds(
            "pod_container_status_terminated_reason",
            "container_ended",
            {**_CONTAINER, "reason": "reason"},
        ),
        _holds(
            "pod_container_status_last_terminated_reason",
            "container_last_end",
            {**_CONTAINER, "reason": "reason"},
        ),
        Rule(
            "node_status_condition",
            "node_ready_ratio",
            labels=also_exported({"node": "node"}),
            across="max",
            where=(("condition", "Ready"), ("status", "true")),
        ),
        *_rows({"node": "node"}, ("node_spec_unschedulable", "node_cordoned_ratio")),
        *(
            Rule(
                "node_status_allocatable",
                "node_gpus_allocatable",
                labels=also_exported({"node": "node"}),
                where=(("resource", resource),),
            )
            for resource in _GPU_RESOURCES
        ),
    ),
    absent=(
        Absent(
            ("pod_network_received_bytes_total", "pod_network_sent_bytes_total"),
            "cAdvisor tells it",
        ),
    ),
    ignored={
        "pod_labels": "names and values of the users' choice",
        "pod_annotations": "names and values of the users' choice",
    },
    role="exporter",
    selective=True,
    reference="c92fe0c5 (2026)",
    page="port 8080, /metrics",
)
