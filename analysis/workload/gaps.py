"""The gaps of a stream in one pass: how much they vary, the longest, and a sample for fits.

Ten million gaps are looked at a stretch at a time, each small enough for the processor's cache:
arrays of all of them would take three times as long, most of it for fetching fresh memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from analysis.workload.arrivals import (
    MICROSECONDS,
    STRETCH,
    ClockCheck,
    Floats,
    Stamps,
    judge_clock,
)
from analysis.workload.sums import dot

# So many gaps put a fitted shape within 0.5 % and a distance within 0.003 (95 %), fifty times as
# fast as ten million.
MOST_FITTED_GAPS = 200_000
HOUR_US = 3600 * MICROSECONDS


@dataclass(frozen=True)
class Gaps:
    """What one pass over a stream's gaps gives.

    Attributes:
        total: number of gaps.
        span_us: their sum.
        distinct_stamps: different times of arrival.
        spread: sum of squared distances from their mean, microseconds squared.
        largest_us: the longest; None without a gap.
        largest_after_us: the arrival it follows.
        sample_us: one gap in `step`, for the curve and the fits.
        step: a power of two; 1 when the sample is all of them.
    """

    total: int
    span_us: int
    distinct_stamps: int
    spread: float
    largest_us: int | None
    largest_after_us: int | None
    sample_us: Stamps
    step: int

    @property
    def variation(self) -> float | None:
        """Their coefficient of variation (population standard deviation ÷ mean).

        1 for Poisson, 0 for a beat. None with fewer than two gaps, or when all are zero.
        """
        if self.total < 2 or self.span_us == 0:
            return None
        return float(np.sqrt(self.spread / self.total)) / (self.span_us / self.total)

    @property
    def largest_seconds(self) -> float | None:
        """The longest; None without a gap."""
        return None if self.largest_us is None else self.largest_us / MICROSECONDS

    @cached_property
    def sample(self) -> Floats:
        """The sample in seconds, ascending."""
        # Half as wide is sorted in half of the time: only a gap of 36 minutes needs more.
        is_short = self.largest_us is not None and self.largest_us <= np.iinfo(np.int32).max
        sample_us = self.sample_us.astype(np.int32) if is_short else self.sample_us
        ordered: Floats = np.sort(sample_us).astype(np.float64)
        return ordered / MICROSECONDS


def measure(stamps: Stamps, most: int | None = None) -> Gaps:
    """Look at all gaps between neighbours.

    Args:
        stamps: sorted microseconds.
        most: largest sample; None is `MOST_FITTED_GAPS`.
    """
    total = max(0, stamps.size - 1)
    step = step_of(total, most)
    sample = sampled_us(stamps, step)
    if total == 0:
        return Gaps(0, 0, int(stamps.size), 0.0, None, None, sample, step)
    span_us = int(stamps[-1]) - int(stamps[0])
    mean_us = span_us / total
    distinct, spread, largest, after = 1, 0.0, -1, 0
    for first, gaps in _stretches(stamps):
        place = int(gaps.argmax())
        if int(gaps[place]) > largest:
            largest, after = int(gaps[place]), first + place
        distinct += int(np.count_nonzero(gaps))
        apart = gaps - mean_us
        spread += dot(apart, apart)
    return Gaps(total, span_us, distinct, spread, largest, int(stamps[after]), sample, step)


def step_of(total: int, most: int | None = None) -> int:
    """The least power of two that leaves at most so many of all gaps."""
    step, most = 1, most or MOST_FITTED_GAPS
    while total > most * step:
        step *= 2
    return step


def sampled_us(stamps: Stamps, step: int) -> Stamps:
    """One gap in `step`, microseconds, in order.

    Gaps are numbered by the place of the later request in its hour of the clock, from 0, and are
    taken where hour + place divides by `step`: an hour's share depends on that hour alone.
    """
    if stamps.size < 2 or step == 1:
        return np.diff(stamps)
    hours = np.arange(int(stamps[0]) // HOUR_US, int(stamps[-1]) // HOUR_US + 1)
    starts = np.searchsorted(stamps, hours * HOUR_US)
    taken = starts + -hours % step
    ends = np.append(starts[1:], stamps.size)
    counts = np.maximum(0, -(-(ends - taken) // step))
    before = np.cumsum(counts) - counts
    places = np.repeat(taken - before * step, counts) + np.arange(counts.sum()) * step
    places = places[places > 0]
    return np.asarray(stamps[places] - stamps[places - 1], dtype=np.int64)


def check_clock(gaps: Gaps, stamps: Stamps) -> ClockCheck:
    """How fine the stamps of a stream are.

    Args:
        gaps: of the stream.
        stamps: of the stream; looked at only where no gap of the sample is above zero.
    """
    positive = gaps.sample_us[gaps.sample_us > 0]
    if not positive.size and gaps.distinct_stamps > 1:
        positive = np.concatenate([part[part > 0] for _, part in _stretches(stamps)])
    return judge_clock(gaps.distinct_stamps, gaps.total, gaps.span_us, gaps.sample_us, positive)


def _stretches(stamps: Stamps) -> Iterator[tuple[int, Stamps]]:
    """Place of the first, and the gaps themselves in microseconds."""
    for first in range(0, stamps.size - 1, STRETCH):
        yield first, np.diff(stamps[first : first + STRETCH + 1])
