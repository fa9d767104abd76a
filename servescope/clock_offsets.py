"""How far the clocks of targets are from ours, by their newest answers; kept in memory alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from collector.model import Scrape
from collector.sink import Sink


class ClockOffsets:
    """The newest offset of each target that told the time. Read from any thread."""

    def __init__(self) -> None:
        self._known: dict[int, float] = {}

    def note(self, scrapes: Iterable[Scrape]) -> None:
        """Take what answers told; those without a date change nothing."""
        for scrape in scrapes:
            offset = scrape.notes.clock_offset_seconds if scrape.notes is not None else None
            if offset is not None:
                self._known[scrape.target_id] = offset

    def known(self) -> dict[int, float]:
        """Target id -> its clock minus that of whoever asked it, in seconds."""
        return dict(self._known)


class NotingSink:
    """Notes the clocks of what passes.

    Args:
        inner: keeps the scrapes.
        offsets: where clocks are noted.
    """

    def __init__(self, inner: Sink, offsets: ClockOffsets) -> None:
        self._inner, self._offsets = inner, offsets

    async def write(self, batch: Sequence[Scrape]) -> None:
        """Note the clocks, then keep the batch.

        Raises:
            CollectError: the sink is closed.
            StoreError: it could not be kept.
        """
        self._offsets.note(batch)
        await self._inner.write(batch)

    async def aclose(self) -> None:
        """Let go of everything; safe twice."""
        await self._inner.aclose()
