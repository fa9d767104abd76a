"""Samples that come in pieces -> pages: what one target told at one moment, when all of it is here.

A sender cuts its stream into requests wherever it likes, and several of its shards run beside each
other, so the buckets of one histogram arrive in several requests. A page is ready when every series
that its target told last time is there; otherwise it waits for a while, and then goes without the
signals that are incomplete.

A page costs what came for it, however many series its target has: one that tells one of ten
thousand series must not take the room of ten thousand.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from collector.remote_write.decode import Columns
from collector.remote_write.series import SeriesTable, Target

SETTLE_SECONDS = 15.0
MOST_PENDING = 20_000
MOST_CELLS = 4_000_000
"""Cells that may wait: about 12 bytes each."""

# What a page and a piece of one take beside their samples, in cells.
_PAGE_CELLS = 64
_PIECE_CELLS = 16
# Pieces are put together when a page holds more samples than twice its series, and so many.
_SPARE_CELLS = 1_024
_CELL = np.dtype([("slot", np.int32), ("value", np.float64)])

Flags = npt.NDArray[np.bool_]
Values = npt.NDArray[np.float64]
Cells = npt.NDArray[Any]
"""Slots and values; the last value of a slot counts."""


@dataclass(slots=True)
class Page:
    """What one target told at one moment, so far.

    Attributes:
        target: whose.
        at_ms: milliseconds since 1970.
        since: monotonic seconds when its first piece came.
        pieces: as they came.
        told_count: samples in the pieces; those of one slot may be several.
        expected: slots that should be there, as bits; set when it goes, None = nobody knows.
        may_grow: whether a series was seen for the first time, so that more may follow.
        parts: segments of the journal that hold pieces of it.
    """

    target: Target
    at_ms: int
    since: float
    pieces: list[Cells] = field(default_factory=list)
    told_count: int = 0
    expected: bytes | None = None
    may_grow: bool = False
    parts: set[int] = field(default_factory=set)
    _room: int = _SPARE_CELLS

    @property
    def key(self) -> tuple[str, int]:
        """Its identity."""
        return self.target.url, self.at_ms

    @property
    def cell_count(self) -> int:
        """The room that it takes, in cells."""
        return _PAGE_CELLS + _PIECE_CELLS * len(self.pieces) + self.told_count

    def put(self, piece: Cells) -> None:
        """Take one more piece; it must be the page's own."""
        self.pieces.append(piece)
        self.told_count += len(piece)
        if self.told_count + _PIECE_CELLS * len(self.pieces) > self._room:
            told, values = self.flags(), self.values()
            slots = np.flatnonzero(told)
            self.pieces = [_cells(slots, values[slots])]
            self.told_count = len(slots)
            self._room = 2 * len(slots) + _SPARE_CELLS

    def flags(self) -> Flags:
        """By slot, whether there is a value."""
        told = np.zeros(self._width(), np.bool_)
        for piece in self.pieces:
            told[piece["slot"]] = True
        return told

    def values(self) -> Values:
        """By slot, NaN where nothing was told."""
        values = np.full(self._width(), np.nan)
        for piece in self.pieces:
            values[piece["slot"]] = piece["value"]
        return values

    def missing(self, told: Flags) -> npt.NDArray[np.int64]:
        """Slots that should have a value and have none.

        Args:
            told: its `flags`.
        """
        if self.expected is None:
            return np.zeros(0, np.int64)
        expected = np.unpackbits(np.frombuffer(self.expected, np.uint8)).view(np.bool_)
        shared = min(len(expected), len(told))
        absent = expected[:shared] & ~told[:shared]
        if expected[shared:].any():
            absent = np.concatenate([absent, expected[shared:]])
        return np.flatnonzero(absent)

    def _width(self) -> int:
        return len(self.target.alive)


