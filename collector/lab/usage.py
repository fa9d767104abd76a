"""What a group of processes used between two looks, as rates and ratios."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from collector.agent.files import KernelFiles
from collector.lab.processes import Process, Task, members, moved, tasks

_MOVED = {
    "read_bytes": "read_bytes_per_s",
    "write_bytes": "written_bytes_per_s",
    "syscr": "read_calls_per_s",
    "syscw": "write_calls_per_s",
}


@dataclass(frozen=True, slots=True)
class Usage:
    """A group's totals at one instant.

    Attributes:
        pids: its processes.
        totals: sums over them that only grow.
        tasks: of the scheduler, by thread.
        now: what is so at this instant.
    """

    pids: frozenset[int]
    totals: Mapping[str, float]
    tasks: Mapping[int, Task]
    now: Mapping[str, float]


def look(files: KernelFiles, processes: Mapping[int, Process], roots: Iterable[int]) -> Usage:
    """The group below `roots` as it is now."""
    pids = members(processes, roots)
    found = [processes[pid] for pid in pids]
    io = [moved(files, pid) for pid in pids]
    totals = {
        "cpu": sum(one.cpu_seconds for one in found),
        "minor_faults_per_s": float(sum(one.minor_faults for one in found)),
        "major_faults_per_s": float(sum(one.major_faults for one in found)),
    }
    if any(io):
        totals |= {name: float(sum(one.get(key, 0) for one in io)) for key, name in _MOVED.items()}
    now = {
        "resident_bytes": float(sum(one.resident_bytes for one in found)),
        "threads": float(sum(one.threads for one in found)),
    }
    return Usage(pids, totals, tasks(files, pids), now)


def used(before: Usage, after: Usage, seconds: float, cpus: int, own_cpus: int) -> dict[str, float]:
    """Metrics of the time in between, without the word for whose they are.

    Args:
        before: an earlier look.
        after: a later one.
        seconds: between them.
        cpus: cores of the host.
        own_cpus: cores the group may run on.
    """
    # Sums, not differences a process: what a child used moves to its parent when it ends.
    grown = {
        name: max(value - before.totals.get(name, 0.0), 0.0) for name, value in after.totals.items()
    }
    cpu_seconds = grown.pop("cpu")
    found = {name: value / seconds for name, value in grown.items()}
    found["cpu_ratio"] = cpu_seconds / seconds / cpus
    found["own_cores_ratio"] = cpu_seconds / seconds / own_cpus
    return {**found, **_scheduled(before.tasks, after.tasks, seconds), **after.now}


def _scheduled(
    before: Mapping[int, Task], after: Mapping[int, Task], seconds: float
) -> dict[str, float]:
    if not after:
        return {}
    none = Task(0.0, 0.0, 0, 0, 0)
    pairs = [(before.get(number, none), task) for number, task in after.items()]
    run = sum(late.run_seconds - early.run_seconds for early, late in pairs)
    wait = sum(late.wait_seconds - early.wait_seconds for early, late in pairs)
    turns = sum(late.turns - early.turns for early, late in pairs)
    found = {
        "run_wait_per_s": wait / seconds,
        "turns_per_s": turns / seconds,
        "switches_voluntary_per_s": sum(b.voluntary - a.voluntary for a, b in pairs) / seconds,
        "switches_forced_per_s": sum(b.forced - a.forced for a, b in pairs) / seconds,
    }
    if run + wait > 0:
        found["waiting_ratio"] = wait / (run + wait)
    if turns > 0:
        found["turn_seconds"] = run / turns
        found["wait_seconds"] = wait / turns
    return found
