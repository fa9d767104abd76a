"""AMD's device-metrics-exporter: one series for each card or partition.

Read in `docs/configuration/metricslist.md` of v1.5.1 and the repository's examples. Field names
arrive in lower case, with a prefix of the operator's choice (`amd_` in AMD's own charts). On a
partitioned card the sensors answer 0 on every partition but the first: nothing was measured there.
"""

from __future__ import annotations

from dataclasses import replace

from collector.engines.adapter import Absent, Engine, Rule
from collector.engines.holders import holder_rows

_CARD = {
    "hostname": "node",
    "gpu_id": "gpu",
    "gpu_uuid": "gpu_uuid",
    "gpu_partition_id": "gpu_instance",
}
_MEBIBYTE = 1024.0**2
_MEGABIT = 1e6 / 8
_MI2XX = "MI2xx only."
_MI3XX = "MI3xx only."
_POWER = "The first that is not 0: cards fill different ones."
_VRAM = "MB on the list, but MiB: 192 GiB arrive as 196592."


def _row(family: str, signal: str, factor: float = 1.0, note: str = "") -> Rule:
    return Rule(family, signal, labels=_CARD, across="max", factor=factor, note=note)


def _clock(kind: str, signal: str) -> tuple[Rule, Rule]:
    """Clock types are spelled in two ways; of several dies the fastest counts."""
    row = _row("clock", signal, 1e6, note="Of several dies the fastest.")
    long = f"GPU_CLOCK_TYPE_{kind.upper()}"
    return (
        replace(row, where=(("clock_type", kind),)),
        replace(row, where=(("clock_type", long),)),
    )


def _bus(family: str, signal: str, factor: float = 1.0) -> tuple[Rule, Rule]:
    """Families without `gpu_`: with and without the operator's prefix."""
    row = replace(_row(family, signal, factor, _MI3XX), prefixed=False)
    return (row, replace(row, family=f"amd_{family}"))


_THROTTLED = (
    ("power", "ppt"),
    ("thermal", "socket_thermal"),
    ("memory_thermal", "hbm_thermal"),
    ("board", "vr_thermal"),
    ("processor_hot", "processor_hot"),
)

