"""Batches of agents inside the server: kept, then graded like what the server reads by itself."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from collector.model import Scrape
from collector.starts.fault_sink import FaultSink
from collector.starts.fault_sink import seeds_of as fault_seeds_of
from collector.starts.faults import WATCHED_SIGNALS
from collector.trust.seeds import seeds_of
from collector.trust.sink import GradingSink
from servescope import agents
from servescope.agent_names import AgentNames
from servescope.runtime import Runtime
from store import agents as agent_store
from store.agents import Kept
from store.queries.faults import last_readings
from store.queries.trust import current

log = logging.getLogger("servescope.agents")

# How far back readings of cards are looked for at the start: what changed since is a fault.
_FAULTS_SEEN_BEFORE = timedelta(hours=6)


class _Kept:
    """A sink for what is in the store already."""

    async def write(self, batch: Sequence[Scrape]) -> None:
        """Nothing is left to do."""

    async def aclose(self) -> None:
        """Nothing to let go of."""


class AgentIntake:
    """Takes batches of all agents.

    Args:
        runtime: store, clock, counts of what is not taken.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._names: dict[int, str] = {}
        reader, writer, clock = runtime.database.reader, runtime.database.writer, runtime.clock
        self._grading = GradingSink(
            _Kept(),
            writer,
            lambda: seeds_of(current(reader, clock.now()).to_dicts()),
            lambda number: self._names.get(number, "another"),
        )
        self._faults = FaultSink(
            _Kept(),
            writer,
            lambda: fault_seeds_of(
                last_readings(reader, WATCHED_SIGNALS, clock.now() - _FAULTS_SEEN_BEFORE).to_dicts()
            ),
        )
        self._order = asyncio.Lock()
        self.owners = AgentNames(clock)

    async def take(self, agent: str, batch_ids: str, body: bytes) -> Kept:
        """Keep the batches in an unpacked body; returns when they are durable.

        Raises:
            InputError: they can never be kept.
            StoreError: they cannot be kept now.
        """
        runtime = self._runtime
        told = await asyncio.to_thread(agents.read_batches, agent, batch_ids, body, runtime.drops)
        kept = await asyncio.wrap_future(
            agent_store.keep(
                runtime.database.writer, agent, told.batches, told.frames, runtime.clock.now()
            )
        )
        urls = {number: url for batch in told.batches for number, url in batch.targets.items()}
        self._names.update({own: urls[number] for number, own in kept.target_ids.items()})
        fresh = [
            replace(scrape, target_id=kept.target_ids[scrape.target_id])
            for scrape in told.scrapes
            if scrape.target_id in kept.target_ids
        ]
        await self._look(fresh)
        return kept

    async def _look(self, scrapes: Sequence[Scrape]) -> None:
        """Grade, and notice faults. The rows are kept, so a failure here fails no batch."""
        # The agent itself tells what goes wrong on its own node's cards, and more than readings do.
        others = [s for s in scrapes if not self._names[s.target_id].startswith("gpu://")]
        async with self._order:
            try:
                await self._grading.write(scrapes)
                await self._faults.write(others)
            except Exception:
                log.exception("agent_scrapes_not_graded", extra={"scrapes": len(scrapes)})
