"""The stack of phases: their names, its columns, and what they leave unexplained."""

from __future__ import annotations

from typing import Any

import polars as pl

from store.queries.phase_sql import PHASES

PARTS = (*PHASES, "unattributed")
STACK_SCHEMA: dict[str, Any] = {
    "at": pl.Datetime("us"),
    **{f"{name}_seconds": pl.Float64 for name in (*PARTS, "e2e")},
    "requests": pl.Int64,
}


def with_unattributed(sums: pl.DataFrame) -> pl.DataFrame:
    """Sums with `unattributed`: E2E minus the known phases; negative when clocks disagree."""
    known = pl.sum_horizontal(pl.col(name).fill_null(0.0) for name in PHASES)
    return sums.with_columns(unattributed=pl.col("e2e") - known)
