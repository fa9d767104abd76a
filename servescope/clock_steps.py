"""Whether the system's clock was set: what deletes by age waits until it can be believed again."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import timedelta
from threading import Lock
from typing import Any

from store.clock import Clock

log = logging.getLogger("servescope.clock")

STEP_SECONDS = 60.0
"""A clock that was moved by less was only corrected."""
STEADY_SECONDS = 6 * 3600.0
"""So long a new time has to last before anything is deleted by it."""


class ClockSteps:
    """Compares the stamps of a clock with the seconds that really passed.

    Args:
        clock: whose `now` may be set by people and programs, and whose `monotonic` may not.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = Lock()
        self._offset = self._now_offset()
        self._stepped_at: float | None = None
        self._step_seconds = 0.0

    def look(self) -> None:
        """Notice a step; called often enough that one is not missed between two others."""
        offset = self._now_offset()
        with self._lock:
            step, self._offset = offset - self._offset, offset
            if abs(step) < STEP_SECONDS:
                return
            self._stepped_at, self._step_seconds = self._clock.monotonic(), step
        log.warning("clock_was_set", extra={"by_seconds": round(step, 1)})

    def unsteady(self) -> str | None:
        """Why the clock is not believed yet; None where it is."""
        self.look()
        with self._lock:
            if self._stepped_at is None:
                return None
            left = STEADY_SECONDS - (self._clock.monotonic() - self._stepped_at)
            if left <= 0:
                return None
            way = "forward" if self._step_seconds > 0 else "back"
            by = timedelta(seconds=round(abs(self._step_seconds)))
            wait = timedelta(seconds=round(left))
            return f"the clock was set {way} by {by}; nothing is deleted by age for {wait}"

    def when_steady(
        self, work: Callable[[], Mapping[str, Any] | None]
    ) -> Callable[[], Mapping[str, Any] | None]:
        """A job that deletes by age, put off while the clock is not believed."""

        def waiting() -> Mapping[str, Any] | None:
            why = self.unsteady()
            return {"put_off": why} if why else work()

        return waiting

    def _now_offset(self) -> float:
        return self._clock.now().timestamp() - self._clock.monotonic()
