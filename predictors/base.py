"""The contract of all predictors.

A row is what is known when the question is asked. A row to learn from has `outcome` as well, and
`is_censored` where only a lower bound of it is known (an answer cut at its token limit).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, Self, runtime_checkable

import numpy as np
import numpy.typing as npt
import polars as pl

from predictors.distribution import Floats, Quantiles
from predictors.scoring import Scores
from store.errors import PredictorError

OUTCOME = "outcome"
CENSORED = "is_censored"
AT = "at"

# How far the intervals of a row were corrected by outcomes.
RAW, WARMING, CALIBRATED = 0, 1, 2
CALIBRATION_NAMES = ("raw", "warming", "calibrated")

FeatureKind = Literal["number", "text", "category", "list"]


@dataclass(frozen=True, slots=True)
class Feature:
    """A column a predictor reads.

    Attributes:
        name: column name, with its unit.
        kind: "number" (null and NaN are unknown), "text", "category" (any string, new ones too)
            or "list" of numbers.
        is_required: whether a frame without the column is refused; a missing optional column is
            unknown in every row.
    """

    name: str
    kind: FeatureKind
    is_required: bool = False


@dataclass(frozen=True, slots=True)
class Spec:
    """What a predictor predicts, from what, and how it is judged.

    Attributes:
        name: of the predictor, unique, like "length-text".
        quantity: what it predicts, with its unit, like "output_tokens".
        unit: "tokens", "s", "requests/s", "ratio".
        features: columns it reads.
        keys: columns that name the group of a row, general to specific, like ("model", "route").
        lower: no answer is below this.
        upper: no answer is above this; None where physics knows no limit.
        upper_column: a column with a limit of its own a row (`max_tokens`); null is no limit.
        is_log: whether errors of the quantity are ratios rather than differences.
        horizon_seconds: how far ahead; None where the question has no horizon.
        rival: the name of the naive rival.
    """

    name: str
    quantity: str
    unit: str
    features: tuple[Feature, ...]
    keys: tuple[str, ...] = ()
    lower: float = 0.0
    upper: float | None = None
    upper_column: str | None = None
    is_log: bool = True
    horizon_seconds: float | None = None
    rival: str = "constant"

    def frame(self, rows: pl.DataFrame) -> pl.DataFrame:
        """`rows` with every optional column there, null where it was missing.

        Raises:
            PredictorError: a required column is missing, or a number column holds no numbers.
        """
        absent = [f for f in self.features if f.name not in rows.columns]
        needed = [feature.name for feature in absent if feature.is_required]
        if needed:
            raise PredictorError(
                f"{self.name} needs the column{'s' * (len(needed) > 1)} {', '.join(needed)}",
                hint=f"the rows have {', '.join(rows.columns) or 'none'}",
            )
        keys = [key for key in self.keys if key not in rows.columns]
        known = {feature.name for feature in absent}
        nothing = [None] * rows.height
        extra = [pl.Series(f.name, nothing, _TYPES[f.kind]) for f in absent]
        extra += [pl.Series(key, nothing, pl.String) for key in keys if key not in known]
        return self._numbers_checked(rows.hstack(extra) if extra else rows)

    def _numbers_checked(self, rows: pl.DataFrame) -> pl.DataFrame:
        names = [feature.name for feature in self.features if feature.kind == "number"]
        # The schema is made anew each time it is asked for.
        schema = rows.schema
        wrong = [
            name
            for name in names
            if not (schema[name].is_numeric() or schema[name] in (pl.Boolean, pl.Null))
        ]
        if wrong:
            raise PredictorError(
                f"{self.name}: {', '.join(wrong)} should hold numbers",
                hint=f"got {', '.join(str(schema[name]) for name in wrong)}",
            )
        # One row is asked about as often as many; an expression costs it a hundred microseconds.
        names = [name for name in names if not _is_plain(rows[name])]
        numbers = pl.col(names).cast(pl.Float64)
        # What is no finite number says nothing: it is unknown, like null.
        return rows.with_columns(pl.when(numbers.is_finite()).then(numbers)) if names else rows


def _is_plain(column: pl.Series) -> bool:
    """Whether all that is known in a column is a finite float."""
    if column.dtype != pl.Float64:
        return False
    return int(np.isfinite(column.to_numpy()).sum()) == len(column) - column.null_count()


_TYPES: dict[str, Any] = {
    "number": pl.Float64,
    "text": pl.String,
    "category": pl.String,
    "list": pl.List(pl.Float64),
}


@dataclass(frozen=True, slots=True)
class Prediction:
    """Answers to n rows.

    Attributes:
        quantiles: the distributions, n rows.
        model_id: which model made them.
        horizon_seconds: how far ahead; None where the question has no horizon.
        calibration: (n,) `RAW`, `WARMING` or `CALIBRATED`.
        was_fallback: (n,) whether the rival answered.
        features_age_seconds: (n,) age of the newest feature; NaN where unknown.
    """

    quantiles: Quantiles
    model_id: str
    horizon_seconds: float | None
    calibration: npt.NDArray[np.int8]
    was_fallback: npt.NDArray[np.bool_]
    features_age_seconds: Floats

    @classmethod
    def raw(
        cls,
        quantiles: Quantiles,
        model_id: str,
        horizon_seconds: float | None = None,
        was_fallback: npt.NDArray[np.bool_] | None = None,
        features_age_seconds: Floats | None = None,
    ) -> Prediction:
        """An answer that no outcome has corrected yet."""
        n = len(quantiles)
        age = np.full(n, np.nan) if features_age_seconds is None else features_age_seconds
        fallback = np.zeros(n, np.bool_) if was_fallback is None else was_fallback
        return cls(quantiles, model_id, horizon_seconds, np.full(n, RAW, np.int8), fallback, age)

    def __len__(self) -> int:
        return len(self.quantiles)

    def take(self, rows: npt.ArrayLike) -> Prediction:
        """The rows that an index or a mask names."""
        chosen = np.asarray(rows)
        return Prediction(
            self.quantiles.take(chosen),
            self.model_id,
            self.horizon_seconds,
            self.calibration[chosen],
            self.was_fallback[chosen],
            self.features_age_seconds[chosen],
        )


@dataclass(frozen=True, slots=True)
class FitReport:
    """What came of a fit; both scores are on the same rows, which the fit did not see.

    Attributes:
        rows: learnt from.
        held_out_rows: judged on; 0 where there were too few to judge.
        seconds: processor time of the fit.
        ours: score of the predictor; None when nothing could be judged.
        rival: score of the naive rival.
        notes: what the reader should know: columns never seen, rows left out and why.
    """

    rows: int
    held_out_rows: int
    seconds: float
    ours: Scores | None
    rival: Scores | None
    notes: tuple[str, ...] = field(default=())


@runtime_checkable
class Predictor(Protocol):
    """Answers with distributions; learns from rows with outcomes.

    `predict` never raises for what a row holds (unknown features, new keys, absurd sizes): it
    answers from less. It raises `PredictorError` for frames that it cannot read.
    """

    @property
    def spec(self) -> Spec:
        """What it predicts; usually a constant of the class."""
        ...

    @property
    def model_id(self) -> str:
        """Changes with every fit; "<spec name>-unfitted" before the first."""
        ...

    def fit(self, rows: pl.DataFrame) -> FitReport:
        """Learn from rows with outcomes; oldest first where `at` is there.

        Raises:
            PredictorError: no row has an outcome, or a needed column is missing.
        """
        ...

    def predict(self, rows: pl.DataFrame) -> Prediction:
        """Answer every row.

        Raises:
            PredictorError: it was never fitted, or a needed column is missing.
        """
        ...

    def observe(self, rows: pl.DataFrame) -> None:
        """Take in rows that have ended, between fits; may do nothing."""
        ...

    def save(self, folder: Path) -> None:
        """Write `manifest.json` and `arrays.safetensors` into `folder`."""
        ...

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            PredictorError: another predictor, another feature list, or changed bytes.
        """
        ...


def learnable(spec: Spec, rows: pl.DataFrame) -> pl.DataFrame:
    """The rows with an outcome, in the order of their times, with `is_censored` filled in.

    Raises:
        PredictorError: none has one, or the column is missing.
    """
    if OUTCOME not in rows.columns:
        raise PredictorError(f"{spec.name} learns from the column {OUTCOME!r}, which is missing")
    if CENSORED not in rows.columns:
        rows = rows.with_columns(pl.lit(value=False).alias(CENSORED))
    ended = rows.filter(pl.col(OUTCOME).cast(pl.Float64).is_finite())
    if ended.is_empty():
        raise PredictorError(
            f"{spec.name}: none of {rows.height} rows has an outcome to learn from",
            hint="collect some finished rows first; the histogram of all keys answers until then",
        )
    filled = ended.with_columns(pl.col(CENSORED).fill_null(value=False))
    return filled.sort(AT, maintain_order=True) if AT in filled.columns else filled
