"""What a forecast has to beat: the last value, the same time yesterday, classical forecasts."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import polars as pl

from predictors import artifact
from predictors.base import OUTCOME, FitReport, Prediction, Spec, learnable
from predictors.demand.features import filled
from predictors.demand.windows import DAY, RATE, STEPS, TOKENS, WINDOW_SECONDS, matrix, steps_of
from predictors.distribution import LEVELS, Floats, Quantiles
from predictors.scoring import score
from predictors.serving import limited, limits_of
from store.errors import PredictorError

# With fewer known changes of its own a series borrows those of all series.
LEAST_CHANGES = 24
# The first outcomes of a record: neighbours in time that mostly went the same way.
FEW_CHANGES, LEAST_OF_STEP = 100, 8
_MIDDLE = LEVELS.index(0.5)


class LastValue:
    """The newest known value, spread by the changes that its own last two days showed.

    A series without any known window is answered with the quantiles of everything learnt, and
    marked as a fallback.
    """

    spec: ClassVar[Spec] = RATE

    def __init__(self) -> None:
        self._model_id = f"{self.spec.rival}-unfitted"
        self._prior = np.zeros(0)
        self._changes = np.zeros((0, 0))

    @property
    def model_id(self) -> str:
        """Changes with every fit."""
        return self._model_id

    def fit(self, rows: pl.DataFrame) -> FitReport:
        """Learn what a series without history is answered with.

        Raises:
            PredictorError: no row has an outcome.
        """
        start = time.process_time()
        known = learnable(self.spec, self.spec.frame(rows))
        real = known[OUTCOME].cast(pl.Float64).to_numpy()
        series, steps = filled(matrix(known["recent"])), steps_of(known)
        size = scale_of(series)
        self._prior = np.quantile(real, LEVELS)
        relative = (real - series[:, -1]) / size
        if len(relative) < FEW_CHANGES:
            # What only fell so far may rise: nothing is known of the direction yet.
            relative, steps = np.concatenate([relative, -relative]), np.tile(steps, 2)
        everything = np.quantile(relative, LEVELS)
        self._changes = np.stack(
            [
                np.quantile(relative[steps == step], LEVELS)
                if (steps == step).sum() >= LEAST_OF_STEP
                else everything
                for step in range(1, STEPS + 1)
            ]
        )
        digest = hashlib.sha256(self._prior.tobytes() + self._changes.tobytes()).hexdigest()
        self._model_id = f"{self.spec.rival}-{digest[:12]}"
        scores = score(self.predict(known).quantiles, real, with_tau=False)
        return FitReport(known.height, 0, time.process_time() - start, scores, scores)

    def predict(self, rows: pl.DataFrame) -> Prediction:
        """Answer every row.

        Raises:
            PredictorError: it was never fitted.
        """
        if not len(self._prior):
            raise PredictorError(
                f"{self.spec.rival} was never fitted",
                hint="train it on recorded windows: servescope train demand-rate",
            )
        rows = self.spec.frame(rows)
        recent, steps = matrix(rows["recent"]), steps_of(rows)
        values = last_value(recent, steps, self._changes)
        dark = np.asarray(~np.isfinite(recent).any(axis=1))
        values[dark] = self._prior
        quantiles = limited(Quantiles.of(LEVELS, values), *limits_of(self.spec, rows))
        return Prediction.raw(
            quantiles, self._model_id, self.spec.horizon_seconds, dark, ages_of(recent)
        )

    def observe(self, rows: pl.DataFrame) -> None:
        """Nothing: a row brings its history along."""

    def save(self, folder: Path) -> None:
        """Write what is answered without history."""
        arrays = {"prior": self._prior, "changes": self._changes}
        artifact.write(folder, self.spec, self._model_id, arrays, {})

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            PredictorError: another predictor, another feature list, or changed bytes.
        """
        made = cls()
        made._model_id, arrays, _ = artifact.read(folder, cls.spec)
        made._prior, made._changes = arrays["prior"], arrays["changes"]
        return made


class LastTokens(LastValue):
    """The same for tokens a second."""

    spec: ClassVar[Spec] = TOKENS


def scale_of(series: Floats) -> Floats:
    """(n,) size of each series, > 0: what its changes are compared with."""
    size = 0.5 * series[:, -6:].mean(axis=1) + 0.5 * series[:, -DAY:].mean(axis=1)
    least = np.maximum(series.max(axis=1, initial=0.0), 1e-3)
    return np.asarray(np.where(size > 0, size, least) + 1e-6)


