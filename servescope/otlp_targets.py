"""The targets of what comes by OTLP: numbered together, however many are new at once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from collector.model import TargetFacts
from collector.otlp.metrics import Round
from store import targets
from store.clock import Clock
from store.writer import Writer


class OtlpTargets:
    """Numbers of senders. For one event loop.

    Args:
        writer: where targets are noted.
        clock: the time.
    """

    def __init__(self, writer: Writer, clock: Clock) -> None:
        self._writer = writer
        self._clock = clock
        self._ids: dict[str, int] = {}
        self._facts: dict[str, TargetFacts] = {}
        self._wanted: dict[str, TargetFacts] = {}
        self._one_at_a_time = asyncio.Lock()

    def __len__(self) -> int:
        return len(self._ids)

    def __contains__(self, url: object) -> bool:
        return url in self._ids

    async def numbered(self, rounds: Iterable[Round]) -> dict[str, int]:
        """The ids of the targets of some rounds, by URL.

        Exports that come meanwhile are numbered with the next one of them, in one transaction.

        Raises:
            WriterOverloaded: the store takes no more.
            StoreError: it could not be kept.
        """
        asked = {told.url: told.facts for told in rounds}
        new = {url: facts for url, facts in asked.items() if self._facts.get(url) != facts}
        if new:
            self._wanted |= new
            async with self._one_at_a_time:
                await self._note()
        return {url: self._ids[url] for url in asked}

    async def _note(self) -> None:
        wanted, self._wanted = self._wanted, {}
        if not wanted:
            return
        now = self._clock.now()
        found = {
            url: targets.Noted(now, facts.engine, facts.model) for url, facts in wanted.items()
        }
        try:
            numbers = await asyncio.wrap_future(targets.note(self._writer, found))
        except BaseException:
            self._wanted = wanted | self._wanted  # others wait for them
            raise
        self._ids |= numbers
        self._facts |= wanted
