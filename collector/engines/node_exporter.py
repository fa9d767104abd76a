"""Prometheus' node_exporter: the machine under the engines.

Only what tells an operator of GPU machines why an engine is slow: processor, memory, pressure,
network, InfiniBand, disks. Pressure counters need Linux 4.20 with PSI switched on; their rate is
the share of time that tasks waited ("some" is waiting, "full" is stalled).
"""

from __future__ import annotations

from collections.abc import Mapping

from collector.engines.adapter import Engine, Rule

_DEVICE = {"device": "device"}
_PORT = {"device": "device", "port": "port"}
_MOUNT = {"mountpoint": "mount"}
# Ends of containers' own networks: what they carry passes a real device too, or leaves no machine.
_INNER_NETWORKS = tuple(
    ("device", name)
    for name in (
        *("lo", "veth*", "cali*", "cni*", "lxc*", "docker*", "br-*", "virbr*"),
        *("flannel*", "cilium*", "vxlan*", "nodelocaldns", "kube-*", "tunl*", "dummy*"),
    )
)
# Layers over other devices, and devices in memory.
_INNER_DISKS = tuple(("device", name) for name in ("loop*", "ram*", "dm-*", "zram*", "sr*"))
_INNER_FILES = tuple(
    ("fstype", name)
    for name in ("tmpfs", "overlay", "squashfs", "ramfs", "devtmpfs", "fuse.lxcfs", "nsfs")
)


def _rows(
    labels: Mapping[str, str], unless: tuple[tuple[str, str], ...], *pairs: tuple[str, str]
) -> tuple[Rule, ...]:
    return tuple(Rule(family, signal, labels=labels, unless=unless) for family, signal in pairs)


_PRESSURE = ("cpu_waiting", "memory_waiting", "memory_stalled", "io_waiting", "io_stalled")

NODE_EXPORTER = Engine(
    name="node_exporter",
    prefixes=("node_",),
    rules=(
        Rule(
            "uname_info",
            "node_present",
            labels={"nodename": "node"},
            note="The only place where the page names the machine.",
        ),
        Rule("cpu_seconds_total", "node_cpu_seconds_total", labels={"mode": "mode"}),
        Rule(
            "cpu_seconds_total",
            "node_cpus",
            labels={},
            where=(("mode", "idle"),),
            reads="label_names",
            label="cpu",
            formula="number of processors that have an idle time",
        ),
        *_rows(
            {},
            (),
            ("load1", "node_load_1m"),
            ("procs_running", "node_processes_running"),
            ("procs_blocked", "node_processes_blocked"),
            ("context_switches_total", "node_context_switches_total"),
            ("intr_total", "node_interrupts_total"),
            ("forks_total", "node_forks_total"),
            ("memory_MemTotal_bytes", "node_memory_capacity_bytes"),
            ("memory_MemAvailable_bytes", "node_memory_available_bytes"),
            ("memory_Cached_bytes", "node_memory_cached_bytes"),
            ("memory_SwapTotal_bytes", "node_swap_capacity_bytes"),
            ("memory_SwapFree_bytes", "node_swap_free_bytes"),
            ("vmstat_pgfault", "node_page_faults_total"),
            ("vmstat_pgmajfault", "node_major_page_faults_total"),
            ("vmstat_oom_kill", "node_oom_kills_total"),
            ("edac_correctable_errors_total", "node_memory_errors_corrected_total"),
            ("edac_uncorrectable_errors_total", "node_memory_errors_uncorrected_total"),
            ("netstat_Tcp_RetransSegs", "node_tcp_retransmits_total"),
            ("boot_time_seconds", "node_boot_unix_seconds"),
            ("timex_offset_seconds", "node_clock_offset_seconds"),
        ),
        *(
            Rule(f"pressure_{kind}_seconds_total", f"node_pressure_{kind}_seconds_total", labels={})
            for kind in _PRESSURE
        ),
        Rule(
            "pressure_irq_stalled_seconds_total",
            "node_pressure_irq_stalled_seconds_total",
            labels={},
            note="Linux 6.1 and later.",
        ),
        *_rows(
            _DEVICE,
            _INNER_NETWORKS,
            ("network_receive_bytes_total", "node_network_received_bytes_total"),
            ("network_transmit_bytes_total", "node_network_sent_bytes_total"),
            ("network_receive_errs_total", "node_network_receive_errors_total"),
            ("network_transmit_errs_total", "node_network_send_errors_total"),
            ("network_receive_drop_total", "node_network_receive_drops_total"),
            ("network_transmit_drop_total", "node_network_send_drops_total"),
        ),
        *_rows(
            _PORT,
            (),
            ("infiniband_port_data_received_bytes_total", "node_infiniband_received_bytes_total"),
            ("infiniband_port_data_transmitted_bytes_total", "node_infiniband_sent_bytes_total"),
            ("infiniband_link_downed_total", "node_infiniband_link_downs_total"),
            ("infiniband_port_errors_received_total", "node_infiniband_receive_errors_total"),
        ),
        *_rows(
            _DEVICE,
            _INNER_DISKS,
            ("disk_read_bytes_total", "node_disk_read_bytes_total"),
            ("disk_written_bytes_total", "node_disk_written_bytes_total"),
            ("disk_io_time_seconds_total", "node_disk_busy_seconds_total"),
            ("disk_read_time_seconds_total", "node_disk_read_seconds_total"),
        ),
        Rule(
            "filesystem_size_bytes",
            "node_filesystem_capacity_bytes",
            labels=_MOUNT,
            unless=_INNER_FILES,
            across="max",
        ),
        Rule(
            "filesystem_avail_bytes",
            "node_filesystem_available_bytes",
            labels=_MOUNT,
            unless=_INNER_FILES,
            across="max",
        ),
    ),
    ignored={},
    role="exporter",
    selective=True,
    reference="a7dcc3a0 (2026)",
    page="port 9100, /metrics",
)
