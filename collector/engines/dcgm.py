"""NVIDIA's dcgm-exporter: one series for each card, or for each slice of one under MIG.

Read in `etc/default-counters.csv`, `etc/dcp-metrics-included.csv` and the templates of
`internal/pkg/rendermetrics`. Users choose the families in a CSV file, so any may be missing. The
driver is asked every 30 s by default: faster scrapes see the same value again, which is no frozen
gauge. Where several pods share a card its series is repeated for each pod; of those the largest is
taken, and `gpu_held` tells who holds the card.
"""

from __future__ import annotations

from dataclasses import replace

from collector.engines.adapter import Absent, Derived, Engine, Rule
from collector.engines.holders import holder_rows

_NODE = {"Hostname": "node", "hostname": "node"}  # renamed in May 2026
_CARD = {
    **_NODE,
    "gpu": "gpu",
    "UUID": "gpu_uuid",
    "uuid": "gpu_uuid",
    "gpu_uuid": "gpu_uuid",  # on links
    "GPU_I_ID": "gpu_instance",
}
_MEBIBYTE = 1024.0**2


def _row(family: str, signal: str, factor: float = 1.0, note: str = "") -> Rule:
    return Rule(family, signal, labels=_CARD, across="max", factor=factor, note=note)


def _because(reason: str, family: str, signal: str, factor: float = 1.0, note: str = "") -> Rule:
    return replace(_row(family, signal, factor, note), fixed=(("reason", reason),))


def _moved(family: str, stem: str) -> tuple[Rule, Rule]:
    """A family that is a rate or a running total: the declared TYPE tells."""
    note = "A rate in new settings files, a total in old ones: the declared TYPE decides."
    return (
        replace(_row(family, f"{stem}_bytes_per_second", note=note), declared="gauge"),
        replace(_row(family, f"{stem}_bytes_total", note=note), declared="counter"),
    )


_USE = (
    Rule(
        "FI_DEV_GPU_TEMP",
        "gpu_present",
        labels={
            **_CARD,
            "modelName": "gpu_model",
            "DCGM_FI_DRIVER_VERSION": "driver_version",
        },
        across="max",
        reads="label_names",
        label="gpu",
        formula="1 for each card that has a temperature",
        note="Hostname became hostname and UUID uuid in 2026: both are read, on all rows.",
    ),
    *holder_rows("FI_DEV_FB_USED", _CARD),
    _row(
        "FI_DEV_GPU_UTIL",
        "gpu_busy_ratio",
        0.01,
        "Not under MIG. One small kernel is enough for 100 %.",
    ),
    _row("FI_DEV_MEM_COPY_UTIL", "gpu_memory_busy_ratio", 0.01),
    _row("FI_PROF_GR_ENGINE_ACTIVE", "gpu_engine_active_ratio"),
    _row("FI_PROF_SM_ACTIVE", "gpu_sm_active_ratio", note="Off by default."),
    _row("FI_PROF_SM_OCCUPANCY", "gpu_sm_occupancy_ratio", note="Off by default."),
    _row("FI_PROF_PIPE_TENSOR_ACTIVE", "gpu_tensor_active_ratio"),
    _row("FI_PROF_DRAM_ACTIVE", "gpu_memory_active_ratio"),
    _row("FI_DEV_FB_USED", "gpu_memory_used_bytes", _MEBIBYTE),
    _row("FI_DEV_FB_FREE", "gpu_memory_free_bytes", _MEBIBYTE),
    _row("FI_DEV_FB_RESERVED", "gpu_memory_reserved_bytes", _MEBIBYTE),
    _row("FI_DEV_FB_TOTAL", "gpu_memory_capacity_bytes", _MEBIBYTE, "Off by default."),
    _row("FI_DEV_POWER_USAGE", "gpu_power_watts"),
    _row("FI_DEV_POWER_MGMT_LIMIT", "gpu_power_limit_watts", note="Off by default."),
    _row("FI_DEV_TOTAL_ENERGY_CONSUMPTION", "gpu_energy_joules_total", 1e-3),
    _row("FI_DEV_GPU_TEMP", "gpu_temperature_celsius"),
    _row("FI_DEV_MEMORY_TEMP", "gpu_memory_temperature_celsius"),
    _row("FI_DEV_SM_CLOCK", "gpu_sm_clock_hertz", 1e6),
    _row("FI_DEV_MEM_CLOCK", "gpu_memory_clock_hertz", 1e6),
)
_FAULTS = (
    _row(
        "FI_DEV_XID_ERRORS",
        "gpu_xid_last_code",
        note="The last code, for ever: the same code a second time cannot be seen.",
    ),
    Rule(
        "EXP_XID_ERRORS_COUNT",
        "gpu_xid_recent_events",
        labels={**_CARD, "xid": "xid"},
        across="max",
        note="Off by default. Falls again when events leave the window, 5 minutes by default.",
    ),
    _row("FI_DEV_ECC_SBE_VOL_TOTAL", "gpu_ecc_corrected_total", note="Off by default."),
    _row("FI_DEV_ECC_DBE_VOL_TOTAL", "gpu_ecc_uncorrected_total", note="Off by default."),
    _row("FI_DEV_CORRECTABLE_REMAPPED_ROWS", "gpu_remapped_rows_corrected_total"),
    _row("FI_DEV_UNCORRECTABLE_REMAPPED_ROWS", "gpu_remapped_rows_uncorrected_total"),
    _row("FI_DEV_ROW_REMAP_FAILURE", "gpu_row_remap_failed_ratio"),
    _because("corrected", "FI_DEV_RETIRED_SBE", "gpu_retired_pages_total"),
    _because("uncorrected", "FI_DEV_RETIRED_DBE", "gpu_retired_pages_total"),
    _row("FI_DEV_RETIRED_PENDING", "gpu_retired_pages_pending", note="Off by default."),
    *(
        _because(
            reason,
            f"FI_DEV_{family}_VIOLATION",
            "gpu_throttled_seconds_total",
            1e-9,
            "Off by default. Nanoseconds, though old settings files say microseconds.",
        )
        for reason, family in (
            ("power", "POWER"),
            ("thermal", "THERMAL"),
            ("reliability", "RELIABILITY"),
            ("board", "BOARD_LIMIT"),
            ("sync", "SYNC_BOOST"),
            ("idle", "LOW_UTIL"),
        )
    ),
    _row("FI_DEV_CLOCKS_EVENT_REASONS", "gpu_clock_limit_bits", note="Off by default."),
    replace(
        _row("FI_DEV_CLOCK_THROTTLE_REASONS", "gpu_clock_limit_bits"),
        fallback=True,
        became="FI_DEV_CLOCKS_EVENT_REASONS",
    ),
)
_LINKS = (
    *_moved("FI_PROF_PCIE_TX_BYTES", "gpu_pcie_sent"),
    *_moved("FI_PROF_PCIE_RX_BYTES", "gpu_pcie_received"),
    *_moved("FI_PROF_NVLINK_TX_BYTES", "gpu_link_sent"),
    *_moved("FI_PROF_NVLINK_RX_BYTES", "gpu_link_received"),
    _row("FI_DEV_PCIE_REPLAY_COUNTER", "gpu_pcie_replays_total"),
    *(
        _because(
            reason,
            f"FI_DEV_NVLINK_{family}_ERROR_COUNT_TOTAL",
            "gpu_link_errors_total",
            note="Off by default.",
        )
        for reason, family in (
            ("crc_flit", "CRC_FLIT"),
            ("crc_data", "CRC_DATA"),
            ("replay", "REPLAY"),
            ("recovery", "RECOVERY"),
        )
    ),
)

