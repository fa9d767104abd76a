"""What the latency predictor has to beat: regressions on the same state, without physics.

`constant` and history by key are `predictors.baselines.History`; linear on the gauges is the naive
rival in service, since it needs nothing but numpy.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from predictors import artifact
from predictors.base import OUTCOME, FitReport, Prediction, Spec, learnable
from predictors.baselines import History
from predictors.distribution import LEVELS, Floats, Quantiles
from predictors.latency.features import E2E, NUMBERS, TPOT, TTFT
from predictors.latency.fleet import numbers_of
from predictors.serving import limited, limits_of
from predictors.trees import Trees, from_boosting, from_forest, learnable_columns
from store.errors import PredictorError

Kind = Literal["linear", "ridge_log", "boosted", "ridge_boosted", "forest"]
KINDS: tuple[Kind, ...] = ("linear", "ridge_log", "boosted", "ridge_boosted", "forest")
_SPECS = {spec.quantity: spec for spec in (TTFT, TPOT, E2E)}
_LEAST_SECONDS = 1e-5
_PENALTY = 1.0
# Trees need a few rows a leaf; with fewer the line answers.
_LEAST_ROWS = 40
_MOST_LOG = 25.0

Arrays = dict[str, npt.NDArray[Any]]


def constant(quantity: str) -> History:
    """The quantiles of all outcomes seen."""
    return History(replace(_SPECS[quantity], name=f"latency-{_short(quantity)}-constant", keys=()))


def rival_of(quantity: str, kind: Kind, seed: int = 0) -> Regressed:
    """A rival of the predictor of `quantity`."""
    return Regressed(_spec_of(quantity, kind), kind, seed)


class Regressed:
    """Quantiles around a regression on the state.

    Args:
        spec: what is predicted.
        kind: "linear" on the numbers as they are; "ridge_log" on their logarithms, in logarithms;
            "boosted" quantile trees; "ridge_boosted" the ridge with trees on what it leaves;
            "forest" of regression trees.
        seed: of the trees.
    """

    def __init__(self, spec: Spec, kind: Kind, seed: int = 0) -> None:
        self.spec, self._kind, self._seed = spec, kind, seed
        self._arrays: Arrays = {}
        self._trees: dict[str, Trees] = {}
        self._model_id = f"{spec.name}-unfitted"

    @property
    def model_id(self) -> str:
        """Changes with every fit."""
        return self._model_id

    def fit(self, rows: pl.DataFrame) -> FitReport:
        """Learn from finished rows.

        Raises:
            PredictorError: no row has an outcome, or a needed column is missing.
        """
        start = time.process_time()
        known = learnable(self.spec, self.spec.frame(rows))
        real = np.maximum(numbers_of(known, OUTCOME), _LEAST_SECONDS)
        columns = _columns(known)
        self._trees = {}
        target = self._scaled(real)
        self._arrays = _line_of(self._terms(columns), target)
        left = target - self._line(columns)
        if len(real) >= _LEAST_ROWS:
            self._grow(columns, target, left)
        left = target - self._middle(columns)
        self._arrays["spread"] = np.quantile(left, LEVELS)
        digest = hashlib.sha256(b"".join(a.tobytes() for a in self._all().values())).hexdigest()
        self._model_id = f"{self.spec.name}-{digest[:12]}"
        return FitReport(known.height, 0, time.process_time() - start, None, None)

    def predict(self, rows: pl.DataFrame) -> Prediction:
        """Answer every row.

        Raises:
            PredictorError: it was never fitted, or a needed column is missing.
        """
        if not self._arrays:
            raise PredictorError(f"{self.spec.name} was never fitted")
        asked = self.spec.frame(rows)
        columns = _columns(asked)
        if f"level.{LEVELS[0]}" in self._trees:
            made = np.stack([self._trees[f"level.{at}"].predict(columns) for at in LEVELS], axis=1)
        else:
            made = self._middle(columns)[:, None] + self._arrays["spread"]
        values = np.exp(np.clip(made, -_MOST_LOG, _MOST_LOG)) if self._is_log else made
        values = np.clip(values, -1e12, 1e12)
        made_of = limited(Quantiles.of(LEVELS, values), *limits_of(self.spec, asked))
        return Prediction.raw(made_of, self.model_id)

    def observe(self, rows: pl.DataFrame) -> None:
        """Nothing: it learns when it is fitted."""

    def save(self, folder: Path) -> None:
        """Write `manifest.json` and `arrays.safetensors`."""
        settings = {"kind": self._kind, "seed": self._seed, "trees": sorted(self._trees)}
        artifact.write(folder, self.spec, self.model_id, self._all(), settings)

    @classmethod
    def load(cls, folder: Path, spec: Spec) -> Regressed:
        """Read what `save` wrote for `spec`.

        Raises:
            PredictorError: another predictor, another feature list, or changed bytes.
        """
        made = Regressed(spec, "linear")
        made._read(folder)
        return made

    def _read(self, folder: Path) -> None:
        self._model_id, arrays, settings = artifact.read(folder, self.spec)
        self._kind, self._seed = settings["kind"], settings["seed"]
        self._trees = {name: Trees.from_arrays(arrays, name) for name in settings["trees"]}
        inside = tuple(f"{name}." for name in settings["trees"])
        self._arrays = {n: a for n, a in arrays.items() if not (inside and n.startswith(inside))}

    @property
    def _is_log(self) -> bool:
        return self._kind != "linear"

    def _scaled(self, real: Floats) -> Floats:
        return np.log(real) if self._is_log else real

    def _terms(self, columns: Floats) -> Floats:
        return np.log1p(columns) if self._is_log else columns

    def _line(self, columns: Floats) -> Floats:
        terms = self._terms(columns)
        terms = np.where(np.isnan(terms), self._arrays["means"], terms)
        scaled = (terms - self._arrays["means"]) / self._arrays["scales"]
        return np.asarray(scaled @ self._arrays["slopes"] + self._arrays["level"][0])

    def _middle(self, columns: Floats) -> Floats:
        if self._kind == "forest" and self._trees:
            return self._trees["middle"].predict(columns)
        line = self._line(columns)
        return line + self._trees["middle"].predict(columns) if "middle" in self._trees else line

    def _grow(self, columns: Floats, target: Floats, left: Floats) -> None:
        if np.ptp(target) < 1e-9:
            return
        from threadpoolctl import threadpool_limits

        with threadpool_limits(1):
            self._planted(learnable_columns(columns), target, left)

    def _planted(self, columns: Floats, target: Floats, left: Floats) -> None:
        if self._kind == "boosted":
            self._trees = {
                f"level.{level}": from_boosting(_boosting(self._seed, level).fit(columns, target))
                for level in LEVELS
            }
        elif self._kind == "ridge_boosted" and np.ptp(left) > 1e-9:
            self._trees = {"middle": from_boosting(_boosting(self._seed, 0.5).fit(columns, left))}
        elif self._kind == "forest":
            self._trees = {"middle": from_forest(_forest(self._seed).fit(columns, target))}

    def _all(self) -> Arrays:
        grown = [trees.arrays(name) for name, trees in self._trees.items()]
        return {**self._arrays, **{key: one for kept in grown for key, one in kept.items()}}


class Linear(Regressed):
    """The naive rival in service: a line on the state."""

    quantity: ClassVar[str]

    def __init__(self) -> None:
        super().__init__(_spec_of(self.quantity, "linear"), "linear")

    @classmethod
    def load(cls, folder: Path, spec: Spec | None = None) -> Linear:
        """Read what `save` wrote; its spec is known.

        Raises:
            PredictorError: another predictor, another feature list, or changed bytes.
        """
        made = cls()
        made._read(folder)
        return made


class LinearTtft(Linear):
    """Of the time to the first token."""

    quantity = TTFT.quantity


class LinearTpot(Linear):
    """Of the time per token."""

    quantity = TPOT.quantity


class LinearE2e(Linear):
    """Of the time to the last token."""

    quantity = E2E.quantity


def _spec_of(quantity: str, kind: str) -> Spec:
    name = f"latency-{_short(quantity)}-{kind.replace('_', '-')}"
    return replace(_SPECS[quantity], name=name)


def _columns(rows: pl.DataFrame) -> Floats:
    numbers = rows.select(pl.col(name).fill_null(float("nan")) for name in NUMBERS).to_numpy()
    got = np.asarray(numbers, dtype=np.float64)
    return np.where(got >= 0, np.minimum(got, 1e12), np.nan)


def _line_of(terms: Floats, target: Floats) -> Arrays:
    known = np.isfinite(terms)
    counts = np.maximum(known.sum(axis=0), 1)
    means = np.where(known, terms, 0.0).sum(axis=0) / counts
    filled = np.where(known, terms, means)
    scales = np.maximum(filled.std(axis=0), 1e-9)
    scaled = (filled - means) / scales
    level = float(target.mean())
    gram = scaled.T @ scaled + _PENALTY * np.eye(scaled.shape[1])
    slopes = np.linalg.solve(gram, scaled.T @ (target - level))
    return {"means": means, "scales": scales, "slopes": slopes, "level": np.array([level])}


def _boosting(seed: int, level: float) -> Any:
    from sklearn.ensemble import HistGradientBoostingRegressor

    return HistGradientBoostingRegressor(
        loss="quantile",
        quantile=level,
        max_iter=100,
        learning_rate=0.08,
        max_leaf_nodes=15,
        early_stopping=False,
        random_state=seed,
    )


def _forest(seed: int) -> Any:
    from sklearn.ensemble import RandomForestRegressor

    return RandomForestRegressor(100, min_samples_leaf=3, random_state=seed)


def _short(quantity: str) -> str:
    return quantity.split("_", maxsplit=1)[0]
