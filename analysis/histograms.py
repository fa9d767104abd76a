"""What cumulative histograms can and cannot say: intervals, never points that look exact.

A histogram has finite upper edges e_1 < … < e_k and a last bucket without end. Counts are
cumulative at or below each edge; the count up to infinity is the number of observations.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import numpy.typing as npt
import polars as pl

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Histogram:
    """Observations of one stretch of time.

    Attributes:
        edges: finite upper bounds, ascending.
        cumulative: observations at or below each edge, non-decreasing; as long as `edges`.
        count: all observations, those above the last edge included.
        total: sum of the observed values; None when unknown.
    """

    edges: tuple[float, ...]
    cumulative: tuple[float, ...]
    count: float
    total: float | None = None

    @property
    def mean(self) -> float | None:
        """Mean observation; exact, unlike any quantile. None without observations."""
        return self.total / self.count if self.total is not None and self.count > 0 else None


def make(
    edges: Sequence[float], cumulative: Sequence[float], count: float, total: float | None = None
) -> Histogram:
    """A histogram from an exposed one: sorted, without +Inf, forced non-decreasing.

    Args:
        edges: upper bounds in any order, +Inf allowed, each once.
        cumulative: observations at or below each.
        count: all observations.
        total: sum of the observations.
    """
    pairs = sorted((e, c) for e, c in zip(edges, cumulative, strict=True) if np.isfinite(e))
    kept = np.minimum(np.maximum.accumulate([c for _, c in pairs]), count) if pairs else np.empty(0)
    return Histogram(tuple(e for e, _ in pairs), tuple(map(float, kept)), float(count), total)


def difference(newer: Histogram, older: Histogram | None, *, restarted: bool = False) -> Histogram:
    """What was observed between two cumulative states.

    A drop of the count or of any bucket is a restart of the whole histogram, and other edges are a
    new one that is never mixed with the old: then all of `newer` was observed since. A sum that
    fell while the count did not is bad data and no restart: the sum is unknown.

    Args:
        newer: the later state.
        older: the earlier state; None when there was none.
        restarted: whether the process is known to have started anew in between (its start time
            moved), which a busy one hides by passing its old counts.
    """
    if restarted or older is None or older.edges != newer.edges or _fell(newer, older):
        return newer
    total = None
    if newer.total is not None and older.total is not None and newer.total >= older.total:
        total = newer.total - older.total
    cumulative = tuple(n - o for n, o in zip(newer.cumulative, older.cumulative, strict=True))
    return make(newer.edges, cumulative, newer.count - older.count, total)


def _fell(newer: Histogram, older: Histogram) -> bool:
    if newer.count < older.count:
        return True
    return any(n < o for n, o in zip(newer.cumulative, older.cumulative, strict=True))


def merge(parts: Sequence[Histogram]) -> Histogram | None:
    """Several histograms as one, on the edges they all share; None without any.

    Coarser, never wrong: a bound that one of them lacks says nothing about that one's observations.
    """
    if not parts:
        return None
    shared = set(parts[0].edges).intersection(*(part.edges for part in parts[1:]))
    edges = tuple(sorted(shared))
    cumulative = tuple(
        sum(part.cumulative[part.edges.index(edge)] for part in parts) for edge in edges
    )
    totals = [part.total for part in parts]
    total = (
        None if any(value is None for value in totals) else sum(v for v in totals if v is not None)
    )
    return Histogram(edges, cumulative, sum(part.count for part in parts), total)


def by_layout(parts: Sequence[Histogram]) -> list[Histogram]:
    """Histograms of the same edges added up: one for each layout, nothing lost."""
    groups: dict[tuple[float, ...], list[Histogram]] = {}
    for part in parts:
        groups.setdefault(part.edges, []).append(part)
    return [whole for group in groups.values() if (whole := merge(group)) is not None]


def quantile_interval_over(
    parts: Sequence[Histogram], q: float
) -> tuple[float | None, float | None] | None:
    """The narrowest (low, high] that must hold the q-quantile of all observations together.

    Unlike `quantile_interval(merge(parts), q)` it uses every edge of every part, so replicas with
    different buckets widen it no more than their own edges demand. None without observations.

    Args:
        parts: what was observed, one an instance.
        q: 0 < q <= 1.
    """
    layouts = by_layout([part for part in parts if part.count > 0])
    count = sum(part.count for part in layouts)
    if count <= 0:
        return None
    rank = q * count - 1e-9 * count
    low: float | None = None
    for edge in sorted({edge for part in layouts for edge in part.edges}):
        bounds = [within_interval(part, edge) for part in layouts]
        if sum(least for least, _ in bounds) >= rank:
            return low, edge
        if sum(most for _, most in bounds) < rank:
            low = edge
    return low, None


def quantile_interval(histogram: Histogram, q: float) -> tuple[float | None, float | None] | None:
    """The bucket (low, high] that holds the q-quantile; None without observations.

    low None means "at most high" (first bucket), high None means "above low" (last bucket). The
    quantile is the smallest value with at least q of the observations at or below it.

    Args:
        histogram: what was observed.
        q: 0 < q <= 1.
    """
    if histogram.count <= 0:
        return None
    rank = q * histogram.count
    low: float | None = None
    for edge, below in zip(histogram.edges, histogram.cumulative, strict=True):
        # Counts are whole numbers kept as floats; q * n must not miss one by rounding.
        if below >= rank - 1e-9 * histogram.count:
            return low, edge
        low = edge
    return low, None


def within_interval(histogram: Histogram, threshold: float) -> tuple[float, float]:
    """Least and most observations that were <= threshold; equal when it is an edge.

    Source: counts at the edges below and above; nothing is assumed inside a bucket.
    """
    low, high = 0.0, histogram.count
    for edge, below in zip(histogram.edges, histogram.cumulative, strict=True):
        if edge <= threshold:
            low = below
        if edge >= threshold:
            high = below
            break
    return low, high


def joint_bounds(parts: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """What share can meet several limits at once, knowing only each share by itself.

    max(0, a + b - 1) <= joint <= min(a, b), for any number of parts (Fréchet bounds).

    Args:
        parts: (low, high) of each share, ratios.
    """
    low = max(0.0, sum(part[0] for part in parts) - (len(parts) - 1))
    return low, min(part[1] for part in parts)


def is_edge(histogram: Histogram, threshold: float) -> bool:
    """Whether a threshold can be told exactly from these buckets."""
    return any(abs(edge - threshold) <= 1e-9 * threshold for edge in histogram.edges)


def neighbours(histogram: Histogram, threshold: float) -> tuple[float | None, float | None]:
    """The edges on both sides of a threshold, None beyond the ends."""
    below = [edge for edge in histogram.edges if edge <= threshold]
    above = [edge for edge in histogram.edges if edge >= threshold]
    return (below[-1] if below else None), (above[0] if above else None)


@dataclass(frozen=True, slots=True)
class Observed:
    """What one series observed between two points.

    Attributes:
        series_id: the series.
        target_id: the target.
        signal: canonical signal name.
        model: model label, or that of the target; None when unknown.
        bin: bin of the later point.
        at: naive UTC time of the later point.
        histogram: the observations.
    """

    series_id: int
    target_id: int
    signal: str
    model: str | None
    bin: int
    at: datetime
    histogram: Histogram


def observed(
    points: pl.DataFrame, restarts: Mapping[int, Sequence[datetime]] | None = None
) -> list[Observed]:
    """Differences between successive points of each series.

    The first point of a series gives nothing: what it holds was observed before the record began.

    Args:
        points: as returned by `store.queries.telemetry.histogram_points`.
        restarts: target_id -> times of the first scrape after each restart, ascending, for targets
            that tell when they started (`store.queries.restarts`); others go by what fell.
    """
    found: list[Observed] = []
    before: Histogram | None = None
    before_at: datetime | None = None
    last_series: int | None = None
    for row in points.iter_rows(named=True):
        now = make(
            row["edges"], row["cumulative_counts"], row["observation_count"], row["observation_sum"]
        )
        told = (restarts or {}).get(row["target_id"])
        if row["series_id"] == last_series and before is not None and before_at is not None:
            anew = told is not None and _any_within(told, before_at, row["at"])
            # A process that says it went on did not observe all this since: its ranks or its edges
            # are others now, and what came in between cannot be told.
            if told is None or anew or before.edges == now.edges:
                found.append(
                    Observed(
                        row["series_id"],
                        row["target_id"],
                        row["signal"],
                        row["model"],
                        row["bin"],
                        row["at"],
                        difference(now, before, restarted=anew),
                    )
                )
        before, before_at, last_series = now, row["at"], row["series_id"]
    return found


def _any_within(times: Sequence[datetime], after: datetime, until: datetime) -> bool:
    place = bisect_right(times, after)
    return place < len(times) and times[place] <= until
