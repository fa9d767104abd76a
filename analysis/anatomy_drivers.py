"""What latency depends on: TTFT on the input length, TPOT on how full the engine is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from analysis import anatomy_sql
from analysis.anatomy_newest import newest
from analysis.emptiness import why_empty
from analysis.latency import quantiles
from analysis.measure import Empty, Measure, View
from store.queries import anatomy as queries
from store.queries.log_bins import BINS_PER_OCTAVE, SMALLEST_SECONDS
from store.queries.scope import Scope
from store.reader import Reader

OCCUPANCY_REQUESTS = 200_000
"""How many of the newest requests the concurrency is worked out from."""
LENGTH_REQUESTS = 2_000_000
"""How many of the newest requests TTFT is set against lengths from."""
FEWEST_IN_BIN = 10
FEWEST_BINS = 3
GRID_SCHEMA: dict[str, Any] = {
    "low": pl.Float64,
    "high": pl.Float64,
    "low_seconds": pl.Float64,
    "high_seconds": pl.Float64,
    "requests": pl.Int64,
}
MEDIANS_SCHEMA: dict[str, Any] = {
    "low": pl.Float64,
    "high": pl.Float64,
    "mean": pl.Float64,
    "p50_seconds": pl.Float64,
    "requests": pl.Int64,
}
# Each number of requests up to 8, then four steps to the octave.
CROWD_EDGES = np.array(
    [*range(1, 8), *(step * 2.0**k for k in range(3, 20) for step in (1.0, 1.25, 1.5, 1.75))]
)
_CELL = 4
Stamps = npt.NDArray[np.int64]


def latency_drivers(reader: Reader, scope: Scope) -> View:
    """TTFT against input length, TPOT against requests in the engine at admission.

    Measures: ttft_slope_seconds_per_1k_tokens, tpot_slope_seconds_per_request (of the medians).
    Frames: `ttft_by_input` and `tpot_by_concurrency` (low, high, low_seconds, high_seconds,
    requests), `ttft_medians` and `tpot_medians` (low, high, mean, p50_seconds, requests).
    """
    recent = newest(reader, scope, LENGTH_REQUESTS)
    near = newest(reader, recent, OCCUPANCY_REQUESTS) if recent else None
    if recent is None or near is None:
        return View("latency_drivers", scope, empty=why_empty(reader, scope, "ttft_seconds"))
    lengths = _by_input(queries.ttft_by_input(reader, recent))
    crowds = _by_concurrency(queries.occupancy(reader, near))
    frames = {
        "ttft_by_input": _grid(lengths),
        "ttft_medians": _medians(lengths),
        "tpot_by_concurrency": _grid(crowds),
        "tpot_medians": _medians(crowds),
    }
    ttft, tpot = slope(frames["ttft_medians"]), slope(frames["tpot_medians"])
    measures = {
        "ttft_slope_seconds_per_1k_tokens": replace(
            ttft, value=None if ttft.value is None else ttft.value * 1000
        ),
        "tpot_slope_seconds_per_request": tpot,
    }
    sentences = _newest_words(scope, recent, near)
    empty = None
    if lengths.is_empty() and crowds.is_empty():
        empty = why_empty(reader, scope, "ttft_seconds") or Empty(
            "metric_absent", "No request here carries both a latency and a length."
        )
    return View(
        "latency_drivers", scope, measures=measures, frames=frames, sentences=sentences,
        empty=empty, sql={"ttft_by_input": anatomy_sql.ttft_by_input(scope)},
    )  # fmt: skip


def _newest_words(scope: Scope, recent: Scope, near: Scope) -> tuple[str, ...]:
    words = []
    if recent != scope:
        words.append(f"lengths from the newest {LENGTH_REQUESTS:,} requests")
    if near != scope:
        words.append(f"concurrency from the newest {OCCUPANCY_REQUESTS:,}")
    return (f"In this range: {', '.join(words)}",) if words else ()


def _by_input(counts: pl.DataFrame) -> pl.DataFrame:
    """low, high, log_bin, requests, total (sum of the lengths)."""
    octave = float(queries.INPUT_BINS_PER_OCTAVE)
    return counts.select(
        low=pl.lit(2.0).pow(pl.col("input_bin") / octave),
        high=pl.lit(2.0).pow((pl.col("input_bin") + 1) / octave),
        log_bin=pl.col("log_bin").cast(pl.Int32),
        requests=pl.col("requests").cast(pl.Int64),
        total=pl.col("input_tokens").cast(pl.Float64),
    )


def _by_concurrency(rows: pl.DataFrame) -> pl.DataFrame:
    """low, high, log_bin, requests, total, from when each request entered and left."""
    if rows.is_empty():
        return pl.DataFrame()
    crowds = pl.concat(
        [
            part.select(
                "tpot_seconds",
                crowd=pl.Series(
                    concurrency(part["entered_us"].to_numpy(), part["left_us"].to_numpy())
                ),
            )
            for part in rows.partition_by("place")
        ]
    ).filter(pl.col("tpot_seconds") >= 0)
    place = np.searchsorted(CROWD_EDGES, crowds["crowd"].to_numpy(), side="right") - 1
    seconds = np.maximum(crowds["tpot_seconds"].to_numpy(), SMALLEST_SECONDS)
    bins = np.floor(np.log2(seconds) * BINS_PER_OCTAVE).astype(np.int32)
    return (
        crowds.select("crowd")
        .with_columns(
            low=pl.Series(CROWD_EDGES[place]),
            high=pl.Series(CROWD_EDGES[place + 1]),
            log_bin=pl.Series(bins),
        )
        .group_by("low", "high", "log_bin")
        .agg(requests=pl.len().cast(pl.Int64), total=pl.col("crowd").sum().cast(pl.Float64))
    )


def concurrency(entered: Stamps, left: Stamps) -> Stamps:
    """How many requests of one instance were in it as each was admitted, itself included.

    Args:
        entered: when each entered.
        left: when each left, on the same clock; not before it entered.
    """
    begun = np.searchsorted(np.sort(entered), entered, side="right")
    over = np.searchsorted(np.sort(left), entered, side="right")
    # One that left at the very moment it entered is not in its own count of departures.
    found: Stamps = np.maximum(begun - over, 1).astype(np.int64)
    return found


def _grid(counts: pl.DataFrame) -> pl.DataFrame:
    """Counts in cells of four logarithmic bins."""
    if counts.is_empty():
        return pl.DataFrame(schema=GRID_SCHEMA)
    cell = pl.col("log_bin").floordiv(_CELL)
    return (
        counts.group_by("low", "high", cell.alias("cell"))
        .agg(pl.col("requests").sum())
        .select(
            "low", "high",
            low_seconds=pl.lit(2.0).pow(pl.col("cell") * _CELL / 16),
            high_seconds=pl.lit(2.0).pow((pl.col("cell") + 1) * _CELL / 16),
            requests="requests",
        )
        .sort("low", "low_seconds")
    )  # fmt: skip


def _medians(counts: pl.DataFrame) -> pl.DataFrame:
    """Median latency of each bin, with the mean of what the bins are made of."""
    if counts.is_empty():
        return pl.DataFrame(schema=MEDIANS_SCHEMA)
    middle = quantiles(counts, 0.5, "low").select("low", p50_seconds="seconds")
    sums = counts.group_by("low", "high").agg(pl.col("requests").sum(), pl.col("total").sum())
    return (
        sums.join(middle, on="low")
        .with_columns(mean=pl.col("total") / pl.col("requests"))
        .select(*MEDIANS_SCHEMA)
        .sort("low")
    )


def slope(medians: pl.DataFrame) -> Measure:
    """How much the median grows per unit: a line through the medians, weighted by their requests.

    Bins with fewer than ten requests are left out; with fewer than three bins there is no slope.
    """
    firm = medians.filter(pl.col("requests") >= FEWEST_IN_BIN)
    n = int(firm["requests"].sum()) if firm.height else 0
    if firm.height < FEWEST_BINS:
        return Measure(None, "s", n=n, why=f"needs {FEWEST_BINS} bins of {FEWEST_IN_BIN} requests")
    x, y = firm["mean"].to_numpy(), firm["p50_seconds"].to_numpy()
    weight = firm["requests"].to_numpy().astype(np.float64)
    away = x - np.average(x, weights=weight)
    spread = float((weight * away**2).sum())
    if spread <= 0:
        return Measure(None, "s", n=n, why="all requests are alike here")
    return Measure(float((weight * away * y).sum()) / spread, "s", n=n)
