"""A sink that grades what passes through it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from collector.model import Scrape
from collector.sink import Appender, Sink
from collector.trust.duplicates import Duplicates, duplicate
from collector.trust.grader import Seeds, TargetGrader
from collector.trust.grades import GradeChange, TrustSettings

if TYPE_CHECKING:
    import polars as pl

log = logging.getLogger(__name__)

# Rows that wait for a store that does not take them; beyond it the oldest are lost.
_MOST_UNWRITTEN = 20_000
# A target that nobody has asked for so long is none any more.
_FORGOTTEN_AFTER = timedelta(hours=1)
_SWEEP_EVERY = timedelta(seconds=5)

SeedsOf = Callable[[], Mapping[int, Seeds]]


class GradingSink:
    """Writes scrapes to another sink, and the grades they change to the store.

    Args:
        inner: where scrapes go; closed together with this one.
        writer: takes the rows of `signal_grade`.
        seeds: what held for each target when an earlier process ended; called once, in a thread.
        name_of: what people call a target; None = by its number.
        settings: when what counts as what.
    """

    def __init__(
        self,
        inner: Sink,
        writer: Appender,
        seeds: SeedsOf | None = None,
        name_of: Callable[[int], str] | None = None,
        settings: TrustSettings | None = None,
    ) -> None:
        self._inner = inner
        self._writer = writer
        self._seeds_of = seeds
        self._name_of = name_of or (lambda target_id: f"target number {target_id}")
        self._settings = settings or TrustSettings()
        self._seeds: dict[int, Seeds] | None = None
        self._graders: dict[int, TargetGrader] = {}
        self._duplicates = Duplicates()
        self._unwritten: list[GradeChange] = []
        self._swept_at: datetime | None = None
        self._one_at_a_time = asyncio.Lock()

    async def write(self, batch: Sequence[Scrape]) -> None:
        """Keep `batch` and what it changes; returns when both are durable."""
        async with self._one_at_a_time:
            await self._learn_seeds()
            # A batch that is written again grades nothing again: graders ignore what they know.
            for scrape in batch:
                self._unwritten += self._grade(scrape)
            if batch:
                self._unwritten += self._sweep(max(scrape.at for scrape in batch))
            await self._inner.write(batch)
            await self._write_changes()

    async def aclose(self) -> None:
        """Close the inner sink; safe twice."""
        await self._inner.aclose()

    async def _learn_seeds(self) -> None:
        if self._seeds is None:
            try:
                found = await asyncio.to_thread(self._seeds_of) if self._seeds_of else {}
            except Exception:
                # Scrapes are worth more than a spared row: grade as if nothing had been known.
                log.exception("grades_not_read")
                found = {}
            self._seeds = dict(found)

    def _grade(self, scrape: Scrape) -> list[GradeChange]:
        grader = self._graders.get(scrape.target_id)
        if grader is None:
            seeds = (self._seeds or {}).pop(scrape.target_id, None)
            grader = TargetGrader(scrape.target_id, self._settings, seeds)
            self._graders[scrape.target_id] = grader
        if grader.last_at is not None and scrape.at <= grader.last_at:
            return []
        twin = self._duplicates.look(scrape)
        return grader.grade(scrape, None if twin is None else duplicate(self._name_of(twin)))

    def _sweep(self, now: datetime) -> list[GradeChange]:
        """Targets that have gone quiet, and those that are gone."""
        if self._swept_at is not None and now - self._swept_at < _SWEEP_EVERY:
            return []
        self._swept_at = now
        changes: list[GradeChange] = []
        for target_id, grader in list(self._graders.items()):
            changes += grader.overdue(now)
            if grader.last_at is not None and now - grader.last_at > _FORGOTTEN_AFTER:
                del self._graders[target_id]
                self._duplicates.forget(target_id)
        return changes

    async def _write_changes(self) -> None:
        if self._unwritten:
            del self._unwritten[:-_MOST_UNWRITTEN]
            changes = list(self._unwritten)
            await asyncio.wrap_future(self._writer.append("signal_grade", grade_frame(changes)))
            del self._unwritten[: len(changes)]


def grade_frame(changes: Sequence[GradeChange]) -> pl.DataFrame:
    """The rows of `signal_grade`."""
    import polars as pl

    return pl.DataFrame(
        [
            (
                *(change.target_id, change.signal, change.at.replace(tzinfo=None)),
                *(change.verdict.grade, change.verdict.evidence, change.verdict.advice or None),
            )
            for change in changes
        ],
        schema={
            "target_id": pl.Int32,
            "signal": pl.String,
            "graded_at": pl.Datetime("us"),
            **dict.fromkeys(("grade", "evidence", "advice"), pl.String),
        },
        orient="row",
    )
