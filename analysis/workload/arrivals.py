"""When requests arrive: the clock's grain, gaps, variation, dispersion of counts, peaks, rates.

All functions take `stamps`: sorted Int64 arrays of whole microseconds. Gaps are between neighbours
of one stream; the merged stream of several sources has its own gaps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from analysis.workload.sums import dot
from store.units import percent_text, seconds_text

Stamps = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

MICROSECONDS = 1_000_000
DISPERSION_WINDOWS_SECONDS = (1, 10, 60, 600)
PEAK_WINDOWS_SECONDS = (1, 10, 60)
# Above this share of the mean gap, the mass a clock tick gathers at zero alone moves the
# distribution by about as much as the largest KS distance a fit may have.
LARGEST_TICK_TO_GAP_RATIO = 0.1
LARGEST_ZERO_GAP_RATIO = 0.5
# A clock has a grid when this share of gaps are its multiples: a few stray stamps do not hide it.
_ON_GRID_RATIO = 0.99
_GRID_SAMPLE = 200_000
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


@dataclass(frozen=True, slots=True)
class SecondCounts:
    """Requests in each occupied second: all that counting needs, however many requests there are.

    Attributes:
        seconds: occupied seconds since the origin, ascending.
        counts: requests in each, >= 1.
        first_at: first arrival, seconds since the origin.
        last_at: last arrival.
    """

    seconds: Stamps
    counts: Stamps
    first_at: float
    last_at: float

    @property
    def requests(self) -> int:
        """How many requests there are."""
        return int(self.counts.sum())


@dataclass(frozen=True, slots=True)
class Dispersion:
    """Counts of requests in windows of one length.

    Attributes:
        window_seconds: length of a window, whole seconds.
        windows: number of full windows, the first starting at the first arrival.
        index: variance ÷ mean of the counts (1 for Poisson); None with fewer than two windows.
        peak_requests: most requests in one window; None without a full window.
        peak_to_mean_ratio: that peak ÷ mean of the counts.
        index_with_last_window: the index with the part-filled last window counted as whole and the
            population variance, as some published tables have it; None without a second arrival.
    """

    window_seconds: int
    windows: int
    index: float | None
    peak_requests: int | None
    peak_to_mean_ratio: float | None
    index_with_last_window: float | None


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


def check_clock(stamps: Stamps) -> ClockCheck:
    """Measure the clock's grain and say whether gaps can be trusted."""
    gaps = stamps.size - 1
    if gaps < 1:
        return ClockCheck(None, int(stamps.size), None, None, quantised=False)
    distinct = int(np.count_nonzero(stamps[1:] != stamps[:-1])) + 1
    zero_ratio = 1 - (distinct - 1) / gaps
    if distinct == 1:
        same = "all requests carry the same time stamp"
        return ClockCheck(None, 1, zero_ratio, None, quantised=True, lumped=True, why=same)
    step = max(1, gaps // _GRID_SAMPLE)
    sample = stamps[1::step] - stamps[:-1:step]
    positive = sample[sample > 0]
    if not positive.size:
        positive = np.diff(stamps[np.flatnonzero(np.diff(stamps, prepend=stamps[0] - 1))])
    grid_us = _grid_us(positive)
    resolution = grid_us / MICROSECONDS
    if np.count_nonzero(sample == grid_us) >= _ON_GRID_RATIO * sample.size:
        # Every gap is one tick: a steady beat, which a coarse clock cannot make of random arrivals.
        return ClockCheck(resolution, distinct, zero_ratio, resolution, quantised=False)
    mean_gap = (int(stamps[-1]) - int(stamps[0])) / MICROSECONDS / gaps
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


def span_seconds(stamps: Stamps) -> float | None:
    """Seconds from the first to the last arrival; None with fewer than two."""
    if stamps.size < 2:
        return None
    return (int(stamps[-1]) - int(stamps[0])) / MICROSECONDS


def count_seconds(stamps: Stamps, origin_us: int | None = None) -> SecondCounts:
    """Count requests by second.

    Args:
        stamps: sorted microseconds.
        origin_us: where second 0 starts; None is the first arrival, 0 the clock's own seconds.
    """
    if stamps.size == 0:
        return SecondCounts(stamps, stamps, 0.0, 0.0)
    origin = int(stamps[0]) if origin_us is None else origin_us
    seconds, first, previous = [], [], None
    for begin in range(0, stamps.size, STRETCH):
        index = (stamps[begin : begin + STRETCH] - origin) // MICROSECONDS
        fresh = np.flatnonzero(index[1:] != index[:-1]) + 1
        if index[0] != previous:
            fresh = np.concatenate(([0], fresh))
        seconds.append(index[fresh])
        first.append(fresh + begin)
        previous = index[-1]
    counts = np.diff(np.concatenate([*first, [stamps.size]]))
    ends = ((int(at) - origin) / MICROSECONDS for at in (stamps[0], stamps[-1]))
    return SecondCounts(np.concatenate(seconds), counts, *ends)


def dispersions(
    counted: SecondCounts, windows: Sequence[int] = DISPERSION_WINDOWS_SECONDS
) -> dict[int, Dispersion]:
    """Index of dispersion of counts over full windows that start at the first arrival, by window.

    The last window, which the record leaves part-filled, is dropped and the variance is the sample
    variance (n - 1): counting a half-empty window as if it were whole inflates the index (Azure
    conversation, 60 s: 16.4 without it, 20.6 with it). The other definition is kept beside it for
    comparison with published 1.4 / 4.0 / 20.6 (conversation) and 13.2 / 71.3 / 160.5 (code).

    Args:
        counted: by second from the first arrival.
        windows: seconds, >= 1, each a multiple of the one before.

    Source: Cox & Lewis, The Statistical Analysis of Series of Events (1966), chapter 4.
    """
    found, folded, width = {}, (counted.seconds, counted.counts), 1
    for window in windows:
        # Ten minutes are folded from minutes, which are few, rather than from seconds.
        folded, width = _fold(*folded, window // width), window
        found[window] = _dispersion(counted, window, *folded)
    return found


def _dispersion(
    counted: SecondCounts, window_seconds: int, index: Stamps, requests: Stamps
) -> Dispersion:
    """The dispersion of requests that are already counted by window."""
    counts = requests.astype(np.float64)
    windows = int(counted.last_at) // window_seconds
    with_last = None
    if counts.sum() >= 2:
        every = int(index[-1]) + 1
        with_last = _index(counts, every, every)
    full = counts[: int(np.searchsorted(index, windows))]
    if windows < 1:
        return Dispersion(window_seconds, 0, None, None, None, with_last)
    mean, peak = float(full.sum()) / windows, int(full.max())
    spread = _index(full, windows, windows - 1) if windows >= 2 else None
    return Dispersion(window_seconds, windows, spread, peak, peak / mean, with_last)


def _index(counts: Floats, windows: int, divisor: int) -> float:
    """Variance ÷ mean of counts in `windows` windows, of which the empty ones are not listed.

    Empty windows need no memory, so a sparse trace of a year costs no more than its requests.
    """
    total = float(counts.sum())
    mean = total / windows
    return (dot(counts, counts) - total * mean) / divisor / mean


def _fold(places: Stamps, counts: Stamps, windows: int) -> tuple[Stamps, Stamps]:
    """Occupied windows of so many earlier ones each, and the requests in each."""
    if places.size == 0 or windows == 1:
        return places, counts
    index = places // windows
    starts = np.concatenate(([0], np.flatnonzero(index[1:] != index[:-1]) + 1))
    return index[starts], np.add.reduceat(counts, starts)


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
    ordered = np.sort(gaps)
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


RATE_SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {
    "at": pl.Datetime("us"),
    "requests_per_second": pl.Float64,
    "low_per_second": pl.Float64,
    "high_per_second": pl.Float64,
}


def rate_bins(counted: SecondCounts, bin_seconds: int) -> pl.DataFrame:
    """Requests per second in bins aligned to the clock, with the band of the 1-s counts in each.

    Args:
        counted: by the clock's own seconds.
        bin_seconds: width, a whole number >= 1.

    Returns:
        at (bin start), requests_per_second, low_per_second, high_per_second (least and most
        requests in one second of the bin; empty seconds count as 0). First and last bin are divided
        by the part of them the record covers, and are null when that is under a tenth.
    """
    seconds, per_second = counted.seconds, counted.counts
    if seconds.size == 0:
        return pl.DataFrame(schema=RATE_SCHEMA)
    index = seconds // bin_seconds
    first_in_bin = np.concatenate(([0], np.flatnonzero(index[1:] != index[:-1]) + 1))
    bins = index[first_in_bin]
    every = np.arange(bins[0], bins[-1] + 1)
    place = bins - bins[0]
    requests, high, low = (np.zeros(every.size) for _ in range(3))
    requests[place] = np.add.reduceat(per_second, first_in_bin)
    high[place] = np.maximum.reduceat(per_second, first_in_bin)
    occupied = np.diff(np.append(first_in_bin, seconds.size))
    whole = _seconds_in(every[place], bin_seconds, int(seconds[0]), int(seconds[-1]))
    least = np.minimum.reduceat(per_second, first_in_bin)
    low[place] = np.where(occupied >= whole, least, 0)
    starts = every * bin_seconds
    covered = covered_seconds(starts, bin_seconds, counted.first_at, counted.last_at)
    known = covered >= 0.1 * bin_seconds
    rate = np.where(known, requests / np.maximum(covered, 1e-9), np.nan)
    return pl.DataFrame(
        {
            "at": (starts * MICROSECONDS).astype("datetime64[us]"),
            "requests_per_second": rate,
            "low_per_second": low,
            "high_per_second": high,
        },
        schema=RATE_SCHEMA,
    ).with_columns(pl.col("requests_per_second").fill_nan(None))


def _seconds_in(bins: Stamps, width: int, first: int, last: int) -> Stamps:
    """How many whole seconds of each bin lie between the first and the last occupied second."""
    begin = np.maximum(bins * width, first)
    end = np.minimum(bins * width + width - 1, last)
    return end - begin + 1


def covered_seconds(starts: Stamps, width_seconds: int, first_at: float, last_at: float) -> Floats:
    """How much of each window [start, start + width) lies between first and last arrival.

    Args:
        starts: window starts in whole seconds of the clock.
        width_seconds: width of all windows.
        first_at: first arrival, seconds of the clock.
        last_at: last arrival.
    """
    begin = np.maximum(starts, first_at)
    end = np.minimum(starts + width_seconds, last_at)
    return np.asarray(np.maximum(end - begin, 0.0), dtype=np.float64)
