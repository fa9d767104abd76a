"""Counts of good and bad requests in bins, whether counted from rows or bounded by buckets."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import polars as pl


@dataclass(frozen=True, slots=True)
class Tally:
    """Requests of one window. Good is an interval where only histogram buckets are known.

    Attributes:
        good_low: requests that were certainly good.
        good_high: requests that may have been good; equal to `good_low` when counted from rows.
        attempted: all requests but the undetermined ones.
        undetermined: successful requests whose quantity was not recorded.
        measured: successful requests whose quantity is known.
    """

    good_low: float = 0.0
    good_high: float = 0.0
    attempted: float = 0.0
    undetermined: float = 0.0
    measured: float = 0.0

    @property
    def exact(self) -> bool:
        """Whether good requests were counted rather than bounded."""
        return self.good_low == self.good_high

    @property
    def bad_low(self) -> float:
        """Requests that were certainly bad."""
        return self.attempted - self.good_high

    @property
    def bad_high(self) -> float:
        """Requests that may have been bad."""
        return self.attempted - self.good_low


@dataclass(frozen=True, slots=True)
class Counted:
    """Counts of one SLO in bins that reach back from `end`.

    Attributes:
        bins: bin (0 ends at `end`), good_low, good_high, attempted, undetermined, measured; sorted
            by bin.
        width_seconds: width of a bin.
        end: aware UTC.
        basis: "requests" (rows) or "buckets" (engine histograms or counters).
        note: what must be said about these counts, one line.
        blind: whether the record cannot show a bad request, so that these counts mean nothing.
        period: the bins of the calendar period so far, where the SLO has one: what came before its
            start is in none of them.
        is_uncounted: whether nobody has counted yet, so that no bins are not no requests; `note`
            says so.
    """

    bins: pl.DataFrame
    width_seconds: int
    end: datetime
    basis: str = "requests"
    note: str | None = None
    blind: bool = False
    period: pl.DataFrame | None = None
    is_uncounted: bool = False

    def window(self, seconds: float, ago_seconds: float = 0.0) -> Tally:
        """The counts of [end - ago - seconds, end - ago), in whole bins."""
        first = round(ago_seconds / self.width_seconds)
        last = first + max(1, round(seconds / self.width_seconds))
        # A status asks for a dozen windows: slices of sorted arrays, not a dozen filters.
        low, high = np.searchsorted(self.bins["bin"].to_numpy(), [first, last])
        return _summed(self.bins[int(low) : int(high)])

    def own(self, window_seconds: float) -> Tally:
        """The counts of the SLO's own window: its calendar period so far, or the rolling one."""
        return self.window(window_seconds) if self.period is None else _summed(self.period)

    def own_bins(self, window_seconds: float) -> pl.DataFrame:
        """The bins of the same."""
        if self.period is not None:
            return self.period
        last = max(1, round(window_seconds / self.width_seconds))
        return self.bins.filter((pl.col("bin") >= 0) & (pl.col("bin") < last))


def _summed(bins: pl.DataFrame) -> Tally:
    names = ("good_low", "good_high", "attempted", "undetermined", "measured")
    return Tally(*(float(bins[name].to_numpy().sum()) for name in names))
