"""Text of kernel files -> values of signals. Every function takes what it reads as text.

Formats: proc(5), Documentation/accounting/psi.rst and Documentation/admin-guide/cgroup-v2.rst of
the kernel. What a kernel does not tell is absent.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

SECTOR_BYTES = 512  # of /proc/diskstats, whatever the disk's own is
_NOT_A_CARD = re.compile(r"lo$|veth|docker|br-|cali|cni|flannel|virbr|tap|tun|ifb|dummy|sit|ip6tnl")
_LOCAL = frozenset(("ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "overlay", "bcachefs"))
_CPU_MODES = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
_PRESSURE_WORDS = {"some": "waiting", "full": "stalled"}


class Told(NamedTuple):
    """One value: signal, labels, number in the signal's unit."""

    signal: str
    labels: Mapping[str, str]
    value: float


def _told(signal: str, value: float, **labels: str) -> Told:
    return Told(signal, labels, value)


_STAT = {
    "btime": "node_boot_unix_seconds",
    "procs_running": "node_processes_running",
    "procs_blocked": "node_processes_blocked",
    "ctxt": "node_context_switches_total",
    # The line goes on with each source of its own; the first number is all of them.
    "intr": "node_interrupts_total",
    "processes": "node_forks_total",
}


def processors(stat: str, ticks_per_second: int) -> Iterator[Told]:
    """/proc/stat."""
    cpus = 0
    for line in stat.splitlines():
        name, *words = line.split()
        if name == "cpu":
            for mode, ticks in zip(_CPU_MODES, words, strict=False):
                yield _told("node_cpu_seconds_total", int(ticks) / ticks_per_second, mode=mode)
        elif name.startswith("cpu"):
            cpus += 1
        elif name in _STAT:
            yield _told(_STAT[name], float(words[0]))
    if cpus:
        yield _told("node_cpus", float(cpus))


def load(loadavg: str) -> Iterator[Told]:
    """/proc/loadavg."""
    yield _told("node_load_1m", float(loadavg.split()[0]))


_MEMORY = {
    "MemTotal": "node_memory_capacity_bytes",
    "MemAvailable": "node_memory_available_bytes",
    "Cached": "node_memory_cached_bytes",
    "SwapTotal": "node_swap_capacity_bytes",
    "SwapFree": "node_swap_free_bytes",
}


def memory(meminfo: str) -> Iterator[Told]:
    """/proc/meminfo; its kB are 1024 bytes."""
    for line in meminfo.splitlines():
        name, _, rest = line.partition(":")
        if name in _MEMORY:
            yield _told(_MEMORY[name], float(rest.split()[0]) * 1024)


_VMSTAT = {
    "pgfault": "node_page_faults_total",
    "pgmajfault": "node_major_page_faults_total",
    "oom_kill": "node_oom_kills_total",
}


def page_faults(vmstat: str) -> Iterator[Told]:
    """/proc/vmstat."""
    for name, value in _pairs(vmstat).items():
        if name in _VMSTAT:
            yield _told(_VMSTAT[name], value)


def pressure(text: str, resource: str, about: str = "node", **labels: str) -> Iterator[Told]:
    """/proc/pressure/* and *.pressure of a control group; `total` is in microseconds.

    `full` of the CPU means nothing for a whole machine and is always 0 there.
    """
    for line in text.splitlines():
        kind, _, rest = line.partition(" ")
        word = _PRESSURE_WORDS.get(kind)
        meaningless = about == "node" and (kind, resource) == ("full", "cpu")
        found = re.search(r"total=(\d+)", rest)
        if word is None or found is None or meaningless:
            continue
        signal = f"{about}_pressure_{resource}_{word}_seconds_total"
        yield _told(signal, int(found[1]) / 1e6, **labels)


# Columns of /proc/net/dev behind the colon.
_NETWORK = {
    0: "node_network_received_bytes_total",
    2: "node_network_receive_errors_total",
    3: "node_network_receive_drops_total",
    8: "node_network_sent_bytes_total",
    10: "node_network_send_errors_total",
    11: "node_network_send_drops_total",
}


def network(dev: str) -> Iterator[Told]:
    """/proc/net/dev, without what only moves data within the machine."""
    for line in dev.splitlines()[2:]:
        device, _, rest = line.partition(":")
        device = device.strip()
        words = rest.split()
        if not _NOT_A_CARD.match(device):
            for column, signal in _NETWORK.items():
                yield _told(signal, float(words[column]), device=device)


