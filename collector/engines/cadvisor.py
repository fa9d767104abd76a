"""cAdvisor, alone or inside the kubelet: what each container uses.

The page shows every control group: the whole machine, slices, pods, the pause container and the
containers. Only containers are read (they have a name), and only pods for the network, which the
containers of a pod share. Under Kubernetes `container`, `pod` and `namespace` say whose it is;
under Docker only `name` does.
"""

from __future__ import annotations

from collector.engines.adapter import Absent, Engine, Rule

_CONTAINER = {
    "name": "container",  # Docker's; under Kubernetes an id, which the next line replaces
    "container": "container",
    "pod": "pod",
    "namespace": "namespace",
}
_POD = {"pod": "pod", "namespace": "namespace"}
_NO_CONTAINER = (("container", ""), ("container", "POD"), ("name", ""), ("id", "/"))
_LIMIT = "No row without a limit, which is shown as 0 or as nearly 2**63."
_PRESSURE = "Needs PSI in the kernel, in cAdvisor (2024) and in the kubelet (feature KubeletPSI)."


def _row(family: str, signal: str, note: str = "") -> Rule:
    return Rule(family, signal, labels=_CONTAINER, unless=_NO_CONTAINER, note=note)


CADVISOR = Engine(
    name="cadvisor",
    prefixes=("container_",),
    rules=(
        _row(
            "cpu_usage_seconds_total",
            "container_cpu_seconds_total",
            "One series for each processor in old releases: added up.",
        ),
        _row("cpu_cfs_throttled_seconds_total", "container_cpu_throttled_seconds_total"),
        _row("cpu_cfs_throttled_periods_total", "container_cpu_throttled_periods_total"),
        _row("cpu_cfs_periods_total", "container_cpu_periods_total"),
        _row("memory_usage_bytes", "container_memory_used_bytes"),
        _row("memory_working_set_bytes", "container_memory_working_set_bytes"),
        _row("memory_rss", "container_memory_resident_bytes"),
        Rule(
            "spec_memory_limit_bytes",
            "container_memory_limit_bytes",
            labels=_CONTAINER,
            unless=_NO_CONTAINER,
            zero_is_unknown=True,
            note=_LIMIT,
        ),
        _row("memory_failcnt", "container_memory_limit_hits_total"),
        _row("oom_events_total", "container_oom_kills_total"),
        *(
            _row(f"pressure_{kind}_seconds_total", f"container_pressure_{kind}_seconds_total", note)
            for kind, note in (
                (f"{resource}_{depth}", _PRESSURE)
                for resource in ("cpu", "memory", "io")
                for depth in ("waiting", "stalled")
            )
        ),
        _row("fs_reads_bytes_total", "container_disk_read_bytes_total"),
        _row("fs_writes_bytes_total", "container_disk_written_bytes_total"),
        Rule(
            "start_time_seconds",
            "container_start_unix_seconds",
            labels=_CONTAINER,
            unless=_NO_CONTAINER,
            across="max",
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
