"""Questions as they come in, and answers as they go out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import polars as pl

from predictors.base import AT, CALIBRATION_NAMES, Spec
from predictors.serving import Answer
from store.errors import InputError
from store.told import moment

MOST_QUESTIONS = 10_000
ARRIVED = "arrived_at"
_HINT = 'send {"rows": [{"model": "llama", "input_tokens": 512}]}'


def question_frame(rows: Sequence[Mapping[str, Any]], now: datetime) -> pl.DataFrame:
    """Rows of a request body as a frame with `at` (naive UTC; `now` where a row does not say).

    Args:
        rows: features and keys; `request_id` and `arrived_at` together, or neither.
        now: naive UTC.

    Raises:
        InputError: none or too many, a time that is none, or values of one name that do not fit.
    """
    if not 0 < len(rows) <= MOST_QUESTIONS:
        raise InputError(f"{len(rows):,} rows", hint=f"send 1 to {MOST_QUESTIONS:,} rows at once")
    made = []
    for number, row in enumerate(rows):
        where = f"rows[{number}]"
        name = row.get("request_id")
        if name is not None and not (isinstance(name, str) and ARRIVED in row):
            raise InputError(
                "a row with request_id (text) needs arrived_at: else its outcome is never found",
                where=where,
            )
        rest = {name: value for name, value in row.items() if name not in (ARRIVED, AT)}
        made.append({**rest, AT: _time(row[ARRIVED], where) if ARRIVED in row else now})
    try:
        return pl.DataFrame(made, infer_schema_length=None, schema_overrides=_TYPES)
    except (pl.exceptions.PolarsError, TypeError) as error:
        told = str(error).splitlines()[0][:200]
        raise InputError(f"the rows do not fit together: {told}", hint=_HINT) from error


_TYPES: dict[str, Any] = {AT: pl.Datetime("us")}


def _time(value: object, where: str) -> datetime:
    try:
        return moment(value).replace(tzinfo=None)
    except ValueError:
        raise InputError(
            f"'{str(value)[:40]}' is not a time",
            where=f"{where}.{ARRIVED}",
            hint="write 2026-01-31T12:00:00Z",
        ) from None


def answer_document(name: str, spec: Spec, answer: Answer) -> dict[str, Any]:
    """What is answered: one distribution a row, by levels."""
    made = answer.prediction
    ages = made.features_age_seconds.tolist()
    return {
        "predictor": name,
        "quantity": spec.quantity,
        "unit": spec.unit,
        "horizon_seconds": made.horizon_seconds,
        "model_id": made.model_id,
        "rival_id": answer.beside.model_id,
        "levels": made.quantiles.levels.tolist(),
        "predictions": [
            {
                "quantiles": values,
                "calibration": CALIBRATION_NAMES[state],
                "was_fallback": lost,
                "features_age_seconds": None if math.isnan(age) else age,
            }
            for values, state, lost, age in zip(
                made.quantiles.values.tolist(),
                made.calibration.tolist(),
                made.was_fallback.tolist(),
                ages,
                strict=True,
            )
        ],
    }
