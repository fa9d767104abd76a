"""When requests arrive: the clock's grain, and the curve of gaps.

All functions take `stamps`: sorted Int64 arrays of whole microseconds. Gaps are between neighbours
of one stream; the merged stream of several sources has its own gaps.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from store.units import percent_text, seconds_text

Stamps = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

MICROSECONDS = 1_000_000
# Above this share of the mean gap, the mass a clock tick gathers at zero alone moves the
# distribution by about as much as the largest KS distance a fit may have.
LARGEST_TICK_TO_GAP_RATIO = 0.1
LARGEST_ZERO_GAP_RATIO = 0.5
# A clock has a grid when this share of gaps are its multiples: a few stray stamps do not hide it.
_ON_GRID_RATIO = 0.99
_GRID_STRETCH = 4096
_GRIDS_US = (10, 100, 1000, 10_000, 100_000, 1_000_000, 60_000_000)
_ECDF_POINTS = 200
STRETCH = 1 << 17
"""Stamps looked at together: a few arrays of so many fit into a processor's cache."""


@dataclass(frozen=True, slots=True)
class ClockCheck:
    """How fine the stamps of a stream are.

    Attributes:
        resolution_seconds: the grid the stamps lie on; None with fewer than two distinct stamps.
        distinct_stamps: number of different stamps.
        zero_gap_ratio: share of gaps that are exactly zero; None without a gap.
        lump_seconds: counts in shorter windows show the clock rather than the traffic: the median
            distance between distinct stamps where most gaps are zero, else the grid. None with one
            distinct stamp.
        quantised: whether the grid is too coarse against the mean gap to fit the gaps.
        lumped: whether even their variation is the clock's doing: most gaps are zero, or the grid
            is as wide as the mean gap.
        why: one line for people, when quantised.
    """

    resolution_seconds: float | None
    distinct_stamps: int
    zero_gap_ratio: float | None
    lump_seconds: float | None
    quantised: bool
    lumped: bool = False
    why: str | None = None


def sorted_stamps(at_us: Stamps) -> Stamps:
    """The stamps in order, sorted in place where they are not; the same array."""
    first = _first_late(at_us)
    if first is not None:
        # Late rows are few and near the end: what came before all of them stays where it is.
        start = int(np.searchsorted(at_us[:first], at_us[first:].min(), side="right"))
        at_us[start:].sort(kind="stable")
    return at_us


def _first_late(at_us: Stamps) -> int | None:
    """Place of the first stamp that lies before its neighbour; None when they are in order."""
    for begin in range(0, at_us.size - 1, STRETCH):
        part = at_us[begin : begin + STRETCH + 1]
        back = part[1:] < part[:-1]
        if back.any():
            return begin + int(back.argmax()) + 1
    return None


def judge_clock(
    distinct: int, total: int, span_us: int, sample: Stamps, positive: Stamps
) -> ClockCheck:
    """Measure the clock's grain and say whether gaps can be trusted.

    Args:
        distinct: different stamps.
        total: gaps.
        span_us: from the first to the last stamp.
        sample: of all gaps, microseconds.
        positive: of those above zero; one at least where there are two different stamps.
    """
    if total < 1:
        return ClockCheck(None, distinct, None, None, quantised=False)
    zero_ratio = 1 - (distinct - 1) / total
    if distinct == 1:
        same = "all requests carry the same time stamp"
        return ClockCheck(None, 1, zero_ratio, None, quantised=True, lumped=True, why=same)
    grid_us = _grid_us(positive)
    resolution = grid_us / MICROSECONDS
    if np.count_nonzero(sample == grid_us) >= _ON_GRID_RATIO * sample.size:
        # Every gap is one tick: a steady beat, which a coarse clock cannot make of random arrivals.
        return ClockCheck(resolution, distinct, zero_ratio, resolution, quantised=False)
    mean_gap = span_us / MICROSECONDS / total
    mostly_zero = zero_ratio > LARGEST_ZERO_GAP_RATIO
    lump = float(np.median(positive)) / MICROSECONDS if mostly_zero else resolution
    lumped = mostly_zero or resolution >= mean_gap
    why = _quantised(resolution, mean_gap, zero_ratio, distinct)
    return ClockCheck(resolution, distinct, zero_ratio, lump, why is not None, lumped, why)


