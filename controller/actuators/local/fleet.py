"""Bringing what runs to what is wanted, one look at a time.

A replica goes asked -> spawned -> open (its port) -> ready, and on its way out draining (no longer
published, until nothing runs or waits on it) -> stopping (SIGTERM, then SIGKILL) -> gone. One that
drains and is wanted again comes back at once. One that ends by itself is replaced, slower and
slower while it keeps failing.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Mapping
from contextlib import suppress

from controller.actuators.local import processes
from controller.actuators.local.books import GONE, Books, Watch
from controller.actuators.local.engine import Engines
from controller.actuators.local.settings import LocalPool
from controller.actuators.local.state import (
    ASKED,
    COUNTED,
    DRAINING,
    OPEN,
    READY,
    SPAWNED,
    STOPPING,
    Replica,
    State,
)

_QUIET_LOOKS = 2
_LOG_LOOKS = 20
_PROBES = 16


class Fleet:
    """Looks after the replicas in the books; `look` is called again and again by one task.

    Args:
        books: of the fleet.
        engines: asked how they are.
    """

    def __init__(self, books: Books, engines: Engines) -> None:
        self.books = books
        self._engines = engines
        self._gate = asyncio.Semaphore(_PROBES)
        self._steps: dict[str, asyncio.Task[None]] = {}
        self._looks = 0

    @property
    def restless(self) -> bool:
        """Whether something is on its way in or out."""
        return any(r.phase != READY for r in self.books.state.replicas.values())

    async def look(self) -> None:
        """Ask every replica, act on what it says, and write down what has changed.

        Raises:
            OSError: the folder cannot be written.
        """
        books = self.books
        before = _picture(books.state)
        books.keep()
        for name, replica in books.state.replicas.items():
            if name not in self._steps:
                self._steps[name] = asyncio.create_task(self._step(replica))
        if self._steps:
            # One that does not answer must not hold up the others.
            pause = books.settings.start_check_seconds
            await asyncio.wait(self._steps.values(), timeout=pause)
        over = {name: task for name, task in self._steps.items() if task.done()}
        for name in over:
            del self._steps[name]
        errors = [task.exception() for task in over.values()]
        books.strike()
        books.keep()
        self._trim_logs()
        books.write(changed=_picture(books.state) != before)
        for error in errors:
            if error is not None:
                raise error

    def dismiss(self, replica: Replica) -> None:
        """End a replica without waiting for its requests."""
        self.books.enter(replica, STOPPING)

    async def aclose(self) -> None:
        """Stop asking; the processes go on. Safe twice."""
        steps, self._steps = self._steps, {}
        for task in steps.values():
            task.cancel()
        for task in steps.values():
            with suppress(asyncio.CancelledError, OSError):
                await task
        await self._engines.aclose()

    async def _step(self, replica: Replica) -> None:
        watch, pool = self.books.watch(replica), self.books.pool(replica.pool)
        if replica.phase == ASKED:
            self._spawn(replica, pool)
        elif replica.process is None or not processes.alive(replica.process):
            self._ended(replica)
        elif replica.phase in (SPAWNED, OPEN, READY):
            await self._check(replica, pool, watch)
        elif replica.phase == DRAINING:
            await self._drain(replica, pool, watch)
        else:
            self._stop(replica, pool, watch)

    def _spawn(self, replica: Replica, pool: LocalPool) -> None:
        words = {
            "{host}": processes.HOST,
            "{port}": str(replica.port),
            "{pool}": replica.pool,
            "{replica}": replica.name,
        }
        command = [_filled(part, words) for part in pool.command]
        mark = processes.mark_of(self.books.folder.fleet, replica.pool, replica.name, replica.port)
        # In the books before it runs: a controller that dies in between finds it by its mark.
        self.books.write()
        try:
            replica.process = processes.spawn(
                command, pool.environment, mark, self.books.folder.log(replica.name)
            )
        except OSError as error:
            self.books.gone(replica, f"{command[0]}: {error.strerror}")
            return
        replica.spawned_at = self.books.clock.now()
        if replica.process is None:
            self.books.gone(
                replica, f"ended at once, see {self.books.folder.log(replica.name).name}"
            )
            return
        self.books.enter(replica, SPAWNED)

    async def _check(self, replica: Replica, pool: LocalPool, watch: Watch) -> None:
        phase = replica.phase
        async with self._gate:
            health = await self._engines.health(replica.port, pool.health_path)
        if replica.phase != phase:
            return  # somebody decided otherwise meanwhile
        now = self.books.clock.monotonic()
        if health == "ready":
            watch.heard = now
            if phase != READY:
                self._is_ready(replica, pool)
            return
        if health == "open" and phase == SPAWNED:
            replica.open_at = self.books.clock.now()
            self.books.enter(replica, OPEN, since=watch.since)
        if phase == READY:
            if now - watch.heard > self.books.settings.silent_seconds:
                self.books.enter(replica, OPEN)
        elif now - watch.since > pool.ready_seconds:
            self.books.fail(
                replica.pool, f"{replica.name} was not ready in {pool.ready_seconds:g} s"
            )
            self.books.starts.failed(
                replica, pool.model, self.books.clock.now(), "not ready in time"
            )
            self.books.enter(replica, STOPPING)

    def _is_ready(self, replica: Replica, pool: LocalPool) -> None:
        now = self.books.clock.now()
        first = replica.ready_at is None
        replica.open_at = replica.open_at or now
        replica.ready_at = replica.ready_at or now
        self.books.enter(replica, READY)
        self.books.settled(replica.pool)
        if first:
            self.books.starts.ready(replica, pool.model)

    async def _drain(self, replica: Replica, pool: LocalPool, watch: Watch) -> None:
        waited = self.books.clock.monotonic() - watch.since
        if waited < pool.leave_seconds:
            return
        busy = await self._engines.busy(replica.port, pool.metrics_path, pool.busy_metrics)
        if replica.phase != DRAINING:
            return  # called back meanwhile
        watch.quiet = watch.quiet + 1 if busy == 0 else 0
        if watch.quiet >= _QUIET_LOOKS or waited > pool.leave_seconds + pool.drain_seconds:
            self.books.enter(replica, STOPPING)

    def _stop(self, replica: Replica, pool: LocalPool, watch: Watch) -> None:
        assert replica.process is not None  # noqa: S101 - `_step` has asked
        waited = self.books.clock.monotonic() - watch.since
        if not watch.sent:
            processes.send(replica.process, signal.SIGTERM)
            watch.sent = 1
        elif waited > pool.stop_seconds and watch.sent == 1:
            processes.send(replica.process, signal.SIGKILL)
            watch.sent = 2

    def _ended(self, replica: Replica) -> None:
        if replica.phase in COUNTED:
            self.books.gone(replica, f"ended by itself while {replica.phase}")
        else:
            replica.phase = GONE

    def _trim_logs(self) -> None:
        self._looks += 1
        if self._looks % _LOG_LOOKS == 1:
            for name in self.books.state.replicas:
                processes.trim(self.books.folder.log(name), self.books.settings.log_bytes)


def _filled(part: str, words: Mapping[str, str]) -> str:
    for word, value in words.items():
        part = part.replace(word, value)
    return part


def _picture(state: State) -> tuple[object, ...]:
    replicas = tuple((r.name, r.phase, r.process) for r in state.replicas.values())
    pools = tuple((name, w.revision, w.decision_id) for name, w in state.pools.items())
    return (*pools, *replicas)
