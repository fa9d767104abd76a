"""Quantiles of a replica's latencies as they were measured and as its profile simulates them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

_SCHEMA = {
    "quantity": pl.String,
    "level": pl.Float64,
    "measured_seconds": pl.Float64,
    "simulated_seconds": pl.Float64,
}


def quantiles(error: Mapping[str, Any]) -> pl.DataFrame:
    """Quantity (e2e, ttft, tpot), level, measured_seconds, simulated_seconds, error_ratio.

    They are of all judged rows together: of the replayed window where that was simulated, else of
    the rows that the profile was judged on. error_ratio is simulated / measured - 1. Empty where
    the profile was fitted to single operating points, or judged before quantiles were kept.

    Args:
        error: `controller.profile.FitError` as it is kept; {} where nothing was compared.
    """
    frame = pl.DataFrame(error.get("quantiles") or [], schema=_SCHEMA)
    measured = pl.col("measured_seconds")
    off = pl.when(measured > 0).then(pl.col("simulated_seconds") / measured - 1)
    return frame.with_columns(error_ratio=off)
