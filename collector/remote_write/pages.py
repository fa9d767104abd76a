"""Samples that come in pieces -> pages: what one target told at one moment, when all of it is here.

A sender cuts its stream into requests wherever it likes, and several of its shards run beside each
other, so the buckets of one histogram arrive in several requests. A page is ready when every series
that its target told last time is there; otherwise it waits for a while, and then goes without the
signals that are incomplete.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from collector.remote_write.decode import Columns
from collector.remote_write.series import SeriesTable, Target

SETTLE_SECONDS = 15.0
MOST_PENDING = 20_000

Flags = npt.NDArray[np.bool_]
Values = npt.NDArray[np.float64]


@dataclass(slots=True)
class Page:
    """What one target told at one moment, so far.

    Attributes:
        target: whose.
        at_ms: milliseconds since 1970.
        since: monotonic seconds when its first piece came.
        values: by slot.
        told: by slot, whether there is a value.
        missing: by slot, what should be there and is not; set when it goes incomplete.
        may_grow: whether a series was seen for the first time, so that more may follow.
        parts: segments of the journal that hold pieces of it.
    """

    target: Target
    at_ms: int
    since: float
    values: Values
    told: Flags
    missing: Flags | None = None
    may_grow: bool = False
    parts: set[int] = field(default_factory=set)

    @property
    def key(self) -> tuple[str, int]:
        """Its identity."""
        return self.target.url, self.at_ms


class Pages:
    """Pages that are not ready yet.

    Args:
        table: what the numbers of series mean.
        settle_seconds: how long a page waits for its missing pieces.
        most_pending: how many may wait; beyond it the oldest go as they are.
    """

    def __init__(
        self,
        table: SeriesTable,
        settle_seconds: float = SETTLE_SECONDS,
        most_pending: int = MOST_PENDING,
    ) -> None:
        self._table = table
        self._settle_seconds = settle_seconds
        self._most_pending = most_pending
        self._pending: dict[tuple[str, int], Page] = {}
        self._of_target: dict[str, dict[int, Page]] = {}

    def __len__(self) -> int:
        return len(self._pending)

    def __contains__(self, page: object) -> bool:
        return isinstance(page, Page) and self._pending.get(page.key) is page

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
        slots = self._table.slot[columns.numbers][order]
        values, stale = columns.values[order], columns.is_stale[order]
        edges = np.flatnonzero((np.diff(place) != 0) | (np.diff(at_ms) != 0)) + 1
        touched = []
        for part in np.split(np.arange(len(place)), edges):
            first = part[0]
            target = self._table.targets[place[first]]
            page = self._page(target, int(at_ms[first]), now)
            _fill(page, slots[part], values[part], stale[part])
            touched.append(page)
        return touched

    def ready(self, now: float, touched: Iterable[Page] = ()) -> list[Page]:
        """Take the pages that are complete or have waited long enough, oldest first.

        Args:
            now: monotonic seconds.
            touched: pages that got something since the last time.
        """
        ready = {page.key: page for page in touched if is_complete(page)}
        excess = len(self._pending) - self._most_pending
        for number, page in enumerate(self._pending.values()):
            if now - page.since < self._settle_seconds and number >= excess:
                break  # they are in the order in which they came
            ready[page.key] = page
        return self._take(ready.values())

    def everything(self) -> list[Page]:
        """Take all that waits, complete or not."""
        return self._take(list(self._pending.values()))

    def _keep(self, page: Page) -> None:
        self._pending[page.key] = page
        self._of_target.setdefault(page.target.url, {})[page.at_ms] = page

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
            if not siblings:
                del self._of_target[url]
        return taken

    def _page(self, target: Target, at_ms: int, now: float) -> Page:
        page = self._pending.get((target.url, at_ms))
        if page is None:
            size = len(target.alive)
            page = Page(target, at_ms, now, np.full(size, np.nan), np.zeros(size, np.bool_))
            self._keep(page)
        elif len(page.told) < len(target.alive):
            _grow(page, len(target.alive))
        return page


def _settle(pages: list[Page], siblings: Mapping[int, Page]) -> None:
    """Note what is missing on pages of a target, and expect from now on what was told.

    Args:
        pages: oldest first.
        siblings: all pages of the target that wait, these among them, by their times.
    """
    target = pages[0].target
    expected = _told_since(siblings, {page.at_ms for page in pages}, len(target.alive))
    for page in pages:
        if len(page.told) < len(target.alive):
            _grow(page, len(target.alive))
        if page.missing is None:
            page.missing = target.alive & ~page.told if target.settled else None
        target.settled = True
        if page.at_ms >= target.newest_ms:
            target.newest_ms = page.at_ms
            target.alive = expected[page.at_ms]


def _told_since(siblings: Mapping[int, Page], times: set[int], size: int) -> dict[int, Flags]:
    """For each of the times, what the page of that time and all later ones tell."""
    # From the newest back: a sender that catches up has thousands of pages of one target.
    told, since = np.zeros(size, np.bool_), {}
    for at_ms in sorted(siblings, reverse=True):
        page = siblings[at_ms]
        told[: len(page.told)] |= page.told
        if at_ms in times:
            since[at_ms] = told.copy()
    return since


def is_complete(page: Page) -> bool:
    """Whether every series that is still told is on the page."""
    target = page.target
    if not target.settled or page.may_grow:
        return False
    told, alive = page.told, target.alive
    return len(told) == len(alive) and not (alive & ~told).any()


def _fill(page: Page, slots: npt.NDArray[np.int32], values: Values, stale: Flags) -> None:
    target = page.target
    fresh = slots[~stale]
    page.values[fresh] = values[~stale]
    page.told[fresh] = True
    if page.at_ms < target.newest_ms:
        return
    if not target.alive[fresh].all():
        page.may_grow = True
        target.alive[fresh] = True
    target.alive[slots[stale]] = False


def _grow(page: Page, size: int) -> None:
    more = size - len(page.told)
    page.values = np.concatenate([page.values, np.full(more, np.nan)])
    page.told = np.concatenate([page.told, np.zeros(more, np.bool_)])
    if page.missing is not None:
        page.missing = np.concatenate([page.missing, np.zeros(more, np.bool_)])
