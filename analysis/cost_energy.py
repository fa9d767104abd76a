"""Energy of cards, as far as they tell: from their counters, else from their power."""

from __future__ import annotations

from typing import Any

import polars as pl

from store.queries import cost as queries
from store.queries.scope import Scope
from store.reader import Reader

JOULES_PER_KWH = 3.6e6
LONGEST_SECONDS = 300.0
"""Readings further apart say nothing about the time between them."""
MOST_SECONDS = 8 * 86_400.0
"""Longer ranges are not read: power is kept by the reading, and no roll-up adds it up."""
ENERGY_SCHEMA: dict[str, Any] = {
    "node": pl.String,
    "gpu": pl.String,
    "gpu_model": pl.String,
    "energy_kwh": pl.Float64,
    "power_mean_watts": pl.Float64,
    "covered_seconds": pl.Float64,
    "told_by": pl.String,
}
_TOLD_BY = {"gpu_energy_joules_total": "energy counter", "gpu_power_watts": "power readings"}


def cards(reader: Reader, scope: Scope) -> pl.DataFrame:
    """Energy of each card that tells it in a range: columns of `ENERGY_SCHEMA`.

    A counter of energy counts; where a card has none, its power between readings (trapezoids).
    """
    if scope.seconds > MOST_SECONDS:
        return pl.DataFrame(schema=ENERGY_SCHEMA)
    found = queries.energy(reader, scope.start, scope.end, LONGEST_SECONDS)
    return (
        found.filter(pl.col("seconds") > 0)
        .sort("node", "gpu", "signal")
        .unique(["node", "gpu"], keep="first", maintain_order=True)
        .select(
            "node",
            "gpu",
            "gpu_model",
            energy_kwh=pl.col("joules") / JOULES_PER_KWH,
            power_mean_watts=pl.col("joules") / pl.col("seconds"),
            covered_seconds=pl.col("seconds"),
            told_by=pl.col("signal").replace_strict(_TOLD_BY),
        )
        .cast(ENERGY_SCHEMA)  # type: ignore[arg-type]
    )
