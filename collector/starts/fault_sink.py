"""A sink that notices faults of cards in what passes through it."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC
from typing import Any

from collector.agent.wire import GpuFault
from collector.model import Scrape
from collector.sink import Appender, Sink
from collector.starts.faults import FaultSettings, FaultWatch, Seeds, fault_frame

log = logging.getLogger(__name__)

# Rows that wait for a store that does not take them; beyond it the oldest are lost.
_MOST_UNWRITTEN = 10_000


class FaultSink:
    """Writes scrapes to another sink, and the faults between them to the store.

    Args:
        inner: where scrapes go; closed together with this one.
        writer: takes the rows of `gpu_fault`.
        seeds: last readings of an earlier process; called once, in a thread.
        settings: when what counts as a fault.
    """

    def __init__(
        self,
        inner: Sink,
        writer: Appender,
        seeds: Callable[[], Seeds] | None = None,
        settings: FaultSettings | None = None,
    ) -> None:
        self._inner = inner
        self._writer = writer
        self._seeds_of = seeds
        self._settings = settings
        self._watch: FaultWatch | None = None
        self._unwritten: list[GpuFault] = []

    async def write(self, batch: Sequence[Scrape]) -> None:
        """Keep `batch` and the faults in it; returns when both are durable."""
        if self._watch is None:
            self._watch = FaultWatch(await self._seeds(), self._settings)
        for scrape in batch:
            # A batch that is written again shows nothing new: the rows still wait here.
            self._unwritten += self._watch.look(scrape)
        await self._inner.write(batch)
        await self._write_faults()

    async def aclose(self) -> None:
        """Close the inner sink; safe twice."""
        await self._inner.aclose()

    async def _seeds(self) -> Seeds:
        try:
            return await asyncio.to_thread(self._seeds_of) if self._seeds_of else {}
        except Exception:
            # Scrapes are worth more: begin as if nothing had been read before.
            log.exception("readings_not_found")
            return {}

    async def _write_faults(self) -> None:
        if self._unwritten:
            del self._unwritten[:-_MOST_UNWRITTEN]
            faults = list(self._unwritten)
            await asyncio.wrap_future(self._writer.append("gpu_fault", fault_frame(faults)))
            del self._unwritten[: len(faults)]


def seeds_of(rows: Iterable[Mapping[str, Any]]) -> Seeds:
    """Seeds out of the rows of `store.queries.faults.last_readings`."""
    return {
        (row["target_id"], row["signal"], _canonical(row["labels"])): (
            row["at"].replace(tzinfo=UTC),
            row["value"],
        )
        for row in rows
    }


def _canonical(labels: str) -> str:
    """Labels as readers write them: the store may add spaces."""
    return json.dumps(json.loads(labels), sort_keys=True, separators=(",", ":"))
