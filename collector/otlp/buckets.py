"""Histograms of OTLP -> cumulative buckets by upper edge."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from collector.otlp.model import ExponentialPoint, HistogramPoint

MOST_BUCKETS = 10_000
"""Buckets of one histogram; SDKs make at most 160."""

Buckets = tuple[tuple[float, float], ...]
"""Finite upper edge and observations at or below it, edges ascending."""


def sound(point: HistogramPoint | ExponentialPoint) -> bool:
    """Whether counts, bounds and total fit each other."""
    if point.total is not None and not math.isfinite(point.total):
        return False
    if isinstance(point, ExponentialPoint):
        told = sum(point.positive_counts) + sum(point.negative_counts) + point.zero_count
        return (
            len(point.positive_counts) + len(point.negative_counts) <= MOST_BUCKETS
            and told == point.count
            and -10 <= point.scale <= 20
            and point.zero_threshold >= 0
        )
    if not point.bounds and not point.counts:
        return True
    ascending = all(low < high for low, high in zip(point.bounds, point.bounds[1:], strict=False))
    return (
        len(point.counts) <= MOST_BUCKETS
        and ascending
        and all(map(math.isfinite, point.bounds))
        and len(point.counts) == len(point.bounds) + 1
        and sum(point.counts) == point.count
    )


def cumulative(point: HistogramPoint | ExponentialPoint) -> Buckets:
    """Buckets of a sound histogram."""
    if isinstance(point, ExponentialPoint):
        return _added_up(_exponential(point))
    return _added_up(zip(point.bounds, point.counts, strict=False))


def _exponential(point: ExponentialPoint) -> Iterator[tuple[float, int]]:
    """Upper edges and counts. Bucket i covers (base**i, base**(i+1)], base = 2**(2**-scale).

    Negative values lie mirrored: [-base**(i+1), -base**i). Source: OTLP metrics data model.
    """
    step = math.ldexp(1.0, -point.scale)
    for place, count in enumerate(point.negative_counts):
        yield -_power(step * (point.negative_offset + place)), count
    yield point.zero_threshold, point.zero_count
    for place, count in enumerate(point.positive_counts):
        yield _power(step * (point.positive_offset + place + 1)), count


def _power(exponent: float) -> float:
    """2 to the power of `exponent`; beyond what a double holds, infinity."""
    return math.exp2(exponent) if exponent < 1024 else math.inf


def _added_up(buckets: Iterable[tuple[float, int]]) -> Buckets:
    by_edge: dict[float, int] = {}
    for edge, count in buckets:
        by_edge[edge] = by_edge.get(edge, 0) + count
    told, rows = 0, []
    for edge in sorted(by_edge):
        told += by_edge[edge]
        if math.isfinite(edge):
            rows.append((edge, float(told)))
    return tuple(rows)
