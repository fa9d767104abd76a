"""Waiting until an engine has nothing to do, and only then putting it away."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from dataclasses import dataclass

from collector import exposition
from controller.actuators.http import Http
from controller.actuators.platform import NoAnswer, PlatformAnswer
from store.clock import Clock

log = logging.getLogger("servescope.actuators")

LLAMA_BUSY = ("llamacpp:requests_processing", "llamacpp:requests_deferred")
VLLM_BUSY = ("vllm:num_requests_running", "vllm:num_requests_waiting")
_QUIET_LOOKS = 2
_PAUSE_SECONDS = 0.2

Act = Callable[[], Awaitable[None]]
Busy = Callable[[], Awaitable[float | None]]


@dataclass(frozen=True, slots=True)
class DrainTimes:
    """How long is waited for running requests.

    Attributes:
        leave_seconds: before requests are counted, so that routers notice.
        drain_seconds: longest wait for running requests; then it happens all the same.
        look_seconds: between two looks.
    """

    leave_seconds: float
    drain_seconds: float
    look_seconds: float = 0.5


async def busy(http: Http, path: str, names: Collection[str]) -> float | None:
    """Requests that run or wait, from a metrics page; None where it does not tell."""
    try:
        answer = await http.ask("GET", path)
    except NoAnswer:
        return None
    page = exposition.parse(answer.body) if answer.good else exposition.Page()
    found = [value for series, value in page.values.items() if series.name in names]
    return sum(found) if found and all(math.isfinite(value) for value in found) else None


class Drains:
    """What is on its way out; each ends by its own task, or is called back.

    Args:
        clock: the time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._acting: set[str] = set()
        self.trouble: dict[str, str] = {}

    def __contains__(self, key: str) -> bool:
        return key in self._tasks

    def begin(self, key: str, count: Busy, times: DrainTimes, act: Act) -> None:
        """Wait until `count` is 0, then `act`; once for each key."""
        if key not in self._tasks:
            self._tasks[key] = asyncio.create_task(self._drain(key, count, times, act))

    async def call_back(self, key: str) -> bool:
        """Stop waiting; False when it is too late for that, or nothing is on its way."""
        task = self._tasks.get(key)
        if task is None or key in self._acting:
            return False
        await self._end(key, task)
        return True

    async def pause(self) -> None:
        """A moment between two questions."""
        await self._clock.sleep(_PAUSE_SECONDS)

    async def aclose(self) -> None:
        """Stop waiting for all of them: they stay as they are. Safe twice."""
        for key, task in list(self._tasks.items()):
            await self._end(key, task)

    async def _end(self, key: str, task: asyncio.Task[None]) -> None:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        self._tasks.pop(key, None)

    async def _drain(self, key: str, count: Busy, times: DrainTimes, act: Act) -> None:
        try:
            await self._quiet(count, times)
            self._acting.add(key)
            await act()
            self.trouble.pop(key, None)
        except PlatformAnswer as answer:
            self.trouble[key] = answer.text
            log.warning("drain_failed", extra={"what": key, "why": answer.text})
        finally:
            self._acting.discard(key)
            if self._tasks.get(key) is asyncio.current_task():
                del self._tasks[key]

    async def _quiet(self, count: Busy, times: DrainTimes) -> None:
        await self._clock.sleep(times.leave_seconds)
        until = self._clock.monotonic() + times.drain_seconds
        quiet = 0
        while quiet < _QUIET_LOOKS and self._clock.monotonic() < until:
            quiet = quiet + 1 if await count() == 0 else 0
            await self._clock.sleep(times.look_seconds)