class Pages:
    """Pages that are not ready yet.

    Args:
        table: what the numbers of series mean.
        settle_seconds: how long a page waits for its missing pieces.
        most_pending: how many may wait; beyond it the oldest go as they are.
        most_cells: how much room they may take; beyond it the oldest go as they are.
    """

    def __init__(
        self,
        table: SeriesTable,
        settle_seconds: float = SETTLE_SECONDS,
        most_pending: int = MOST_PENDING,
        most_cells: int = MOST_CELLS,
    ) -> None:
        self._table = table
        self._settle_seconds = settle_seconds
        self._most_pending = most_pending
        self._most_cells = most_cells
        self._pending: dict[tuple[str, int], Page] = {}
        self._of_target: dict[str, dict[int, Page]] = {}
        self.cell_count = 0

    def __len__(self) -> int:
        return len(self._pending)

    def __contains__(self, page: object) -> bool:
        return isinstance(page, Page) and self._pending.get(page.key) is page

    @property
    def is_crowded(self) -> bool:
        """Whether some should go before more come."""
        return self.cell_count > self._most_cells or len(self) > self._most_pending

    def add(self, columns: Columns, now: float) -> list[Page]:
        """Put samples of used series onto their pages.

        Args:
            columns: only numbers of used series.
            now: monotonic seconds.

        Returns:
            The pages touched.
        """
        if not len(columns.numbers):
            return []
        place = self._table.target[columns.numbers]
        order = np.lexsort((columns.at_ms, place))
        place, at_ms = place[order], columns.at_ms[order]
        cells = _cells(self._table.slot[columns.numbers[order]], columns.values[order])
        stale = columns.is_stale[order]
        ends = np.flatnonzero((np.diff(place) != 0) | (np.diff(at_ms) != 0)) + 1
        bounds = [0, *ends.tolist(), len(place)]
        has_stale = bool(stale.any())
        touched = []
        for first, end in itertools.pairwise(bounds):
            page = self._page(self._table.targets[place[first]], int(at_ms[first]), now)
            self.cell_count -= page.cell_count
            if has_stale:
                _fill(page, cells[first:end], stale[first:end])
            else:
                _take_in(page, cells[first:end].copy())
            self.cell_count += page.cell_count
            touched.append(page)
        return touched

    def ready(self, now: float, touched: Iterable[Page] = ()) -> list[Page]:
        """Take the pages that are complete or have waited long enough, oldest first.

        Args:
            now: monotonic seconds.
            touched: pages that got something since the last time.
        """
        ready = {page.key: page for page in touched if page in self and is_complete(page)}
        many = len(self._pending) - self._most_pending
        much = self.cell_count - self._most_cells
        for number, page in enumerate(self._pending.values()):
            if now - page.since < self._settle_seconds and number >= many and much <= 0:
                break  # they are in the order in which they came
            ready[page.key] = page
            much -= page.cell_count
        return self._take(ready.values())

    def everything(self) -> list[Page]:
        """Take all that waits, complete or not."""
        return self._take(list(self._pending.values()))

    def _take(self, pages: Iterable[Page]) -> list[Page]:
        taken = sorted(pages, key=lambda page: page.at_ms)
        by_target: dict[str, list[Page]] = {}
        for page in taken:
            by_target.setdefault(page.target.url, []).append(page)
        for url, some in by_target.items():
            siblings = self._of_target[url]
            _settle(some, siblings)
            for page in some:
                del self._pending[page.key], siblings[page.at_ms]
                self.cell_count -= page.cell_count
            if not siblings:
                del self._of_target[url]
        return taken

    def _page(self, target: Target, at_ms: int, now: float) -> Page:
        key = target.url, at_ms
        page = self._pending.get(key)
        if page is None:
            page = self._pending[key] = Page(target, at_ms, now)
            self._of_target.setdefault(target.url, {})[at_ms] = page
            self.cell_count += page.cell_count
        return page


def _settle(pages: list[Page], siblings: Mapping[int, Page]) -> None:
    """Note what is expected on pages of a target, and expect from now on what was told.

    Args:
        pages: oldest first.
        siblings: all pages of the target that wait, these among them, by their times.
    """
    target = pages[0].target
    order = sorted(at_ms for at_ms in siblings if at_ms >= pages[0].at_ms)
    place = {at_ms: number for number, at_ms in enumerate(order)}
    last = _last_told(target, [siblings[at_ms] for at_ms in order])
    packed = np.packbits(target.alive).tobytes()
    for page in pages:
        if target.settled:
            page.expected = packed
        target.settled = True
        if page.at_ms >= target.newest_ms:
            target.newest_ms = page.at_ms
            # What this page and all later ones tell.
            target.alive = last >= place[page.at_ms]
            now_packed = np.packbits(target.alive).tobytes()
            # Thousands of pages that expect the same share one text.
            packed = packed if now_packed == packed else now_packed


def _last_told(target: Target, pages: Iterable[Page]) -> npt.NDArray[np.int32]:
    """By slot, the number of the last of the pages that tells it; -1 for none."""
    last = np.full(len(target.alive), -1, np.int32)
    for number, page in enumerate(pages):
        for piece in page.pieces:
            last[piece["slot"]] = number
    return last


def is_complete(page: Page) -> bool:
    """Whether every series that is still told is on the page."""
    target = page.target
    if not target.settled or page.may_grow:
        return False
    if page.told_count < np.count_nonzero(target.alive):
        return False
    return not (target.alive & ~page.flags()).any()


def _fill(page: Page, cells: Cells, stale: Flags) -> None:
    """Take in samples of which some say that their series has ended."""
    _take_in(page, cells[~stale])
    if page.at_ms >= page.target.newest_ms:
        page.target.alive[cells["slot"][stale]] = False


def _take_in(page: Page, cells: Cells) -> None:
    if not len(cells):
        return
    page.put(cells)
    alive = page.target.alive
    if page.at_ms >= page.target.newest_ms and not alive[cells["slot"]].all():
        page.may_grow = True
        alive[cells["slot"]] = True


def _cells(slots: npt.NDArray[Any], values: Values) -> Cells:
    cells = np.empty(len(slots), _CELL)
    cells["slot"], cells["value"] = slots, values
    return cells
