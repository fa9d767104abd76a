"""One row a second about an instance, its neighbours, the host and the probes.

Metrics are named `who.what_unit`: `self` is the instance, `neighbour` who disturbs it, `host` the
machine, `probe` our own little work on the instance's cores. A metric that this host does not have
is missing from the row, and `absent` says why.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from collector.agent.files import KernelFiles
from collector.lab import counters, host, usage
from collector.lab.probes import Probes
from collector.lab.processes import Process, all_processes, members
from store.clock import Clock

_TICKS = os.sysconf("SC_CLK_TCK")
SELF, NEIGHBOUR = "self", "neighbour"
_NEEDS = {
    "cpu_waiting_ratio": "no /proc/pressure: the kernel has no PSI, or it is switched off",
    "disk_busy_ratio": "no disk of its own in /sys/block and /proc/diskstats",
    "steal_ratio": "the kernel tells no stolen time",
}
_NO_SCHEDSTAT = "no /proc/PID/schedstat"


@dataclass(frozen=True, slots=True)
class Row:
    """A stretch of time of about a second.

    Attributes:
        start: on the clock's monotonic scale.
        end: likewise.
        values: metrics by name.
        background_ratio: share of the host's cores that processes of nobody here used.
        steal_seconds: taken by the hypervisor; None when not told.
    """

    start: float
    end: float
    values: Mapping[str, float]
    background_ratio: float
    steal_seconds: float | None


@dataclass(frozen=True, slots=True)
class Groups:
    """Who is who: process numbers, of which all descendants count.

    Attributes:
        instance: the one asked about.
        neighbour: who disturbs it; may be empty.
        ours: who measures; counted neither as one of them nor as background.
        cores: on which the instance may run.
    """

    instance: Sequence[int]
    neighbour: Sequence[int] = ()
    ours: Sequence[int] = ()
    cores: Collection[int] = field(default_factory=lambda: tuple(os.sched_getaffinity(0)))


@dataclass(frozen=True, slots=True)
class _Look:
    at: float
    host: host.HostLook
    groups: Mapping[str, usage.Usage]
    background_seconds: float
    counted: Mapping[str, float]


class Sampler:
    """Looks at the host again and again; `step` gives what was between two looks.

    Args:
        clock: the time.
        groups: who is who.
        probes: little work to time; None leaves it out.
        files: where the kernel's files are.
    """

    def __init__(
        self,
        clock: Clock,
        groups: Groups,
        probes: Probes | None = None,
        files: KernelFiles | None = None,
    ) -> None:
        self._clock = clock
        self._groups = groups
        self._probes = probes
        self._files = files or KernelFiles()
        self._cpus = os.cpu_count() or 1
        self._counters = counters.TaskCounters(counters.available().names)
        self._last: _Look | None = None

    def step(self) -> Row | None:
        """What happened since the step before; None the first time."""
        look = self._look()
        before, self._last = self._last, look
        if before is None or look.at <= before.at:
            return None
        seconds = look.at - before.at
        values = self._values(before, look, seconds)
        if self._probes is not None:
            told = self._probes.measure(self._groups.cores)
            values |= {f"probe.{name}": value for name, value in told.items()}
        other = max(look.background_seconds - before.background_seconds, 0.0)
        stolen = host.steal_seconds(before.host, look.host)
        return Row(before.at, look.at, values, other / seconds / self._cpus, stolen)

    def close(self) -> None:
        """Let go of the counters."""
        self._counters.close()

    def _look(self) -> _Look:
        processes = all_processes(self._files)
        groups = {
            SELF: usage.look(self._files, processes, self._groups.instance),
            NEIGHBOUR: usage.look(self._files, processes, self._groups.neighbour),
        }
        counted = self._counters.totals(groups[SELF].tasks)
        return _Look(
            self._clock.monotonic(),
            host.look(self._files, _TICKS),
            groups,
            self._background(processes),
            counted,
        )

    def _background(self, processes: Mapping[int, Process]) -> float:
        """Processor time of everybody who is neither watched nor measures, nor the kernel."""
        groups = self._groups
        known = members(processes, [*groups.instance, *groups.neighbour, *groups.ours])
        return sum(
            one.cpu_seconds
            for pid, one in processes.items()
            if pid not in known and not one.is_kernel
        )

    def _values(self, before: _Look, after: _Look, seconds: float) -> dict[str, float]:
        own = len(self._groups.cores)
        found: dict[str, float] = {}
        for who in (SELF, NEIGHBOUR):
            told = usage.used(before.groups[who], after.groups[who], seconds, self._cpus, own)
            if who == NEIGHBOUR and not after.groups[who].pids:
                told = dict.fromkeys(("cpu_ratio", "own_cores_ratio"), 0.0)
            found |= {f"{who}.{name}": value for name, value in told.items()}
        told = host.changed(before.host, after.host, seconds, self._groups.cores)
        found |= {f"host.{name}": value for name, value in told.items()}
        for name, value in after.counted.items():
            found[f"self.{name}"] = max(value - before.counted[name], 0.0) / seconds
        return found | _derived(found)


def _derived(values: Mapping[str, float]) -> dict[str, float]:
    """What counters say of a unit of work rather than of the program's size."""
    found = {}
    instructions = values.get("self.instructions_per_s", 0.0)
    cycles = values.get("self.cycles_per_s", 0.0)
    if instructions > 0 and cycles > 0:
        found["self.instructions_per_cycle"] = instructions / cycles
    if instructions > 0 and "self.cache_misses_per_s" in values:
        found["self.cache_misses_per_instruction"] = (
            values["self.cache_misses_per_s"] / instructions
        )
    return found


class Recorder:
    """Steps a sampler on a thread of its own, on a grid of time.

    Args:
        sampler: what is stepped.
        clock: the time.
        period_seconds: between two rows.
    """

    def __init__(self, sampler: Sampler, clock: Clock, period_seconds: float = 1.0) -> None:
        self._sampler = sampler
        self._clock = clock
        self._period = period_seconds
        self._over = threading.Event()
        self._rows: list[Row] = []
        self._thread = threading.Thread(target=self._record, name="lab-sampler", daemon=True)

    def __enter__(self) -> Recorder:
        self._sampler.step()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._sampler.close()

    @property
    def rows(self) -> tuple[Row, ...]:
        """What was recorded so far."""
        return tuple(self._rows)

    def _record(self) -> None:
        due = self._clock.monotonic()
        while True:
            due += self._period
            if self._over.wait(max(due - self._clock.monotonic(), 0.0)):
                return
            row = self._sampler.step()
            if row is not None:
                self._rows.append(row)


def absent(row: Row) -> dict[str, str]:
    """Metrics that this host does not have, with the reason; from any row of it."""
    told = {f"self.{name}": why for name, why in counters.available().absent.items()}
    for name, why in _NEEDS.items():
        if f"host.{name}" not in row.values:
            told[f"host.{name}"] = why
    if "self.run_wait_per_s" not in row.values:
        told["self.run_wait_per_s"] = _NO_SCHEDSTAT
    return told
