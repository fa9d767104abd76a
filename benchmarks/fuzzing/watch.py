"""Gives inputs to a target and notes what breaks: crashes, hangs, and greed for memory."""

from __future__ import annotations

import ctypes
import resource
import signal
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from fuzzing.target import Take

MOST_SECONDS = 1.0
"""Of processor time for one input; more is a hang."""
MOST_WAIT_SECONDS = 20.0
"""By the clock, for what waits without working; the machine may be busy with others."""
MOST_GROWTH_BYTES = 256 << 20
"""By which the largest resident size may rise during one input."""
_MINIMISE_SECONDS = 5.0
_ROOT = Path(__file__).parents[2]


class Hang(BaseException):
    """One input took too long; no `except Exception` may swallow it."""


@dataclass(slots=True)
class Found:
    """One kind of failure, with the smallest input that shows it."""

    kind: str
    where: str
    text: str
    data: bytes
    count: int = 1


@dataclass(slots=True)
class Watch:
    """Counts inputs; see the head of this module.

    Attributes:
        take: the target.
        most_seconds: of processor time for one input; more is a hang.
        found: failures, one of each kind and place.
        inputs: given so far.
        longest_seconds: processor time of the slowest input.
        resident_bytes: size of the process after a tenth of the inputs, and at the end.
    """

    take: Take
    most_seconds: float = MOST_SECONDS
    found: dict[str, Found] = field(default_factory=dict)
    inputs: int = 0
    longest_seconds: float = 0.0
    slowest: bytes = b""
    started_seconds: float = field(default_factory=time.process_time)

    def give(self, data: bytes) -> None:
        """Give one input; what it raises is noted."""
        self.inputs += 1
        peak = peak_bytes()
        began = time.process_time()
        try:
            with _timed(self.most_seconds):
                self.take(data)
        except (Exception, Hang) as error:  # noqa: BLE001 - this is what is looked for
            self._note(error, data)
        spent = time.process_time() - began
        if spent > self.longest_seconds:
            self.longest_seconds, self.slowest = spent, data
        if spent > self.most_seconds:
            self._note(Hang(f"more than {self.most_seconds:g} s of processor time"), data)
        if peak_bytes() - peak > MOST_GROWTH_BYTES:
            self._note(MemoryError(f"took more than {MOST_GROWTH_BYTES >> 20} MiB"), data)

    def _note(self, error: BaseException, data: bytes) -> None:
        kind, where = type(error).__name__, _place(error)
        found = self.found.get(f"{kind} {where}")
        if found is None:
            text = "".join(traceback.format_exception(error))[-3000:]
            self.found[f"{kind} {where}"] = Found(kind, where, text, data)
            return
        found.count += 1
        if len(data) < len(found.data):
            found.data = data

    def minimised(self) -> None:
        """Make the input of each failure as small as it gets in a few seconds."""
        for key, found in self.found.items():
            found.data = _smallest(self.take, key, found.data, self.most_seconds)

    def told(self) -> dict[str, Any]:
        """What came of it, as plain values."""
        seconds = time.process_time() - self.started_seconds
        failures = [
            {**asdict(one), "data": one.data.decode("latin-1")} for one in self.found.values()
        ]
        return {
            "inputs": self.inputs,
            "processor_seconds": round(seconds, 2),
            "processor_microseconds_per_input": round(1e6 * seconds / max(self.inputs, 1), 1),
            "longest_seconds": round(self.longest_seconds, 4),
            "peak_bytes": peak_bytes(),
            "failures": failures,
        }


def peak_bytes() -> int:
    """The largest resident size of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def resident_bytes() -> int:
    """The resident size of this process now, with what the allocator can give back given back."""
    ctypes.CDLL(None).malloc_trim(0)
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * resource.getpagesize()


@contextmanager
def _timed(most_seconds: float) -> Iterator[None]:
    """Raise `Hang` in the main thread: Python's own code cannot run on for ever."""
    signal.setitimer(signal.ITIMER_PROF, 2 * most_seconds)
    signal.setitimer(signal.ITIMER_REAL, MOST_WAIT_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)


def arm() -> tuple[Any, Any]:
    """Set the handlers of the two alarms; gives those that were set before."""

    def late(number: int, _: object) -> None:
        raise Hang(f"{signal.Signals(number).name}: the input takes too long")

    return signal.signal(signal.SIGPROF, late), signal.signal(signal.SIGALRM, late)


def disarm(before: tuple[Any, Any]) -> None:
    """Set the handlers that `arm` gave."""
    signal.signal(signal.SIGPROF, before[0])
    signal.signal(signal.SIGALRM, before[1])


def _place(error: BaseException) -> str:
    """The innermost line of ours; two failures there are one."""
    if hasattr(error, "what"):
        return f"a difference: {error.what}"
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename)
        if path.is_relative_to(_ROOT) and "fuzzing" not in path.parts:
            return f"{path.relative_to(_ROOT)}:{frame.lineno}"
    return "the target itself"


def _smallest(take: Take, key: str, data: bytes, most_seconds: float) -> bytes:
    end = time.process_time() + _MINIMISE_SECONDS
    size = len(data) // 2
    while size >= 1 and time.process_time() < end:
        at, shrank = 0, False
        while at < len(data) and time.process_time() < end:
            shorter = data[:at] + data[at + size :]
            if _shows(take, shorter, most_seconds) == key:
                data, shrank = shorter, True
            else:
                at += size
        if not shrank:
            size //= 2
    return data


def _shows(take: Take, data: bytes, most_seconds: float) -> str:
    try:
        with _timed(most_seconds):
            take(data)
    except (Exception, Hang) as error:  # noqa: BLE001 - this is what is looked for
        return f"{type(error).__name__} {_place(error)}"
    return ""
