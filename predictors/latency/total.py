"""End to end: the first token, then the others at their pace, as many as the answer will have.

Physics folds the three (`folding`); boosted quantiles answer beside it where they help (`learned`).
"""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import polars as pl

from predictors import artifact
from predictors.base import OUTCOME, FitReport, Prediction, Spec, learnable
from predictors.distribution import LEVELS, Floats, Quantiles
from predictors.latency.features import E2E, state_of
from predictors.latency.fleet import numbers_of
from predictors.latency.folding import LEAST_SECONDS, TTFT_SECONDS, Folding, paced
from predictors.latency.learned import Learned, design_of, learned
from predictors.latency.model import LEAST_JUDGED, MOST_ROWS
from predictors.latency.reservoir import balanced
from predictors.scoring import score
from predictors.serving import limited, limits_of
from store.errors import PredictorError

# Every block costs another fit of both parts.
BLOCKS = 3
_MIDDLE = LEVELS.index(0.5)


class E2eModel:
    """Seconds from arrival to the last token.

    Args:
        seed: of the boosting inside.
    """

    spec: ClassVar[Spec] = E2E

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed
        self._folding: Folding | None = None
        self._learned: Learned | None = None
        self._model_id = f"{self.spec.name}-unfitted"

    @property
    def model_id(self) -> str:
        """Changes with every fit."""
        return self._model_id

    def fit(self, rows: pl.DataFrame) -> FitReport:
        """Learn from finished rows with `outcome`, `ttft_seconds` and, if known, `output_tokens`.

        Raises:
            PredictorError: no row has an outcome and a first token, or a needed column is missing.
        """
        start = time.process_time()
        ended = balanced(self._ended(rows), MOST_ROWS)
        self._folding = Folding.fitted(ended, self._seed)
        self._learned, judged = (
            self._beside(ended) if ended.height >= LEAST_JUDGED else (None, None)
        )
        body = hashlib.sha256(self._folding.digest().encode())
        for array in self._learned.arrays().values() if self._learned else ():
            body.update(np.ascontiguousarray(array).tobytes())
        self._model_id = f"{self.spec.name}-{body.hexdigest()[:12]}"
        return _report(ended, judged, time.process_time() - start)

    def predict(self, rows: pl.DataFrame) -> Prediction:
        """Answer every row.

        Raises:
            PredictorError: it was never fitted, or a needed column is missing.
        """
        asked, folding = self.spec.frame(rows), self._fitted()
        values = folding.values(asked)
        if self._learned is not None and asked.height:
            values = self._learned.mixed(_design(folding, asked, values), values)
        made = limited(Quantiles.of(LEVELS, values), *limits_of(self.spec, asked))
        age = numbers_of(asked, "scraped_age_seconds")
        return Prediction.raw(made, self.model_id, features_age_seconds=age)

    def observe(self, rows: pl.DataFrame) -> None:
        """Nothing: what has ended is learnt at the next fit."""

    def save(self, folder: Path) -> None:
        """Write `manifest.json` and `arrays.safetensors`, and a folder for each part."""
        folding = self._fitted()
        arrays = folding.save(folder) | (self._learned.arrays() if self._learned else {})
        settings = {"seed": self._seed, "parts": folding.parts()}
        artifact.write(folder, self.spec, self.model_id, arrays, settings)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            PredictorError: another predictor, another feature list, or changed bytes.
        """
        model_id, arrays, settings = artifact.read(folder, cls.spec)
        made = cls(settings["seed"])
        made._folding = Folding.load(folder, arrays, settings["parts"])
        made._learned = Learned.from_arrays(arrays)
        made._model_id = model_id
        return made

    def _ended(self, rows: pl.DataFrame) -> pl.DataFrame:
        known = learnable(self.spec, self.spec.frame(rows))
        first = numbers_of(known, TTFT_SECONDS)
        if not np.isfinite(first).any():
            raise PredictorError(
                f"{self.spec.name} learns from {TTFT_SECONDS} too, which no row has",
                hint="give the time to the first token of finished requests",
            )
        ended = known.with_columns(pl.Series(TTFT_SECONDS, first)).filter(
            pl.col(TTFT_SECONDS).is_finite() & ~pl.col("is_censored")
        )
        if ended.is_empty():
            raise PredictorError(f"{self.spec.name}: every row was cut off, none has ended")
        return paced(ended)

    def _beside(self, ended: pl.DataFrame) -> tuple[Learned | None, Floats]:
        """Trees, and the answers to blocks that neither they nor the folding had seen."""
        blocks = np.arange(ended.height, dtype=np.int64) * BLOCKS // ended.height
        values, designs = np.empty((ended.height, len(LEVELS))), []
        for block in range(BLOCKS):
            inside = pl.Series(blocks == block)
            judged = ended.filter(inside)
            folding = Folding.fitted(ended.filter(~inside), self._seed)
            values[blocks == block] = folding.values(judged)
            designs.append(_design(folding, judged, values[blocks == block]))
        return learned(np.concatenate(designs), _real(ended), values, self._seed, is_ratio=True)

    def _fitted(self) -> Folding:
        if self._folding is None:
            raise PredictorError(
                f"{self.spec.name} was never fitted", hint="train it: servescope train"
            )
        return self._folding


def _design(folding: Folding, asked: pl.DataFrame, values: Floats) -> Floats:
    return design_of(state_of(asked), values, folding.tokens(asked)[:, _MIDDLE])


def _real(ended: pl.DataFrame) -> Floats:
    return np.maximum(numbers_of(ended, OUTCOME), LEAST_SECONDS)


def _report(ended: pl.DataFrame, judged: Floats | None, seconds: float) -> FitReport:
    if judged is None:
        return FitReport(ended.height, 0, seconds, None, None)
    real = _real(ended)
    usual = np.tile(np.quantile(real, LEVELS), (len(real), 1))
    ours, rival = (score(Quantiles.of(LEVELS, values), real) for values in (judged, usual))
    return FitReport(ended.height, ended.height, seconds, ours, rival)


def load(folder: Path) -> E2eModel:
    """A saved predictor of the time to the last token."""
    return E2eModel.load(folder)
