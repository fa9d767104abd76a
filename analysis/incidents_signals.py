"""What the signals of an instance and of its machine are as suspects: role, harm, resource."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis.host_signals import ACHIEVED, COUNTERS, GAUGES, MORE_COUNTERS, MORE_GAUGES, OFFERED
from analysis.root_cause.table import Case, Floats, Role, Signal

# Longer pasts than this many bins before an onset are not looked at, nor longer faults.
MOST_BEFORE, MOST_DURING = 600, 120
NEIGHBOURS = "neighbours"
NEIGHBOUR_TOKENS = "neighbours.tokens_per_s"
NEIGHBOUR_RUNNING = "neighbours.requests_running"
TARGET = "slowdown_factor"


@dataclass(frozen=True, slots=True)
class Meaning:
    """How a signal is read.

    Attributes:
        resource: what it is about, for people.
        words: the signal in words.
        role: see `Signal`.
        harm: see `Signal`.
        unit: see `Signal`.
    """

    resource: str
    words: str
    role: Role = "flow"
    harm: int = 1
    unit: float | None = None


# Shares are compared with half of the whole, all else with its own usual level.
_HALF = 0.5
MEANINGS: Mapping[str, Meaning] = {
    OFFERED: Meaning("load", "requests arriving", "load"),
    "self.prompt_tokens_per_s": Meaning("load", "prompt tokens", "load"),
    "self.preemptions_per_s": Meaning("KV cache", "preemptions", "limit"),
    "self.kv_cache_usage_ratio": Meaning("KV cache", "KV cache in use", "outcome", unit=_HALF),
    "self.requests_waiting": Meaning("queue", "requests waiting", "outcome"),
    "host.gpu_throttled_ratio": Meaning("GPU clock", "GPU held back", "limit", unit=_HALF),
    "host.gpu_throttled_time_ratio": Meaning("GPU clock", "GPU held back", "limit", unit=_HALF),
    "host.gpu_sm_clock_hertz": Meaning("GPU clock", "GPU clock", "limit", -1),
    "host.gpu_memory_clock_hertz": Meaning("GPU clock", "GPU memory clock", "limit", -1),
    "host.gpu_ecc_uncorrected_per_s": Meaning("GPU memory", "GPU memory errors", "limit"),
    "host.gpu_temperature_celsius": Meaning("GPU temperature", "GPU temperature", "stock"),
    "host.gpu_memory_used_bytes": Meaning("GPU memory", "GPU memory in use", "stock"),
    "host.gpu_power_watts": Meaning("GPU power", "GPU power"),
    "host.gpu_busy_ratio": Meaning("GPU", "GPU busy", unit=_HALF),
    "host.gpu_memory_busy_ratio": Meaning("GPU memory", "GPU memory busy", unit=_HALF),
    "host.gpu_pcie_sent_bytes_per_s": Meaning("PCIe", "PCIe traffic out"),
    "host.gpu_pcie_received_bytes_per_s": Meaning("PCIe", "PCIe traffic in"),
    "host.gpu_pcie_replays_per_s": Meaning("PCIe", "PCIe replays", "limit"),
    "host.cpu_ratio": Meaning("processor", "processors busy", unit=_HALF),
    "host.user_ratio": Meaning("processor", "processors in programs", unit=_HALF),
    "host.system_ratio": Meaning("processor", "processors in the kernel", unit=_HALF),
    "host.steal_ratio": Meaning("processor", "processors taken by the host", "limit", unit=_HALF),
    "host.softirq_ratio": Meaning("network", "processors in interrupts", unit=_HALF),
    "host.iowait_ratio": Meaning("disk", "processors waiting for disks", unit=_HALF),
    "host.cpu_waiting_ratio": Meaning("processor", "waiting for a processor (PSI)", unit=_HALF),
    "host.runnable": Meaning("processor", "processes that want to run"),
    "host.load_1m_processes": Meaning("processor", "load average"),
    "host.switches_per_s": Meaning("processor", "context switches"),
    "host.forks_per_s": Meaning("processor", "new processes"),
    "host.memory_used_ratio": Meaning("memory", "memory in use", "stock", unit=_HALF),
    "host.memory_waiting_ratio": Meaning("memory", "waiting for memory (PSI)", unit=_HALF),
    "host.memory_stalled_ratio": Meaning("memory", "stalled on memory (PSI)", unit=_HALF),
    "host.major_faults_per_s": Meaning("memory", "page faults from disk"),
    "host.minor_faults_per_s": Meaning("memory", "page faults"),
    "host.io_waiting_ratio": Meaning("disk", "waiting for disks (PSI)", unit=_HALF),
    "host.io_stalled_ratio": Meaning("disk", "stalled on disks (PSI)", unit=_HALF),
    "host.disk_busy_ratio": Meaning("disk", "disks busy", unit=_HALF),
    "host.disk_read_bytes_per_s": Meaning("disk", "reads from disk"),
    "host.disk_written_bytes_per_s": Meaning("disk", "writes to disk"),
    "host.blocked": Meaning("disk", "processes that wait for disks"),
    "host.network_received_bytes_per_s": Meaning("network", "network traffic in"),
    "host.network_sent_bytes_per_s": Meaning("network", "network traffic out"),
    "host.tcp_retransmits_per_s": Meaning("network", "TCP segments sent again", "limit"),
    NEIGHBOUR_TOKENS: Meaning(NEIGHBOURS, "tokens written by neighbours"),
    NEIGHBOUR_RUNNING: Meaning(NEIGHBOURS, "requests running at neighbours"),
}
_RAW = {
    name: raw
    for known in (GAUGES, COUNTERS, MORE_GAUGES, MORE_COUNTERS)
    for raw, name in known.items()
}
# Made of more than one signal, or by mode.
_OF_CPU, _OF_MEMORY = "node_cpu_seconds_total", "node_memory_available_bytes"
_MADE = {
    "host.memory_used_ratio": _OF_MEMORY,
    NEIGHBOUR_TOKENS: "generation_tokens_total",
    NEIGHBOUR_RUNNING: "requests_running",
    **{f"host.{name}_ratio": _OF_CPU for name in ("cpu", "user", "system", "steal", "softirq")},
    "host.iowait_ratio": _OF_CPU,
}
IGNORED = frozenset({ACHIEVED})


def raw_signal(name: str) -> str | None:
    """The catalogue's signal behind a name, whose grade of trust holds for it."""
    return _MADE.get(name) or _RAW.get(name)


