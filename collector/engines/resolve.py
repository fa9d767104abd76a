"""One exposed series -> the signals it feeds, by the rows of an adapter.

Doors that get series one by one (pushes) use this; a scraped page goes through `reader.py`, which
uses it too. What a series means is worked out once and remembered.

    resolver = Resolver(ENGINES["vllm"])
    cells = resolver.cells("vllm:num_requests_running", (("engine", "0"), ("model_name", "m")))
    reading = resolver.assemble([(cells, 3.0)])
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from collector.engines.adapter import Engine, Rule
from collector.engines.assemble import Cell, Reading, assemble, take_out, work_out
from collector.model import HistogramSample, Sample
from store.signals import SIGNALS, Signal

Labels = tuple[tuple[str, str], ...]

_SUFFIXES = ("_bucket", "_sum", "_count", "_created", "_total")
MOST_REMEMBERED = 200_000
_RANKS_OF_ENGINE = 16
_NOBODY = ("", "None")  # None is how Python programs print a label that they do not know


@dataclass(frozen=True, slots=True)
class _Use:
    """One rule for one sample name."""

    rule: Rule
    part: str
    rank: int


class Resolver:
    """What the series of one engine mean; of several when they share a page.

    Args:
        engines: the first one that feeds a signal wins, so the closest to the work comes first.
        most_remembered: series whose meaning is remembered; beyond it all are worked out afresh.
    """

    def __init__(self, *engines: Engine, most_remembered: int = MOST_REMEMBERED) -> None:
        self.engines = engines
        self._most_remembered = most_remembered
        self._by_name = _names(engines)
        self._derived = tuple(row for engine in engines for row in engine.derived)
        self._zeros = tuple(row for engine in engines for row in engine.zeros)
        self._remembered: dict[tuple[str, Labels, str], tuple[Cell, ...]] = {}
        self._families: dict[str, str | None] = {}
        self._partly_read = _partly_read(engines)
        self.typed_names = frozenset(
            name for name, uses in self._by_name.items() if any(use.rule.declared for use in uses)
        )

    def cells(self, name: str, labels: Labels, declared: str = "") -> tuple[Cell, ...]:
        """Where the value of a series goes; empty when no rule wants it.

        Args:
            name: sample name as exposed, suffixes such as `_bucket` included.
            labels: name and value pairs, sorted by name, without `__name__`.
            declared: TYPE of the family where it is known; only `typed_names` ask for it.
        """
        key = (name, labels, declared)
        cells = self._remembered.get(key)
        if cells is None:
            if len(self._remembered) >= self._most_remembered:
                self._remembered.clear()
            cells = self._remembered[key] = self._learn(name, dict(labels), declared)
        return cells

    def unknown_family(self, name: str) -> str | None:
        """The family of a sample name that looks like the engine's, but that no row names."""
        if name not in self._families:
            if len(self._families) >= self._most_remembered:
                self._families.clear()
            self._families[name] = self._find_unknown(name)
        return self._families[name]

    def assemble(
        self, values: Iterable[tuple[tuple[Cell, ...], float]], unknown: Iterable[str] = ()
    ) -> Reading:
        """Canonical samples of what one target told at one moment.

        Args:
            values: cells of each series and its exposed value. NaN is unknown: no row.
            unknown: families that no row names.
        """
        return assemble(values, self._derived, unknown, self._zeros)

    def finish(
        self,
        samples: list[Sample],
        histograms: list[HistogramSample],
        unknown: tuple[str, ...],
        parts: Mapping[str, int],
    ) -> Reading:
        """A reading of rows that a plan has read, with what is worked out from them.

        Args:
            samples: values as they are told; this list grows.
            histograms: distributions as they are told; replaced in place.
            unknown: families that no row names, sorted.
            parts: see `Reading.parts`.
        """
        samples += work_out(self._derived, samples)
        for row in self._zeros:
            take_out(row, histograms)
        return Reading(tuple(samples), tuple(histograms), 0, unknown, (), parts)

    def _learn(self, name: str, labels: Mapping[str, str], declared: str) -> tuple[Cell, ...]:
        made = (_cell(use, labels, declared) for use in self._by_name.get(name, ()))
        return tuple(cell for cell in made if cell is not None)

    def _find_unknown(self, name: str) -> str | None:
        if name in self._by_name or name.endswith("_created"):
            return None
        for engine in self.engines:
            bare = None if engine.selective else engine.behind_prefix(name)
            if bare is not None:
                told = (family_of(bare), bare, family_of(name), name)
                known = engine.ignored.keys() | self._partly_read
                return None if any(family in known for family in told) else told[0]
        return None


