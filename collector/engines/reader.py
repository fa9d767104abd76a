"""A page of one engine -> canonical samples, by the rows of its adapter.

What a series means is worked out once and remembered, so a warm page is a walk over a dictionary.
"""

from __future__ import annotations

from collector.engines.adapter import Engine
from collector.engines.assemble import Cell, Reading
from collector.engines.resolve import Resolver, family_of
from collector.exposition import Page, Series

__all__ = ["PageReader", "Reading"]

_MOST_REMEMBERED = 200_000


class PageReader:
    """Reads the pages of one engine, or of several that share a page; share it between targets."""

    def __init__(self, *engines: Engine) -> None:
        self.engines = engines
        self.resolver = Resolver(*engines)
        self._meaning: dict[Series, tuple[Cell, ...]] = {}
        self._unknown: dict[Series, str] = {}

    def read(self, page: Page) -> Reading:
        """Canonical samples of `page`. Values that are not numbers (NaN) are unknown: no row."""
        if len(self._meaning) > _MOST_REMEMBERED:
            self._meaning.clear()
            self._unknown.clear()
        told: list[tuple[tuple[Cell, ...], float]] = []
        unknown: set[str] = set()
        for series, value in page.values.items():
            cells = self._meaning.get(series)
            if cells is None:
                cells = self._learn(series, page)
            if cells:
                told.append((cells, value))
            elif series in self._unknown:
                unknown.add(self._unknown[series])
        return self.resolver.assemble(told, unknown)

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
