"""How cold-start predictors are judged: as made, and as served after each instant's outcomes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
import polars as pl

from predictors.base import AT, OUTCOME, FitReport, Prediction, Predictor
from predictors.distribution import Quantiles
from predictors.scoring import Scores, score
from predictors.serving import Served, ServingSettings
from store.errors import PredictorError

_NUMBER = "judged_row"


@dataclass(frozen=True, slots=True)
class Result:
    """Scores of a method on the judged rows.

    Attributes:
        scores: see `Scores`.
        quantiles: the answers, in the order of the rows.
        seconds: processor time of fitting and answering.
    """

    scores: Scores
    quantiles: Quantiles
    seconds: float


def fitted(make: Callable[[], Predictor], learn: pl.DataFrame) -> tuple[Predictor, float]:
    """A predictor that has learnt, and the processor time that took."""
    start = time.process_time()
    predictor = make()
    predictor.fit(learn)
    return predictor, time.process_time() - start


def as_made(predictor: Predictor, judge: pl.DataFrame, spent: float = 0.0) -> Result:
    """Scores of the answers as the model made them."""
    start = time.process_time()
    made = predictor.predict(judge).quantiles
    seconds = spent + time.process_time() - start
    return Result(score(made, judge[OUTCOME].to_numpy()), made, seconds)


def as_served(
    champion: Predictor,
    rival: Predictor,
    judge: pl.DataFrame,
    settings: ServingSettings,
    spent: float = 0.0,
) -> Result:
    """Scores of what a fleet would get: corrected by the outcomes of earlier instants.

    Args:
        champion: answers.
        rival: takes over where it wins.
        judge: rows by time; rows of one instant know nothing of each other.
        settings: of serving.
        spent: processor time until now.
    """
    start = time.process_time()
    judge = judge.with_row_index(_NUMBER)
    served = Served(_Answered(champion, judge), _Answered(rival, judge), settings)
    parts = []
    for together in _instants(judge):
        answer = served.predict(together)
        parts.append(answer.prediction.quantiles)
        served.observe(together, answer, together[OUTCOME].to_numpy())
    made = Quantiles(parts[0].levels, np.concatenate([part.values for part in parts]))
    seconds = spent + time.process_time() - start
    return Result(score(made, judge[OUTCOME].to_numpy()), made, seconds)


class _Answered:
    """A predictor whose rows bring their whole past: asked once, its answers handed out by row."""

    def __init__(self, predictor: Predictor, judge: pl.DataFrame) -> None:
        self.spec, self.model_id = predictor.spec, predictor.model_id
        self._made = predictor.predict(judge)

    def predict(self, rows: pl.DataFrame) -> Prediction:
        """The answers to these rows of the judged ones."""
        some = rows[_NUMBER].to_numpy()
        made = self._made
        return replace(
            made,
            quantiles=made.quantiles.take(some),
            calibration=made.calibration[some],
            was_fallback=made.was_fallback[some],
            features_age_seconds=made.features_age_seconds[some],
        )

    def observe(self, rows: pl.DataFrame) -> None:
        """Nothing, as with those it stands for."""

    def fit(self, rows: pl.DataFrame) -> FitReport:
        """Refused: it has answered already."""
        raise self._refusal()

    def save(self, folder: Path) -> None:
        """Refused: it is not kept."""
        raise self._refusal()

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Refused: it is not kept."""
        raise cls._refusal()

    @staticmethod
    def _refusal() -> PredictorError:
        return PredictorError("answers of a back-test are handed out once, not fitted or kept")


def pooled(parts: Mapping[int, tuple[Result, pl.DataFrame]]) -> Result:
    """One score over several folds."""
    results = [result for result, _ in parts.values()]
    levels = results[0].quantiles.levels
    made = Quantiles(levels, np.concatenate([result.quantiles.values for result in results]))
    real = np.concatenate([judge[OUTCOME].to_numpy() for _, judge in parts.values()])
    return Result(score(made, real), made, sum(result.seconds for result in results))


def _instants(rows: pl.DataFrame) -> Iterator[pl.DataFrame]:
    yield from rows.partition_by(AT, maintain_order=True)
