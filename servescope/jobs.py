"""Jobs: a name, a period and a function; every run is a row.

A run is skipped while the previous one is going, and the skip is recorded. A missed period runs
once, not many times: the next start is counted from the end of the wait, not from a timetable.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

import polars as pl

from servescope.documents import naive
from store.clock import Clock

log = logging.getLogger("servescope.jobs")

Details = Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Job:
    """Something done again and again.

    Attributes:
        name: unique, lower case with underscores.
        period_seconds: > 0; from one start to the next.
        work: called in a worker thread; returns details for the record, or None.
        is_own: whether every one of several servers does it for itself.
    """

    name: str
    period_seconds: float
    work: Callable[[], Details]
    is_own: bool = False


class RowWriter(Protocol):
    """The door that job rows leave by."""

    def append(self, table: str, frame: pl.DataFrame) -> Any:
        """Queue rows."""
        ...


class JobRunner:
    """Runs jobs on the event loop until it is closed.

    Args:
        jobs: what to run.
        writer: where `job_run` rows go.
        clock: periods and stamps.
        is_ours: whether this server does now what only one of several does.
    """

    def __init__(
        self, jobs: Sequence[Job], writer: RowWriter, clock: Clock,
        is_ours: Callable[[], bool] = lambda: True,
    ) -> None:  # fmt: skip
        self.jobs = tuple(jobs)
        self._is_ours = is_ours
        self._writer = writer
        self._clock = clock
        self._loops: list[asyncio.Task[None]] = []
        self._running: dict[str, asyncio.Task[None]] = {}
        self._failing: dict[str, str] = {}
        self.runs: dict[tuple[str, str], int] = {}

    def start(self) -> None:
        """Begin; the first run of each job is one period away. Safe to call twice."""
        if not self._loops:
            self._loops = [asyncio.create_task(self._repeat(job)) for job in self.jobs]

    async def aclose(self) -> None:
        """Stop waiting, let running work finish. Safe twice and without start."""
        loops, self._loops = self._loops, []
        for loop in loops:
            loop.cancel()
        await asyncio.gather(*loops, *self._running.values(), return_exceptions=True)

    def failing(self) -> dict[str, str]:
        """Jobs whose last run failed, with the error."""
        return dict(self._failing)

    async def _repeat(self, job: Job) -> None:
        while True:
            await self._clock.sleep(job.period_seconds)
            if job.is_own or self._is_ours():
                self._launch(job)

    def _launch(self, job: Job) -> None:
        running = self._running.get(job.name)
        if running is not None and not running.done():
            self._record(job, self._clock.now(), None, "skipped", "the previous run still goes on")
            return
        self._running[job.name] = asyncio.create_task(self._run(job))

    async def _run(self, job: Job) -> None:
        started_at, began = self._clock.now(), self._clock.monotonic()
        try:
            details = await asyncio.to_thread(job.work)
        except Exception as error:  # noqa: BLE001 - one of the three loops that record and go on
            self._failing[job.name] = f"{type(error).__name__}: {error}"
            log.warning("job_failed", extra={"job": job.name, "error": self._failing[job.name]})
            seconds = self._clock.monotonic() - began
            self._record(job, started_at, seconds, "failed", self._failing[job.name])
            return
        self._failing.pop(job.name, None)
        seconds = self._clock.monotonic() - began
        self._record(job, started_at, seconds, "done", None, details)

    def _record(
        self,
        job: Job,
        started_at: datetime,
        seconds: float | None,
        outcome: str,
        error: str | None,
        details: Details = None,
    ) -> None:
        self.runs[job.name, outcome] = self.runs.get((job.name, outcome), 0) + 1
        row = {
            "job": job.name,
            "started_at": naive(started_at),
            "seconds": seconds,
            "outcome": outcome,
            "error": error,
            "details": json.dumps(details, default=str) if details is not None else None,
        }
        try:
            self._writer.append("job_run", pl.DataFrame([row], infer_schema_length=None))
        except Exception as refused:  # noqa: BLE001 - a full queue must not end the jobs
            log.warning("job_row_lost", extra={"job": job.name, "error": str(refused)})
