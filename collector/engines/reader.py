"""A page of one engine -> canonical samples, by the rows of its adapter.

What a series means is worked out once and remembered, so a warm page is a walk over a dictionary.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from collector.engines.adapter import Engine, Rule, split_name
from collector.engines.histogram import Buckets, merged
from collector.exposition import Page, Series
from collector.model import HistogramSample, Sample
from store.signals import SIGNALS, Signal

_SUFFIXES = ("_bucket", "_sum", "_count", "_created", "_total")
_MOST_REMEMBERED = 200_000

Key = tuple[str, str]  # signal, labels as JSON


@dataclass(frozen=True, slots=True)
class Reading:
    """What a page means.

    Args:
        samples: canonical values.
        histograms: canonical histograms.
        unusable_count: values outside their signal's range and histograms without a count.
        unknown_families: families of this engine that its adapter does not name, sorted.
    """

    samples: tuple[Sample, ...]
    histograms: tuple[HistogramSample, ...]
    unusable_count: int
    unknown_families: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Cell:
    """Where the value of one series goes."""

    rule: Rule
    key: Key
    part: str  # "value", or "bucket", "sum", "count" of a histogram
    group: tuple[tuple[str, str], ...] = ()  # the histogram it is part of: labels without `le`
    edge: float = math.inf
    constant: float | None = None  # a number that stands in a label


@dataclass(slots=True)
class _Sums:
    """What came together from one page; one for the current names, one for fallbacks."""

    values: dict[Key, list[tuple[float, float]]] = field(default_factory=dict)
    across: dict[Key, str] = field(default_factory=dict)
    histograms: dict[Key, dict[tuple[tuple[str, str], ...], Buckets]] = field(default_factory=dict)

    def without(self, signals: set[str]) -> _Sums:
        """The part about other signals."""
        return _Sums(
            {key: told for key, told in self.values.items() if key[0] not in signals},
            self.across,
            {key: told for key, told in self.histograms.items() if key[0] not in signals},
        )


class PageReader:
    """Reads the pages of one engine; share it between targets of that engine."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._by_name = _names(engine)
        self._meaning: dict[Series, tuple[_Cell, ...]] = {}
        self._unknown: dict[Series, str] = {}

    def read(self, page: Page) -> Reading:
        """Canonical samples of `page`. Values that are not numbers (NaN) are unknown: no row."""
        if len(self._meaning) > _MOST_REMEMBERED:
            self._meaning.clear()
            self._unknown.clear()
        current, fallback = _Sums(), _Sums()
        unknown: set[str] = set()
        for series, value in page.values.items():
            cells = self._meaning.get(series)
            if cells is None:
                cells = self._learn(series)
            for cell in cells:
                _add(fallback if cell.rule.fallback else current, cell, value)
            if not cells and series in self._unknown:
                unknown.add(self._unknown[series])
        fed = {key[0] for key in (*current.values, *current.histograms)}
        return _reading((current, fallback.without(fed)), unknown)

    def _learn(self, series: Series) -> tuple[_Cell, ...]:
        labels = dict(series.labels)
        prefix, bare = split_name(series.name)
        rules = self._by_name.get(f"{prefix}:{bare}" if prefix else series.name, ())
        cells = tuple(
            cell for rule, part in rules if (cell := _cell(rule, part, labels)) is not None
        )
        self._meaning[series] = cells
        if not rules and prefix == self.engine.prefix and not self._left_out(bare):
            self._unknown[series] = _family(bare)
        return cells

    def _left_out(self, bare: str) -> bool:
        family = _family(bare)
        return bare.endswith("_created") or family in self.engine.ignored


def _family(name: str) -> str:
    for suffix in _SUFFIXES:
        name = name.removesuffix(suffix)
    return name


def _names(engine: Engine) -> dict[str, tuple[tuple[Rule, str], ...]]:
    """Sample name -> the rules it feeds and as which part."""
    found: dict[str, tuple[tuple[Rule, str], ...]] = {}
    for rule in engine.rules:
        stem = f"{engine.prefix}:{rule.family}" if rule.prefixed else rule.family
        for name, part in _spellings(stem, SIGNALS[rule.signal]):
            found[name] = (*found.get(name, ()), (rule, part))
    return found


def _spellings(stem: str, signal: Signal) -> tuple[tuple[str, str], ...]:
    if signal.kind == "histogram":
        return tuple((f"{stem}_{part}", part) for part in ("bucket", "sum", "count"))
    if signal.kind == "counter":
        bare = stem.removesuffix("_total")
        return ((bare, "value"), (f"{bare}_total", "value"))
    return ((stem, "value"),)


def _cell(rule: Rule, part: str, labels: Mapping[str, str]) -> _Cell | None:
    """Where a series goes by `rule`; None when the rule does not want it."""
    if any(labels.get(name) != value for name, value in rule.where):
        return None
    kept = {ours: labels[theirs] for theirs, ours in rule.labels.items() if labels.get(theirs)}
    key = (rule.signal, json.dumps(kept, sort_keys=True, separators=(",", ":")))
    if part != "value":
        edge = _edge(labels.get("le")) if part == "bucket" else math.inf
        group = tuple((name, value) for name, value in labels.items() if name != "le")
        return None if edge is None else _Cell(rule, key, part, group, edge)
    if rule.reads == "value":
        return _Cell(rule, key, part)
    constant = _constant(rule, labels.get(rule.label))
    return None if constant is None else _Cell(rule, key, part, constant=constant)


def _edge(text: str | None) -> float | None:
    try:
        edge = float(text) if text is not None else math.nan
    except ValueError:
        return None
    return None if math.isnan(edge) else edge


def _constant(rule: Rule, text: str | None) -> float | None:
    if text is None:
        return None
    if rule.reads == "label_names":
        return float(len({name for name in text.split(",") if name.strip()}))
    edge = _edge(text)  # "None" where the engine has not decided
    return edge if edge is not None and math.isfinite(edge) else None


def _add(sums: _Sums, cell: _Cell, value: float) -> None:
    if cell.part == "value":
        told = value if cell.constant is None else cell.constant
        if not math.isnan(told):
            sums.values.setdefault(cell.key, []).append((value, told * cell.rule.factor))
            sums.across[cell.key] = cell.rule.across
        return
    buckets = sums.histograms.setdefault(cell.key, {}).setdefault(cell.group, Buckets())
    if cell.part == "bucket":
        buckets.cumulative[cell.edge * cell.rule.factor] = value
    elif cell.part == "count":
        buckets.observation_count = value
    else:
        buckets.observation_sum = value * cell.rule.factor


def _together(across: str, told: list[tuple[float, float]]) -> float:
    if across == "newest":
        return max(told)[1]
    values = [value for _, value in told]
    if across == "max":
        return max(values)
    total = sum(values)
    return total / len(values) if across == "mean" else total


def _reading(parts: tuple[_Sums, ...], unknown: set[str]) -> Reading:
    samples: list[Sample] = []
    histograms: list[HistogramSample] = []
    unusable = 0
    for sums in parts:
        for (signal, labels), told in sums.values.items():
            value = _together(sums.across[signal, labels], told)
            if SIGNALS[signal].accepts(value):
                samples.append(Sample(signal, labels, value))
            else:
                unusable += 1
        for (signal, labels), groups in sums.histograms.items():
            histogram = merged(signal, labels, groups.values())
            if histogram is not None:
                histograms.append(histogram)
            else:
                unusable += 1
    return Reading(tuple(samples), tuple(histograms), unusable, tuple(sorted(unknown)))
