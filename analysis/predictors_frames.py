"""The frames of the view `predictors` where nothing was predicted: eight questions less."""

from __future__ import annotations

from typing import Any

import polars as pl

_LOSS: dict[str, Any] = {"pinball": pl.Float64, "rival_pinball": pl.Float64}
_COVERAGE = dict.fromkeys(("coverage_q90_low", "coverage_q90_high"), pl.Float64)
_SKILL = dict.fromkeys(("skill_low", "skill_high"), pl.Float64)
SCHEMAS: dict[str, dict[str, Any]] = {
    "quantities": {
        "quantity": pl.String,
        **dict.fromkeys(("predictions", "outcomes", "cut"), pl.Int64),
        **_LOSS,
        **dict.fromkeys(("mae", "rank_correlation"), pl.Float64),
        **dict.fromkeys(("fallback_ratio", "calibrated_ratio", "before_ratio"), pl.Float64),
        "last_at": pl.Datetime("us"),
        "model_id": pl.String,
        "skill_ratio": pl.Float64,
        "coverage_q90_ratio": pl.Float64,
        **_COVERAGE,
        **_SKILL,
        "verdict": pl.String,
    },
    "calibration": {
        "quantity": pl.String,
        **dict.fromkeys(("level", "coverage_ratio", "rival_coverage_ratio"), pl.Float64),
        "outcomes": pl.Int64,
        **dict.fromkeys(("coverage_low", "coverage_high"), pl.Float64),
    },
    "over_time": {
        "quantity": pl.String,
        "at": pl.Datetime("us"),
        **_LOSS,
        "coverage_q90_ratio": pl.Float64,
        "outcomes": pl.Int64,
        "skill_ratio": pl.Float64,
    },
    "keys": {
        "quantity": pl.String,
        "key": pl.String,
        "outcomes": pl.Int64,
        **_LOSS,
        **dict.fromkeys(("coverage_q90_ratio", "skill_ratio"), pl.Float64),
        **_SKILL,
        **_COVERAGE,
    },
    "misses": {
        "quantity": pl.String,
        "request": pl.String,
        "arrived_at": pl.Datetime("us"),
        "key": pl.String,
        **dict.fromkeys(("predicted_median", "predicted_q90", "outcome", "off"), pl.Float64),
    },
    "pairs": {
        "quantity": pl.String,
        **dict.fromkeys(("predicted_half_octave", "real_half_octave"), pl.Int32),
        "requests": pl.Int64,
    },
}
"""Name of a frame -> its columns; those that do not need predictions are left out."""


def nothing() -> dict[str, pl.DataFrame]:
    """Each of `SCHEMAS` without a row."""
    return {name: pl.DataFrame(schema=schema) for name, schema in SCHEMAS.items()}
