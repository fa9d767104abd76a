"""Time limits of many queries, kept by one thread.

A timer thread for each query costs more than a short query does: its start alone waits for a place
on a processor.
"""

from __future__ import annotations

import heapq
import threading
from collections.abc import Callable
from itertools import count

from store.clock import WallClock


class Alarm:
    """One time limit; `cancel` before it rings, safe at any time and twice."""

    __slots__ = ("_ring",)

    def __init__(self, ring: Callable[[], None]) -> None:
        self._ring: Callable[[], None] | None = ring

    def cancel(self) -> None:
        """Never ring, unless it is ringing already."""
        self._ring = None

    def go_off(self) -> None:
        """Ring once, if nobody cancelled."""
        ring, self._ring = self._ring, None
        if ring is not None:
            ring()


class Alarms:
    """Rings alarms from a thread that starts with the first of them; close it at the end."""

    def __init__(self) -> None:
        self._clock = WallClock()  # a limit of a query is always one of real time
        self._changed = threading.Condition()
        self._due: list[tuple[float, int, Alarm]] = []
        self._numbers = count()
        self._thread: threading.Thread | None = None
        self._closed = False

    def after(self, seconds: float, ring: Callable[[], None]) -> Alarm:
        """Call `ring` in `seconds`, on the thread of the alarms; it must be quick."""
        alarm = Alarm(ring)
        entry = (self._clock.monotonic() + seconds, next(self._numbers), alarm)
        with self._changed:
            heapq.heappush(self._due, entry)
            if self._thread is None and not self._closed:
                self._thread = threading.Thread(target=self._run, name="query-alarms", daemon=True)
                self._thread.start()
            elif self._due[0] is entry:
                self._changed.notify()
        return alarm

    def close(self) -> None:
        """Ring no more; safe twice."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._closed and (wait := self._seconds_left()) != 0.0:
                    self._changed.wait(wait)
                if self._closed:
                    return
                alarm = heapq.heappop(self._due)[2]
            alarm.go_off()

    def _seconds_left(self) -> float | None:
        """Until the first alarm; None when there is none."""
        if not self._due:
            return None
        return max(0.0, self._due[0][0] - self._clock.monotonic())
