"""Pages that are laid out like one before: where each number goes is worked out once.

A plan does for such a page what `assemble` does for any, several times faster. It gives up, and
the page goes the long way, as soon as a number is not what it should be: then there is something to
count and to explain.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

from collector.engines.adapter import Rule
from collector.engines.assemble import Cell, Key, Told, add_part, together
from collector.engines.histogram import MOST_COUNT, Buckets, merged
from collector.model import HistogramSample, Sample
from store.signals import SIGNALS

Planned = Sequence[tuple[tuple[Cell, ...], int]]  # cells of a series, its place on the page
_Member = tuple[Cell, int]


@dataclass(frozen=True, slots=True)
class _Single:
    """A value that comes from one series."""

    signal: str
    labels: str
    at: int
    factor: float
    low: float
    high: float

    def read(self, numbers: Sequence[float]) -> Sample | None:
        value = numbers[self.at] * self.factor
        if self.low <= value <= self.high:  # never true of NaN
            return Sample(self.signal, self.labels, value)
        return None


@dataclass(frozen=True, slots=True)
class _Several:
    """A value that is put together from several series, or stands in a label."""

    key: Key
    rule: Rule
    members: tuple[_Member, ...]

    def read(self, numbers: Sequence[float]) -> Sample | None:
        told = []
        for cell, at in self.members:
            value = numbers[at]
            ours = (value if cell.constant is None else cell.constant) * self.rule.factor
            if math.isnan(ours):
                return None
            told.append((value, ours, cell.shard))
        value = together(Told(self.rule, told))
        return Sample(*self.key, value) if SIGNALS[self.key[0]].accepts(value) else None


@dataclass(frozen=True, slots=True)
class _Histogram:
    """A histogram that comes from one exposed histogram."""

    signal: str
    labels: str
    edges: tuple[float, ...]
    pick: Callable[[Sequence[float]], tuple[float, ...]]
    count_at: int
    sum_at: int | None
    factor: float

    def read(self, numbers: Sequence[float]) -> HistogramSample | None:
        counts = self.pick(numbers)
        count = numbers[self.count_at]
        if not 0 <= count <= MOST_COUNT or not _are_counts(counts):
            return None
        total = None if self.sum_at is None else numbers[self.sum_at] * self.factor
        if total is not None and not math.isfinite(total):
            return None
        return HistogramSample(self.signal, self.labels, count, total, self.edges, counts)


@dataclass(frozen=True, slots=True)
class _Histograms:
    """A histogram that is put together from several."""

    key: Key
    members: tuple[_Member, ...]

    def read(self, numbers: Sequence[float]) -> HistogramSample | None:
        groups: dict[Any, Buckets] = {}
        for cell, at in self.members:
            add_part(groups, cell, numbers[at])
        return merged(*self.key, groups.values())


@dataclass(frozen=True, slots=True)
class Plan:
    """What to make of the numbers of one layout.

    Args:
        values: how each value is read.
        histograms: how each histogram is read.
        parts: see `Reading.parts`.
    """

    values: tuple[_Single | _Several, ...]
    histograms: tuple[_Histogram | _Histograms, ...]
    parts: Mapping[str, int]

    def read(self, numbers: Sequence[float]) -> tuple[list[Sample], list[HistogramSample]] | None:
        """Canonical rows of a page's numbers; None when one of them is odd."""
        samples = [row.read(numbers) for row in self.values]
        histograms = [row.read(numbers) for row in self.histograms]
        good = [row for row in samples if row is not None]
        whole = [row for row in histograms if row is not None]
        if len(good) < len(samples) or len(whole) < len(histograms):
            return None
        return good, whole


@dataclass(slots=True)
class _Rank:
    """What stands under one rank, by canonical series."""

    values: dict[Key, list[_Member]] = field(default_factory=dict)
    histograms: dict[Key, list[_Member]] = field(default_factory=dict)


def make_plan(planned: Planned) -> Plan | None:
    """The plan of a layout; None when its numbers decide what they mean."""
    ranks: dict[int, _Rank] = {}
    for cells, at in planned:
        for cell in cells:
            if cell.rule.zero_is_unknown:
                return None
            rank = ranks.setdefault(cell.rank, _Rank())
            rows = rank.values if cell.part == "value" else rank.histograms
            rows.setdefault(cell.key, []).append((cell, at))
    values: dict[Key, list[_Member]] = {}
    histograms: dict[Key, list[_Member]] = {}
    fed: set[str] = set()
    for _, rank in sorted(ranks.items()):
        values |= {key: rows for key, rows in rank.values.items() if key[0] not in fed}
        histograms |= {key: rows for key, rows in rank.histograms.items() if key[0] not in fed}
        fed |= {key[0] for key in (*rank.values, *rank.histograms)}
    return Plan(
        tuple(_value(key, rows) for key, rows in values.items()),
        tuple(_histogram(key, rows) for key, rows in histograms.items()),
        _parts(values, histograms),
    )


def _value(key: Key, members: list[_Member]) -> _Single | _Several:
    cell, at = members[0]
    if len(members) > 1 or cell.constant is not None:
        return _Several(key, cell.rule, tuple(members))
    signal, most = SIGNALS[key[0]], sys.float_info.max
    low = -most if signal.low is None else signal.low
    high = most if signal.high is None else signal.high
    return _Single(*key, at, cell.rule.factor, low, high)


def _histogram(key: Key, members: list[_Member]) -> _Histogram | _Histograms:
    groups = {cell.group for cell, _ in members}
    rules = {id(cell.rule) for cell, _ in members}
    factor = members[0][0].rule.factor
    places = {cell.part: at for cell, at in members}
    buckets = {cell.edge * factor: at for cell, at in members if cell.part == "bucket"}
    count_at = places.get("count", buckets.get(math.inf))
    if len(groups) > 1 or len(rules) > 1 or count_at is None:
        return _Histograms(key, tuple(members))
    edges = tuple(sorted(edge for edge in buckets if math.isfinite(edge)))
    pick = _picker([buckets[edge] for edge in edges])
    return _Histogram(*key, edges, pick, count_at, places.get("sum"), factor)


def _picker(places: list[int]) -> Callable[[Sequence[float]], tuple[float, ...]]:
    if len(places) > 1:
        return itemgetter(*places)
    return lambda numbers: tuple(numbers[at] for at in places)


def _are_counts(counts: tuple[float, ...]) -> bool:
    if not counts:
        return True
    # A sum with NaN in it is NaN, while min() and max() may pass over it.
    return sum(counts) >= 0 and min(counts) >= 0 and max(counts) <= MOST_COUNT


def _parts(
    values: Mapping[Key, list[_Member]], histograms: Mapping[Key, list[_Member]]
) -> dict[str, int]:
    counts: dict[str, int] = {}
    for signal, number in _series(values, histograms):
        counts[signal] = counts.get(signal, 0) + number
    return counts


def _series(
    values: Mapping[Key, list[_Member]], histograms: Mapping[Key, list[_Member]]
) -> Iterable[tuple[str, int]]:
    """Signal and how many exposed series or histograms come together in it."""
    yield from ((signal, len(rows)) for (signal, _), rows in values.items())
    for (signal, _), rows in histograms.items():
        yield signal, len({cell.group for cell, _ in rows})