def _partly_read(engines: Iterable[Engine]) -> frozenset[str]:
    """Histograms of which a row reads the sum or the count only."""
    ends = ("_sum", "_count")
    rules = (rule for engine in engines for rule in engine.rules)
    return frozenset(family_of(rule.family) for rule in rules if rule.family.endswith(ends))


def family_of(name: str) -> str:
    """A sample name without the suffixes of counters and histograms.

    >>> family_of("request_success_total")
    'request_success'
    """
    for suffix in _SUFFIXES:
        name = name.removesuffix(suffix)
    return name


def _names(engines: Iterable[Engine]) -> dict[str, tuple[_Use, ...]]:
    """Sample name -> the rules it feeds, as which part and how much they count."""
    found: dict[str, tuple[_Use, ...]] = {}
    for place, engine in enumerate(engines):
        for rule in engine.rules:
            rank = place * _RANKS_OF_ENGINE + int(rule.fallback)
            for prefix in engine.prefixes if rule.prefixed else ("",):
                for name, part in _spellings(prefix + rule.family, SIGNALS[rule.signal]):
                    found[name] = (*found.get(name, ()), _Use(rule, part, rank))
    return found


def _spellings(stem: str, signal: Signal) -> tuple[tuple[str, str], ...]:
    if signal.kind == "histogram":
        return tuple((f"{stem}_{part}", part) for part in ("bucket", "sum", "count"))
    if signal.kind == "counter":
        # Exporters and parsers add the suffix or take it away.
        bare = stem.removesuffix("_total")
        return ((bare, "value"), (f"{bare}_total", "value"))
    return ((stem, "value"),)


def _cell(use: _Use, labels: Mapping[str, str], declared: str) -> Cell | None:
    """Where a series goes by one rule; None when the rule does not want it."""
    rule = use.rule
    if not _wanted(rule, labels, declared):
        return None
    kept = {
        ours: labels[theirs]
        for theirs, ours in rule.labels.items()
        if labels.get(theirs, "") not in _NOBODY
    }
    kept.update(rule.fixed)
    key = (rule.signal, json.dumps(kept, sort_keys=True, separators=(",", ":")))
    group = tuple((name, value) for name, value in labels.items() if name != "le")
    shard = tuple((name, value) for name, value in group if name not in rule.max_over)
    if use.part != "value":
        edge = _number(labels.get("le")) if use.part == "bucket" else math.inf
        return None if edge is None else Cell(rule, key, use.part, use.rank, group, shard, edge)
    if rule.reads == "value":
        return Cell(rule, key, use.part, use.rank, group, shard)
    constant = _constant(rule, labels.get(rule.label))
    if constant is None:
        return None
    return Cell(rule, key, use.part, use.rank, group, shard, constant=constant)


def _wanted(rule: Rule, labels: Mapping[str, str], declared: str) -> bool:
    return (
        all(labels.get(name, "") == value for name, value in rule.where)
        and not any(_fits(labels.get(name, ""), pattern) for name, pattern in rule.unless)
        and (not rule.declared or rule.declared == declared)
    )


def _fits(value: str, pattern: str) -> bool:
    return value.startswith(pattern[:-1]) if pattern.endswith("*") else value == pattern


def _number(text: str | None) -> float | None:
    try:
        number = float(text) if text is not None else math.nan
    except ValueError:
        return None
    return None if math.isnan(number) else number


def _constant(rule: Rule, text: str | None) -> float | None:
    if text is None:
        return None
    if rule.reads == "label_names":
        return float(len({name for name in text.split(",") if name.strip()}))
    number = _number(text)  # "None" where the engine has not decided
    return number if number is not None and math.isfinite(number) else None
