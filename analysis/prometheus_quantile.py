"""`histogram_quantile` as Prometheus computes it, for those who compare numbers with Grafana.

A point where only an interval is known: use `analysis.histograms.quantile_interval` for decisions.
Source: Prometheus 3, `promql/quantile.go` (`BucketQuantile`), read and written anew.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

# Counts that differ by less, relative to their sum, are rounding of `rate()`.
SMALL_DELTA = 1e-12
_SMALLEST_NORMAL = 2.2250738585072014e-308


def histogram_quantile(q: float, edges: Sequence[float], counts: Sequence[float]) -> float:
    """The q-quantile by straight lines inside buckets; NaN and infinities as in Prometheus.

    Args:
        q: below 0 gives -Inf, above 1 +Inf, NaN NaN.
        edges: upper bounds in any order; the same one twice is added up. +Inf must be there.
        counts: cumulative observations at or below each edge, of one moment or rates of them.

    Returns:
        NaN without observations, without +Inf and with fewer than two buckets. The second highest
        edge when the quantile lies beyond it. Below the first edge the line starts at 0, unless
        that edge is 0 or less: then it is the edge itself.
    """
    if math.isnan(q):
        return math.nan
    if q < 0 or q > 1:
        return math.copysign(math.inf, q)
    buckets = _coalesced(edges, counts)
    if len(buckets) < 2 or buckets[-1][0] != math.inf:
        return math.nan
    uppers = [edge for edge, _ in buckets]
    below = _monotonic([count for _, count in buckets])
    if below[-1] == 0 or math.isnan(below[-1]):
        return math.nan
    rank = q * below[-1]
    place = next((n for n, count in enumerate(below[:-1]) if count >= rank), len(below) - 1)
    if place == len(below) - 1:
        return uppers[-2]
    if place == 0 and uppers[0] <= 0:
        return uppers[0]
    start, before = (uppers[place - 1], below[place - 1]) if place > 0 else (0.0, 0.0)
    inside = below[place] - before
    # Only q = 0 with an empty first bucket comes here with nothing inside: 0/0 there as well.
    share = (rank - before) / inside if inside else math.nan
    return start + (uppers[place] - start) * share


def _coalesced(edges: Sequence[float], counts: Sequence[float]) -> list[tuple[float, float]]:
    summed: dict[float, float] = {}
    for edge, count in zip(edges, counts, strict=True):
        summed[edge] = summed.get(edge, 0.0) + count
    return sorted(summed.items())


def _monotonic(counts: Sequence[float]) -> list[float]:
    """Counts that never shrink; those that differ by rounding only are made equal."""
    made = list(counts)
    before = made[0]
    for place in range(1, len(made)):
        if made[place] < before or _almost_equal(before, made[place]):
            made[place] = before
        else:
            before = made[place]
    return made


def _almost_equal(one: float, other: float) -> bool:
    if one == other:
        return True
    total, apart = abs(one) + abs(other), abs(one - other)
    if one == 0 or other == 0 or total < _SMALLEST_NORMAL:
        return apart < SMALL_DELTA * _SMALLEST_NORMAL
    return apart / total < SMALL_DELTA
