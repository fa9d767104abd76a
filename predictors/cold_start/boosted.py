"""Boosted trees, one model a quantile: the learnt baseline that the forest has to beat."""

from __future__ import annotations

import hashlib
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import polars as pl

from predictors import artifact
from predictors.base import OUTCOME, FitReport, Prediction, Spec, learnable
from predictors.cold_start.duration import LEAST_SECONDS, columns_of
from predictors.cold_start.spec import SPEC as COMMON
from predictors.distribution import LEVELS, Floats, Quantiles
from predictors.serving import limited, limits_of
from predictors.trees import Trees, from_boosting
from store.errors import PredictorError

SPEC = replace(COMMON, name="cold-start-boosted")
_BOUND = 1e12


class Boosted:
    """Quantile-boosted trees on the same features as `ColdStart`.

    Args:
        seed: of everything random.
        steps: trees of each quantile.
    """

    spec: ClassVar[Spec] = SPEC

    def __init__(self, seed: int = 0, steps: int = 80) -> None:
        self._seed, self._steps = seed, steps
        self._trees: list[Trees] = []
        self._model_id = f"{SPEC.name}-unfitted"

    @property
    def model_id(self) -> str:
        """Changes with every fit."""
        return self._model_id

    def fit(self, rows: pl.DataFrame) -> FitReport:
        """Boost each quantile of the logarithm.

        Raises:
            PredictorError: no row has an outcome.
        """
        start = time.process_time()
        known = learnable(SPEC, SPEC.frame(rows))
        logs = np.log(np.maximum(known[OUTCOME].cast(pl.Float64).to_numpy(), LEAST_SECONDS))
        columns = _bounded(known)
        self._trees = [self._boosted(columns, logs, level) for level in LEVELS]
        digest = hashlib.sha256(columns.tobytes() + logs.tobytes()).hexdigest()
        self._model_id = f"{SPEC.name}-{digest[:12]}"
        return FitReport(known.height, 0, time.process_time() - start, None, None)

    def predict(self, rows: pl.DataFrame) -> Prediction:
        """Answer every row.

        Raises:
            PredictorError: it was never fitted.
        """
        if not self._trees:
            raise PredictorError("no load was seen yet", hint="train it: servescope train")
        columns = _bounded(SPEC.frame(rows))
        logs = np.stack([trees.predict(columns) for trees in self._trees], axis=1)
        made = Quantiles.of(LEVELS, np.exp(np.clip(logs, -20, 20)))
        return Prediction.raw(limited(made, *limits_of(SPEC, rows)), self._model_id)

    def observe(self, rows: pl.DataFrame) -> None:
        """Nothing: rows bring their own history."""

    def save(self, folder: Path) -> None:
        """Write the trees."""
        if not self._trees:
            raise PredictorError("nothing was learnt that could be saved")
        arrays: dict[str, Any] = {}
        for number, trees in enumerate(self._trees):
            arrays |= trees.arrays(f"level{number}")
        artifact.write(folder, SPEC, self._model_id, arrays, {"levels": len(self._trees)})

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        made = cls()
        made._model_id, arrays, settings = artifact.read(folder, SPEC)
        made._trees = [Trees.from_arrays(arrays, f"level{n}") for n in range(settings["levels"])]
        return made

    def _boosted(self, columns: Floats, logs: Floats, level: float) -> Trees:
        from sklearn.ensemble import HistGradientBoostingRegressor

        model = HistGradientBoostingRegressor(
            loss="quantile",
            quantile=level,
            max_iter=self._steps,
            learning_rate=0.1,
            max_leaf_nodes=12,
            min_samples_leaf=20,
            l2_regularization=3.0,
            random_state=self._seed,
        )
        # A column that nobody ever knew cannot be binned; a constant is never split.
        known = np.isfinite(columns).any(axis=0)
        return from_boosting(model.fit(np.where(known, columns, 0.0), logs))


def _bounded(frame: pl.DataFrame) -> Floats:
    return np.asarray(np.clip(columns_of(frame), -_BOUND, _BOUND), dtype=np.float64)
