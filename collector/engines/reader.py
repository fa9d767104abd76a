"""A page of one engine -> canonical samples, by the rows of its adapter.

What a series means is worked out once and remembered. Of a page that is laid out like one before,
where each number goes is remembered too.
"""

from __future__ import annotations

from weakref import WeakKeyDictionary

from collector.engines.adapter import Engine
from collector.engines.assemble import Cell, Reading
from collector.engines.plan import Plan, make_plan
from collector.engines.resolve import MOST_REMEMBERED, Resolver, family_of
from collector.exposition import Layout, Page, Series

__all__ = ["PageReader", "Reading"]


class PageReader:
    """Reads the pages of one engine, or of several that share a page; share it between targets.

    Args:
        engines: as for `Resolver`.
        most_remembered: as for `Resolver`.
    """

    def __init__(self, *engines: Engine, most_remembered: int = MOST_REMEMBERED) -> None:
        self.engines = engines
        self.resolver = Resolver(*engines, most_remembered=most_remembered)
        self._most_remembered = most_remembered
        self._meaning: dict[Series, tuple[Cell, ...]] = {}
        self._unknown: dict[Series, str] = {}
        # As long as some target's page is laid out like that.
        self._plans: WeakKeyDictionary[Layout, tuple[Plan | None, tuple[str, ...]]] = (
            WeakKeyDictionary()
        )

    def read(self, page: Page) -> Reading:
        """Canonical samples of `page`. Values that are not numbers (NaN) are unknown: no row."""
        if len(self._meaning) > self._most_remembered:
            self._meaning.clear()
            self._unknown.clear()
        if page.layout is not None:
            reading = self._by_plan(page, page.layout)
            if reading is not None:
                return reading
        told = [
            (cells, value)
            for series, value in page.values.items()
            if (cells := self._cells(series, page))
        ]
        return self.resolver.assemble(told, self._unknown_on(page))

    def _by_plan(self, page: Page, layout: Layout) -> Reading | None:
        """Read a page whose layout is known; None when one of its numbers is odd."""
        if layout not in self._plans:
            cells = [(self._cells(series, page), at) for at, series in enumerate(layout.series)]
            unknown = tuple(sorted(self._unknown_on(page)))
            self._plans[layout] = (make_plan(cells), unknown)
        plan, unknown = self._plans[layout]
        rows = None if plan is None else plan.read(tuple(page.values.values()))
        if plan is None or rows is None:
            return None
        return self.resolver.finish(*rows, unknown, plan.parts)

    def _unknown_on(self, page: Page) -> set[str]:
        """Families on a page that has been read that no row names."""
        if not self._unknown:
            return set()
        return {self._unknown[series] for series in page.values if series in self._unknown}

    def _cells(self, series: Series, page: Page) -> tuple[Cell, ...]:
        cells = self._meaning.get(series)
        return self._learn(series, page) if cells is None else cells

    def _learn(self, series: Series, page: Page) -> tuple[Cell, ...]:
        if series.name in self.resolver.typed_names:
            # Not remembered: the next target may give the same series another TYPE.
            declared = page.types.get(series.name) or page.types.get(family_of(series.name), "")
            return self.resolver.cells(series.name, series.labels, declared)
        cells = self.resolver.cells(series.name, series.labels)
        self._meaning[series] = cells
        unknown = None if cells else self.resolver.unknown_family(series.name)
        if unknown is not None:
            self._unknown[series] = unknown
        return cells
