"""The arrivals of one stream, each of them known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import polars as pl

from analysis.workload import gaps as gap_sums
from analysis.workload import seasons
from analysis.workload.arrivals import ClockCheck, Stamps
from analysis.workload.dispersion import (
    Dispersion,
    SecondCounts,
    count_seconds,
    dispersions,
)
from analysis.workload.gaps import Gaps
from analysis.workload.rate_bins import rate_bins, second_cells


@dataclass(frozen=True)
class Stamped:
    """Arrivals of which each is known.

    Attributes:
        stamps: sorted, microseconds since 1970, one at least.
        on_clock: whether windows are those of the clock rather than from the first arrival on.
        most: largest sample of gaps; None is `analysis.workload.gaps.MOST_FITTED_GAPS`.
    """

    stamps: Stamps
    on_clock: bool
    most: int | None = None

    @property
    def requests(self) -> int:
        """How many."""
        return int(self.stamps.size)

    @property
    def first_us(self) -> int:
        """The first arrival."""
        return int(self.stamps[0])

    @property
    def last_us(self) -> int:
        """The last arrival."""
        return int(self.stamps[-1])

    @cached_property
    def gaps(self) -> Gaps:
        """Between neighbours."""
        return gap_sums.measure(self.stamps, self.most)

    @cached_property
    def clock(self) -> ClockCheck:
        """Grain of the stamps."""
        return gap_sums.check_clock(self.gaps, self.stamps)

    @cached_property
    def dispersions(self) -> Mapping[int, Dispersion]:
        """Of counts in windows."""
        return dispersions(self._seconds if self.on_clock else count_seconds(self.stamps))

    @cached_property
    def hourly(self) -> seasons.HourlyRates:
        """By hours of the clock."""
        return seasons.hourly(self.stamps)

    def rate(self, bin_seconds: int) -> pl.DataFrame:
        """In bins of the clock."""
        return rate_bins(second_cells(self._seconds), bin_seconds)

    @cached_property
    def _seconds(self) -> SecondCounts:
        return count_seconds(self.stamps, origin_us=0)
