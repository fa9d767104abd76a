"""How requests spread over windows: counts by the second, and the dispersion of counts.

Windows of the live fleet are those of the clock, so that hours which were counted once can be added
up; those of a trace begin at its first request, as published tables have it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from analysis.workload.arrivals import MICROSECONDS, STRETCH, Floats, Stamps
from analysis.workload.sums import dot
from store.arrival_rollup import WINDOWS_SECONDS

PEAK_WINDOWS_SECONDS = (1, 10, 60)


@dataclass(frozen=True, slots=True)
class SecondCounts:
    """Requests in each occupied second: all that counting needs, however many requests there are.

    Attributes:
        seconds: occupied seconds since the origin, ascending.
        counts: requests in each, >= 1.
        first_us: first arrival, microseconds since the origin.
        last_us: last arrival.
    """

    seconds: Stamps
    counts: Stamps
    first_us: int
    last_us: int

    @property
    def requests(self) -> int:
        """How many requests there are."""
        return int(self.counts.sum())


@dataclass(frozen=True, slots=True)
class WindowSums:
    """Counts of requests in full windows of one length, added up.

    Attributes:
        requests: in all of them.
        squares: sum of squared counts.
        most: largest count; 0 without a request.
    """

    requests: float = 0.0
    squares: float = 0.0
    most: int = 0

    def plus(self, other: WindowSums) -> WindowSums:
        """Both, of different windows."""
        most = max(self.most, other.most)
        return WindowSums(self.requests + other.requests, self.squares + other.squares, most)


@dataclass(frozen=True, slots=True)
class Dispersion:
    """Counts of requests in windows of one length.

    Attributes:
        window_seconds: length of a window, whole seconds.
        windows: number of full windows between the first and the last arrival.
        index: variance ÷ mean of the counts (1 for Poisson); None with fewer than two windows.
        peak_requests: most requests in one window; None without a full window.
        peak_to_mean_ratio: that peak ÷ mean of the counts.
        index_with_last_window: the index with the part-filled last window (and first, where windows
            are the clock's) counted as whole and the population variance, as some published tables
            have it; None without a second arrival.
    """

    window_seconds: int
    windows: int
    index: float | None
    peak_requests: int | None
    peak_to_mean_ratio: float | None
    index_with_last_window: float | None


def count_seconds(stamps: Stamps, origin_us: int | None = None) -> SecondCounts:
    """Count requests by second.

    Args:
        stamps: sorted microseconds.
        origin_us: where second 0 starts; None is the first arrival, 0 the clock's own seconds.
    """
    if stamps.size == 0:
        return SecondCounts(stamps, stamps, 0, 0)
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
    ends = (int(at) - origin for at in (stamps[0], stamps[-1]))
    return SecondCounts(np.concatenate(seconds), counts, *ends)


def dispersions(
    counted: SecondCounts,
    windows: Sequence[int] = WINDOWS_SECONDS,
    more: Mapping[int, WindowSums] | None = None,
) -> dict[int, Dispersion]:
    """Index of dispersion of counts over full windows from the origin of the seconds, by window.

    A window that the record leaves part-filled is dropped and the variance is the sample
    variance (n - 1): counting a half-empty window as if it were whole inflates the index (Azure
    conversation, 60 s: 16.4 without it, 20.6 with it). The other definition is kept beside it for
    comparison with published 1.4 / 4.0 / 20.6 (conversation) and 13.2 / 71.3 / 160.5 (code).

    Args:
        counted: by second; its first and last arrival are those of everything.
        windows: seconds, >= 1, each a multiple of the one before.
        more: by window, other full windows between them.

    Source: Cox & Lewis, The Statistical Analysis of Series of Events (1966), chapter 4.
    """
    found, folded, width = {}, (counted.seconds, counted.counts), 1
    for window in windows:
        # Ten minutes are folded from minutes, which are few, rather than from seconds.
        folded, width = _fold(*folded, window // width), window
        others = more[window] if more else WindowSums()
        found[window] = _dispersion(counted, window, *folded, others)
    return found


def _dispersion(
    counted: SecondCounts, window_seconds: int, index: Stamps, requests: Stamps, more: WindowSums
) -> Dispersion:
    """The dispersion of requests that are already counted by window."""
    counts = requests.astype(np.float64)
    width_us = window_seconds * MICROSECONDS
    low, high = -(-counted.first_us // width_us), counted.last_us // width_us
    every = high - counted.first_us // width_us + 1
    with_last = None
    whole = _sums(counts).plus(more)
    if whole.requests >= 2:
        with_last = _index(whole, every, every)
    windows = max(0, high - low)
    full = _sums(counts[slice(*np.searchsorted(index, (low, high)))]).plus(more)
    if not full.requests:
        return Dispersion(window_seconds, windows, None, None, None, with_last)
    spread = _index(full, windows, windows - 1) if windows >= 2 else None
    peak_to_mean = full.most * windows / full.requests
    return Dispersion(window_seconds, windows, spread, full.most, peak_to_mean, with_last)


def _sums(counts: Floats) -> WindowSums:
    return WindowSums(float(counts.sum()), dot(counts, counts), int(counts.max(initial=0)))


def _index(sums: WindowSums, windows: int, divisor: int) -> float:
    """Variance ÷ mean of counts in `windows` windows, of which the empty ones are not listed.

    Empty windows need no memory, so a sparse trace of a year costs no more than its requests.
    """
    mean = sums.requests / windows
    return (sums.squares - sums.requests * mean) / divisor / mean


def _fold(places: Stamps, counts: Stamps, windows: int) -> tuple[Stamps, Stamps]:
    """Occupied windows of so many earlier ones each, and the requests in each."""
    if places.size == 0 or windows == 1:
        return places, counts
    index = places // windows
    starts = np.concatenate(([0], np.flatnonzero(index[1:] != index[:-1]) + 1))
    return index[starts], np.add.reduceat(counts, starts)
