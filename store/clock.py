"""The one place that reads the time.

Durations come from `monotonic()`, stamps from `now()`; the two are never subtracted
from each other.
"""

from __future__ import annotations

import asyncio
import heapq
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """What time it is and how to wait."""

    def now(self) -> datetime:
        """The current instant, aware, in UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds from an arbitrary start; never goes back."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait for `seconds` >= 0."""
        ...


class WallClock:
    """The real time."""

    def now(self) -> datetime:
        """The current instant, aware, in UTC."""
        return datetime.now(UTC)  # noqa: TID251 - this is the clock

    def monotonic(self) -> float:
        """Seconds from an arbitrary start; never goes back."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait for `seconds` of real time."""
        await asyncio.sleep(seconds)  # noqa: TID251 - this is the clock


class VirtualClock:
    """A clock that moves only when told to; for tests, replay and simulation."""

    def __init__(self, start: datetime) -> None:
        if start.tzinfo is None:
            raise ValueError("VirtualClock needs an aware start time")
        self._now = start
        self._elapsed_seconds = 0.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._ticket = 0

    def now(self) -> datetime:
        """The current virtual instant, aware, in UTC."""
        return self._now

    def monotonic(self) -> float:
        """Virtual seconds since the start."""
        return self._elapsed_seconds

    async def sleep(self, seconds: float) -> None:
        """Wait until `advance` has moved the clock by `seconds`; 0 only lets others run."""
        if seconds <= 0:
            await asyncio.sleep(0)  # noqa: TID251 - no time passes
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._ticket += 1
        heapq.heappush(self._sleepers, (self._elapsed_seconds + seconds, self._ticket, waiter))
        await waiter

    def step(self, seconds: float) -> None:
        """Set the clock forward, or back, as people and programs do; no time passes by it."""
        self._now += timedelta(seconds=seconds)

    def advance(self, seconds: float) -> None:
        """Move on by `seconds` >= 0 and wake everybody whose time has come, in order."""
        if seconds < 0:
            raise ValueError("a clock never goes back")
        self._elapsed_seconds += seconds
        self._now += timedelta(seconds=seconds)
        while self._sleepers and self._sleepers[0][0] <= self._elapsed_seconds:
            _, _, waiter = heapq.heappop(self._sleepers)
            if not waiter.done():
                waiter.set_result(None)
