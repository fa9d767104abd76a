"""Counters of the processor and the kernel by perf_event_open(2), where this host has them.

Virtual machines and containers often have none: then the reason is kept, and no metric is made up.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from collections.abc import Iterable
from dataclasses import dataclass

_CALLS = {"x86_64": 298, "aarch64": 241}
_HARDWARE, _SOFTWARE = 0, 1
_ATTRIBUTE_BYTES = 112  # PERF_ATTR_SIZE_VER5
_CLOSE_ON_EXEC = 8
_TIMES = 1 | 2  # PERF_FORMAT_TOTAL_TIME_ENABLED, PERF_FORMAT_TOTAL_TIME_RUNNING
_WITHOUT_KERNEL = 1 << 5  # exclude_kernel
# Name -> (type, config) of include/uapi/linux/perf_event.h.
EVENTS = {
    "cycles_per_s": (_HARDWARE, 0),
    "instructions_per_s": (_HARDWARE, 1),
    "cache_references_per_s": (_HARDWARE, 2),
    "cache_misses_per_s": (_HARDWARE, 3),
    "branch_misses_per_s": (_HARDWARE, 5),
    "migrations_per_s": (_SOFTWARE, 4),
}


@dataclass(frozen=True, slots=True)
class Available:
    """What this host lets us count.

    Attributes:
        names: of `EVENTS`.
        absent: why the others cannot be counted.
    """

    names: tuple[str, ...]
    absent: dict[str, str]


def available() -> Available:
    """Try each event on this very process."""
    names, absent = [], {}
    for name in EVENTS:
        opened = _open(name, os.getpid())
        if isinstance(opened, str):
            absent[name] = opened
        else:
            os.close(opened)
            names.append(name)
    return Available(tuple(names), absent)


class TaskCounters:
    """Counts events of threads from when they were first seen.

    Args:
        names: of `EVENTS`.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._names = tuple(names)
        self._open: dict[int, list[int]] = {}
        self._ended = dict.fromkeys(self._names, 0.0)

    def totals(self, threads: Iterable[int]) -> dict[str, float]:
        """Sums over all threads seen so far, the given ones included, by name."""
        there = set(threads)
        for thread in there - self._open.keys():
            opened = [_open(name, thread) for name in self._names]
            numbers = [one for one in opened if isinstance(one, int)]
            if len(numbers) == len(self._names):
                self._open[thread] = numbers
            else:
                _close(numbers)
        sums = dict(self._ended)
        for thread, numbers in list(self._open.items()):
            for name, number in zip(self._names, numbers, strict=True):
                sums[name] += _count(number)
                if thread not in there:
                    self._ended[name] += _count(number)
            if thread not in there:
                _close(self._open.pop(thread))
        return sums

    def close(self) -> None:
        """Let go of all counters; may be called twice."""
        while self._open:
            _close(self._open.popitem()[1])


def _open(name: str, thread: int) -> int | str:
    """A descriptor, or the reason why there is none."""
    if platform.machine() not in _CALLS:
        return f"perf_event_open is not known for {platform.machine()}"
    found, code = _called(name, thread, 0)
    if code in (errno.EACCES, errno.EPERM):  # what a program does by itself, everybody may count
        found, code = _called(name, thread, _WITHOUT_KERNEL)
    if found >= 0:
        return found
    if code in (errno.ENOENT, errno.EOPNOTSUPP, errno.ENODEV):
        return "this host has no such counter"
    if code in (errno.EACCES, errno.EPERM):
        return "not permitted: see /proc/sys/kernel/perf_event_paranoid"
    return os.strerror(code)


def _called(name: str, thread: int, flags: int) -> tuple[int, int]:
    """What perf_event_open answers: a descriptor and 0, or -1 and the error."""
    kind, config = EVENTS[name]
    told = struct.pack("=IIQQQQQ", kind, _ATTRIBUTE_BYTES, config, 0, 0, _TIMES, flags)
    attribute = ctypes.create_string_buffer(told, _ATTRIBUTE_BYTES)
    library = ctypes.CDLL(None, use_errno=True)
    close = ctypes.c_ulong(_CLOSE_ON_EXEC)
    found = library.syscall(_CALLS[platform.machine()], attribute, thread, -1, -1, close)
    return int(found), ctypes.get_errno() if found < 0 else 0


def _count(descriptor: int) -> float:
    """Scaled up where the processor has fewer counters than were asked for and takes turns."""
    count, enabled, running = struct.unpack("=QQQ", os.read(descriptor, 24))
    return float(count * enabled / running) if running else 0.0


def _close(descriptors: Iterable[int]) -> None:
    for number in descriptors:
        os.close(number)