def _quantised(resolution: float, mean_gap: float, zero_ratio: float, distinct: int) -> str | None:
    if zero_ratio <= LARGEST_ZERO_GAP_RATIO and resolution <= LARGEST_TICK_TO_GAP_RATIO * mean_gap:
        return None
    return (
        f"the clock is quantised: {percent_text(zero_ratio)} of gaps are zero, stamps lie on a "
        f"{seconds_text(resolution)} grid ({distinct:,} distinct) against a mean gap of "
        f"{seconds_text(mean_gap)}; use the dispersion of counts instead"
    )


def _grid_us(positive: Stamps) -> int:
    """The widest grid, in microseconds, that nearly all of these gaps are multiples of."""
    candidates = {*_GRIDS_US, _common_divisor(positive), int(np.median(positive))}
    for grid in sorted(candidates, reverse=True):
        if grid > 1 and _is_on_grid(positive, grid):
            return grid
    return 1


def _common_divisor(positive: Stamps) -> int:
    """The greatest; looks no further once it is 1."""
    found = 0
    for begin in range(0, positive.size, _GRID_STRETCH):
        found = int(np.gcd.reduce(positive[begin : begin + _GRID_STRETCH], initial=found))
        if found == 1:
            break
    return found


def _is_on_grid(positive: Stamps, grid_us: int) -> bool:
    """Whether nearly all are multiples; looks no further once too many are not."""
    allowed = positive.size - _ON_GRID_RATIO * positive.size
    astray = 0
    for begin in range(0, positive.size, _GRID_STRETCH):
        astray += int(np.count_nonzero(positive[begin : begin + _GRID_STRETCH] % grid_us))
        if astray > allowed:
            return False
    return True


def gaps_seconds(stamps: Stamps) -> Floats:
    """Gaps between neighbouring arrivals, in seconds, zeros included."""
    return np.diff(stamps) / MICROSECONDS


def ascending(values: Floats) -> Floats:
    """The values in order; the same array where they are."""
    return values if bool((values[1:] >= values[:-1]).all()) else np.sort(values)


def run_lengths(values: Stamps) -> tuple[Stamps, Stamps]:
    """Distinct values of a sorted array, and how often each occurs."""
    if values.size == 0:
        return values, np.empty(0, dtype=np.int64)
    starts = np.concatenate(([0], np.flatnonzero(values[1:] != values[:-1]) + 1))
    return values[starts], np.diff(np.append(starts, values.size))


def interarrival_ecdf(gaps: Floats) -> pl.DataFrame:
    """gap_seconds, cdf_ratio, exponential_cdf_ratio: at most 200 points of the empirical curve.

    Args:
        gaps: seconds, any order. `cdf_ratio` is the share of gaps <= gap_seconds, exact at each
            point; the exponential beside it has the same mean.
    """
    schema = {
        "gap_seconds": pl.Float64,
        "cdf_ratio": pl.Float64,
        "exponential_cdf_ratio": pl.Float64,
    }
    if gaps.size < 2:
        return pl.DataFrame(schema=schema)
    ordered = ascending(gaps)
    # Half of the points go to the upper tail, where bursty streams differ.
    body = np.linspace(0, 1, _ECDF_POINTS // 2)
    tail = 1 - np.geomspace(0.1, 1 / ordered.size, _ECDF_POINTS // 2)
    places = np.unique(np.rint(np.union1d(body, tail) * (ordered.size - 1)).astype(np.int64))
    points = np.unique(ordered[places])
    mean = float(ordered.mean())
    exponential = -np.expm1(-points / mean) if mean > 0 else np.ones_like(points)
    return pl.DataFrame(
        {
            "gap_seconds": points,
            "cdf_ratio": np.searchsorted(ordered, points, side="right") / ordered.size,
            "exponential_cdf_ratio": exponential,
        },
        schema=schema,
    )
