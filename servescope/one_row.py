"""One request told by several becomes one row, whichever door each of them comes by."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from collector.otlp.duplicates import Duplicates, Identity, Judgement
from collector.otlp.requests import Request
from store.requests import fold, take_back
from store.writer import Writer

MOST_WAITING = 100_000
"""Rows that wait to be mended; a store that fails for long leaves the oldest as they are."""


class OneRow:
    """Judges what is told, and mends rows that turn out to be the same request.

    Args:
        writer: the store's writer.
    """

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._duplicates = Duplicates()
        self._to_take_back: dict[Identity, None] = {}
        self._to_fold: dict[tuple[Identity, Identity], None] = {}
        self.order = asyncio.Lock()
        """Held from judging until rows are queued: a row is there before it can be mended."""

    def judge(self, requests: Sequence[Request]) -> Judgement:
        """Which of them become rows; any thread may ask."""
        return self._duplicates.judge(requests)

    def note(self, judged: Judgement) -> None:
        """Rows of a judgement that `settle` mends once all of them are there."""
        self._to_take_back |= dict.fromkeys(judged.superseded)
        self._to_fold |= dict.fromkeys(judged.folds)
        for waiting in (self._to_take_back, self._to_fold):
            while len(waiting) > MOST_WAITING:
                del waiting[next(iter(waiting))]  # type: ignore[arg-type]

    async def settle(self) -> None:
        """Delete rows of callers that servers tell of, fold engines' into gateways'.

        What fails is tried again the next time.

        Raises:
            StoreError: it could not be done now.
        """
        rows, pairs = list(self._to_take_back), list(self._to_fold)
        if rows:
            await asyncio.wrap_future(take_back(self._writer, rows))
            for row in rows:
                self._to_take_back.pop(row, None)
        if pairs:
            await asyncio.wrap_future(fold(self._writer, pairs))
            for pair in pairs:
                self._to_fold.pop(pair, None)
