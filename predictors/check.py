"""What every predictor and every rival must do: run it against one of your own.

check_predictor(lambda: MyPredictor(), rows)
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl

from predictors.artifact import ARRAYS
from predictors.base import OUTCOME, Prediction, Predictor, Spec
from predictors.serving import limits_of
from store.errors import PredictorError


def check_predictor(
    make: Callable[[], Predictor],
    rows: pl.DataFrame,
    load: Callable[[Path], Predictor] | None = None,
) -> None:
    """Raise AssertionError at the first promise of `predictors.base` that is broken.

    Args:
        make: a fresh, unfitted predictor.
        rows: at least 40 that it can learn from, with outcomes and all required columns.
        load: reads a saved one; by default `load` of the class.
    """
    _refuses_before_a_fit(make(), rows)
    _refuses_rows_without_outcomes(make(), rows)
    _refuses_a_missing_column(make(), rows)
    fitted = make()
    report = fitted.fit(rows)
    assert 0 < report.rows <= rows.height, "a report counts what was learnt from"
    assert report.seconds >= 0, "a report says how long it took"
    made = fitted.predict(rows)
    check_prediction(fitted.spec, made, rows)
    _same_twice(make, made, rows)
    _answers_alone_as_among_others(fitted, made, rows)
    _answers_unknown_features(fitted, rows)
    _answers_nothing(fitted, rows)
    _learns_from_little(make, rows)
    _comes_back_from_disk(fitted, made, rows, load or type(fitted).load)


def check_prediction(spec: Spec, made: Prediction, rows: pl.DataFrame) -> None:
    """The shape, order and limits of an answer."""
    values = made.quantiles.values
    assert len(made) == rows.height, "one answer a row"
    assert values.shape == (rows.height, len(made.quantiles.levels))
    assert np.isfinite(values).all(), "an answer is a finite number"
    assert (np.diff(values, axis=1) >= 0).all(), "quantiles do not cross"
    lowest, highest = limits_of(spec, rows)
    assert (values >= lowest[:, None]).all(), "no answer below what is possible"
    assert (values <= highest[:, None]).all(), "no answer above what is possible"
    for column in (made.calibration, made.was_fallback, made.features_age_seconds):
        assert len(column) == rows.height
    assert made.horizon_seconds == spec.horizon_seconds
    assert made.model_id


def _refused(act: Callable[[], object], why: str) -> None:
    try:
        act()
    except PredictorError as error:
        assert error.message, "a refusal says why"
        return
    raise AssertionError(why)


def _refuses_before_a_fit(fresh: Predictor, rows: pl.DataFrame) -> None:
    assert "unfitted" in fresh.model_id
    _refused(lambda: fresh.predict(rows.head(1)), "it answered before it was fitted")


def _refuses_rows_without_outcomes(fresh: Predictor, rows: pl.DataFrame) -> None:
    unknown = rows.with_columns(pl.lit(None, pl.Float64).alias(OUTCOME))
    _refused(lambda: fresh.fit(unknown), "it learnt from rows without an outcome")
    _refused(lambda: fresh.fit(rows.head(0)), "it learnt from no rows")


def _refuses_a_missing_column(fresh: Predictor, rows: pl.DataFrame) -> None:
    for feature in fresh.spec.features:
        if feature.is_required:
            name = feature.name
            _refused(lambda name=name: fresh.fit(rows.drop(name)), f"it learnt without {name}")  # type: ignore[misc]


def _same_twice(make: Callable[[], Predictor], made: Prediction, rows: pl.DataFrame) -> None:
    again = make()
    again.fit(rows)
    other = again.predict(rows)
    assert other.model_id == made.model_id, "the same rows and seed give the same model"
    assert np.allclose(other.quantiles.values, made.quantiles.values, rtol=1e-6, atol=1e-9)


def _answers_alone_as_among_others(fitted: Predictor, made: Prediction, rows: pl.DataFrame) -> None:
    alone = fitted.predict(rows.slice(3, 1)).quantiles.values[0]
    assert np.allclose(alone, made.quantiles.values[3], rtol=1e-4, atol=1e-6), (
        "an answer does not depend on who else is asked about"
    )


def _answers_unknown_features(fitted: Predictor, rows: pl.DataFrame) -> None:
    some = rows.head(4)
    spec = fitted.spec
    for value in (None, float("nan"), float("inf"), -1.0, 1e12):
        odd = some.with_columns(
            pl.lit(value, pl.Float64).alias(feature.name)
            for feature in spec.features
            if feature.kind == "number"
        )
        check_prediction(spec, fitted.predict(odd), odd)
    optional = [f.name for f in spec.features if not f.is_required and f.name in some.columns]
    fewer = some.drop([name for name in optional if name not in spec.keys])
    check_prediction(spec, fitted.predict(fewer), fewer)
    new = some.with_columns(pl.lit("never seen before").alias(key) for key in spec.keys)
    check_prediction(spec, fitted.predict(new), new)


def _answers_nothing(fitted: Predictor, rows: pl.DataFrame) -> None:
    assert len(fitted.predict(rows.head(0))) == 0, "no question, no answer, no error"


def _learns_from_little(make: Callable[[], Predictor], rows: pl.DataFrame) -> None:
    one = make()
    one.fit(rows.head(1))
    check_prediction(one.spec, one.predict(rows), rows)
    same = make()
    constant = rows.with_columns(pl.lit(rows[OUTCOME].drop_nulls()[0]).alias(OUTCOME))
    same.fit(constant)
    check_prediction(same.spec, same.predict(rows), rows)


def _comes_back_from_disk(
    fitted: Predictor, made: Prediction, rows: pl.DataFrame, load: Callable[[Path], Predictor]
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "model"
        fitted.save(folder)
        back = load(folder)
        assert back.model_id == made.model_id
        again = back.predict(rows).quantiles.values
        assert np.allclose(again, made.quantiles.values, rtol=1e-5, atol=1e-6)
        body = bytearray((folder / ARRAYS).read_bytes())
        body[-1] ^= 1
        (folder / ARRAYS).write_bytes(bytes(body))
        _refused(lambda: load(folder), "it loaded changed bytes")
        _refused(lambda: load(Path(name) / "nothing"), "it loaded a model that is not there")
