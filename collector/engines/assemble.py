"""Values and where they go -> one set of canonical samples."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from collector.engines.adapter import Derived, Rule, Zeros
from collector.engines.histogram import Buckets, merged, without_zeros
from collector.model import HistogramSample, Refused, Sample
from store.signals import SIGNALS

Key = tuple[str, str]  # signal, labels as JSON
Labels = tuple[tuple[str, str], ...]

# Of values that cannot be true a handful is enough to say so.
_MOST_REFUSED = 16


@dataclass(frozen=True, slots=True)
class Reading:
    """What a page means.

    Args:
        samples: canonical values.
        histograms: canonical histograms.
        unusable_count: values outside their signal's range and histograms without a count.
        unknown_families: families of this engine that its adapter does not name, sorted.
        refused: values that are not numbers or not in their signal's range, a handful.
        parts: series that came together in each signal.
    """

    samples: tuple[Sample, ...]
    histograms: tuple[HistogramSample, ...]
    unusable_count: int
    unknown_families: tuple[str, ...]
    refused: tuple[Refused, ...] = ()
    parts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Cell:
    """Where the value of one series goes.

    Args:
        rule: the row that says so.
        key: signal and its labels.
        part: "value", or "bucket", "sum", "count" of a histogram.
        rank: of the ranks that feed a signal the lowest counts (fallbacks come later).
        group: exposed labels without `le`: the histogram it is part of.
        shard: the group without the labels over which one number repeats.
        edge: upper bound of a bucket, as exposed.
        constant: a number that stands in a label.
    """

    rule: Rule
    key: Key
    part: str
    rank: int
    group: Labels = ()
    shard: Labels = ()
    edge: float = math.inf
    constant: float | None = None


@dataclass(slots=True)
class Told:
    """All values of one canonical series: (exposed value, value in our unit, shard)."""

    rule: Rule
    values: list[tuple[float, float, Labels]] = field(default_factory=list)


@dataclass(slots=True)
class _Sums:
    """What came together under one rank."""

    values: dict[Key, Told] = field(default_factory=dict)
    histograms: dict[Key, dict[Labels, Buckets]] = field(default_factory=dict)
    blank: set[Key] = field(default_factory=set)

    def signals(self) -> set[str]:
        return {key[0] for key in (*self.values, *self.histograms)}


def assemble(
    values: Iterable[tuple[tuple[Cell, ...], float]],
    derived: Sequence[Derived] = (),
    unknown: Iterable[str] = (),
    zeros: Sequence[Zeros] = (),
) -> Reading:
    """Put together what one target told at one moment; see `Resolver.assemble`."""
    ranks: dict[int, _Sums] = {}
    for cells, value in values:
        for cell in cells:
            sums = ranks.get(cell.rank)
            if sums is None:
                sums = ranks[cell.rank] = _Sums()
            if cell.part == "value":
                _add_value(sums, cell, value)
            else:
                add_part(sums.histograms.setdefault(cell.key, {}), cell, value)
    done = _Done()
    fed: set[str] = set()
    for rank in sorted(ranks):
        _finish(ranks[rank], fed, done)
        fed |= ranks[rank].signals()
    done.samples += work_out(derived, done.samples)
    for row in zeros:
        take_out(row, done.histograms)
    return Reading(
        tuple(done.samples),
        tuple(done.histograms),
        done.unusable,
        tuple(sorted(set(unknown))),
        tuple(done.refused[:_MOST_REFUSED]),
        done.parts,
    )


def _add_value(sums: _Sums, cell: Cell, value: float) -> None:
    told = value if cell.constant is None else cell.constant
    if math.isnan(told) or (cell.rule.zero_is_unknown and told == 0):
        if math.isnan(told):
            sums.blank.add(cell.key)
        return
    have = sums.values.get(cell.key)
    if have is None:
        have = sums.values[cell.key] = Told(cell.rule)
    have.values.append((value, told * cell.rule.factor, cell.shard))


def add_part(groups: dict[Labels, Buckets], cell: Cell, value: float) -> None:
    """Put one line of an exposed histogram where it belongs."""
    buckets = groups.get(cell.group)
    if buckets is None:
        buckets = groups[cell.group] = Buckets(shard=cell.shard)
    if cell.part == "bucket":
        buckets.cumulative[cell.edge * cell.rule.factor] = value
    elif cell.part == "count":
        buckets.observation_count = value
    else:
        buckets.observation_sum = value * cell.rule.factor


@dataclass(slots=True)
class _Done:
    """What a reading is made of."""

    samples: list[Sample] = field(default_factory=list)
    histograms: list[HistogramSample] = field(default_factory=list)
    unusable: int = 0
    refused: list[Refused] = field(default_factory=list)
    parts: dict[str, int] = field(default_factory=dict)

    def count(self, signal: str, series: int) -> None:
        """Note how many series came together."""
        self.parts[signal] = self.parts.get(signal, 0) + series


def _finish(sums: _Sums, fed: set[str], done: _Done) -> None:
    """Add the rows of one rank for signals not fed before."""
    done.refused += [Refused(*key, math.nan) for key in sums.blank if key not in sums.values]
    for (signal, labels), told in sums.values.items():
        if signal in fed:
            continue
        value = together(told)
        done.count(signal, len(told.values))
        if SIGNALS[signal].accepts(value):
            done.samples.append(Sample(signal, labels, value))
        else:
            done.unusable += 1
            done.refused.append(Refused(signal, labels, value))
    for (signal, labels), groups in sums.histograms.items():
        if signal in fed:
            continue
        done.count(signal, len(groups))
        histogram = merged(signal, labels, groups.values())
        if histogram is not None:
            done.histograms.append(histogram)
        else:
            done.unusable += 1


def together(told: Told) -> float:
    """One value out of those of several series."""
    rule = told.rule
    if rule.across == "newest":
        return max(told.values)[1]
    values = [value for _, value, _ in told.values]
    if rule.max_over and len(values) > 1:
        values = _largest(told.values)
    if rule.across == "max":
        return max(values)
    total = sum(values)
    return total / len(values) if rule.across == "mean" else total


def _largest(told: list[tuple[float, float, Labels]]) -> list[float]:
    """One value for each shard: ranks of one shard repeat the same number."""
    largest: dict[Labels, float] = {}
    for _, value, shard in told:
        if shard not in largest or value > largest[shard]:
            largest[shard] = value
    return list(largest.values())


def take_out(row: Zeros, histograms: list[HistogramSample]) -> None:
    """Take observations that are no measurements out of one signal's histograms."""
    counts = {told.labels: told for told in histograms if told.signal == row.counted_by}
    for place, told in enumerate(histograms):
        if told.signal == row.signal and told.labels in counts:
            histograms[place] = without_zeros(told, counts[told.labels], row.at_most)


