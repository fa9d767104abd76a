"""Rates over time, in bins of the clock."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from analysis.workload.arrivals import MICROSECONDS, Floats, Stamps
from analysis.workload.dispersion import SecondCounts

RATE_SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {
    "at": pl.Datetime("us"),
    "requests_per_second": pl.Float64,
    "low_per_second": pl.Float64,
    "high_per_second": pl.Float64,
}


@dataclass(frozen=True, slots=True)
class Cells:
    """Requests in stretches of the clock of one length, of which those without any are left out.

    Attributes:
        starts: seconds since 1970, ascending.
        requests: in each, >= 1.
        seconds: how many of its seconds hold a request.
        least: requests in the emptiest of these.
        most: requests in the fullest.
        first_us: first arrival, microseconds since 1970.
        last_us: last arrival.
    """

    starts: Stamps
    requests: Stamps
    seconds: Stamps
    least: Stamps
    most: Stamps
    first_us: int
    last_us: int


def second_cells(counted: SecondCounts) -> Cells:
    """A cell for each occupied second of the clock."""
    ones = np.ones_like(counted.seconds)
    ends = counted.first_us, counted.last_us
    return Cells(counted.seconds, counted.counts, ones, counted.counts, counted.counts, *ends)


def folded(cells: Cells, width_seconds: int) -> Cells:
    """The cells as longer ones, which each of them lies in."""
    if cells.starts.size == 0:
        return cells
    index = cells.starts // width_seconds
    first = np.concatenate(([0], np.flatnonzero(index[1:] != index[:-1]) + 1))
    return Cells(
        index[first] * width_seconds,
        np.add.reduceat(cells.requests, first),
        np.add.reduceat(cells.seconds, first),
        np.minimum.reduceat(cells.least, first),
        np.maximum.reduceat(cells.most, first),
        cells.first_us,
        cells.last_us,
    )


def rate_bins(cells: Cells, bin_seconds: int) -> pl.DataFrame:
    """Requests per second in bins aligned to the clock, with the band of the 1-s counts in each.

    Args:
        cells: as long as a bin, or a part of it.
        bin_seconds: width, a whole number >= 1.

    Returns:
        at (bin start), requests_per_second, low_per_second, high_per_second (least and most
        requests in one second of the bin; empty seconds count as 0). First and last bin are divided
        by the part of them the record covers, and are null when that is under a tenth.
    """
    if cells.starts.size == 0:
        return pl.DataFrame(schema=RATE_SCHEMA)
    held = folded(cells, bin_seconds)
    bins = held.starts // bin_seconds
    every = np.arange(bins[0], bins[-1] + 1)
    place = bins - bins[0]
    requests, high, low = (np.zeros(every.size) for _ in range(3))
    requests[place], high[place] = held.requests, held.most
    ends = cells.first_us // MICROSECONDS, cells.last_us // MICROSECONDS
    whole = _seconds_in(bins, bin_seconds, *ends)
    low[place] = np.where(held.seconds >= whole, held.least, 0)
    starts = every * bin_seconds
    covered = covered_seconds(
        starts, bin_seconds, cells.first_us / MICROSECONDS, cells.last_us / MICROSECONDS
    )
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
