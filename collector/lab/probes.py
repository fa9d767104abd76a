"""How long a little fixed work takes here and now: a stand-in for counters a host may not have.

Each probe is about two milliseconds on an idle core, so that all of them take less than a hundredth
of a second's work. Wall time tells of waiting for the core, processor time of caches and memory.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Collection
from typing import Any

import numpy as np
import numpy.typing as npt

_TABLE_NUMBERS = 8_000_000  # 64 MB: more than the caches of a core
_GATHERED = 250_000
_STREAMED = 4_000_000
_SPINS = 100_000
_NAP_SECONDS = 0.001


class Probes:
    """Keeps 64 MB of numbers to read.

    Args:
        seed: of what is read.
    """

    def __init__(self, seed: int = 7) -> None:
        random = np.random.default_rng(seed)
        self._table = np.arange(_TABLE_NUMBERS, dtype=np.float64)
        self._places = [
            random.integers(0, _TABLE_NUMBERS, _GATHERED, dtype=np.int64) for _ in range(8)
        ]
        self._taken = np.empty(_GATHERED)
        self._round = 0

    def measure(self, cores: Collection[int]) -> dict[str, float]:
        """Run every probe on `cores`, then go back to where this thread was allowed to run.

        Returns:
            Seconds: `gather`, `stream` and `spin` as wall and as processor time, and how late a nap
            of a millisecond ended.
        """
        allowed = os.sched_getaffinity(0)
        os.sched_setaffinity(0, cores)
        try:
            self._round += 1
            return {
                **_timed("gather", self._gather),
                **_timed("stream", self._stream),
                **_timed("spin", _spin),
                "nap_late_seconds": _nap_late(),
            }
        finally:
            os.sched_setaffinity(0, allowed)

    def _gather(self) -> Any:
        places = self._places[self._round % len(self._places)]
        return self._table.take(places, out=self._taken, mode="clip")

    def _stream(self) -> npt.NDArray[np.float64]:
        start = self._round * _STREAMED % (_TABLE_NUMBERS - _STREAMED)
        return np.add.reduce(self._table[start : start + _STREAMED], keepdims=True)


def _timed(name: str, work: Callable[[], Any]) -> dict[str, float]:
    wall, cpu = time.perf_counter(), time.thread_time()
    work()
    return {
        f"{name}_cpu_seconds": time.thread_time() - cpu,
        f"{name}_seconds": time.perf_counter() - wall,
    }


def _spin() -> int:
    count = 0
    for number in range(_SPINS):
        count += number
    return count


def _nap_late() -> float:
    start = time.perf_counter()
    threading.Event().wait(_NAP_SECONDS)
    return max(time.perf_counter() - start - _NAP_SECONDS, 0.0)