def retransmits(snmp: str) -> Iterator[Told]:
    """/proc/net/snmp: a line of names and a line of numbers for each protocol."""
    tcp = [line.split()[1:] for line in snmp.splitlines() if line.startswith("Tcp:")]
    if len(tcp) == 2:
        told = dict(zip(*tcp, strict=False))
        if "RetransSegs" in told:
            yield _told("node_tcp_retransmits_total", float(told["RetransSegs"]))


def disks(diskstats: str, whole: Iterable[str]) -> Iterator[Told]:
    """/proc/diskstats of the disks in /sys/block; a disk that never did anything is left out."""
    names = {name for name in whole if not name.startswith(("loop", "ram", "zram"))}
    for line in diskstats.splitlines():
        words = line.split()
        if len(words) < 14 or words[2] not in names or words[3] == words[7] == "0":
            continue
        device = words[2]
        yield _told("node_disk_read_bytes_total", int(words[5]) * SECTOR_BYTES, device=device)
        yield _told("node_disk_read_seconds_total", int(words[6]) / 1e3, device=device)
        yield _told("node_disk_written_bytes_total", int(words[9]) * SECTOR_BYTES, device=device)
        yield _told("node_disk_busy_seconds_total", int(words[12]) / 1e3, device=device)


def local_mounts(mounts: str) -> list[str]:
    """Mount points of /proc/self/mounts on local disks, each device once.

    A network file system is left out: asking for its room can take for ever.
    """
    found: dict[str, str] = {}
    for line in mounts.splitlines():
        device, place, kind, *_ = line.split()
        if kind in _LOCAL:
            place = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), place)
            known = found.get(device)
            if known is None or len(place) < len(known):
                found[device] = place
    return sorted(found.values())


def control_group(files: Mapping[str, str | None], **labels: str) -> Iterator[Told]:
    """The files of one control group (v2), by name."""
    cpu = _pairs(files.get("cpu.stat") or "")
    stat = _pairs(files.get("memory.stat") or "")
    events = _pairs(files.get("memory.events") or "")
    used = _whole(files.get("memory.current"))
    limit = _whole(files.get("memory.max"))  # `max` is no limit, so no row
    read, written = _moved(files.get("io.stat") or "")
    inactive = stat.get("inactive_file")
    known = {
        "container_cpu_seconds_total": _scaled(cpu.get("usage_usec"), 1e-6),
        "container_cpu_throttled_seconds_total": _scaled(cpu.get("throttled_usec"), 1e-6),
        "container_cpu_throttled_periods_total": cpu.get("nr_throttled"),
        "container_cpu_periods_total": cpu.get("nr_periods"),
        "container_memory_used_bytes": used,
        "container_memory_working_set_bytes": (
            None if used is None or inactive is None else max(used - inactive, 0.0)
        ),
        "container_memory_resident_bytes": stat.get("anon"),
        "container_memory_limit_bytes": limit,
        "container_memory_limit_hits_total": events.get("max"),
        "container_oom_kills_total": events.get("oom_kill"),
        "container_disk_read_bytes_total": read,
        "container_disk_written_bytes_total": written,
    }
    for signal, value in known.items():
        if value is not None:
            yield _told(signal, value, **labels)
    for resource in ("cpu", "memory", "io"):
        text = files.get(f"{resource}.pressure") or ""
        yield from pressure(text, resource, "container", **labels)


def _pairs(text: str) -> dict[str, float]:
    """Lines of a name and a number."""
    parts = (line.split() for line in text.splitlines())
    return {words[0]: float(words[1]) for words in parts if len(words) == 2 and _is_number(words)}


def _is_number(words: list[str]) -> bool:
    return words[1].isdecimal()


def _whole(text: str | None) -> float | None:
    told = (text or "").strip()
    return float(told) if told.isdecimal() else None


def _scaled(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


def _moved(io_stat: str) -> tuple[float | None, float | None]:
    """Bytes read and written of all devices; None when the group does not count them."""
    read = [int(value) for value in re.findall(r"\brbytes=(\d+)", io_stat)]
    written = [int(value) for value in re.findall(r"\bwbytes=(\d+)", io_stat)]
    return (float(sum(read)) if read else None), (float(sum(written)) if written else None)