AMD = Engine(
    name="amd-device-metrics-exporter",
    prefixes=("amd_gpu_", "gpu_"),
    rules=(
        Rule(
            "total_vram",
            "gpu_present",
            labels={**_CARD, "card_series": "gpu_model", "driver_version": "driver_version"},
            across="max",
            reads="label_names",
            label="gpu_id",
            formula="1 for each card that has memory",
        ),
        *holder_rows("total_vram", _CARD),
        _row("gfx_activity", "gpu_busy_ratio", 0.01, "Only on the first partition of a card."),
        _row("umc_activity", "gpu_memory_active_ratio", 0.01),
        _row("prof_sm_active", "gpu_sm_active_ratio", 0.01, "Profiling is off by default."),
        _row("prof_occupancy_percent", "gpu_sm_occupancy_ratio", 0.01, "Off by default."),
        _row("prof_tensor_active_percent", "gpu_tensor_active_ratio", 0.01, "Off by default."),
        _row("prof_gui_util_percent", "gpu_engine_active_ratio", 0.01, "Off by default."),
        _row("used_vram", "gpu_memory_used_bytes", _MEBIBYTE, _VRAM),
        _row("free_vram", "gpu_memory_free_bytes", _MEBIBYTE, _VRAM),
        _row("total_vram", "gpu_memory_capacity_bytes", _MEBIBYTE, _VRAM),
        replace(
            _row("package_power", "gpu_power_watts", note=f"{_MI3XX} {_POWER}"),
            zero_is_unknown=True,
        ),
        replace(
            _row("average_package_power", "gpu_power_watts", note=f"{_MI2XX} {_POWER}"),
            zero_is_unknown=True,
        ),
        replace(
            _row("power_usage", "gpu_power_watts", note=_POWER),
            zero_is_unknown=True,
            fallback=True,
        ),
        _row("energy_consumed", "gpu_energy_joules_total", 1e-6, "Typed gauge, but a total."),
        replace(
            _row("junction_temperature", "gpu_temperature_celsius", note=_MI3XX),
            zero_is_unknown=True,
        ),
        replace(
            _row("edge_temperature", "gpu_temperature_celsius", note=_MI2XX),
            zero_is_unknown=True,
            fallback=True,
        ),
        replace(_row("memory_temperature", "gpu_memory_temperature_celsius"), zero_is_unknown=True),
        *_clock("system", "gpu_sm_clock_hertz"),
        *_clock("memory", "gpu_memory_clock_hertz"),
        _row("ecc_correct_total", "gpu_ecc_corrected_total"),
        _row("ecc_uncorrect_total", "gpu_ecc_uncorrected_total"),
        _row("health", "gpu_healthy_ratio"),
        *(
            replace(
                _row(
                    f"violation_{family}_residency_percentage", "gpu_throttled_ratio", 0.01, _MI3XX
                ),
                fixed=(("reason", reason),),
            )
            for reason, family in _THROTTLED
        ),
        *_bus("pcie_bandwidth", "gpu_pcie_bytes_per_second", _MEGABIT),
        *_bus("pcie_replay_count", "gpu_pcie_replays_total"),
        *(
            Rule(
                family,
                signal,
                labels=_CARD,
                factor=1e3,
                note="KB on the list, taken as 1000 bytes; all links of a card added up.",
            )
            for family, signal in (
                ("xgmi_link_tx", "gpu_link_sent_bytes_total"),
                ("xgmi_link_rx", "gpu_link_received_bytes_total"),
            )
        ),
    ),
    absent=(
        Absent(
            ("gpu_memory_reserved_bytes", "gpu_memory_allocatable_bytes"),
            "total, used and free are told",
        ),
        Absent(("gpu_memory_busy_ratio",), "umc_activity is gpu_memory_active_ratio"),
        Absent(("gpu_power_limit_watts",), "not told"),
        Absent(
            ("gpu_xid_last_code", "gpu_xid_recent_events", "gpu_xid_events_total"),
            "XID is NVIDIA's; gpu_afid_errors has AMD's event numbers in a list",
        ),
        Absent(
            (
                "gpu_remapped_rows_corrected_total",
                "gpu_remapped_rows_uncorrected_total",
                "gpu_row_remap_failed_ratio",
                "gpu_retired_pages_total",
                "gpu_retired_pages_pending",
            ),
            "not told; the ECC counters are",
        ),
        Absent(("gpu_throttled_seconds_total",), "residency without a unit; the share is told"),
        Absent(("gpu_clock_limit_bits",), "gpu_throttled_ratio tells the causes"),
        Absent(
            (
                "gpu_pcie_sent_bytes_per_second",
                "gpu_pcie_received_bytes_per_second",
                "gpu_pcie_sent_bytes_total",
                "gpu_pcie_received_bytes_total",
            ),
            "both directions in one number, gpu_pcie_bytes_per_second",
        ),
        Absent(
            ("gpu_link_sent_bytes_per_second", "gpu_link_received_bytes_per_second"),
            "rate of the totals",
        ),
        Absent(("gpu_link_errors_total",), "the ECC counters of XGMI stand in the sum"),
        Absent(("gpu_process_memory_bytes",), "not told"),
    ),
    ignored={
        "afid_errors": "event numbers of the last fault as a list, no count",
        "gfx_busy_instantaneous": "one number for each die; gfx_activity is their mean",
        "xgmi_nbr_0_tx_thrput": "beats of 32 bytes; xgmi_link_tx has the bytes",
        "total_visible_vram": "a part of total_vram",
        "total_gtt": "main memory lent to the card",
    },
    role="exporter",
    selective=True,
    reference="v1.5.1",
    page="port 5000, /metrics",
)
