"""What latency depends on: TTFT on the input length, TPOT on how full the engine is."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl

from analysis import anatomy_sql
from analysis.anatomy_crowds import by_concurrency
from analysis.anatomy_newest import arrivals, newest_of
from analysis.emptiness import why_empty
from analysis.latency import quantiles
from analysis.measure import Empty, Measure, View
from store.queries import anatomy as queries
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
_CELL = 4


def latency_drivers(reader: Reader, scope: Scope) -> View:
    """TTFT against input length, TPOT against requests in the engine at admission.

    Measures: ttft_slope_seconds_per_1k_tokens, tpot_slope_seconds_per_request (of the medians).
    Frames: `ttft_by_input` and `tpot_by_concurrency` (low, high, low_seconds, high_seconds,
    requests), `ttft_medians` and `tpot_medians` (low, high, mean, p50_seconds, requests).
    """
    came = arrivals(reader, scope)
    recent = newest_of(came, scope, LENGTH_REQUESTS)
    if recent is not None and recent != scope:
        came = arrivals(reader, recent)
    near = newest_of(came, recent, OCCUPANCY_REQUESTS) if recent else None
    if recent is None or near is None:
        return View("latency_drivers", scope, empty=why_empty(reader, scope, "ttft_seconds"))
    # Each leaves a processor idle in turns.
    with ThreadPoolExecutor(1) as beside:
        crowding = beside.submit(_by_crowd, reader, near)
        lengths = _by_input(queries.ttft_by_input(reader, recent))
        frames = {"ttft_by_input": _grid(lengths), "ttft_medians": _medians(lengths)}
        crowds, crowd_frames = crowding.result()
    frames |= crowd_frames
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


def _by_crowd(reader: Reader, near: Scope) -> tuple[pl.DataFrame, dict[str, pl.DataFrame]]:
    crowds = by_concurrency(queries.occupancy(reader, near))
    return crowds, {"tpot_by_concurrency": _grid(crowds), "tpot_medians": _medians(crowds)}


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
