"""Methods that answer from a summary of the window: ridge, forest, boosted trees."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from predictors.degradation.channels import Inputs
from predictors.distribution import LEVELS, Floats
from predictors.trees import Trees, from_boosting
from store.errors import PredictorError

Arrays = dict[str, npt.NDArray[Any]]
FOLDS = 5


class Body(Protocol):
    """A method: learns (inputs, outcomes), answers quantiles at `LEVELS`."""

    def fit(self, inputs: Inputs, outcomes: Floats, seed: int) -> None:
        """Learn from n rows."""
        ...

    def predict(self, inputs: Inputs) -> Floats:
        """(n, k) quantiles, in any order along the second axis."""
        ...

    def arrays(self) -> Arrays:
        """All that was learnt."""
        ...

    def restore(self, arrays: Arrays) -> None:
        """What `arrays` gave."""
        ...


def extra(module: str) -> Any:
    """A module that only learning or a network needs.

    Raises:
        PredictorError: the extra is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise PredictorError(
            f"{error.name} is not installed, and this way to predict degradation needs it",
            hint="pip install 'servescope[predict]'",
        ) from error


class Ridge:
    """A regularised line through the scaled summary, spread by its errors on left-out stretches."""

    def __init__(self, strength: float = 1.0) -> None:
        self._strength = strength
        self._kept: Arrays = {}

    def fit(self, inputs: Inputs, outcomes: Floats, seed: int) -> None:
        """Learn from n rows."""
        table = inputs.summary()
        middle = _mean(table)
        spread = _mean((table - middle) ** 2) ** 0.5
        spread = np.where(spread > 1e-9, spread, 1.0)
        self._kept = {"middle": middle, "spread": spread}
        scaled = self._scaled(table)
        errors = _left_out_errors(scaled, outcomes, self._line)
        self._kept |= {"factors": self._line(scaled, outcomes), "errors": errors}

    def predict(self, inputs: Inputs) -> Floats:
        """(n, k) quantiles."""
        scaled = self._scaled(inputs.summary())
        return _with_errors(_on_line(scaled, self._kept["factors"]), self._kept["errors"])

    def arrays(self) -> Arrays:
        """All that was learnt."""
        return self._kept

    def restore(self, arrays: Arrays) -> None:
        """What `arrays` gave."""
        self._kept = arrays

    def _scaled(self, table: Floats) -> Floats:
        scaled = np.clip((table - self._kept["middle"]) / self._kept["spread"], -5.0, 5.0)
        return np.where(np.isfinite(scaled), scaled, 0.0)

    def _line(self, scaled: Floats, outcomes: Floats) -> Floats:
        square = scaled.T @ scaled + self._strength * len(scaled) / 100 * np.eye(scaled.shape[1])
        factors = np.linalg.solve(square, scaled.T @ (outcomes - outcomes.mean()))
        return np.concatenate([[outcomes.mean()], factors])


class Boosted:
    """Boosted trees on the summary, spread by their errors on left-out stretches."""

    def __init__(self, trees: int = 150, rate: float = 0.05) -> None:
        self._trees, self._rate = trees, rate
        self._model: Trees | None = None
        self._errors = np.zeros(len(LEVELS))

    def fit(self, inputs: Inputs, outcomes: Floats, seed: int) -> None:
        """Learn from n rows."""
        table = inputs.summary()
        self._model = self._boost(table, outcomes, seed)
        if len(outcomes) < 2 * FOLDS:
            return
        # One stretch: its neighbours are other repetitions of the same run.
        held = np.arange(len(outcomes)) >= len(outcomes) * (FOLDS - 1) // FOLDS
        judge = self._boost(table[~held], outcomes[~held], seed)
        self._errors = np.quantile(outcomes[held] - judge.predict(table[held]), LEVELS)
        self._errors -= self._errors[LEVELS.index(0.5)]

    def predict(self, inputs: Inputs) -> Floats:
        """(n, k) quantiles."""
        if self._model is None:
            raise RuntimeError("asked before it learnt")
        return _with_errors(self._model.predict(inputs.summary()), self._errors)

    def arrays(self) -> Arrays:
        """All that was learnt."""
        if self._model is None:
            raise RuntimeError("asked before it learnt")
        return {**self._model.arrays("trees"), "errors": self._errors}

    def restore(self, arrays: Arrays) -> None:
        """What `arrays` gave."""
        self._model = Trees.from_arrays(arrays, "trees")
        self._errors = arrays["errors"]

    def _boost(self, table: Floats, outcomes: Floats, seed: int) -> Trees:
        model = extra("sklearn.ensemble").HistGradientBoostingRegressor(
            max_iter=self._trees, learning_rate=self._rate, early_stopping=False, random_state=seed
        )
        return from_boosting(model.fit(table, outcomes))


def _mean(table: Floats) -> Floats:
    known = np.isfinite(table)
    return np.asarray(
        np.where(known, table, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1), np.float64
    )


def _on_line(scaled: Floats, factors: Floats) -> Floats:
    return np.asarray(factors[0] + scaled @ factors[1:], dtype=np.float64)


def _with_errors(middle: Floats, errors: Floats) -> Floats:
    return middle[:, None] + errors[None, :]


def _left_out_errors(
    scaled: Floats, outcomes: Floats, line: Callable[[Floats, Floats], Floats]
) -> Floats:
    """Quantiles at `LEVELS` of errors on stretches of rows that were left out, around 0."""
    if len(outcomes) < 2 * FOLDS:
        return np.zeros(len(LEVELS))
    errors = np.empty(len(outcomes))
    for held in np.array_split(np.arange(len(outcomes)), FOLDS):
        rest = np.setdiff1d(np.arange(len(outcomes)), held)
        errors[held] = outcomes[held] - _on_line(scaled[held], line(scaled[rest], outcomes[rest]))
    made = np.quantile(errors, LEVELS)
    return np.asarray(made - made[LEVELS.index(0.5)], dtype=np.float64)
