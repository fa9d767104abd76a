"""The node itself as a source: processors, memory, pressure, disks, network, control groups."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping

from collector.agent import host_parse as parse
from collector.agent.files import KernelFiles
from collector.agent.host_parse import Told
from collector.model import Sample, Scrape, TargetFacts
from store.clock import Clock
from store.signals import SIGNALS

log = logging.getLogger(__name__)

_CGROUP = "sys/fs/cgroup"
_CGROUP_FILES = (
    *("cpu.stat", "cpu.pressure", "memory.current", "memory.max", "memory.stat"),
    *("memory.events", "memory.pressure", "io.stat", "io.pressure"),
)
_INFINIBAND = {
    # Counted in words of four bytes. Source: Documentation/ABI/stable/sysfs-class-infiniband.
    "port_rcv_data": ("node_infiniband_received_bytes_total", 4),
    "port_xmit_data": ("node_infiniband_sent_bytes_total", 4),
    "link_downed": ("node_infiniband_link_downs_total", 1),
    "symbol_error": ("node_infiniband_symbol_errors_total", 1),
}
_MEMORY_ERRORS = {
    "ce_count": "node_memory_errors_corrected_total",
    "ue_count": "node_memory_errors_uncorrected_total",
}


class HostSource:
    """Reads the kernel's files. What one kernel does not have is absent.

    Args:
        target_id: which target the scrapes belong to.
        clock: the time.
        files: where to read.
        cgroups: control groups to read besides our own, below /sys/fs/cgroup.
    """

    def __init__(
        self,
        target_id: int,
        clock: Clock,
        files: KernelFiles | None = None,
        cgroups: Iterable[str] = (),
    ) -> None:
        self._target_id = target_id
        self._clock = clock
        self._files = files or KernelFiles()
        self._cgroups = tuple(group.strip("/") for group in cgroups)
        self._release: str | None = None
        self._going: asyncio.Task[tuple[list[Told], int]] | None = None

    @property
    def target_id(self) -> int:
        """Which target the scrapes belong to."""
        return self._target_id

    async def scrape(self, timeout_seconds: float) -> Scrape:
        """Read everything once, on a worker thread: a sick disk can take its time.

        While it does, it is not asked a second time.
        """
        at, start = self._clock.now(), self._clock.monotonic()
        if self._going is None:
            self._going = asyncio.create_task(asyncio.to_thread(self.read))
        done, _ = await asyncio.wait({self._going}, timeout=timeout_seconds)
        if not done:
            why = f"the kernel did not answer within {timeout_seconds:g} s: a disk may hang"
            seconds = self._clock.monotonic() - start
            return Scrape(self._target_id, at, seconds, "timeout", why)
        going, self._going = self._going, None
        told, bad = going.result()
        seconds = self._clock.monotonic() - start
        samples, refused = samples_of(told)
        bad += refused
        if not samples:
            why = f"nothing could be read below {self._files.root}: is /proc mounted?"
            return Scrape(self._target_id, at, seconds, "not_metrics", why, bad_line_count=bad)
        return Scrape(
            self._target_id,
            at,
            seconds,
            "ok",
            sample_count=len(told),
            bad_line_count=bad,
            samples=samples,
            facts=self._facts(),
        )

    async def aclose(self) -> None:
        """Nothing to let go of."""

    def read(self) -> tuple[list[Told], int]:
        """Everything, and how many files could not be understood."""
        found: list[Told] = []
        bad = 0
        for part in self._parts():
            try:
                found += part()
            except (ValueError, IndexError, OSError):
                # One file of a kernel that is newer or older than we know leaves the others alone.
                log.debug("kernel_file_not_understood", exc_info=True)
                bad += 1
        return found, bad

    def _parts(self) -> tuple[Callable[[], Iterable[Told]], ...]:
        text = self._text
        ticks = os.sysconf("SC_CLK_TCK")
        return (
            lambda: parse.processors(text("proc/stat"), ticks),
            lambda: parse.load(told) if (told := text("proc/loadavg")) else (),
            lambda: parse.memory(text("proc/meminfo")),
            lambda: parse.page_faults(text("proc/vmstat")),
            *(self._pressure(resource) for resource in ("cpu", "memory", "io", "irq")),
            lambda: parse.network(text("proc/net/dev")),
            lambda: parse.retransmits(text("proc/net/snmp")),
            lambda: parse.disks(text("proc/diskstats"), self._files.names("sys/block")),
            self._room,
            self._infiniband,
            self._memory_errors,
            *(self._control_group(group) for group in ("", *self._cgroups)),
        )

    def _text(self, path: str) -> str:
        return self._files.text(path) or ""

    def _pressure(self, resource: str) -> Callable[[], Iterable[Told]]:
        return lambda: parse.pressure(self._text(f"proc/pressure/{resource}"), resource)

    def _room(self) -> Iterator[Told]:
        for place in parse.local_mounts(self._text("proc/self/mounts")):
            room = self._files.statvfs(place.lstrip("/"))
            if room is not None and room.f_blocks:
                labels = {"mount": place}
                size, free = room.f_blocks * room.f_frsize, room.f_bavail * room.f_frsize
                yield Told("node_filesystem_capacity_bytes", labels, float(size))
                yield Told("node_filesystem_available_bytes", labels, float(free))

    def _infiniband(self) -> Iterator[Told]:
        base = "sys/class/infiniband"
        for device in self._files.names(base):
            for port in self._files.names(f"{base}/{device}/ports"):
                labels = {"device": device, "port": port}
                for name, (signal, factor) in _INFINIBAND.items():
                    told = self._text(f"{base}/{device}/ports/{port}/counters/{name}").strip()
                    if told.isdecimal():
                        yield Told(signal, labels, float(int(told) * factor))

    def _memory_errors(self) -> Iterator[Told]:
        base = "sys/devices/system/edac/mc"
        for name, signal in _MEMORY_ERRORS.items():
            told = [
                int(text)
                for controller in self._files.names(base)
                if (text := self._text(f"{base}/{controller}/{name}").strip()).isdecimal()
            ]
            if told:
                yield Told(signal, {}, float(sum(told)))

    def _control_group(self, group: str) -> Callable[[], Iterable[Told]]:
        def read() -> Iterable[Told]:
            folder = f"{_CGROUP}/{group}" if group else _CGROUP
            files = {name: self._files.text(f"{folder}/{name}") for name in _CGROUP_FILES}
            if not group and files["memory.current"] is None:
                return ()  # the root of a whole machine: what it tells is the node's own
            return parse.control_group(files, container=group or "agent")

        return read

    def _facts(self) -> TargetFacts | None:
        """The kernel's release, told once and again when it changes."""
        release = self._text("proc/sys/kernel/osrelease").strip() or None
        if release == self._release:
            return None
        self._release = release
        return TargetFacts("host", release)


def samples_of(told: Iterable[Told]) -> tuple[tuple[Sample, ...], int]:
    """Samples of values that their signals accept, each series once, and how many were refused."""
    kept: dict[tuple[str, str], float] = {}
    refused = 0
    for signal, labels, value in told:
        if SIGNALS[signal].accepts(value):
            kept[signal, labels_text(labels)] = float(value)
        else:
            refused += 1
    return tuple(Sample(*key, value) for key, value in kept.items()), refused


def labels_text(labels: Mapping[str, str]) -> str:
    """Labels as samples carry them: a JSON object with sorted keys."""
    return json.dumps(dict(labels), sort_keys=True, separators=(",", ":"))
