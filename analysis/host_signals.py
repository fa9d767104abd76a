"""What scraped signals of an engine and its machine are called as metrics.

The names are those of the laboratory (`collector.lab.host`) where they mean the same, so that a
model which learnt there can read a running fleet: `host.cpu_ratio` is the share of all processors'
time that was not idle, `host.disk_busy_ratio` adds up the disks.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from datetime import datetime
from urllib.parse import urlsplit

import polars as pl

from store.queries import counters, predictor_rows, telemetry
from store.queries.sample_split import Use
from store.reader import Reader

ACHIEVED, OFFERED = "load.achieved_per_s", "load.offered_per_s"
WRITTEN, DECODING = "tokens_per_s", "requests_decoding"
ANSWERS = (WRITTEN, DECODING)
"""What the pace is made of: it is the answer, and therefore no input."""

GAUGES: Mapping[str, str] = {
    "requests_running": "self.requests_running",
    "requests_waiting": "self.requests_waiting",
    "kv_cache_usage_ratio": "self.kv_cache_usage_ratio",
    "gpu_busy_ratio": "host.gpu_busy_ratio",
    "gpu_memory_busy_ratio": "host.gpu_memory_busy_ratio",
    "gpu_power_watts": "host.gpu_power_watts",
    "gpu_sm_clock_hertz": "host.gpu_sm_clock_hertz",
    "node_load_1m": "host.load_1m_processes",
    "node_processes_running": "host.runnable",
    "node_processes_blocked": "host.blocked",
    "node_memory_capacity_bytes": "host.memory_capacity_bytes",
    "node_memory_available_bytes": "host.memory_available_bytes",
}
COUNTERS: Mapping[str, str] = {
    "generation_tokens_total": WRITTEN,
    # Seconds a second, added up over the requests that decode: how many of them there are.
    "decode_busy_seconds_total": DECODING,
    "prompt_tokens_total": "self.prompt_tokens_per_s",
    "requests_arrived_total": OFFERED,
    "requests_finished_total": ACHIEVED,
    "node_pressure_cpu_waiting_seconds_total": "host.cpu_waiting_ratio",
    "node_pressure_memory_waiting_seconds_total": "host.memory_waiting_ratio",
    "node_pressure_memory_stalled_seconds_total": "host.memory_stalled_ratio",
    "node_pressure_io_waiting_seconds_total": "host.io_waiting_ratio",
    "node_pressure_io_stalled_seconds_total": "host.io_stalled_ratio",
    "node_context_switches_total": "host.switches_per_s",
    "node_interrupts_total": "host.interrupts_per_s",
    "node_forks_total": "host.forks_per_s",
    "node_page_faults_total": "host.minor_faults_per_s",
    "node_major_page_faults_total": "host.major_faults_per_s",
    "node_disk_read_bytes_total": "host.disk_read_bytes_per_s",
    "node_disk_written_bytes_total": "host.disk_written_bytes_per_s",
    "node_disk_busy_seconds_total": "host.disk_busy_ratio",
    "node_network_received_bytes_total": "host.network_received_bytes_per_s",
    "node_network_sent_bytes_total": "host.network_sent_bytes_per_s",
}
# What no model learnt from so far, but a person would look at.
MORE_GAUGES: Mapping[str, str] = {
    "gpu_throttled_ratio": "host.gpu_throttled_ratio",
    "gpu_temperature_celsius": "host.gpu_temperature_celsius",
    "gpu_memory_clock_hertz": "host.gpu_memory_clock_hertz",
    "gpu_memory_used_bytes": "host.gpu_memory_used_bytes",
}
MORE_COUNTERS: Mapping[str, str] = {
    "preemptions_total": "self.preemptions_per_s",
    "gpu_throttled_seconds_total": "host.gpu_throttled_time_ratio",
    "gpu_pcie_sent_bytes_total": "host.gpu_pcie_sent_bytes_per_s",
    "gpu_pcie_received_bytes_total": "host.gpu_pcie_received_bytes_per_s",
    "gpu_pcie_replays_total": "host.gpu_pcie_replays_per_s",
    "gpu_ecc_uncorrected_total": "host.gpu_ecc_uncorrected_per_s",
    "node_tcp_retransmits_total": "host.tcp_retransmits_per_s",
}
_HERE = "127.0.0.1"
_CPU = "node_cpu_seconds_total"
_MODES = ("user", "system", "iowait", "softirq", "steal")
_RESTING = ("idle", "iowait")
_MEMORY = ("host.memory_capacity_bytes", "host.memory_available_bytes")
_KEYS = ("target_id", "name", "bin")
_TOLD = pl.Schema(
    {"target_id": pl.Int64(), "name": pl.String(), "bin": pl.Int64(), "value": pl.Float64()}
)


def samples(
    reader: Reader,
    start: datetime,
    end: datetime,
    step_seconds: float,
    *,
    everything: bool = False,
) -> pl.DataFrame:
    """target_id, name, bin (0 is the newest), value; of several series the mean, or the sum.

    Args:
        reader: the store.
        start: aware UTC.
        end: aware UTC.
        step_seconds: width of a bin.
        everything: also what no model learns from, from roll-ups where they are there.
    """
    named_gauges = {**GAUGES, **MORE_GAUGES} if everything else GAUGES
    named_counters = {**COUNTERS, **MORE_COUNTERS} if everything else COUNTERS
    use: Use = "auto" if everything else "raw"
    asked = (start, end, step_seconds, end)
    gauges = telemetry.gauge_bins(reader, list(named_gauges), *asked, use=use).select(
        "target_id",
        pl.col("signal").replace_strict(named_gauges).alias("name"),
        "bin",
        value="mean",
    )
    grown = counters.counter_steps(reader, [*named_counters, _CPU], *asked, use=use).select(
        "target_id", "series_id", "signal", "bin", value=pl.col("increase") / pl.col("seconds")
    )
    named = grown.filter(pl.col("signal") != _CPU).select(
        "target_id", pl.col("signal").replace_strict(named_counters).alias("name"), "bin", "value"
    )
    parts = [
        _memory(gauges.group_by(_KEYS).agg(pl.col("value").mean())),
        named.group_by(_KEYS).agg(pl.col("value").sum()),
        _processors(grown.filter(pl.col("signal") == _CPU), predictor_rows.cpu_modes(reader)),
    ]
    return pl.concat(part.select(_TOLD.names()).cast(_TOLD) for part in parts)


def _memory(gauges: pl.DataFrame) -> pl.DataFrame:
    """The two sizes of memory become the share that is used."""
    told = gauges.filter(pl.col("name").is_in(_MEMORY))
    size, free = (pl.col("value").filter(pl.col("name") == name).first() for name in _MEMORY)
    used = (
        told.group_by("target_id", "bin")
        .agg(pl.when(size > 0).then(1 - free / size).alias("value"))
        .drop_nulls("value")
        .with_columns(name=pl.lit("host.memory_used_ratio"))
    )
    rest = gauges.filter(~pl.col("name").is_in(_MEMORY))
    return pl.concat([rest, used.select(rest.columns)])


def _processors(grown: pl.DataFrame, modes: Mapping[int, str]) -> pl.DataFrame:
    """Shares of all processors' time by mode, and what was not idle."""
    named = grown.drop_nulls("value").with_columns(
        mode=pl.col("series_id").replace_strict(modes, default=None, return_dtype=pl.String)
    )
    value, mode = pl.col("value"), pl.col("mode")
    shares = named.group_by("target_id", "bin").agg(
        value.sum().alias("all"),
        value.filter(mode.is_in(_RESTING)).sum().alias("resting"),
        *(
            # A mode that nobody tells is unknown, not 0.
            pl.when((mode == name).any()).then(value.filter(mode == name).sum()).alias(name)
            for name in _MODES
        ),
    )
    known = shares.filter(pl.col("all") > 0).select(
        "target_id",
        "bin",
        *((pl.col(name) / pl.col("all")).alias(f"host.{name}_ratio") for name in _MODES),
        (1 - pl.col("resting") / pl.col("all")).alias("host.cpu_ratio"),
    )
    long = known.unpivot(index=["target_id", "bin"], variable_name="name", value_name="value")
    return long.drop_nulls("value")


def machine(url: str) -> str:
    """The same for all that is scraped of one machine; this one may also go by its name."""
    name = (urlsplit(url).hostname or url).lower()
    here = {"localhost", "::1", _HERE, socket.gethostname().lower()}
    return _HERE if name in here else name
