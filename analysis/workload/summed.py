"""The arrivals of the live fleet over a long range: sums of whole hours, the stamps of the rest.

The numbers are those of every stamp. Sums are taken where there are so many requests that what the
roll-up keeps of their gaps is enough of a sample.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property

import numpy as np
import polars as pl

from analysis.workload import gaps as gap_sums
from analysis.workload import seasons
from analysis.workload.arrivals import ClockCheck, Stamps, judge_clock, sorted_stamps
from analysis.workload.dispersion import (
    Dispersion,
    SecondCounts,
    WindowSums,
    count_seconds,
    dispersions,
)
from analysis.workload.gaps import HOUR_US, Gaps
from analysis.workload.rate_bins import Cells, folded, rate_bins, second_cells
from store.arrival_rollup import KEPT_STEP, WINDOWS_SECONDS
from store.queries import arrivals as queries
from store.queries.rollup_sql import Span
from store.queries.scope import Scope
from store.queries.workload import FrameReader
from store.queries.workload_split import Use, hours

HOUR_SECONDS = 3600
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - as the store keeps times


@dataclass(frozen=True)
class Summed:
    """Arrivals of which whole hours are summed up; windows are those of the clock.

    Attributes:
        hours: rows of `rollup_arrival` as `store.queries.arrivals.of_hours` gives them, one at
            least, none of them the first or the last hour with a request.
        rest: sorted stamps of the other hours.
        most: largest sample of gaps; None is `analysis.workload.gaps.MOST_FITTED_GAPS`.
    """

    hours: pl.DataFrame
    rest: Stamps
    most: int | None = None

    @property
    def requests(self) -> int:
        """How many."""
        return int(self.hours["requests"].sum()) + int(self.rest.size)

    @property
    def first_us(self) -> int:
        """The first arrival."""
        return int(self.rest[0])

    @property
    def last_us(self) -> int:
        """The last arrival."""
        return int(self.rest[-1])

    @cached_property
    def gaps(self) -> Gaps:
        """Between neighbours, those across the edge of an hour too."""
        return _gaps(self)

    @cached_property
    def clock(self) -> ClockCheck:
        """Grain of the stamps."""
        gaps, sample = self.gaps, self.gaps.sample_us
        return judge_clock(
            gaps.distinct_stamps, gaps.total, gaps.span_us, sample, sample[sample > 0]
        )

    @cached_property
    def dispersions(self) -> Mapping[int, Dispersion]:
        """Of counts in windows, none of which lies in two hours."""
        requests = float(self.hours["requests"].sum())
        sums = {
            width: WindowSums(
                requests,
                float(self.hours[f"squares_{width}s"].sum()),
                int(self.hours[f"most_{width}s"].max()),  # type: ignore[arg-type]
            )
            for width in WINDOWS_SECONDS
        }
        return dispersions(self._seconds, more=sums)

    @cached_property
    def hourly(self) -> seasons.HourlyRates:
        """By hours of the clock."""
        cells = self._cells
        ends = cells.first_us, cells.last_us
        return seasons.hourly_rates(cells.starts // HOUR_SECONDS, cells.requests, *ends)

    def rate(self, bin_seconds: int) -> pl.DataFrame:
        """In bins of whole hours.

        Raises:
            ValueError: the bins are not whole hours.
        """
        if bin_seconds % HOUR_SECONDS:
            raise ValueError(f"bins of {bin_seconds} s are not whole hours")
        return rate_bins(self._cells, bin_seconds)

    @cached_property
    def _seconds(self) -> SecondCounts:
        return count_seconds(self.rest, origin_us=0)

    @cached_property
    def _cells(self) -> Cells:
        """Every hour with a request."""
        rest = folded(second_cells(self._seconds), HOUR_SECONDS)
        starts = np.append(rest.starts, self.hours["hour"].to_numpy() * HOUR_SECONDS)
        order = np.argsort(starts)

        def both(ours: Stamps, name: str) -> Stamps:
            return np.append(ours, self.hours[name].to_numpy())[order]

        return Cells(
            starts[order],
            both(rest.requests, "requests"),
            both(rest.seconds, "seconds"),
            both(rest.least, "least_1s"),
            both(rest.most, "most_1s"),
            rest.first_us,
            rest.last_us,
        )


def load_summed(
    reader: FrameReader, scope: Scope, use: Use = "auto", most: int | None = None
) -> Summed | None:
    """The arrivals of a scope of the live fleet; None without an hour that is summed up.

    The first and the last hour with a request are read from the rows, since windows count from the
    first arrival to the last.

    Args:
        reader: the store.
        scope: of the live fleet alone, without labels.
        use: see `store.queries.workload_split.hours`.
        most: largest sample of gaps; None is `analysis.workload.gaps.MOST_FITTED_GAPS`.
    """
    plan = hours(reader, scope, use)
    if not plan.rolled:
        return None
    found = queries.of_hours(reader, scope, plan.rolled)
    inner = found[1:-1]
    if inner.is_empty():
        return None
    edges = [_hour_span(int(hour)) for hour in (found["hour"][0], found["hour"][-1])]
    rest = queries.of_rows(reader, scope, [*plan.raw, *edges])
    return Summed(inner, sorted_stamps(rest), most)


def _hour_span(hour: int) -> Span:
    start = _EPOCH + timedelta(hours=hour)
    return start, start + timedelta(hours=1)


def sampled_enough(arrived: Summed) -> bool:
    """Whether the kept gaps do, and tell at least one that is not zero."""
    step = gap_sums.step_of(arrived.requests - 1, arrived.most)
    return step >= KEPT_STEP and bool((arrived.gaps.sample_us > 0).any())


def _gaps(arrived: Summed) -> Gaps:
    """Gaps within hours and those between them, put together."""
    pieces = _pieces(arrived)
    first, last = (pieces[name].to_numpy() for name in ("first_us", "last_us"))
    between = first[1:] - last[:-1]
    total, span_us = arrived.requests - 1, arrived.last_us - arrived.first_us
    step = gap_sums.step_of(total, arrived.most)
    return Gaps(
        total,
        span_us,
        int(pieces["stamps"].sum()),
        _spread(pieces, between, span_us / total),
        *_largest(pieces, between),
        _sample(arrived, pieces, between, step),
        step,
    )


_PIECE = {
    "hour": pl.Int64,
    "requests": pl.Int64,
    "stamps": pl.Int64,
    "first_us": pl.Int64,
    "last_us": pl.Int64,
    "gap_spread": pl.Float64,
    "largest_gap_us": pl.Int64,
    "largest_after_us": pl.Int64,
}


def _pieces(arrived: Summed) -> pl.DataFrame:
    """All hours with a request, in order, as they are summed up."""
    hours = arrived.rest // HOUR_US
    edges = np.flatnonzero(np.diff(hours)) + 1
    rows = [_piece(part) for part in np.split(arrived.rest, edges)]
    rest = pl.DataFrame(rows, schema=_PIECE, orient="row")
    return pl.concat([rest, arrived.hours.select(list(_PIECE)).cast(_PIECE)]).sort("hour")  # type: ignore[arg-type]


def _piece(stamps: Stamps) -> tuple[object, ...]:
    """One hour of stamps as a row of `_PIECE`."""
    found = gap_sums.measure(stamps)
    return (
        int(stamps[0]) // HOUR_US,
        int(stamps.size),
        found.distinct_stamps,
        int(stamps[0]),
        int(stamps[-1]),
        found.spread,
        found.largest_us,
        found.largest_after_us,
    )


def _spread(pieces: pl.DataFrame, between: Stamps, mean_us: float) -> float:
    """Sum of squared distances of all gaps from their mean.

    Source: Chan, Golub & LeVeque, Updating formulae and a pairwise algorithm for computing sample
    variances (1979).
    """
    inside = (pieces["requests"] - 1).to_numpy()
    spans = (pieces["last_us"] - pieces["first_us"]).to_numpy()
    apart = spans / np.maximum(inside, 1) - mean_us
    across = between - mean_us
    return float(pieces["gap_spread"].sum() + (inside * apart**2).sum() + (across**2).sum())


def _largest(pieces: pl.DataFrame, between: Stamps) -> tuple[int, int]:
    """The longest gap, and the arrival it follows; the first of several."""
    inside = pieces.select("largest_gap_us", "largest_after_us").drop_nulls()
    gaps = np.concatenate((inside["largest_gap_us"].to_numpy(), between))
    after = np.concatenate((inside["largest_after_us"].to_numpy(), pieces["last_us"][:-1]))
    largest = int(gaps.max())
    return largest, int(after[gaps == largest].min())


def _sample(arrived: Summed, pieces: pl.DataFrame, between: Stamps, step: int) -> Stamps:
    """As `analysis.workload.gaps.sampled_us`; the hours keep one gap in `KEPT_STEP`."""
    edges = between[pieces["hour"].to_numpy()[1:] % step == 0]
    rest = np.split(arrived.rest, np.flatnonzero(np.diff(arrived.rest // HOUR_US)) + 1)
    found = [edges, *(gap_sums.sampled_us(part, step) for part in rest)]
    kept, hours = arrived.hours["gaps"], arrived.hours["hour"].to_numpy()
    ends = np.cumsum(kept.list.len().to_numpy())
    every = kept.explode().drop_nulls().to_numpy()
    thin = max(1, step // KEPT_STEP)
    for hour, begin, end in zip(
        hours.tolist(), [0, *ends[:-1].tolist()], ends.tolist(), strict=True
    ):
        first = hour + (-hour % KEPT_STEP or KEPT_STEP)  # the first gap that was kept
        found.append(every[begin + (-(first // KEPT_STEP) % thin) : end : thin])
    return np.concatenate(found)
