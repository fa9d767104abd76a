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

from collector.engines.assemble import Cell
from collector.remote_write.series import Kept, Target
from store.signals import SIGNALS

_MOST_COUNT = float(2**53)

Places = npt.NDArray[np.int64]
Values = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Plain:
    """Values that are one series each: columns of the same length.

    Attributes:
        places: slots.
        factors: exposed value times this is ours.
        lows: smallest valid value.
        highs: largest valid value.
        signals: names.
        kinds: gauge or counter.
        units: of the values.
        labels: JSON.
    """

    places: Places
    factors: Values
    lows: Values
    highs: Values
    signals: list[str]
    kinds: list[str]
    units: list[str]
    labels: list[str]


@dataclass(frozen=True, slots=True)
class Buckets:
    """Histograms that are one exposed histogram each: columns of the same length.

    Attributes:
        counts: slots of the number of observations.
        sums: slots of the sums, -1 where there is none.
        factors: of sums.
        places: slots of the buckets of all of them, one after the other, edges ascending.
        sizes: how many buckets each has.
        edges: upper bounds, like `places`.
        signals: names.
        units: of what is observed.
        labels: JSON.
    """

    counts: Places
    sums: Places
    factors: Values
    places: Places
    sizes: Places
    edges: Values
    signals: list[str]
    units: list[str]
    labels: list[str]


@dataclass(frozen=True, slots=True)
class Plan:
    """What becomes of the slots of a page.

    Attributes:
        plain: values by place.
        buckets: histograms by place.
        together: slots that have to be put together, with the cells that count.
        all_cells: every slot with its cells, for a page that holds what no plan expects.
        facts: slot of each fact about the scrape that is told.
    """

    plain: Plain
    buckets: Buckets
    together: tuple[tuple[int, tuple[Cell, ...]], ...]
    all_cells: tuple[tuple[int, tuple[Cell, ...]], ...]
    facts: dict[str, int]

    def is_simple(self, values: Values) -> bool:
        """Whether the histograms of a page are sound enough to be picked by place."""
        counts = values[np.concatenate([self.buckets.counts, self.buckets.places])]
        sums = values[self.buckets.sums[self.buckets.sums >= 0]]
        sound = (counts >= 0) & (counts <= _MOST_COUNT)
        return bool(sound.all() and np.isfinite(sums).all())


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
    return Plan(_plain(values), _buckets(histograms), together, cells, _facts(told))


def _without(cells: tuple[Cell, ...], unsound: set[tuple[str, str]]) -> tuple[Cell, ...]:
    return tuple(cell for cell in cells if cell.key not in unsound) if unsound else cells


def _facts(told: Sequence[tuple[int, Kept]]) -> dict[str, int]:
    return {one.fact: slot for slot, one in told if one.fact}


def _sorted_out(
    target: Target, by_key: dict[tuple[str, str], list[Contributor]]
) -> tuple[list[Contributor], list[list[Contributor]], set[str]]:
    """Values and histograms of one series each, and the signals that are more than that."""
    ranks: dict[str, set[int]] = {}
    for (signal, _), told in by_key.items():
        ranks.setdefault(signal, set()).update(cell.rank for _, cell in told)
    mixed = {signal for signal, found in ranks.items() if len(found) > 1}
    for engine in target.engines:
        for row in engine.derived:
            mixed |= {row.signal, row.left, row.right}
    mixed |= {
        signal
        for (signal, _), told in by_key.items()
        if not (_is_one_value(told) or _is_one_histogram(told))
    }
    values, histograms = [], []
    for (signal, _), told in by_key.items():
        if signal in mixed:
            continue
        if told[0][1].part == "value":
            values.append(told[0])
        else:
            histograms.append(told)
    return values, histograms, mixed


def _is_one_value(told: Sequence[Contributor]) -> bool:
    cell = told[0][1]
    plain = cell.constant is None and not cell.rule.zero_is_unknown
    return len(told) == 1 and cell.part == "value" and plain


def _is_one_histogram(told: Sequence[Contributor]) -> bool:
    cells = [cell for _, cell in told]
    if any(cell.part == "value" for cell in cells) or len({cell.group for cell in cells}) > 1:
        return False
    parts = [(cell.part, cell.edge) for cell in cells]
    has_count = any(part == "count" or (part == "bucket" and edge == math.inf)
                    for part, edge in parts)  # fmt: skip
    return has_count and len(set(parts)) == len(parts)


def _plain(found: Sequence[Contributor]) -> Plain:
    signals = [SIGNALS[cell.key[0]] for _, cell in found]
    return Plain(
        places=np.array([slot for slot, _ in found], np.int64),
        factors=np.array([cell.rule.factor for _, cell in found], np.float64),
        lows=np.array([-math.inf if one.low is None else one.low for one in signals], np.float64),
        highs=np.array([math.inf if one.high is None else one.high for one in signals], np.float64),
        signals=[one.name for one in signals],
        kinds=[one.kind for one in signals],
        units=[one.unit for one in signals],
        labels=[cell.key[1] for _, cell in found],
    )


def _buckets(found: Sequence[Sequence[Contributor]]) -> Buckets:
    counts, sums, places, sizes, edges = [], [], [], [], []
    for told in found:
        of_part = {(cell.part, cell.edge): slot for slot, cell in told}
        ascending = sorted(
            (cell.edge * cell.rule.factor, slot)
            for slot, cell in told
            if cell.part == "bucket" and math.isfinite(cell.edge)
        )
        infinite = of_part.get(("bucket", math.inf), -1)
        counts.append(of_part.get(("count", math.inf), infinite))
        sums.append(of_part.get(("sum", math.inf), -1))
        edges += [edge for edge, _ in ascending]
        places += [slot for _, slot in ascending]
        sizes.append(len(ascending))
    keys = [told[0][1].key for told in found]
    return Buckets(
        counts=np.array(counts, np.int64),
        sums=np.array(sums, np.int64),
        factors=np.array([told[0][1].rule.factor for told in found], np.float64),
        places=np.array(places, np.int64),
        sizes=np.array(sizes, np.int64),
        edges=np.array(edges, np.float64),
        signals=[signal for signal, _ in keys],
        units=[SIGNALS[signal].unit for signal, _ in keys],
        labels=[labels for _, labels in keys],
    )
