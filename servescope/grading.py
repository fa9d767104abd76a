"""Grades of what agents send: their scrapes are stored by another door, and graded here."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace

from collector.model import Scrape
from collector.trust.seeds import seeds_of
from collector.trust.sink import GradingSink
from servescope.clock_offsets import ClockOffsets
from store.clock import Clock
from store.database import Database
from store.queries.trust import current

log = logging.getLogger(__name__)


class AgentGrades:
    """Grades the scrapes of agents, once each batch is durable.

    Args:
        database: where grades go.
        clock: the time.
        clocks: notes how far the clocks of targets are from those of their agents.
    """

    def __init__(
        self, database: Database, clock: Clock, clocks: ClockOffsets | None = None
    ) -> None:
        self._clocks = clocks or ClockOffsets()
        self._database = database
        self._urls: dict[int, str] = {}
        self._sink = GradingSink(
            _Kept(),
            database.writer,
            lambda: seeds_of(current(database.reader, clock.now()).to_dicts()),
            lambda target_id: self._urls.get(target_id, "another"),
        )

    async def note(
        self, target_ids: Mapping[int, int], urls: Mapping[int, str], scrapes: Sequence[Scrape]
    ) -> None:
        """Grade scrapes that are stored already. Never raises: the rows are worth more.

        Args:
            target_ids: number of a target in the scrapes -> its id; others are left out.
            urls: number of a target -> its address.
            scrapes: what came.
        """
        self._urls.update({own: urls[number] for number, own in target_ids.items()})
        told = [
            replace(scrape, target_id=target_ids[scrape.target_id])
            for scrape in scrapes
            if scrape.target_id in target_ids
        ]
        self._clocks.note(told)
        try:
            await self._sink.write(sorted(told, key=lambda scrape: scrape.at))
        except Exception:
            log.exception("agent_not_graded", extra={"scrapes": len(told)})


class _Kept:
    """Scrapes that are stored already."""

    async def write(self, batch: Sequence[Scrape]) -> None:
        """Nothing left to do."""

    async def aclose(self) -> None:
        """Nothing to let go of."""