def work_out(derived: Sequence[Derived], samples: list[Sample]) -> list[Sample]:
    """Signals that the page does not tell, from two that it does."""
    if not derived:
        return []
    by_signal: dict[str, dict[str, float]] = {}
    for sample in samples:
        by_signal.setdefault(sample.signal, {})[sample.labels] = sample.value
    made: list[Sample] = []
    for row in derived:
        if row.signal in by_signal:
            continue
        rows = _derive(row, by_signal.get(row.left, {}), by_signal.get(row.right, {}))
        if rows:
            by_signal[row.signal] = {sample.labels: sample.value for sample in rows}
            made += rows
    return made


def _derive(row: Derived, left: dict[str, float], right: dict[str, float]) -> list[Sample]:
    """One row for each series on the left; the only one on the right goes with all of them."""
    made = []
    for labels, first in left.items():
        second = right.get(labels)
        if second is None and len(right) == 1 and "{}" in right:
            second = right["{}"]
        value = None if second is None else _operate(row.operation, first, second)
        if value is not None and SIGNALS[row.signal].accepts(value):
            made.append(Sample(row.signal, labels, value))
    return made


def _operate(operation: str, left: float, right: float) -> float | None:
    if operation == "/":
        return left / right if right else None
    if operation == "*":
        return left * right
    return left + right if operation == "+" else left - right
