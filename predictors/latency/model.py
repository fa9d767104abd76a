"""Time to first token and time per token: the engine model and what it leaves over.

The engine model is fitted per (model, engine, GPU type); the residual is learnt over all of them
on rows whose block of time took no part in the fit of the physics.
"""

from __future__ import annotations

import hashlib
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import polars as pl

from predictors import artifact
from predictors.base import CENSORED, OUTCOME, FitReport, Prediction, Spec, learnable
from predictors.distribution import LEVELS, Floats, Quantiles
from predictors.latency.design import Physics, tpot_physics, ttft_physics
from predictors.latency.engine import completed
from predictors.latency.features import LENGTHS, TPOT, TTFT, State, lists_of, state_of
from predictors.latency.fleet import Key, Known, engines_of, known_of, numbers_of, physics_keys
from predictors.latency.learned import Learned, design_of, learned
from predictors.latency.reservoir import balanced
from predictors.latency.residual import REGIMES, Residual, fitted
from predictors.scoring import score
from predictors.serving import limited, limits_of
from store.errors import PredictorError

BLOCKS = 4
# Below it blocks of time are too short to judge anything.
LEAST_JUDGED = 80
MOST_ROWS = 8000
_LEAST_SECONDS = 1e-5
_MOST_TOKENS = 1e5


