"""A pool of real engine processes on this host.

For one machine, for laboratories and demonstrations: what a cluster's scheduler, kubelet and
endpoints do, in one folder. Routers and load generators read `endpoints.json` (replicas that take
requests), the collector reads `targets.json` (file_sd).
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress

from collector.starts.observation import StartObservation
from controller.actuators.base import Scale
from controller.actuators.local import processes, told
from controller.actuators.local.books import Books
from controller.actuators.local.engine import Engines
from controller.actuators.local.fleet import Fleet
from controller.actuators.local.settings import LocalPool, LocalSettings
from controller.actuators.local.state import COUNTED, DRAINING, READY, STOPPING, Folder, State
from controller.actuators.local.told import Endpoint
from controller.actuators.platform import NoAnswer, Refused
from store.clock import Clock
from store.errors import ControllerError

__all__ = ["LocalFleet", "LocalPool", "LocalSettings"]

log = logging.getLogger("servescope.local_fleet")


class LocalFleet:
    """Processes of this host as a platform; they go on when it is closed.

    Args:
        settings: of the fleet.
        clock: the time; processes need the real one.
    """

    def __init__(self, settings: LocalSettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._folder = Folder(settings.folder.expanduser())
        self._fleet: Fleet | None = None
        self._task: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._starting = asyncio.Lock()

    @property
    def name(self) -> str:
        """For people and records."""
        return f"local fleet {self._folder.path}"

    @property
    def pools(self) -> tuple[str, ...]:
        """Of the settings."""
        return tuple(self._settings.pools)

    async def start(self) -> None:
        """Take the folder, adopt what runs, and go on looking; safe twice.

        Raises:
            ControllerError: another controller has it, or this system has no /proc.
        """
        async with self._starting:
            if self._fleet is None:
                await self._start()

    async def _start(self) -> None:
        if not processes.supported():
            raise ControllerError("a local fleet needs /proc", where=self.name, hint="use Linux")
        await self._hold()
        try:
            boot = processes.boot_id()
            state = self._folder.load(boot) or State(boot)
            books = Books(self._settings, self._folder, state, self._clock)
            books.adopt()
            books.write()
        except OSError as error:
            self._folder.release()
            raise ControllerError(f"the folder cannot be used: {error}", where=self.name) from error
        self._fleet = fleet = Fleet(books, Engines(self._settings.answer_seconds))
        self._task = asyncio.create_task(self._watch(fleet), name="local-fleet")

    async def _hold(self) -> None:
        """Take the folder; a controller that was killed while it spawned lets go a moment later."""
        until = self._clock.monotonic() + self._settings.hold_seconds
        while True:
            try:
                self._folder.hold()
            except ControllerError:
                if self._clock.monotonic() >= until:
                    raise
                await self._clock.sleep(self._settings.start_check_seconds)
            else:
                return

    async def read(self, pool: str) -> Scale:
        """What was asked for, and what really runs now."""
        fleet = await self._started()
        wanted = fleet.books.state.pools[pool]
        here = [
            replica
            for replica in fleet.books.of(pool, *COUNTED)
            if replica.process is None or processes.alive(replica.process)
        ]
        ready = sum(replica.phase == READY for replica in here)
        return Scale(
            pool,
            wanted.replicas,
            ready,
            version=str(wanted.revision),
            decision_id=wanted.decision_id,
            starting=max(0, wanted.replicas - ready),
            draining=len(fleet.books.of(pool, DRAINING, STOPPING)),
        )

    async def write(self, pool: str, replicas: int, seen: Scale, decision_id: str) -> str:
        """Ask for so many; the rest happens while the fleet is watched."""
        fleet = await self._started()
        most = self._settings.pools[pool].most
        if replicas > most:
            raise Refused(f"'{pool}' may have {most} at most, not {replicas}")
        ports = self._settings.last_port - self._settings.first_port + 1
        others = sum(w.replicas for name, w in fleet.books.state.pools.items() if name != pool)
        if replicas + others > ports:
            raise Refused(f"there are {ports} ports, {others} of them taken by other pools")
        wanted = fleet.books.state.pools[pool]
        wanted.replicas, wanted.decision_id = replicas, decision_id
        wanted.revision += 1
        fleet.books.keep()
        try:
            fleet.books.write()
        except OSError as error:
            raise NoAnswer(f"the fleet's state cannot be written: {error.strerror}") from error
        self._wake.set()
        trouble = fleet.books.trouble(pool)
        return f"the last start failed: {trouble}" if trouble else ""

    async def aclose(self) -> None:
        """Stop looking, and let go of the folder; the processes go on. Safe twice."""
        task, self._task = self._task, None
        fleet, self._fleet = self._fleet, None
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        if fleet is not None:
            with suppress(OSError):
                fleet.books.write()
            await fleet.aclose()
        self._folder.release()

    async def end(self, limit_seconds: float = 30.0) -> bool:
        """End every process of the fleet, without draining; for the end of a demonstration.

        Returns:
            Whether all of them have left in time.
        """
        fleet = await self._started()
        for wanted in fleet.books.state.pools.values():
            wanted.replicas, wanted.decision_id = 0, ""
            wanted.revision += 1
        for replica in fleet.books.state.replicas.values():
            if replica.phase != STOPPING:
                fleet.dismiss(replica)
        self._wake.set()
        until = self._clock.monotonic() + limit_seconds
        while fleet.books.state.replicas and self._clock.monotonic() < until:
            await self._clock.sleep(self._settings.start_check_seconds)
        return not fleet.books.state.replicas

    def endpoints(self, pool: str | None = None) -> tuple[Endpoint, ...]:
        """Replicas that take requests now, of one pool or of all."""
        if self._fleet is None:
            return ()
        found = told.endpoints(self._fleet.books.state.replicas.values())
        return tuple(one for one in found if pool in (None, one.pool))

    def take_starts(self) -> tuple[StartObservation, ...]:
        """How starts went since the last time, for rows of `instance_start`."""
        return self._fleet.books.starts.take() if self._fleet is not None else ()

    async def _started(self) -> Fleet:
        try:
            await self.start()
        except ControllerError as error:
            raise NoAnswer(str(error)) from error
        if self._fleet is None or self._task is None or self._task.done():
            raise NoAnswer(f"nobody watches the fleet any more{_why(self._task)}")
        return self._fleet

    async def _watch(self, fleet: Fleet) -> None:
        while True:
            try:
                await fleet.look()
            except OSError as error:
                log.warning("local_fleet_look_failed", extra={"why": str(error)})
            pause = (
                self._settings.start_check_seconds
                if fleet.restless
                else self._settings.check_seconds
            )
            # Not wait_for: in Python 3.11 it can lose a cancellation, and this would never end.
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._wake.wait()
            self._wake.clear()


def _why(task: asyncio.Task[None] | None) -> str:
    """What ended the task that watches."""
    if task is None or not task.done() or task.cancelled():
        return ""
    return f": {task.exception()!r}"
