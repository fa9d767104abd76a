"""How the page of one target becomes rows: compiled once, then a few column operations a page.

Most signals have one series behind them: their rows are picked by place. What has to be put
together (ranks, several engines, derived signals) goes through `Resolver.assemble`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from collector.engines.adapter import Engine, Zeros
from collector.engines.assemble import Cell
from collector.remote_write.series import Target
from store.signals import SIGNALS

_MOST_COUNT = float(2**53)

Places = npt.NDArray[np.int64]
Values = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Sums:
    """Slots that add up: those of the first number, then those of the second, and so on.

    Attributes:
        places: slots.
        starts: where in `places` each number begins.
    """

    places: Places
    starts: Places

    def of(self, values: Values) -> Values:
        """The sum of each."""
        told = values[self.places]
        if len(self.starts) in (0, len(told)):
            return told
        return np.add.reduceat(told, self.starts)


@dataclass(frozen=True, slots=True)
class Plain:
    """Values: columns of the same length.

    Attributes:
        sums: what they are made of.
        shared: slots of values that are made of several.
        largest: numbers of those of which the largest counts instead of the sum.
        factors: the sum times this is ours; the mean is a sum divided.
        lows: smallest valid value.
        highs: largest valid value.
        signals: names.
        kinds: gauge or counter.
        units: of the values.
        labels: JSON.
    """

    sums: Sums
    shared: Places
    largest: tuple[int, ...]
    factors: Values
    lows: Values
    highs: Values
    signals: list[str]
    kinds: list[str]
    units: list[str]
    labels: list[str]

    def of(self, values: Values) -> Values:
        """The values of a page, in our units."""
        told = self.sums.of(values)
        for number in self.largest:
            start = self.sums.starts[number]
            end = self.sums.starts[number + 1 : number + 2]
            told[number] = values[self.sums.places[start : end[0] if len(end) else None]].max()
        return told * self.factors


@dataclass(frozen=True, slots=True)
class Buckets:
    """Histograms: columns of the same length, and their buckets one after the other.

    Attributes:
        counts: numbers of observations.
        sums: of what was observed; those without one are in `unknown`.
        unknown: numbers of histograms without a sum.
        factors: of sums.
        buckets: cumulative counts, edges ascending.
        sizes: how many buckets each has.
        edges: upper bounds, like `buckets`.
        zeros: histogram, and the bucket of another that counts its observations that are none.
        signals: names.
        units: of what is observed.
        labels: JSON.
    """

    counts: Sums
    sums: Sums
    unknown: list[int]
    factors: Values
    buckets: Sums
    sizes: Places
    edges: Values
    zeros: tuple[tuple[int, int], ...]
    signals: list[str]
    units: list[str]
    labels: list[str]

    def of(self, values: Values) -> tuple[Values, Values, Values]:
        """Counts, sums (NaN = unknown) and cumulative counts of a page."""
        counts, cumulative = self.counts.of(values), self.buckets.of(values)
        sums = self.sums.of(values) * self.factors
        sums[self.unknown] = np.nan
        for histogram, bucket in self.zeros:
            none = cumulative[bucket]
            start = int(self.sizes[:histogram].sum())
            mine = slice(start, start + int(self.sizes[histogram]))
            counts[histogram] = max(0.0, counts[histogram] - none)
            cumulative[mine] = np.maximum(0.0, cumulative[mine] - none)
        return counts, sums, cumulative


@dataclass(frozen=True, slots=True)
class Plan:
    """What becomes of the slots of a page.

    Attributes:
        plain: values.
        buckets: histograms.
        together: slots that `Resolver.assemble` has to put together, with the cells that count.
        all_cells: every slot with its cells, for a page that holds what no plan expects.
        facts: slot of each fact about the scrape that is told.
    """

    plain: Plain
    buckets: Buckets
    together: tuple[tuple[int, tuple[Cell, ...]], ...]
    all_cells: tuple[tuple[int, tuple[Cell, ...]], ...]
    facts: dict[str, int]

    def is_simple(self, values: Values) -> bool:
        """Whether every number of a page is sound, so that columns can be added up."""
        counts = np.concatenate([self.buckets.counts.places, self.buckets.buckets.places])
        told = values[counts]
        numbers = np.concatenate([self.buckets.sums.places, self.plain.shared])
        sound = (told >= 0) & (told <= _MOST_COUNT)
        return bool(sound.all() and np.isfinite(values[numbers]).all())


Contributor = tuple[int, Cell]


def plan(target: Target, slots: Iterable[int], lost: Iterable[int] = ()) -> Plan:
    """Compile the slots that are told.

    Args:
        target: what its slots mean.
        slots: those that have a value.
        lost: slots that should have one and have not; what they are part of is left out.
    """
    kept = target.kept
    unsound = {cell.key for slot in lost for cell in kept[slot].cells}
    told = [(slot, kept[slot]) for slot in slots]
    cells = tuple((slot, wanted) for slot, one in told if (wanted := _without(one.cells, unsound)))
    by_key: dict[tuple[str, str], list[Contributor]] = {}
    for slot, wanted in cells:
        for cell in wanted:
            by_key.setdefault(cell.key, []).append((slot, cell))
    values, histograms, complex_signals = _sorted_out(target, by_key)
    together = tuple(
        (slot, chosen)
        for slot, wanted in cells
        if (chosen := tuple(cell for cell in wanted if cell.key[0] in complex_signals))
    )
    zeros = [row for engine in target.engines for row in engine.zeros]
    facts = {one.fact: slot for slot, one in told if one.fact}
    return Plan(_plain(values), _buckets(histograms, zeros), together, cells, facts)


def _without(cells: tuple[Cell, ...], unsound: set[tuple[str, str]]) -> tuple[Cell, ...]:
    return tuple(cell for cell in cells if cell.key not in unsound) if unsound else cells


def _sorted_out(
    target: Target, by_key: dict[tuple[str, str], list[Contributor]]
) -> tuple[list[list[Contributor]], list[list[Contributor]], set[str]]:
    """Values and histograms that are sums, and the signals that are more than that."""
    mixed = _mixed(target.engines, by_key)
    simple = [told for (signal, _), told in by_key.items() if signal not in mixed]
    values = [told for told in simple if told[0][1].part == "value"]
    histograms = [told for told in simple if told[0][1].part != "value"]
    return values, histograms, mixed


def _mixed(engines: Sequence[Engine], by_key: dict[tuple[str, str], list[Contributor]]) -> set[str]:
    """Signals that columns cannot add up."""
    ranks: dict[str, set[int]] = {}
    for (signal, _), told in by_key.items():
        ranks.setdefault(signal, set()).update(cell.rank for _, cell in told)
    mixed = {signal for signal, found in ranks.items() if len(found) > 1}
    derived = [row for engine in engines for row in engine.derived]
    mixed |= {signal for row in derived for signal in (row.signal, row.left, row.right)}
    mixed |= {
        signal
        for (signal, _), told in by_key.items()
        if not (_is_sum(told) or _is_one_layout(told))
    }
    for row in (row for engine in engines for row in engine.zeros):
        pair = {row.signal, row.counted_by}
        mixed |= pair if pair & mixed else set()
    return mixed


def _is_sum(told: Sequence[Contributor]) -> bool:
    """Whether the value is the sum, mean or largest of exposed values."""
    rules = [cell.rule for _, cell in told]
    first = told[0][1]
    if first.part != "value" or any(cell.constant is not None for _, cell in told):
        return False
    if any(rule.zero_is_unknown for rule in rules) or len({rule.factor for rule in rules}) > 1:
        return False
    return len(told) == 1 or (first.rule.across != "newest" and not first.rule.max_over)


def _is_one_layout(told: Sequence[Contributor]) -> bool:
    """Whether the histogram is the sum of exposed ones that all have the same parts."""
    groups: dict[object, list[tuple[str, float]]] = {}
    for _, cell in told:
        if cell.part == "value":
            return False
        groups.setdefault(cell.group, []).append((cell.part, cell.edge))
    parts = {frozenset(found) for found in groups.values()}
    has_count = ("count", math.inf) in (first := next(iter(parts))) or ("bucket", math.inf) in first
    once = all(len(set(found)) == len(found) for found in groups.values())
    alone = len(groups) == 1 or not told[0][1].rule.max_over
    factors = {cell.rule.factor for _, cell in told}
    return len(parts) == 1 and has_count and once and alone and len(factors) == 1


def _sums(parts: Sequence[Sequence[int]]) -> Sums:
    sizes = [len(part) for part in parts]
    starts = np.cumsum([0, *sizes[:-1]]) if sizes else np.zeros(0)
    return Sums(
        np.array([slot for part in parts for slot in part], np.int64), starts.astype(np.int64)
    )


def _plain(found: Sequence[Sequence[Contributor]]) -> Plain:
    rules = [told[0][1].rule for told in found]
    keys = [told[0][1].key for told in found]
    signals = [SIGNALS[signal] for signal, _ in keys]
    shares = [
        1 / len(told) if rule.across == "mean" else 1.0
        for told, rule in zip(found, rules, strict=True)
    ]
    largest = [
        number
        for number, (told, rule) in enumerate(zip(found, rules, strict=True))
        if rule.across == "max" and len(told) > 1
    ]
    factors = [rule.factor * share for rule, share in zip(rules, shares, strict=True)]
    return Plain(
        sums=_sums([[slot for slot, _ in told] for told in found]),
        shared=np.array([slot for told in found if len(told) > 1 for slot, _ in told], np.int64),
        largest=tuple(largest),
        factors=np.array(factors, np.float64),
        lows=np.array([-math.inf if one.low is None else one.low for one in signals], np.float64),
        highs=np.array([math.inf if one.high is None else one.high for one in signals], np.float64),
        signals=[one.name for one in signals],
        kinds=[one.kind for one in signals],
        units=[one.unit for one in signals],
        labels=[labels for _, labels in keys],
    )


def _buckets(found: Sequence[Sequence[Contributor]], zeros: Sequence[Zeros]) -> Buckets:
    counts, sums, unknown, rows = [], [], [], []
    edges: list[list[float]] = []
    for number, told in enumerate(found):
        by_part: dict[tuple[str, float], list[int]] = {}
        for slot, cell in told:
            by_part.setdefault((cell.part, cell.edge), []).append(slot)
        observed = by_part.get(("count", math.inf)) or by_part["bucket", math.inf]
        counts.append(observed)
        # A number that is there keeps the columns even; it is not shown.
        sums.append(by_part.get(("sum", math.inf), observed))
        if ("sum", math.inf) not in by_part:
            unknown.append(number)
        finite = sorted(edge for part, edge in by_part if part == "bucket" and math.isfinite(edge))
        rows += [by_part["bucket", edge] for edge in finite]
        edges.append([edge * told[0][1].rule.factor for edge in finite])
    keys = [told[0][1].key for told in found]
    return Buckets(
        counts=_sums(counts),
        sums=_sums(sums),
        unknown=unknown,
        factors=np.array([told[0][1].rule.factor for told in found], np.float64),
        buckets=_sums(rows),
        sizes=np.array([len(one) for one in edges], np.int64),
        edges=np.array([edge for one in edges for edge in one], np.float64),
        zeros=_zeros(keys, edges, zeros),
        signals=[signal for signal, _ in keys],
        units=[SIGNALS[signal].unit for signal, _ in keys],
        labels=[labels for _, labels in keys],
    )


def _zeros(
    keys: Sequence[tuple[str, str]], edges: Sequence[Sequence[float]], zeros: Sequence[Zeros]
) -> tuple[tuple[int, int], ...]:
    """Which histogram holds observations that are none, and which bucket of another counts them."""
    starts = np.cumsum([0, *(len(one) for one in edges)]).tolist()
    found = []
    for row in zeros:
        for number, (signal, labels) in enumerate(keys):
            if signal != row.signal or (row.counted_by, labels) not in keys:
                continue
            other = keys.index((row.counted_by, labels))
            is_positive = not edges[number] or edges[number][0] >= 0
            if is_positive and row.at_most in edges[other]:
                found.append((number, starts[other] + edges[other].index(row.at_most)))
    return tuple(found)