def ages_of(recent: Floats) -> Floats:
    """(n,) seconds since the end of the newest window that was seen; NaN when none was."""
    seen = np.isfinite(recent)
    age = np.argmax(seen[:, ::-1], axis=1) * float(WINDOW_SECONDS)
    return np.where(seen.any(axis=1), age, np.nan)


def last_value(recent: Floats, steps: npt.NDArray[np.int64], changes: Floats) -> Floats:
    """(n, levels): newest value plus quantiles of the changes over as many windows.

    Args:
        recent: (n, w) newest last, NaN unknown.
        steps: (n,) windows ahead.
        changes: (`STEPS`, levels) in scales, for series with few changes of their own.
    """
    series = filled(recent)
    values = series[:, -1:] + scale_of(series)[:, None] * changes[np.asarray(steps, int) - 1]
    for step in range(1, STEPS + 1):
        here = np.flatnonzero(steps == step)
        moved = recent[here, step:] - recent[here, :-step]
        rich = np.isfinite(moved).sum(axis=1) >= LEAST_CHANGES
        if rich.any():
            own = _row_quantiles(moved[rich])
            values[here[rich]] = series[here[rich], -1:] + own
    values[:, _MIDDLE] = series[:, -1]
    return np.asarray(values)


def yesterday(recent: Floats, steps: npt.NDArray[np.int64]) -> Floats:
    """(n, levels): the value of the same time yesterday plus quantiles of day-on-day changes."""
    series = filled(recent)
    ahead = np.asarray(steps, int)
    base = series[np.arange(len(series)), series.shape[1] - 1 - DAY + ahead]
    moved = recent[:, DAY:] - recent[:, :-DAY]
    own = np.zeros((len(series), len(LEVELS)))
    rich = np.isfinite(moved).sum(axis=1) >= LEAST_CHANGES
    own[rich] = _row_quantiles(moved[rich])
    values = base[:, None] + own
    values[:, _MIDDLE] = base
    return np.asarray(values)


def same_time_yesterday(rows: pl.DataFrame) -> tuple[Quantiles, npt.NDArray[np.bool_]]:
    """The seasonal naive answer to rows, and where yesterday's window and its spread are known."""
    recent, ahead = matrix(rows["recent"]), steps_of(rows)
    values = yesterday(recent, ahead)
    then = recent[np.arange(len(recent)), recent.shape[1] - 1 - DAY + ahead]
    changes = np.isfinite(recent[:, DAY:] - recent[:, :-DAY]).sum(axis=1)
    is_known = np.isfinite(then) & (changes >= LEAST_CHANGES)
    return Quantiles.of(LEVELS, np.where(is_known[:, None], np.maximum(values, 0.0), 0.0)), is_known


def _row_quantiles(moved: Floats) -> Floats:
    whole = np.isfinite(moved).all(axis=1)
    made = np.empty((len(moved), len(LEVELS)))
    if whole.any():
        made[whole] = np.quantile(moved[whole], LEVELS, axis=1).T
    for number in np.flatnonzero(~whole):
        row = moved[number]
        made[number] = np.quantile(row[np.isfinite(row)], LEVELS)
    return made


def classical(name: str, series: Floats) -> Floats:
    """(`STEPS`, levels) by a classical model of statsforecast, on one series.

    Args:
        name: "AutoETS", "AutoTheta" or "MSTL".
        series: (w,) newest last, no gaps.
    """
    from statsforecast.models import MSTL, AutoETS, AutoTheta

    makers: dict[str, Callable[[], Any]] = {
        "AutoETS": lambda: AutoETS(season_length=1),
        "AutoTheta": lambda: AutoTheta(season_length=DAY),
        "MSTL": lambda: MSTL(season_length=DAY, trend_forecaster=AutoETS(model="ZZN")),
    }
    # Two-sided intervals of the library, as levels of ours.
    widths = [90, 80, 50, 98]
    made = makers[name]().forecast(y=series, h=STEPS, level=widths)
    at = {0.5: made["mean"]}
    for width in widths:
        at[round(0.5 - width / 200, 3)] = made[f"lo-{width}"]
        at[round(0.5 + width / 200, 3)] = made[f"hi-{width}"]
    values = np.stack([np.asarray(at[level], dtype=np.float64) for level in LEVELS], axis=1)
    return np.sort(np.maximum(np.nan_to_num(values, nan=float(series[-1])), 0.0), axis=1)
