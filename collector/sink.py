"""Where scrapes go: the contract, the store, and a double for tests.

polars is imported only when rows are made: an agent that forwards scrapes elsewhere stays light.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Protocol

from collector.model import Scrape, TargetFacts
from collector.rows import frames
from store.errors import CollectError

if TYPE_CHECKING:
    import polars as pl

__all__ = ["Appender", "Describe", "MemorySink", "Sink", "StoreSink", "frames"]


class Sink(Protocol):
    """Takes scrapes for keeping."""

    async def write(self, batch: Sequence[Scrape]) -> None:
        """Keep `batch`; returns only when it is durable. Writing it again changes nothing.

        Raises:
            CollectError: the sink is closed.
            StoreError: it could not be kept; nothing is promised about the batch.
        """
        ...

    async def aclose(self) -> None:
        """Let go of everything; safe twice and without a write."""
        ...


class Appender(Protocol):
    """The part of `store.writer.Writer` that a sink needs."""

    def append(self, table: str, frame: pl.DataFrame) -> Future[int]:
        """Rows added, once they are durable."""
        ...


Describe = Callable[[int, TargetFacts], "Future[Any]"]


class StoreSink:
    """Writes scrapes to the store of this process.

    Args:
        writer: the store's writer; it belongs to somebody else and is not closed here.
        describe: notes what a target is (`store.targets.describe` with a writer bound to it).
    """

    def __init__(self, writer: Appender, describe: Describe | None = None) -> None:
        self._writer = writer
        self._describe = describe
        self._closed = False

    async def write(self, batch: Sequence[Scrape]) -> None:
        """Keep `batch`; returns when all of it is durable."""
        _refuse_closed(self._closed)
        # What a target is goes first: whoever counts its scrapes knows its engine by then.
        waiting: list[Future[Any]] = []
        if self._describe is not None:
            waiting += [
                self._describe(scrape.target_id, scrape.facts)
                for scrape in batch
                if scrape.facts is not None
            ]
        waiting += [
            self._writer.append(table, frame)
            for table, frame in frames(batch).items()
            if frame.height
        ]
        await asyncio.gather(*(asyncio.wrap_future(future) for future in waiting))

    async def aclose(self) -> None:
        """Refuse further writes; safe twice."""
        self._closed = True


class MemorySink:
    """Keeps scrapes in a list; for tests and for looking at a target without a store."""

    def __init__(self) -> None:
        self.scrapes: list[Scrape] = []
        self._closed = False

    async def write(self, batch: Sequence[Scrape]) -> None:
        """Keep what is not kept yet, by target and time."""
        _refuse_closed(self._closed)
        kept = {(scrape.target_id, scrape.at) for scrape in self.scrapes}
        self.scrapes += [scrape for scrape in batch if (scrape.target_id, scrape.at) not in kept]

    async def aclose(self) -> None:
        """Refuse further writes; safe twice."""
        self._closed = True


def _refuse_closed(closed: bool) -> None:
    if closed:
        raise CollectError("the sink is closed", hint="write before aclose()")
