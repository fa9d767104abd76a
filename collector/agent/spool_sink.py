"""Scrapes into the spool: the sink of the agent's scheduler."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from collector.agent.ledger import DropLedger
from collector.agent.spool import Spool
from collector.agent.wire import BATCH, Batch, GpuFault, encode
from collector.model import Scrape
from collector.starts.faults import FaultWatch
from store.errors import CollectError

# A batch stays below the body that a server takes unless told otherwise (1 MiB).
MOST_BATCH_BYTES = 900_000


class SpoolSink:
    """Packs scrapes and what happened meanwhile into batches.

    Args:
        spool: where batches go; belongs to somebody else.
        urls: target_id -> address.
        ledger: losses to tell.
        faults: gives the faults noticed since it was asked last.
        reachable: whether batches arrive at the moment.
        on_batch: called after each.
    """

    def __init__(
        self,
        spool: Spool,
        urls: Mapping[int, str],
        ledger: DropLedger,
        faults: Callable[[], tuple[GpuFault, ...]] = lambda: (),
        reachable: Callable[[], bool] = lambda: True,
        on_batch: Callable[[], None] = lambda: None,
    ) -> None:
        self._spool = spool
        self._urls = urls
        self._ledger = ledger
        self._faults = faults
        self._watch = FaultWatch()
        self._reachable = reachable
        self._on_batch = on_batch
        self._closed = False

    async def write(self, batch: Sequence[Scrape]) -> None:
        """Spool `batch`; what the spool cannot keep is counted there.

        Raises:
            CollectError: the sink is closed.
        """
        if self._closed:
            raise CollectError("the sink is closed", hint="write before aclose()")
        self._ledger.collect()
        drops = self._ledger.take() if self._reachable() else ()
        faults = (*self._faults(), *self._seen_in(batch))
        if not (batch or faults or drops):
            return
        kept = self._append(replace(self._packed(batch), faults=faults, drops=drops))
        if kept and drops:
            self._ledger.told()
        self._ledger.collect()
        self._on_batch()

    async def aclose(self) -> None:
        """Refuse further writes; safe twice."""
        self._closed = True

    def _seen_in(self, batch: Sequence[Scrape]) -> list[GpuFault]:
        """Faults between the pages of exporters; cards that are read here tell their own."""
        pages = (s for s in batch if not self._urls[s.target_id].startswith("gpu://"))
        return [fault for scrape in pages for fault in self._watch.look(scrape)]

    def _packed(self, scrapes: Sequence[Scrape]) -> Batch:
        """The scrapes with the targets that they are of, numbered from 0."""
        ids = sorted({scrape.target_id for scrape in scrapes})
        number = {target_id: place for place, target_id in enumerate(ids)}
        told = tuple(replace(scrape, target_id=number[scrape.target_id]) for scrape in scrapes)
        return Batch(tuple(self._urls[target_id] for target_id in ids), told)

    def _append(self, batch: Batch) -> bool:
        """Spool a batch, in halves when it is too large for one body."""
        payload = encode(batch)
        if len(payload) > MOST_BATCH_BYTES and len(batch.scrapes) > 1:
            middle = len(batch.scrapes) // 2
            rest = replace(batch, scrapes=batch.scrapes[middle:], faults=(), drops=())
            first = self._append(replace(batch, scrapes=batch.scrapes[:middle]))
            return self._append(rest) and first
        return self._spool.append(BATCH, batch.rows, payload) == "disk"