def case(
    instance: str,
    machine: str,
    slowdown: Floats,
    tables: Sequence[Mapping[str, Floats]],
    step_seconds: float,
    first: int,
    last: int,
    known_to_be_slow: NDArray[np.bool_],
) -> Case:
    """The table of one incident: the slowdown, and what was told by and around the instance.

    Args:
        instance: its name, the place of its own signals.
        machine: the place of the host's signals.
        slowdown: (bins,) of the instance.
        tables: its own signals, the machine's and the neighbours'; the first that tells counts.
        step_seconds: width of a bin.
        first: first bin of the incident.
        last: last bin of it.
        known_to_be_slow: (bins,) whether each lies in another incident of the instance.
    """
    part = slice(max(0, first - MOST_BEFORE), min(last, first + MOST_DURING) + 1)
    signals = [Signal(instance, TARGET, TARGET, "outcome", unit=1.0)]
    columns = [slowdown[part]]
    for name, meaning in MEANINGS.items():
        values = next((told[name] for told in tables if name in told), None)
        if values is None or not np.isfinite(values[part]).any():
            continue
        place = instance if name.startswith(("self.", "load.")) else machine
        signals.append(Signal(place, name, name, meaning.role, meaning.harm, unit=meaning.unit))
        columns.append(values[part])
    table: Floats = np.column_stack(columns)
    # What other incidents did is nothing usual: a cause that comes again stays a cause.
    table[known_to_be_slow[part]] = np.nan
    times: Floats = np.arange(len(table), dtype=float) * step_seconds
    return Case(signals, times, table, 0, first - part.start)
