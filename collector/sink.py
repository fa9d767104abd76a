"""Where scrapes go: the contract, the store, and a double for tests.

polars is imported only when rows are made: an agent that forwards scrapes elsewhere stays light.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

from collector.model import Scrape, TargetFacts
from store.errors import CollectError
from store.signals import SIGNALS

if TYPE_CHECKING:
    import polars as pl


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
        waiting: list[Future[Any]] = [
            self._writer.append(table, frame)
            for table, frame in frames(batch).items()
            if frame.height
        ]
        if self._describe is not None:
            waiting += [
                self._describe(scrape.target_id, scrape.facts)
                for scrape in batch
                if scrape.facts is not None
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


def frames(batch: Sequence[Scrape]) -> dict[str, pl.DataFrame]:
    """The rows of `batch` by table, with the columns that `store.append` takes; may be empty."""
    import polars as pl

    number, text = pl.Float64(), pl.String()
    types: dict[str, pl.DataType] = {
        **dict.fromkeys(("scraped_at", "sampled_at"), pl.Datetime("us")),
        **dict.fromkeys(("target_id", "sample_count", "bad_line_count"), pl.Int32()),
        **dict.fromkeys(("edges", "cumulative_counts"), pl.List(number)),
        **dict.fromkeys(("outcome", "error", "signal", "kind", "unit", "labels"), text),
        "unknown_family_count": pl.Int32(),
        "body_bytes": pl.Int64(),
    }
    rows = {
        "scrape": (_SCRAPE, [_scrape_row(told) for told in batch]),
        "sample": (_SAMPLE, [row for told in batch for row in _sample_rows(told)]),
        "histogram_sample": (_HISTOGRAM, [row for told in batch for row in _histogram_rows(told)]),
    }
    return {
        table: pl.DataFrame(
            told, schema={name: types.get(name, number) for name in names}, orient="row"
        )
        for table, (names, told) in rows.items()
    }


_SCRAPE = (
    *("target_id", "scraped_at", "duration_seconds", "outcome", "error", "body_bytes"),
    *("sample_count", "bad_line_count", "unknown_family_count"),
)
_SAMPLE = ("target_id", "signal", "kind", "unit", "labels", "sampled_at", "value")
_HISTOGRAM = (
    *("target_id", "signal", "unit", "labels", "sampled_at"),
    *("observation_count", "observation_sum", "edges", "cumulative_counts"),
)


def _naive(at: datetime) -> datetime:
    return at.replace(tzinfo=None)


def _scrape_row(scrape: Scrape) -> tuple[Any, ...]:
    return (
        scrape.target_id,
        _naive(scrape.at),
        scrape.duration_seconds,
        scrape.outcome,
        scrape.error,
        scrape.body_bytes,
        scrape.sample_count,
        scrape.bad_line_count,
        scrape.unknown_family_count,
    )


def _sample_rows(scrape: Scrape) -> list[tuple[Any, ...]]:
    at = _naive(scrape.at)
    rows = []
    for sample in scrape.samples:
        known = SIGNALS[sample.signal]
        told = (known.kind, known.unit, sample.labels, at, sample.value)
        rows.append((scrape.target_id, sample.signal, *told))
    return rows


def _histogram_rows(scrape: Scrape) -> list[tuple[Any, ...]]:
    at = _naive(scrape.at)
    return [
        (
            *(scrape.target_id, told.signal, SIGNALS[told.signal].unit, told.labels, at),
            *(told.observation_count, told.observation_sum, told.edges, told.cumulative_counts),
        )
        for told in scrape.histograms
    ]


def _refuse_closed(closed: bool) -> None:
    if closed:
        raise CollectError("the sink is closed", hint="write before aclose()")
