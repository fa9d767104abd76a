"""Attainment from histograms: what share met a limit, as an interval with the truth inside.

A histogram tells the share exactly at its edges. At any other limit only that it lies between the
shares at the edges on both sides; a line drawn between them may be off by tens of points.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from analysis.histograms import Histogram, is_edge, joint_bounds, neighbours, within_interval
from store.units import percent_text, seconds_text


@dataclass(frozen=True, slots=True)
class Attainment:
    """The share of observations that met a limit.

    Attributes:
        low: at least this share did, ratio.
        high: at most this share did; equal to `low` where the limit is a bucket edge.
        count: observations behind it.
        warning: what must be said beside it, one sentence; None when the share is exact.
    """

    low: float
    high: float
    count: float
    warning: str | None = None


def attainment(parts: Sequence[Histogram], limit_seconds: float) -> Attainment | None:
    """The share of all observations <= a limit, over histograms that may differ in their buckets.

    Args:
        parts: what was observed, one an instance; buckets are never mixed.
        limit_seconds: the objective, in the unit of the histograms.

    Returns:
        None without observations.
    """
    seen = [part for part in parts if part.count > 0]
    if not seen:
        return None
    bounds = [within_interval(part, _snapped(part, limit_seconds)) for part in seen]
    count = sum(part.count for part in seen)
    low, high = (sum(bound[side] for bound in bounds) / count for side in (0, 1))
    return Attainment(low, min(high, 1.0), count, _warning(seen, limit_seconds, low, high))


def _snapped(part: Histogram, limit: float) -> float:
    """The edge that a limit means: 0.7 and 700 x 0.001 are one number to people."""
    return next((edge for edge in part.edges if abs(edge - limit) <= 1e-9 * abs(limit)), limit)


def _warning(
    parts: Sequence[Histogram], limit_seconds: float, low: float, high: float
) -> str | None:
    between = {
        neighbours(part, limit_seconds) for part in parts if not is_edge(part, limit_seconds)
    }
    if not between:
        return None
    below = max((edge for edge, _ in between if edge is not None), default=None)
    above = min((edge for _, edge in between if edge is not None), default=None)
    edges = " and ".join(seconds_text(edge) for edge in (below, above) if edge is not None)
    return (
        f"{seconds_text(limit_seconds)} is no bucket edge of these engines (nearest: {edges}), so"
        f" the share is known as {percent_text(low)} to {percent_text(high)} only; set the"
        " objective to an edge, or record requests."
    )


def joint_attainment(shares: Sequence[Attainment]) -> Attainment | None:
    """The share that met several limits at once, from the share of each alone: bounds only.

    max(0, a + b - 1) <= joint <= min(a, b): two histograms do not say whether the slow ones of the
    first are the slow ones of the second. None without shares.
    """
    if not shares:
        return None
    if len(shares) == 1:
        return shares[0]
    low, high = joint_bounds([(share.low, share.high) for share in shares])
    told = [share.warning for share in shares if share.warning]
    text = (
        "A joint objective cannot be had from separate histograms: between"
        f" {percent_text(low)} and {percent_text(high)} met all limits."
    )
    return Attainment(low, high, min(share.count for share in shares), " ".join([text, *told]))
