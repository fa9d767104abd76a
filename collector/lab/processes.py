"""Processes and what they used, from /proc. Formats: proc(5)."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from collector.agent.files import KernelFiles

_KERNEL_THREAD = 0x0020_0000  # PF_KTHREAD of include/linux/sched.h
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Process:
    """A line of /proc/PID/stat.

    Attributes:
        pid: its number.
        parent: its parent's number.
        is_kernel: whether it is a thread of the kernel.
        cpu_seconds: processor time of it and of children it has waited for.
        minor_faults: pages that were there, likewise.
        major_faults: pages that had to be read, likewise.
        threads: of it.
        resident_bytes: memory it holds now.
    """

    pid: int
    parent: int
    is_kernel: bool
    cpu_seconds: float
    minor_faults: int
    major_faults: int
    threads: int
    resident_bytes: int


@dataclass(frozen=True, slots=True)
class Task:
    """What the scheduler says of one thread: seconds on and waiting for a core, turns, switches."""

    run_seconds: float
    wait_seconds: float
    turns: int
    voluntary: int
    forced: int


def parse_stat(text: str) -> Process:
    """A line of /proc/PID/stat; the name in it may hold anything, brackets and blanks too."""
    pid = int(text.split(" ", 1)[0])
    words = text[text.rindex(")") + 2 :].split()
    ticks = sum(int(word) for word in words[11:15])
    return Process(
        pid=pid,
        parent=int(words[1]),
        is_kernel=bool(int(words[6]) & _KERNEL_THREAD),
        cpu_seconds=ticks / _TICKS,
        minor_faults=int(words[7]) + int(words[8]),
        major_faults=int(words[9]) + int(words[10]),
        threads=int(words[17]),
        resident_bytes=int(words[21]) * _PAGE_BYTES,
    )


def all_processes(files: KernelFiles) -> dict[int, Process]:
    """Every process by its number; those that end while they are read are left out."""
    found = {}
    for name in files.names("proc"):
        text = files.text(f"proc/{name}/stat") if name.isdecimal() else None
        if text:
            one = parse_stat(text)
            found[one.pid] = one
    return found


def members(processes: Mapping[int, Process], roots: Iterable[int]) -> frozenset[int]:
    """The roots that are there and all their descendants."""
    children: dict[int, list[int]] = {}
    for one in processes.values():
        children.setdefault(one.parent, []).append(one.pid)
    found: set[int] = set()
    waiting = [root for root in roots if root in processes]
    while waiting:
        pid = waiting.pop()
        if pid not in found:
            found.add(pid)
            waiting += children.get(pid, [])
    return frozenset(found)


def tasks(files: KernelFiles, pids: Iterable[int]) -> dict[int, Task]:
    """Threads of the processes by number; empty where the kernel keeps no schedstat."""
    found = {}
    for pid in pids:
        for name in files.names(f"proc/{pid}/task"):
            schedstat = files.text(f"proc/{pid}/task/{name}/schedstat")
            status = files.text(f"proc/{pid}/task/{name}/status")
            if schedstat and status:
                run, wait, turns = (int(word) for word in schedstat.split())
                voluntary, forced = _switches(status)
                found[int(name)] = Task(run / 1e9, wait / 1e9, turns, voluntary, forced)
    return found


def moved(files: KernelFiles, pid: int) -> dict[str, int]:
    """/proc/PID/io by name; empty when it is not ours to read."""
    pairs = (line.partition(":") for line in files.lines(f"proc/{pid}/io"))
    return {name: int(value) for name, _, value in pairs if value.strip().isdecimal()}


def _switches(status: str) -> tuple[int, int]:
    found = {"voluntary_ctxt_switches": 0, "nonvoluntary_ctxt_switches": 0}
    for line in status.splitlines():
        name, _, value = line.partition(":")
        if name in found:
            found[name] = int(value)
    return found["voluntary_ctxt_switches"], found["nonvoluntary_ctxt_switches"]
