"""Comparisons that the server runs: one at a time, in worker processes, the others wait."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from threading import Condition, Event, Thread
from typing import TYPE_CHECKING, Any, ClassVar

from store import replays
from store.clock import Clock
from store.database import Database
from store.errors import ControllerError, ServescopeError
from store.queries import replays as queries
from store.settings import StoreSettings

if TYPE_CHECKING:
    from controller.comparison.campaign import Standing
    from servescope.replaying.results import Planned

log = logging.getLogger("servescope.replaying")

MOST_WAITING = 8
WORKERS = 2
CLOSE_SECONDS = 10.0


class QueueFull(ControllerError):
    """Too many comparisons wait."""

    status: ClassVar[int] = 429


@dataclass(slots=True)
class _Job:
    planned: Planned
    stop: Event = field(default_factory=Event)
    standing: Standing | None = None


class Replaying:
    """One process's comparisons. Safe from any thread.

    Args:
        database: the store.
        clock: stamps.
        workers: processes of one comparison.
    """

    def __init__(self, database: Database, clock: Clock, workers: int = WORKERS) -> None:
        self._database, self._clock, self._workers = database, clock, workers
        self._changed = Condition()
        self._waiting: deque[_Job] = deque()
        self._jobs: dict[str, _Job] = {}
        self._thread: Thread | None = None
        self._is_closed = False

    def start(self) -> None:
        """Say of what an earlier process left that it was interrupted."""
        replays.interrupt_open(self._database.writer, self._clock.now()).result()

    def submit(self, planned: Planned) -> str:
        """Queue a comparison; gives its id.

        Raises:
            QueueFull: too many wait.
        """
        with self._changed:
            if self._is_closed:
                raise QueueFull("the server ends", hint="ask again when it is back")
            if len(self._waiting) >= MOST_WAITING:
                raise QueueFull(
                    f"{MOST_WAITING} comparisons wait already",
                    hint="GET /api/v1/replays shows them; DELETE /api/v1/replays/ID ends one",
                )
            replays.add(self._database.writer, planned.row).result()
            job = _Job(planned)
            self._jobs[planned.replay_id] = job
            self._waiting.append(job)
            if self._thread is None:
                self._thread = Thread(target=self._work, name="replaying", daemon=True)
                self._thread.start()
            self._changed.notify_all()
        return planned.replay_id

    def cancel(self, replay_id: str) -> str:
        """End a comparison; what is done is kept. Gives its state: cancelled, or how it ended.

        Raises:
            InputError: there is none.
        """
        with self._changed:
            job = self._jobs.get(replay_id)
            if job is None:
                return str(self._row(replay_id)["state"])
            job.stop.set()
            if job in self._waiting:
                self._waiting.remove(job)
                self._ended(job, "cancelled", "before it began")
        return "cancelled"

    def progress(self, replay_id: str) -> dict[str, Any] | None:
        """How far it is; None when it does not wait or run here."""
        with self._changed:
            job = self._jobs.get(replay_id)
            if job is None:
                return None
            at = job.standing
            before = list(self._waiting).index(job) + 1 if job in self._waiting else 0
        return {
            "share": at.share if at else 0.0,
            "done": at.done if at else 0,
            "expected": at.expected if at else None,
            "left_seconds": at.left_seconds if at else None,
            "text": at.text if at else "waiting",
            "waiting_before": before,
        }

    def forget(self, settings: StoreSettings) -> Mapping[str, Any] | None:
        """Delete comparisons that are older, or more, than is kept; details or None."""
        days = settings.replay_retention_days
        before = None if days is None else self._clock.now() - timedelta(days=days)
        gone = replays.delete_old(self._database.writer, before, settings.most_replays)
        return {"replays": gone} if gone else None

    def close(self) -> None:
        """Stop what runs; what is done by then is kept. Safe twice."""
        with self._changed:
            self._is_closed = True
            for job in self._jobs.values():
                job.stop.set()
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(CLOSE_SECONDS)

    def _row(self, replay_id: str) -> Mapping[str, Any]:
        found = queries.listed(self._database.reader, replay_id)
        if found.is_empty():
            raise queries.missing(self._database.reader, replay_id)
        return found.row(0, named=True)

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._is_closed)
                if not self._waiting:
                    return
                job = self._waiting.popleft()
            try:
                self._one(job)
            except Exception as error:  # noqa: BLE001 - one that fails must not end the others
                told = str(error) if isinstance(error, ServescopeError) else repr(error)
                log.warning("replay_failed", extra={"replay": job.planned.replay_id, "why": told})
                self._fail(job, told)

    def _one(self, job: _Job) -> None:
        # The simulator is loaded by the first comparison.
        from servescope.replaying import results

        replay_id, writer = job.planned.replay_id, self._database.writer
        if job.stop.is_set():
            self._ended(job, "cancelled", "before it began")
            return
        replays.stand(writer, replay_id, self._clock.now(), "running").result()

        def told(standing: Standing) -> None:
            job.standing = standing

        result = results.run(job.planned, self._workers, told, job.stop)
        results.keep(writer, result, self._clock.now())
        with self._changed:
            self._jobs.pop(replay_id, None)

    def _ended(self, job: _Job, state: str, text: str) -> None:
        """Needs the lock."""
        replay_id = job.planned.replay_id
        self._jobs.pop(replay_id, None)
        writer = self._database.writer
        replays.stand(writer, replay_id, self._clock.now(), state, text).result()

    def _fail(self, job: _Job, text: str) -> None:
        with self._changed:
            try:
                self._ended(job, "failed", text)
            except ServescopeError as error:
                log.warning("replay_state_lost", extra={"why": str(error)})
