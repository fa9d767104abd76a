"""Answers as rows of the store."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import numpy as np
import polars as pl

from predictors.base import CALIBRATION_NAMES, Prediction, Spec
from predictors.serving import Answer, keys_of

_FIRST = "model"
_DIGITS = 6


def said_columns(spec: Spec, rows: pl.DataFrame, answer: Answer) -> dict[str, Any]:
    """The columns that predictions and forecasts share, one list each.

    The model is the first part of a key, where there is one: pages choose by it.

    Args:
        spec: of what answered.
        rows: that were asked.
        answer: to them.
    """
    made = answer.prediction
    levels = made.quantiles.levels.tolist()
    n = rows.height
    return {
        "key": _keys(spec, rows),
        "levels": [levels] * n,
        "predicted": _values(made),
        "rival": _values(answer.beside),
        "model_id": [made.model_id] * n,
        "rival_id": [answer.beside.model_id] * n,
        "calibration": [CALIBRATION_NAMES[state] for state in made.calibration.tolist()],
        "was_fallback": made.was_fallback.tolist(),
        "features_age_seconds": [
            age if np.isfinite(age) else None for age in made.features_age_seconds.tolist()
        ],
    }


def predictions_frame(
    spec: Spec, rows: pl.DataFrame, answer: Answer, at: datetime, *, was_before: bool
) -> pl.DataFrame:
    """Rows for `append("prediction", …)`.

    Args:
        spec: of what answered.
        rows: with `at` and `request_key` or `request_id`.
        answer: to them.
        at: naive UTC; when it was asked.
        was_before: whether none of them had ended.
    """
    identity = "request_key" if "request_key" in rows.columns else "request_id"
    kind = pl.UInt64 if identity == "request_key" else pl.String
    return pl.DataFrame(
        {
            "source_id": [1] * rows.height,
            "arrived_at": rows["at"],
            identity: rows[identity].cast(kind),
            "quantity": [spec.quantity] * rows.height,
            "predicted_at": [at] * rows.height,
            "was_before": [was_before] * rows.height,
            **said_columns(spec, rows, answer),
        },
        schema_overrides=_LISTS,
    )


def _values(made: Prediction) -> list[list[float]]:
    return [[float(f"{v:.{_DIGITS}g}") for v in row] for row in made.quantiles.values.tolist()]


def _keys(spec: Spec, rows: pl.DataFrame) -> list[list[str]]:
    keys = keys_of(spec, rows)
    if _FIRST not in spec.keys:
        return [list(key) for key in keys]
    place = spec.keys.index(_FIRST)
    return [[key[place], *key[:place], *key[place + 1 :]] for key in keys]


_LISTS: dict[str, Any] = {
    "key": pl.List(pl.String),
    "levels": pl.List(pl.Float64),
    "predicted": pl.List(pl.Float64),
    "rival": pl.List(pl.Float64),
    "features_age_seconds": pl.Float64,
}
