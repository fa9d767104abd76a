"""The signals of GPUs, nodes, containers, clusters and gateways; part of `store.signals.SIGNALS`.

Names begin with what they are about, units are SI units. What a gateway sees of a request has
names of its own (`gateway_…`): the engine behind it tells about the same request, and adding the
two up would count it twice.

Labels: `node` is the machine's host name (absent where the page is the machine's own); `gpu` a
card's number on its machine and `gpu_uuid` its identity; `gpu_instance` a slice of a card (NVIDIA
MIG, AMD partition). Upper bounds are far above any hardware: they keep out the numbers by which
drivers say "not measured", such as 2**31-16, 2**47 and 2**63-16.
"""

from __future__ import annotations

from store.signal import Kind, Signal

_CARD = ("node", "gpu", "gpu_uuid", "gpu_instance")
_HELD = (*_CARD, "namespace", "pod", "container")
_NODE = ("node",)
_CONTAINER = ("node", "namespace", "pod", "container")
_POD = ("node", "namespace", "pod")
_DEPLOYMENT = ("namespace", "deployment")
_TENANT = ("tenant",)
_POOL = ("pool",)

_MOST = {
    "ratio": 1.0,
    "bytes": 2.0**50,
    "W": 1e5,
    "degC": 250.0,
    "Hz": 1e11,
    "J": 1e12,
    "code": 65535.0,
    "bytes/s": 1e13,
    "s": 1e11,
}
_MOST_COUNTED = 1e14  # below 2**47
_MOST_MOVED_BYTES = 1e18
_Row = tuple[str, str, str] | tuple[str, str, str, tuple[str, ...]]


def _about(labels: tuple[str, ...], *rows: _Row) -> tuple[Signal, ...]:
    """Gauges and, by the ending of their names, counters: name, unit, meaning, further labels."""
    return tuple(_signal(labels, *row) for row in rows)


def _signal(
    labels: tuple[str, ...], name: str, unit: str, meaning: str, further: tuple[str, ...] = ()
) -> Signal:
    kind: Kind = "counter" if name.endswith("_total") else "gauge"
    high = _MOST.get(unit, _MOST_COUNTED)
    if kind == "counter" and unit == "bytes":
        high = _MOST_MOVED_BYTES
    low = -100.0 if unit == "degC" else 0.0
    return Signal(name, kind, unit, meaning, low, high, (*labels, *further))


def _spread(labels: tuple[str, ...], *rows: tuple[str, str, str]) -> tuple[Signal, ...]:
    """Histograms: name, unit of what is observed, meaning."""
    return tuple(
        Signal(name, "histogram", unit, meaning, labels=labels) for name, unit, meaning in rows
    )


