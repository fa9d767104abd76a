"""Buckets of one page -> one cumulative histogram."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

from collector.model import HistogramSample


@dataclass(slots=True)
class Buckets:
    """The parts of one exposed histogram as they were met on the page, in any order.

    Args:
        cumulative: upper edge -> observations at or below it. `le="1"` and `le="1.0"` are one edge.
        observation_count: of `_count`; None when the page does not tell.
        observation_sum: of `_sum`; None when the page does not tell.
    """

    cumulative: dict[float, float] = field(default_factory=dict)
    observation_count: float | None = None
    observation_sum: float | None = None

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
    told = list(parts)
    counts = [part.count() for part in told]
    if not told or any(count is None for count in counts):
        return None
    edges = sorted(_shared_edges(told))
    rows = tuple(math.fsum(part.cumulative[edge] for part in told) for edge in edges)
    sums = [part.observation_sum for part in told]
    known = [total for total in sums if total is not None and math.isfinite(total)]
    return HistogramSample(
        signal=signal,
        labels=labels,
        observation_count=math.fsum(count for count in counts if count is not None),
        observation_sum=math.fsum(known) if len(known) == len(sums) else None,
        edges=tuple(edges),
        cumulative_counts=rows,
    )


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


def _is_count(value: float) -> bool:
    return math.isfinite(value) and value >= 0
