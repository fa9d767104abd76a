"""The whole host between two looks: processors, pressure, memory, disks; what is there of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from collector.agent import host_parse
from collector.agent.files import KernelFiles

_MODES = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
_RESTING = ("idle", "iowait")
_STAT = {
    "ctxt": "switches_per_s",
    "intr": "interrupts_per_s",
    "processes": "forks_per_s",
}
_STAT_NOW = {"procs_running": "runnable", "procs_blocked": "blocked"}
_VMSTAT = {
    "pgfault": "minor_faults_per_s",
    "pgmajfault": "major_faults_per_s",
    "pgpgin": "paged_in_kibibytes_per_s",
    "pgpgout": "paged_out_kibibytes_per_s",
    "pgfree": "pages_freed_per_s",
    "pgsteal_kswapd": "pages_reclaimed_per_s",
}
_PRESSURE = {
    "node_pressure_cpu_waiting_seconds_total": "cpu_waiting_ratio",
    "node_pressure_memory_waiting_seconds_total": "memory_waiting_ratio",
    "node_pressure_memory_stalled_seconds_total": "memory_stalled_ratio",
    "node_pressure_io_waiting_seconds_total": "io_waiting_ratio",
    "node_pressure_io_stalled_seconds_total": "io_stalled_ratio",
}
_DISKS = {
    "node_disk_read_bytes_total": "disk_read_bytes_per_s",
    "node_disk_written_bytes_total": "disk_written_bytes_per_s",
    "node_disk_busy_seconds_total": "disk_busy_ratio",
}
_NOW_KIBIBYTES = {"Dirty": "dirty_bytes", "Writeback": "written_back_bytes"}


@dataclass(frozen=True, slots=True)
class HostLook:
    """The host at one instant.

    Attributes:
        cores: seconds by mode of each core, by number; -1 is all of them.
        totals: other sums that only grow, by the metric they become.
        now: what is so at this instant.
    """

    cores: Mapping[int, Mapping[str, float]]
    totals: Mapping[str, float]
    now: Mapping[str, float]


def look(files: KernelFiles, ticks_per_second: int) -> HostLook:
    """The host as it is now."""
    stat = files.text("proc/stat") or ""
    totals, now = _others(stat)
    for resource in ("cpu", "memory", "io"):
        text = files.text(f"proc/pressure/{resource}") or ""
        for told in host_parse.pressure(text, resource):
            totals[_PRESSURE[told.signal]] = told.value
    for line in files.lines("proc/vmstat"):
        name, _, value = line.partition(" ")
        if name in _VMSTAT:
            totals[_VMSTAT[name]] = float(value)
    for told in host_parse.disks(files.text("proc/diskstats") or "", files.names("sys/block")):
        if told.signal in _DISKS:
            name = _DISKS[told.signal]
            totals[name] = totals.get(name, 0.0) + told.value
    totals |= _loopback(files)
    return HostLook(_cores(stat, ticks_per_second), totals, {**now, **_memory(files)})


def changed(
    before: HostLook, after: HostLook, seconds: float, own: Collection[int]
) -> dict[str, float]:
    """Metrics of the time in between, without the word for whose they are.

    Args:
        before: an earlier look.
        after: a later one.
        seconds: between them.
        own: cores of the instance asked about.
    """
    found = {
        name: max(value - before.totals[name], 0.0) / seconds
        for name, value in after.totals.items()
        if name in before.totals
    }
    every = _modes(before, after, [-1])
    total = sum(every.values())
    if total > 0:
        found["cpu_ratio"] = 1 - sum(every.get(mode, 0.0) for mode in _RESTING) / total
        for mode in ("user", "system", "iowait", "softirq", "steal"):
            if mode in every:
                found[f"{mode}_ratio"] = every[mode] / total
    mine = _modes(before, after, own)
    if sum(mine.values()) > 0:
        resting = sum(mine.get(mode, 0.0) for mode in _RESTING)
        found["own_cores_ratio"] = 1 - resting / sum(mine.values())
    return {**found, **after.now}


def steal_seconds(before: HostLook, after: HostLook) -> float | None:
    """Time that the hypervisor took; None where the kernel does not tell."""
    return _modes(before, after, [-1]).get("steal")


def _modes(before: HostLook, after: HostLook, cores: Collection[int]) -> dict[str, float]:
    found: dict[str, float] = {}
    for core in cores:
        early, late = before.cores.get(core, {}), after.cores.get(core, {})
        for mode in late.keys() & early.keys():
            found[mode] = found.get(mode, 0.0) + max(late[mode] - early[mode], 0.0)
    return found


def _cores(stat: str, ticks_per_second: int) -> dict[int, dict[str, float]]:
    found = {}
    for line in stat.splitlines():
        name, *words = line.split()
        if not name.startswith("cpu"):
            continue
        number = int(name[3:]) if name[3:] else -1
        pairs = zip(_MODES, words, strict=False)
        found[number] = {mode: int(ticks) / ticks_per_second for mode, ticks in pairs}
    return found


def _others(stat: str) -> tuple[dict[str, float], dict[str, float]]:
    totals, now = {}, {}
    for line in stat.splitlines():
        name, _, rest = line.partition(" ")
        value = rest.partition(" ")[0]
        if name in _STAT:
            totals[_STAT[name]] = float(value)
        elif name in _STAT_NOW:
            now[_STAT_NOW[name]] = float(value)
    return totals, now


def _memory(files: KernelFiles) -> dict[str, float]:
    told = {}
    for line in files.lines("proc/meminfo"):
        name, _, rest = line.partition(":")
        words = rest.split()
        if words and words[0].isdecimal():
            told[name] = float(words[0]) * 1024
    found = {new: told[name] for name, new in _NOW_KIBIBYTES.items() if name in told}
    if told.get("MemTotal") and "MemAvailable" in told:
        found["memory_used_ratio"] = 1 - told["MemAvailable"] / told["MemTotal"]
    return found


def _loopback(files: KernelFiles) -> dict[str, float]:
    for line in files.lines("proc/net/dev"):
        name, _, rest = line.partition(":")
        if name.strip() == "lo" and rest:
            return {"loopback_bytes_per_s": float(rest.split()[0])}
    return {}
