"""cAdvisor, alone or inside the kubelet: what each container uses.

The page shows every control group: the whole machine, slices, pods, the pause container and the
containers. Only containers are read, and only pods for the network, which the containers of a pod
share. Under Kubernetes `container`, `pod` and `namespace` say whose it is (a pause container has an
empty `container`, or `POD`); under Docker only `name` does.
"""

from __future__ import annotations

from dataclasses import replace

from collector.engines.adapter import Absent, Engine, Rule

_POD = {"pod": "pod", "namespace": "namespace"}
_CONTAINER = {"container": "container", **_POD}
_LIMIT = "No row without a limit, which is shown as 0 or as nearly 2**63."
_PRESSURE = "Needs PSI in the kernel, in cAdvisor (2024) and in the kubelet (feature KubeletPSI)."


def _rows(family: str, signal: str, note: str = "") -> tuple[Rule, Rule]:
    """A container of a pod; and one of Docker's, which has a name and no pod."""
    pods = Rule(
        family,
        signal,
        labels=_CONTAINER,
        unless=(("container", ""), ("container", "POD")),
        note=note,
    )
    docker = Rule(
        family,
        signal,
        labels={"name": "container"},
        where=(("container", ""), ("pod", "")),
        unless=(("name", ""),),
        note=note,
    )
    return pods, docker


CADVISOR = Engine(
    name="cadvisor",
    prefixes=("container_",),
    rules=(
        *_rows(
            "cpu_usage_seconds_total",
            "container_cpu_seconds_total",
            "One series for each processor in old releases: added up.",
        ),
        *_rows("cpu_cfs_throttled_seconds_total", "container_cpu_throttled_seconds_total"),
        *_rows("cpu_cfs_throttled_periods_total", "container_cpu_throttled_periods_total"),
        *_rows("cpu_cfs_periods_total", "container_cpu_periods_total"),
        *_rows("memory_usage_bytes", "container_memory_used_bytes"),
        *_rows("memory_working_set_bytes", "container_memory_working_set_bytes"),
        *_rows("memory_rss", "container_memory_resident_bytes"),
        *(
            replace(rule, zero_is_unknown=True)
            for rule in _rows("spec_memory_limit_bytes", "container_memory_limit_bytes", _LIMIT)
        ),
        *_rows("memory_failcnt", "container_memory_limit_hits_total"),
        *_rows("oom_events_total", "container_oom_kills_total"),
        *(
            rule
            for resource in ("cpu", "memory", "io")
            for depth in ("waiting", "stalled")
            for rule in _rows(
                f"pressure_{resource}_{depth}_seconds_total",
                f"container_pressure_{resource}_{depth}_seconds_total",
                _PRESSURE,
            )
        ),
        *_rows("fs_reads_bytes_total", "container_disk_read_bytes_total"),
        *_rows("fs_writes_bytes_total", "container_disk_written_bytes_total"),
        *(
            replace(rule, across="max")
            for rule in _rows("start_time_seconds", "container_start_unix_seconds")
        ),
        *(
            Rule(
                f"network_{direction}_bytes_total",
                signal,
                labels=_POD,
                unless=(("pod", ""), ("interface", "lo")),
                note="Pods on the machine's own network show the machine's traffic.",
            )
            for direction, signal in (
                ("receive", "pod_network_received_bytes_total"),
                ("transmit", "pod_network_sent_bytes_total"),
            )
        ),
    ),
    absent=(
        Absent(
            (
                "container_restarts_total",
                "container_waiting",
                "container_ended",
                "container_last_end",
                "container_last_exit_code",
                "container_last_end_unix_seconds",
            ),
            "kube-state-metrics tells it",
        ),
    ),
    ignored={
        "cpu_load_average_10s": "needs a flag and is 0 without it",
        "accelerator_duty_cycle": "gone from cAdvisor; the GPU exporters tell more",
    },
    role="exporter",
    selective=True,
    reference="6a0c4f25 (2026)",
    page="/metrics/cadvisor of a kubelet, port 10250, or /metrics of its own",
)