DCGM = Engine(
    name="dcgm-exporter",
    prefixes=("DCGM_",),
    rules=_USE + _FAULTS + _LINKS,
    derived=(
        Derived(
            "gpu_memory_allocatable_bytes", "gpu_memory_used_bytes", "+", "gpu_memory_free_bytes"
        ),
        Derived(
            "gpu_memory_capacity_bytes",
            "gpu_memory_allocatable_bytes",
            "+",
            "gpu_memory_reserved_bytes",
            note="Unknown where the settings leave out FB_RESERVED.",
        ),
    ),
    absent=(
        Absent(("gpu_pcie_bytes_per_second",), "both directions are told apart"),
        Absent(("gpu_throttled_ratio",), "rate of gpu_throttled_seconds_total"),
        Absent(("gpu_xid_events_total",), "only the last code and a window; the agent counts them"),
        Absent(("gpu_process_memory_bytes",), "the agent tells it"),
        Absent(("gpu_healthy_ratio",), "the faults are told one by one"),
    ),
    ignored={
        "FI_DEV_NVLINK_BANDWIDTH_TOTAL": "a total whose unit (KB, MB, bytes) goes with the release "
        "of DCGM; PROF_NVLINK_TX_BYTES and RX_BYTES tell bytes",
        "FI_DEV_PCIE_TX_THROUGHPUT": "KB/s of the last 20 ms, typed counter",
        "FI_DEV_PCIE_RX_THROUGHPUT": "KB/s of the last 20 ms, typed counter",
        "FI_DEV_ENC_UTIL": "video encoding",
        "FI_DEV_DEC_UTIL": "video decoding",
        "FI_DEV_VGPU_LICENSE_STATUS": "a licence",
        "EXP_CLOCK_EVENTS_COUNT": "a window's count of what the violation counters time",
    },
    role="exporter",
    selective=True,
    reference="d5e5f51 (after 4.5.3-4.8.2)",
    page="port 9400, /metrics",
)
