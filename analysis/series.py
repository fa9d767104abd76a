"""Increases of counters become rates, and numbers of bins become times.

What a counter counted is found by `store.queries.counters`. Source: Prometheus `rate()` without its
extrapolation.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

Array = npt.NDArray[np.float64]
# A step over more than this many expected intervals is a hole in the record.
LONGEST_GAP_INTERVALS = 3.0


def rates(stepped: pl.DataFrame, *keys: str) -> pl.DataFrame:
    """Increase per second of each group: what all its series counted ÷ the time it covers.

    The time is that of the bins in which any series counted, so instances that follow each other do
    not add up, and bins average to the whole.

    Args:
        stepped: as returned by `store.queries.counters.counter_steps`.
        keys: columns to group by, besides which series are summed.

    Returns:
        keys, increase, rate_per_second; groups without any known step are absent. Sorted by keys.
    """
    known = stepped.filter(pl.col("increase").is_not_null() & (pl.col("seconds") > 0))
    if known.is_empty():
        schema: dict[str, Any] = {key: stepped.schema[key] for key in keys} or {"all": pl.Int32}
        return pl.DataFrame(
            schema={**schema, "increase": pl.Float64, "rate_per_second": pl.Float64}
        )
    grouped = keys or ("all",)
    places = list(dict.fromkeys((*grouped, "bin")))
    each = (
        known.with_columns(all=pl.lit(0, pl.Int32))
        .group_by("series_id", *places)
        .agg(pl.col("increase").sum(), pl.col("seconds").sum())
    )
    bins = each.group_by(*places).agg(pl.col("increase").sum(), pl.col("seconds").max())
    return (
        bins.group_by(*grouped)
        .agg(pl.col("increase").sum(), pl.col("seconds").sum())
        .with_columns(rate_per_second=pl.col("increase") / pl.col("seconds"))
        .drop("seconds")
        .sort(*grouped)
    )


def bin_starts(end: datetime, width_seconds: float, bins: int) -> pl.DataFrame:
    """The left edges of bins that reach back from `end`.

    Returns:
        bin (bins-1 … 0), at (naive UTC, ascending).
    """
    last = end.replace(tzinfo=None)
    numbers = np.arange(bins - 1, -1, -1)
    ago_us = np.rint((numbers + 1) * (width_seconds * 1e6)).astype(np.int64)
    return pl.DataFrame(
        {"bin": numbers, "at": np.datetime64(last, "us") - ago_us.astype("timedelta64[us]")},
        schema={"bin": pl.Int64, "at": pl.Datetime("us")},
    )


def round_bins(start: datetime, end: datetime, width_seconds: float) -> pl.DataFrame:
    """The left edges of the bins that touch [start, end), counted from 1970-01-01.

    Returns:
        at (naive UTC, ascending).
    """
    width = timedelta(seconds=width_seconds)
    first = round_down(start, width_seconds)
    number = -(-(end.replace(tzinfo=None) - first) // width)
    edges = [first + width * place for place in range(number)]
    return pl.DataFrame({"at": edges}, schema={"at": pl.Datetime("us")})


def round_down(at: datetime, width_seconds: float) -> datetime:
    """The left edge (naive UTC) of the bin, counted from 1970-01-01, that holds a time."""
    naive = at.replace(tzinfo=None)
    return naive - (naive - datetime(1970, 1, 1)) % timedelta(seconds=width_seconds)  # noqa: DTZ001


def on_bins(frame: pl.DataFrame, axis: pl.DataFrame) -> pl.DataFrame:
    """The frame aligned to an axis of `bin_starts`; bins without a row are null, never 0."""
    typed = frame.with_columns(pl.col("bin").cast(pl.Int64))
    return axis.join(typed, on="bin", how="left", maintain_order="left").drop("bin")