class LatencyModel(ABC):
    """One of the two; make `TtftModel` or `TpotModel`.

    Args:
        seed: of the boosting.
        with_residual: False leaves the physics and its spread alone.
    """

    spec: ClassVar[Spec]
    # Whether trees may answer beside physics: not where physics is far ahead of them.
    mixes_trees: ClassVar[bool]

    def __init__(self, seed: int = 0, *, with_residual: bool = True) -> None:
        self._seed, self._with_residual = seed, with_residual
        self._known: Known | None = None
        self._residual: Residual | None = None
        self._learned: Learned | None = None
        self._model_id = f"{self.spec.name}-unfitted"

    @property
    def model_id(self) -> str:
        """Changes with every fit."""
        return self._model_id

    @property
    def known(self) -> Known:
        """The engines as fitted.

        Raises:
            PredictorError: it was never fitted.
        """
        if self._known is None:
            raise PredictorError(
                f"{self.spec.name} was never fitted", hint="train it: servescope train"
            )
        return self._known

    def fit(self, rows: pl.DataFrame) -> FitReport:
        """Learn from finished rows; `ttft_seconds`, `tpot_seconds` and `output_tokens` help.

        Rows that ended without their outcome (`is_censored`) count with what physics expects of
        them, at least what they had waited.

        Raises:
            PredictorError: no row has an outcome, or a needed column is missing.
        """
        start = time.process_time()
        known_rows = balanced(learnable(self.spec, self.spec.frame(rows)), MOST_ROWS)
        state = state_of(known_rows)
        real = np.maximum(numbers_of(known_rows, OUTCOME), _LEAST_SECONDS)
        cut = known_rows[CENSORED].to_numpy().astype(bool)
        groups = known_of(known_rows, state)
        self._known = self._engines(groups, known_rows, state, np.where(cut, np.nan, real))
        told = self._physics(self._known, known_rows, state)
        real = np.where(cut, np.maximum(real, told.seconds), real)
        blocks = np.arange(len(real)) * BLOCKS // len(real)
        judged = len(real) >= LEAST_JUDGED
        if judged:
            told = self._unseen(
                self._known.without_lesson(), known_rows, state, np.where(cut, np.nan, real), blocks
            )
        misses = np.clip(np.log(real / told.seconds), -8.0, 8.0)
        if self._with_residual and judged:
            self._residual, misses = fitted(
                told.design, misses, told.regime, blocks, real, self._seed
            )
        else:
            self._residual = Residual.of_spread(misses, told.regime)
        middle = np.log(real) - misses
        values = self._residual.quantiles(middle, told.regime, told.low, told.high)
        self._learned = None
        if judged and self._with_residual and self.mixes_trees:
            tokens = self._tokens(
                self._known, state, physics_keys(known_rows), _medians(known_rows)
            )
            design = design_of(state, values, tokens)
            self._learned, values = learned(design, real, values, self._seed)
        self._model_id = self._digest()
        return self._report(known_rows, values if judged else None, real, start)

    def predict(self, rows: pl.DataFrame) -> Prediction:
        """Answer every row.

        Raises:
            PredictorError: it was never fitted, or a needed column is missing.
        """
        asked = self.spec.frame(rows)
        if self._known is not None and asked.is_empty():
            nothing = Quantiles(np.array(LEVELS), np.empty((0, len(LEVELS))))
            return Prediction.raw(nothing, self.model_id)
        state = state_of(asked)
        made = self.answers(state, physics_keys(asked), _medians(asked))
        made = limited(made, *limits_of(self.spec, asked))
        return Prediction.raw(made, self.model_id, features_age_seconds=state.scraped_age)

    def answers(
        self, state: State, keys: Sequence[Key], lengths: Floats | None = None
    ) -> Quantiles:
        """Raw quantiles without a frame: for a router that asks about many instances at once.

        Args:
            state: n rows.
            keys: (model, engine, GPU type) of each.
            lengths: (n,) expected output tokens; NaN or None unknown.

        Raises:
            PredictorError: it was never fitted.
        """
        known, residual = self.known, self._residual or Residual(None, np.zeros((REGIMES, 0)))
        told = self._told(known, state, keys, lengths)
        middle = np.log(told.seconds) + residual.shift(told.design)
        values = residual.quantiles(middle, told.regime, told.low, told.high)
        if self._learned is not None:
            tokens = self._tokens(known, state, keys, lengths)
            values = self._learned.mixed(design_of(state, values, tokens), values)
        return Quantiles.of(LEVELS, values)

    def observe(self, rows: pl.DataFrame) -> None:  # noqa: B027 - it really does nothing
        """Nothing: what has ended is learnt at the next fit; calibration follows meanwhile."""

    def save(self, folder: Path) -> None:
        """Write `manifest.json` and `arrays.safetensors`."""
        arrays = {**self.known.arrays(), **self._left_over()}
        settings = {"keys": [list(key) for key in self.known.keys], "seed": self._seed}
        artifact.write(folder, self.spec, self.model_id, arrays, settings)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            PredictorError: another predictor, another feature list, or changed bytes.
        """
        model_id, arrays, settings = artifact.read(folder, cls.spec)
        made = cls(settings["seed"])
        made._known = Known.from_arrays(settings["keys"], arrays)
        made._residual = Residual.from_arrays(arrays)
        made._learned = Learned.from_arrays(arrays)
        made._model_id = model_id
        return made

    @abstractmethod
    def _engines(self, known: Known, rows: pl.DataFrame, state: State, real: Floats) -> Known:
        """The engines with their numbers learnt from these rows."""

    @abstractmethod
    def _told(
        self, known: Known, state: State, keys: Sequence[Key], lengths: Floats | None
    ) -> Physics:
        """What physics says of requests on engines in this state."""

    def _physics(self, known: Known, rows: pl.DataFrame, state: State) -> Physics:
        return self._told(known, state, physics_keys(rows), _medians(rows))

    def _unseen(
        self,
        groups: Known,
        rows: pl.DataFrame,
        state: State,
        real: Floats,
        blocks: npt.NDArray[np.int64],
    ) -> Physics:
        """The physics of each block by engines that were fitted to the other blocks."""
        parts = []
        for block in range(BLOCKS):
            inside = blocks == block
            others = rows.filter(pl.Series(~inside))
            engines = self._engines(groups, others, state.take(~inside), real[~inside])
            parts.append(self._physics(engines, rows.filter(pl.Series(inside)), state.take(inside)))
        joined: Callable[[str], npt.NDArray[Any]] = lambda name: np.concatenate(  # noqa: E731
            [getattr(part, name) for part in parts]
        )
        return Physics(*[joined(n) for n in ("seconds", "low", "high", "regime", "design")])

    def _tokens(
        self, known: Known, state: State, keys: Sequence[Key], lengths: Floats | None
    ) -> Floats:
        """(n,) expected output tokens: as predicted, else as usual; at most what is allowed."""
        usual = known.fleet.lives.means[known.groups(keys)]
        tokens = usual if lengths is None else np.where(np.isnan(lengths), usual, lengths)
        return np.clip(np.fmin(tokens, state.most), 1.0, _MOST_TOKENS)

    def _left_over(self) -> dict[str, npt.NDArray[Any]]:
        """The arrays of what was learnt beside the engines."""
        parts = (part for part in (self._residual, self._learned) if part is not None)
        return {name: array for part in parts for name, array in part.arrays().items()}

    def _report(
        self, rows: pl.DataFrame, values: Floats | None, real: Floats, start: float
    ) -> FitReport:
        if values is None:
            return FitReport(rows.height, 0, time.process_time() - start, None, None)
        ours = score(Quantiles.of(LEVELS, values), real)
        usual = np.tile(np.quantile(real, LEVELS), (len(real), 1))
        rival = score(Quantiles.of(LEVELS, usual), real)
        seconds = time.process_time() - start
        return FitReport(rows.height, rows.height, seconds, ours, rival)

    def _digest(self) -> str:
        body = hashlib.sha256()
        for array in (*self.known.arrays().values(), *self._left_over().values()):
            body.update(np.ascontiguousarray(array).tobytes())
        return f"{self.spec.name}-{body.hexdigest()[:12]}"


class TtftModel(LatencyModel):
    """Seconds from arrival to the first token."""

    spec = TTFT
    mixes_trees = False

    def _engines(self, known: Known, rows: pl.DataFrame, state: State, real: Floats) -> Known:
        return engines_of(known, rows, state, real, numbers_of(rows, "tpot_seconds"))

    def _told(
        self, known: Known, state: State, keys: Sequence[Key], lengths: Floats | None
    ) -> Physics:
        group = known.groups(keys)
        whole = completed(state, known.fleet, group)
        return ttft_physics(known.logs(keys, group), whole, known.fleet, group)


class TpotModel(LatencyModel):
    """Seconds between output tokens, on average over the answer."""

    spec = TPOT
    mixes_trees = True

    def _engines(self, known: Known, rows: pl.DataFrame, state: State, real: Floats) -> Known:
        return engines_of(known, rows, state, numbers_of(rows, "ttft_seconds"), real)

    def _told(
        self, known: Known, state: State, keys: Sequence[Key], lengths: Floats | None
    ) -> Physics:
        group = known.groups(keys)
        whole = completed(state, known.fleet, group)
        tokens = self._tokens(known, state, keys, lengths)
        return tpot_physics(known.logs(keys, group), whole, known.fleet, group, tokens)


def _medians(rows: pl.DataFrame) -> Floats | None:
    """(n,) median output tokens where they were predicted."""
    if LENGTHS not in rows.columns or rows[LENGTHS].null_count() == rows.height:
        return None
    return lists_of(rows, LENGTHS, len(LEVELS))[:, LEVELS.index(0.5)]


def load_ttft(folder: Path) -> TtftModel:
    """A saved predictor of the time to the first token."""
    return TtftModel.load(folder)


def load_tpot(folder: Path) -> TpotModel:
    """A saved predictor of the time per token."""
    return TpotModel.load(folder)
