"""Buckets of one page -> one cumulative histogram."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from collector.model import HistogramSample

# Counts are doubles: beyond this they are not counted any more.
MOST_COUNT = 2.0**53


@dataclass(slots=True)
class Buckets:
    """The parts of one exposed histogram as they were met on the page, in any order.

    Args:
        cumulative: upper edge -> observations at or below it. `le="1"` and `le="1.0"` are one edge.
        observation_count: of `_count`; None when the page does not tell.
        observation_sum: of `_sum`; None when the page does not tell.
        shard: parts of one shard tell the same thing again (tensor-parallel ranks).
    """

    cumulative: dict[float, float] = field(default_factory=dict)
    observation_count: float | None = None
    observation_sum: float | None = None
    shard: tuple[tuple[str, str], ...] = ()

    def count(self) -> float | None:
        """Observations up to +Inf, from `_count` or the last bucket; None when neither is good."""
        for told in (self.observation_count, self.cumulative.get(math.inf)):
            if told is not None and _is_count(told):
                return told
        return None


def merged(signal: str, labels: str, parts: Iterable[Buckets]) -> HistogramSample | None:
    """One histogram out of those of several ranks or replicas; None when one of them has no count.

    Cumulative counts add exactly at the edges that all parts share; other edges are left out.
    """
    told = _one_a_shard(list(parts))
    count = _total([part.count() for part in told])
    if count is None:
        return None
    edges = sorted(_shared_edges(told))
    rows = tuple(sum(part.cumulative[edge] for part in told) for edge in edges)
    return HistogramSample(
        signal=signal,
        labels=labels,
        observation_count=count,
        observation_sum=_total([part.observation_sum for part in told]),
        edges=tuple(edges),
        cumulative_counts=rows,
    )


def without_zeros(
    told: HistogramSample, counted_by: HistogramSample, at_most: float
) -> HistogramSample:
    """`told` without the zeros that `counted_by` counts up to its edge `at_most`.

    As it is when that edge is not there: then nobody knows how many there are.
    """
    if at_most not in counted_by.edges or (told.edges and told.edges[0] < 0):
        return told
    zeros = counted_by.cumulative_counts[counted_by.edges.index(at_most)]
    return replace(
        told,
        observation_count=max(0.0, told.observation_count - zeros),
        cumulative_counts=tuple(max(0.0, count - zeros) for count in told.cumulative_counts),
    )


def _one_a_shard(parts: list[Buckets]) -> list[Buckets]:
    """The part with the most observations of each shard."""
    if len(parts) < 2:
        return parts
    best: dict[tuple[tuple[str, str], ...], Buckets] = {}
    for part in parts:
        have = best.get(part.shard)
        if have is None or (part.count() or 0) > (have.count() or 0):
            best[part.shard] = part
    return list(best.values())


def _shared_edges(parts: list[Buckets]) -> set[float]:
    shared: set[float] | None = None
    for part in parts:
        good = {
            edge
            for edge, count in part.cumulative.items()
            if math.isfinite(edge) and _is_count(count)
        }
        shared = good if shared is None else shared & good
    return shared or set()


def _total(told: list[float | None]) -> float | None:
    """The sum, None when a part is unknown or the sum is no number."""
    known = [value for value in told if value is not None]
    total = sum(known)
    return total if len(known) == len(told) > 0 and math.isfinite(total) else None


def _is_count(value: float) -> bool:
    return 0 <= value <= MOST_COUNT