_GPU = _about(
    _CARD,
    ("gpu_present", "gpus", "1 for each card, with what it is.", ("gpu_model", "driver_version")),
    ("gpu_busy_ratio", "ratio", "Share of time in which at least one kernel ran."),
    (
        "gpu_engine_active_ratio",
        "ratio",
        "Share of time in which the compute engine was active; the one that holds for slices too.",
    ),
    (
        "gpu_sm_active_ratio",
        "ratio",
        "Share of cycles in which a multiprocessor had work, mean of all multiprocessors.",
    ),
    ("gpu_sm_occupancy_ratio", "ratio", "Warps on the multiprocessors as a share of what fits."),
    ("gpu_tensor_active_ratio", "ratio", "Share of cycles in which the tensor units worked."),
    ("gpu_memory_active_ratio", "ratio", "Share of cycles in which device memory moved data."),
    ("gpu_memory_busy_ratio", "ratio", "Share of time in which device memory was read or written."),
    ("gpu_memory_used_bytes", "bytes", "Device memory in use."),
    ("gpu_memory_free_bytes", "bytes", "Device memory that can be had."),
    ("gpu_memory_reserved_bytes", "bytes", "Device memory that the driver keeps for itself."),
    ("gpu_memory_allocatable_bytes", "bytes", "Device memory that programs can have, used or not."),
    ("gpu_memory_capacity_bytes", "bytes", "Device memory in all."),
    ("gpu_power_watts", "W", "Power drawn by the card."),
    ("gpu_power_limit_watts", "W", "Power that the card is held to."),
    ("gpu_energy_joules_total", "J", "Energy drawn since the driver was loaded."),
    ("gpu_temperature_celsius", "degC", "Temperature of the chip; its hottest spot on AMD."),
    ("gpu_memory_temperature_celsius", "degC", "Temperature of the device memory."),
    ("gpu_sm_clock_hertz", "Hz", "Clock of the multiprocessors."),
    ("gpu_memory_clock_hertz", "Hz", "Clock of the device memory."),
    # What goes wrong.
    (
        "gpu_xid_last_code",
        "code",
        "The last XID error of the driver; it never goes back to 0, only a change is an event.",
    ),
    (
        "gpu_xid_recent_events",
        "events",
        "XID errors in the exporter's time window, by code.",
        ("xid",),
    ),
    ("gpu_xid_events_total", "events", "XID errors seen since the reader started.", ("xid",)),
    ("gpu_ecc_corrected_total", "errors", "Memory errors that were corrected."),
    ("gpu_ecc_uncorrected_total", "errors", "Memory errors that were not corrected."),
    ("gpu_remapped_rows_corrected_total", "rows", "Memory rows replaced after corrected errors."),
    (
        "gpu_remapped_rows_uncorrected_total",
        "rows",
        "Memory rows replaced after errors that were not corrected.",
    ),
    ("gpu_row_remap_failed_ratio", "ratio", "1 once a bad memory row could not be replaced."),
    (
        "gpu_retired_pages_total",
        "pages",
        "Memory pages taken out of use after errors of each kind.",
        ("reason",),
    ),
    ("gpu_retired_pages_pending", "pages", "Memory pages that leave use at the next reset."),
    ("gpu_clock_limit_bits", "bits", "Why clocks are held down, as the driver's bit mask."),
    (
        "gpu_throttled_seconds_total",
        "s",
        "Time with clocks held down, by cause; `idle` is want of work and no fault.",
        ("reason",),
    ),
    ("gpu_throttled_ratio", "ratio", "Share of recent time with clocks held down.", ("reason",)),
    ("gpu_healthy_ratio", "ratio", "1 while the exporter finds no fault, else 0."),
    # Links.
    ("gpu_pcie_sent_bytes_per_second", "bytes/s", "Data that the card sends over PCIe."),
    ("gpu_pcie_received_bytes_per_second", "bytes/s", "Data that the card receives over PCIe."),
    ("gpu_pcie_bytes_per_second", "bytes/s", "Data over PCIe, both ways, where only that is told."),
    ("gpu_pcie_sent_bytes_total", "bytes", "Data that the card sent over PCIe."),
    ("gpu_pcie_received_bytes_total", "bytes", "Data that the card received over PCIe."),
    ("gpu_pcie_replays_total", "replays", "PCIe packets sent again: a link that is not clean."),
    ("gpu_link_sent_bytes_per_second", "bytes/s", "Data that the card sends over NVLink or XGMI."),
    (
        "gpu_link_received_bytes_per_second",
        "bytes/s",
        "Data that the card receives over NVLink or XGMI.",
    ),
    ("gpu_link_sent_bytes_total", "bytes", "Data that the card sent over NVLink or XGMI."),
    ("gpu_link_received_bytes_total", "bytes", "Data that the card received over NVLink or XGMI."),
    ("gpu_link_errors_total", "errors", "Errors and retries on NVLink, by kind.", ("reason",)),
)
_GPU_HOLDERS = _about(
    _HELD,
    ("gpu_held", "gpus", "1 for each card or slice that a container holds."),
    (
        "gpu_process_memory_bytes",
        "bytes",
        "Device memory of one process.",
        ("pid", "process"),
    ),
)
_MACHINE = _about(
    _NODE,
    ("node_present", "nodes", "1, with the machine's name."),
    ("node_cpu_seconds_total", "s", "Processor time by what it was spent on.", ("mode",)),
    ("node_cpus", "cpus", "Logical processors of the machine."),
    ("node_load_1m", "processes", "Processes that ran or waited, mean of the last minute."),
    ("node_processes_running", "processes", "Processes that run or could run."),
    ("node_processes_blocked", "processes", "Processes waiting for a disk."),
    ("node_context_switches_total", "switches", "Times a processor went to another task."),
    ("node_interrupts_total", "interrupts", "Interrupts that were served."),
    ("node_forks_total", "processes", "Processes and threads that were started."),
    ("node_memory_capacity_bytes", "bytes", "Main memory in all."),
    ("node_memory_available_bytes", "bytes", "Main memory that can be had without swapping."),
    ("node_memory_cached_bytes", "bytes", "Main memory that holds file contents."),
    ("node_swap_capacity_bytes", "bytes", "Swap space in all."),
    ("node_swap_free_bytes", "bytes", "Swap space that is free."),
    ("node_page_faults_total", "faults", "Memory accesses that the kernel had to help with."),
    ("node_major_page_faults_total", "faults", "Memory accesses that had to wait for a disk."),
    ("node_oom_kills_total", "kills", "Processes killed because memory ran out."),
    ("node_memory_errors_corrected_total", "errors", "Main memory errors that were corrected."),
    ("node_memory_errors_uncorrected_total", "errors", "Main memory errors left uncorrected."),
    ("node_pressure_cpu_waiting_seconds_total", "s", "Time in which some task waited for a CPU."),
    ("node_pressure_memory_waiting_seconds_total", "s", "Time in which some task lacked memory."),
    ("node_pressure_memory_stalled_seconds_total", "s", "Time in which all tasks lacked memory."),
    ("node_pressure_io_waiting_seconds_total", "s", "Time in which some task waited for a disk."),
    ("node_pressure_io_stalled_seconds_total", "s", "Time in which all tasks waited for a disk."),
    ("node_pressure_irq_stalled_seconds_total", "s", "Time that interrupts took from all tasks."),
    ("node_network_received_bytes_total", "bytes", "Data received.", ("device",)),
    ("node_network_sent_bytes_total", "bytes", "Data sent.", ("device",)),
    ("node_network_receive_errors_total", "packets", "Packets received broken.", ("device",)),
    ("node_network_send_errors_total", "packets", "Packets that failed to leave.", ("device",)),
    ("node_network_receive_drops_total", "packets", "Packets dropped on arrival.", ("device",)),
    ("node_network_send_drops_total", "packets", "Packets dropped before leaving.", ("device",)),
    ("node_tcp_retransmits_total", "segments", "TCP segments sent again."),
    ("node_infiniband_received_bytes_total", "bytes", "InfiniBand data in.", ("device", "port")),
    ("node_infiniband_sent_bytes_total", "bytes", "InfiniBand data out.", ("device", "port")),
    ("node_infiniband_link_downs_total", "events", "Links that went down.", ("device", "port")),
    ("node_infiniband_receive_errors_total", "packets", "Broken on arrival.", ("device", "port")),
    ("node_disk_read_bytes_total", "bytes", "Data read from a disk.", ("device",)),
    ("node_disk_written_bytes_total", "bytes", "Data written to a disk.", ("device",)),
    ("node_disk_busy_seconds_total", "s", "Time in which a disk had work.", ("device",)),
    ("node_disk_read_seconds_total", "s", "Time that reads took, added up.", ("device",)),
    ("node_filesystem_capacity_bytes", "bytes", "Size of a file system.", ("mount",)),
    ("node_filesystem_available_bytes", "bytes", "Room left on a file system.", ("mount",)),
    ("node_boot_unix_seconds", "s", "When the machine started, seconds since 1970 UTC."),
)
_CLOCK = Signal(
    "node_clock_offset_seconds",
    "gauge",
    "s",
    "How far the machine's clock is from its time source; ahead is positive.",
    low=-1e9,
    high=1e9,
    labels=_NODE,
)
_CONTAINERS = _about(
    _CONTAINER,
    ("container_cpu_seconds_total", "s", "Processor time of the container."),
    ("container_cpu_throttled_seconds_total", "s", "Time in which its CPU limit held it back."),
    ("container_cpu_throttled_periods_total", "periods", "Periods in which the CPU limit was hit."),
    ("container_cpu_periods_total", "periods", "Periods in which the CPU limit was counted."),
    ("container_memory_used_bytes", "bytes", "Memory of the container, cached files included."),
    ("container_memory_working_set_bytes", "bytes", "Memory that cannot be taken back easily."),
    ("container_memory_resident_bytes", "bytes", "Memory of its processes without files."),
    ("container_memory_limit_bytes", "bytes", "Most memory it may use; no row without a limit."),
    ("container_memory_limit_hits_total", "events", "How often it met its memory limit."),
    ("container_oom_kills_total", "kills", "Processes killed because its memory ran out."),
    ("container_pressure_cpu_waiting_seconds_total", "s", "Time some task waited for a CPU."),
    ("container_pressure_cpu_stalled_seconds_total", "s", "Time all tasks waited for a CPU."),
    ("container_pressure_memory_waiting_seconds_total", "s", "Time some task lacked memory."),
    ("container_pressure_memory_stalled_seconds_total", "s", "Time all tasks lacked memory."),
    ("container_pressure_io_waiting_seconds_total", "s", "Time some task waited for a disk."),
    ("container_pressure_io_stalled_seconds_total", "s", "Time all tasks waited for a disk."),
    ("container_disk_read_bytes_total", "bytes", "Data read from disks."),
    ("container_disk_written_bytes_total", "bytes", "Data written to disks."),
    ("container_start_unix_seconds", "s", "When it started, seconds since 1970 UTC."),
    ("container_restarts_total", "restarts", "How often it was started again."),
    ("container_waiting", "containers", "1 while it waits to run, with the reason.", ("reason",)),
    ("container_ended", "containers", "1 while it is ended, with the reason.", ("reason",)),
    ("container_last_end", "containers", "1, with the reason of its last end.", ("reason",)),
    ("container_last_exit_code", "code", "Exit code of its last end."),
    ("container_last_end_unix_seconds", "s", "When it last ended, seconds since 1970 UTC."),
)
_PODS = _about(
    _POD,
    ("pod_network_received_bytes_total", "bytes", "Data received by the pod."),
    ("pod_network_sent_bytes_total", "bytes", "Data sent by the pod."),
    ("pod_placed", "pods", "1 for each pod, with its node."),
    ("pod_created_unix_seconds", "s", "When the pod was asked for."),
    ("pod_scheduled_unix_seconds", "s", "When the pod got its node."),
    ("pod_started_unix_seconds", "s", "When the node took the pod up."),
    ("pod_initialised_unix_seconds", "s", "When its init containers were done."),
    ("pod_containers_ready_unix_seconds", "s", "When all its containers were ready."),
    ("pod_ready_unix_seconds", "s", "When the pod was ready for traffic."),
    ("pod_deleted_unix_seconds", "s", "When its end was asked for."),
    ("pod_ready_ratio", "ratio", "1 while the pod is ready, 0 while it is not."),
    ("pod_phase", "pods", "1 for the phase that the pod is in.", ("phase",)),
    ("pod_gpus_requested", "gpus", "Cards that the pod asks for.", ("container",)),
)
_CLUSTER = (
    *_about(
        _DEPLOYMENT,
        ("deployment_replicas_wanted", "replicas", "Replicas asked for."),
        ("deployment_replicas", "replicas", "Replicas that exist, ready or not."),
        ("deployment_replicas_ready", "replicas", "Replicas that are ready."),
        ("deployment_replicas_available", "replicas", "Replicas ready for long enough."),
        ("deployment_replicas_unavailable", "replicas", "Replicas that are missing."),
        ("deployment_replicas_updated", "replicas", "Replicas of the newest template."),
        ("deployment_replicas_terminating", "replicas", "Replicas on their way out."),
    ),
    *_about(
        ("namespace", "statefulset"),
        ("statefulset_replicas_wanted", "replicas", "Replicas asked for."),
        ("statefulset_replicas_ready", "replicas", "Replicas that are ready."),
    ),
    *_about(
        ("namespace", "autoscaler"),
        ("autoscaler_replicas_wanted", "replicas", "Replicas that the autoscaler wants."),
        ("autoscaler_replicas_most", "replicas", "Most replicas that it may ask for."),
        ("autoscaler_replicas_least", "replicas", "Fewest replicas that it may ask for."),
    ),
    *_about(
        _NODE,
        ("node_ready_ratio", "ratio", "1 while the node is ready for pods, else 0."),
        ("node_cordoned_ratio", "ratio", "1 while the node takes no new pods, else 0."),
        ("node_gpus_allocatable", "gpus", "Cards of the node that pods can have."),
    ),
)
_GATEWAYS = (
    *_about(
        _TENANT,
        ("gateway_requests_running", "requests", "Requests inside the gateway or behind it."),
        ("gateway_requests_waiting", "requests", "Requests that wait in the gateway itself."),
        (
            "gateway_requests_before_first_token",
            "requests",
            "Requests without a first token yet: queue and prefill together.",
        ),
        ("gateway_requests_started_total", "requests", "Requests that arrived."),
        ("gateway_requests_total", "requests", "Requests by how they ended.", ("status",)),
        ("gateway_requests_failed_total", "requests", "Requests that failed.", ("reason",)),
        ("gateway_requests_refused_total", "requests", "Requests turned away.", ("reason",)),
        ("gateway_requests_cancelled_total", "requests", "Requests that the client gave up."),
        ("gateway_requests_moved_total", "requests", "Requests moved to another worker."),
        ("gateway_fallbacks_total", "requests", "Requests answered by a fallback model."),
        ("gateway_input_tokens_total", "tokens", "Input tokens that passed."),
        ("gateway_cached_tokens_total", "tokens", "Input tokens that a cache supplied."),
        ("gateway_output_tokens_total", "tokens", "Output tokens that passed."),
        ("gateway_spend_usd_total", "USD", "What the requests cost by the gateway's price list."),
        ("gateway_model_ready_ratio", "ratio", "1 while a worker can take requests of the model."),
        ("gateway_slo_violations_total", "requests", "Requests over their limit.", ("reason",)),
        ("gateway_upstream_state", "code", "0 healthy, 1 partly out, 2 out.", ("upstream",)),
    ),
    *_spread(
        _TENANT,
        ("gateway_ttft_seconds", "s", "From arrival at the gateway to the first token."),
        ("gateway_itl_seconds", "s", "Between two outputs, as the gateway sees them."),
        ("gateway_tpot_seconds", "s", "Mean time per output token after the first."),
        ("gateway_e2e_seconds", "s", "From arrival at the gateway to the last byte."),
        ("gateway_queue_seconds", "s", "Waiting in the gateway."),
        ("gateway_upstream_seconds", "s", "The call to the engine behind it."),
        ("gateway_overhead_seconds", "s", "What the gateway itself adds."),
        ("gateway_input_tokens", "tokens", "Input length of requests."),
        ("gateway_output_tokens", "tokens", "Output length of requests."),
        ("gateway_cached_tokens", "tokens", "Input tokens that a cache supplied, per request."),
        ("gateway_kv_hit_ratio", "ratio", "Share of the input found in the chosen worker's cache."),
    ),
    *_about(
        _POOL,
        ("pool_requests_running_mean", "requests", "Running requests, mean of the endpoints."),
        ("pool_requests_waiting_mean", "requests", "Waiting requests, mean of the endpoints."),
        ("pool_kv_cache_usage_mean_ratio", "ratio", "KV cache in use, mean of the endpoints."),
        ("pool_requests_running_spread", "requests", "Standard deviation over the endpoints."),
        ("pool_requests_waiting_spread", "requests", "Standard deviation over the endpoints."),
        ("pool_kv_cache_usage_spread_ratio", "ratio", "Standard deviation over the endpoints."),
        ("pool_endpoints_ready", "endpoints", "Endpoints that can take requests."),
        ("pool_saturation", "1", "Load against the gating point; above 1 requests are held.", ()),
        ("pool_stale_endpoints", "endpoints", "Endpoints whose metrics are missing or old."),
        ("pool_fairness_jain_ratio", "ratio", "Jain's index of mean waits; 1 is even."),
    ),
    *_spread(_POOL, ("gateway_scheduling_seconds", "s", "Choosing an endpoint.")),
)

DEVICE_SIGNALS = (
    *_GPU,
    *_GPU_HOLDERS,
    *_MACHINE,
    _CLOCK,
    *_CONTAINERS,
    *_PODS,
    *_CLUSTER,
    *_GATEWAYS,
)
