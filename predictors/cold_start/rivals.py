"""Naive rivals of cold starts: the previous load, and the median of the last ones."""

from __future__ import annotations

import hashlib
import time
from dataclasses import replace
from pathlib import Path
from typing import Self

import numpy as np
import polars as pl

from predictors import artifact
from predictors.base import OUTCOME, FitReport, Prediction, Spec, learnable
from predictors.cold_start.spec import SPEC as COMMON
from predictors.distribution import LEVELS, Floats, Quantiles
from predictors.scoring import score
from predictors.serving import limited, limits_of
from store.errors import PredictorError

SPEC = replace(COMMON, name="cold-start-previous")
# Two starts say next to nothing about how far starts differ: until there are more, the usual spread
# counts as so many of them. Normal quantiles at LEVELS, a deviation of 35 %.
_USUAL_STARTS = 10.0
_USUAL = 0.35 * np.array([-1.6449, -1.2816, -0.6745, 0.0, 0.6745, 1.2816, 1.6449, 2.3263])


class PreviousLoad:
    """What the last load of the same key took, times what such ratios usually are.

    Args:
        column: the logarithm it leans on: "own_last_log" (the previous load) or "own_median_log"
            (the median of the last ten).
    """

    def __init__(self, column: str = "own_last_log") -> None:
        self.spec: Spec = SPEC
        self._column = column
        self._usual_log = 0.0
        self._ratios: Floats | None = None
        self._firsts: Floats = np.zeros(len(LEVELS))
        self._model_id = f"{SPEC.name}-unfitted"

    @property
    def model_id(self) -> str:
        """Changes with every fit."""
        return self._model_id

    def fit(self, rows: pl.DataFrame) -> FitReport:
        """Measure the ratios of loads to those before.

        Raises:
            PredictorError: no row has an outcome.
        """
        start = time.process_time()
        known = learnable(SPEC, SPEC.frame(rows))
        logs = np.log(np.maximum(known[OUTCOME].cast(pl.Float64).to_numpy(), 1e-3))
        before = known[self._column].fill_null(np.nan).to_numpy()
        ratios = (logs - before)[np.isfinite(before)]
        # The middle stays the previous load itself: that is the rival people know.
        spread = _shrunk(np.quantile(ratios, LEVELS) if len(ratios) else _USUAL, len(ratios))
        spread[LEVELS.index(0.5)] = 0.0
        self._ratios = np.sort(spread)
        middle = np.median(logs)
        self._firsts = middle + _shrunk(np.quantile(logs, LEVELS) - middle, len(logs))
        digest = hashlib.sha256(logs.tobytes() + before.tobytes()).hexdigest()
        self._model_id = f"{SPEC.name}-{digest[:12]}"
        scores = score(self.predict(known).quantiles, known[OUTCOME].to_numpy())
        return FitReport(known.height, 0, time.process_time() - start, scores, scores)

    def predict(self, rows: pl.DataFrame) -> Prediction:
        """Answer every row; a key without a load before gets what all loads took.

        Raises:
            PredictorError: it was never fitted.
        """
        if self._ratios is None:
            raise PredictorError(
                "the previous load is not known before the first", hint="train: servescope train"
            )
        before = SPEC.frame(rows)[self._column].fill_null(np.nan).to_numpy()[:, None]
        logs = np.where(np.isfinite(before), before + self._ratios, self._firsts)
        made = Quantiles.of(LEVELS, np.exp(np.clip(logs, -20, 20)))
        return Prediction.raw(limited(made, *limits_of(SPEC, rows)), self._model_id)

    def observe(self, rows: pl.DataFrame) -> None:
        """Nothing: rows bring their own history."""

    def save(self, folder: Path) -> None:
        """Write the ratios.

        Raises:
            PredictorError: it was never fitted.
        """
        if self._ratios is None:
            raise PredictorError("nothing was learnt that could be saved")
        arrays = {"ratios": self._ratios, "firsts": self._firsts}
        artifact.write(folder, SPEC, self._model_id, arrays, {"column": self._column})

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            PredictorError: another predictor, another feature list, or changed bytes.
        """
        model_id, arrays, settings = artifact.read(folder, SPEC)
        made = cls(str(settings["column"]))
        made._ratios, made._firsts = arrays["ratios"], arrays["firsts"]
        made._model_id = model_id
        return made


def _shrunk(own: Floats, count: int) -> Floats:
    share = count / (count + _USUAL_STARTS)
    return np.asarray(share * own + (1 - share) * _USUAL, dtype=np.float64)
