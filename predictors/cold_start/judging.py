"""How cold-start predictors are judged: as made, and as served after each instant's outcomes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from predictors.base import AT, OUTCOME, Predictor
from predictors.distribution import Quantiles
from predictors.scoring import Scores, score
from predictors.serving import Served, ServingSettings


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
    served = Served(champion, rival, settings)
    parts = []
    for together in _instants(judge):
        answer = served.predict(together)
        parts.append(answer.prediction.quantiles)
        served.observe(together, answer, together[OUTCOME].to_numpy())
    made = Quantiles(parts[0].levels, np.concatenate([part.values for part in parts]))
    seconds = spent + time.process_time() - start
    return Result(score(made, judge[OUTCOME].to_numpy()), made, seconds)


def pooled(parts: Mapping[int, tuple[Result, pl.DataFrame]]) -> Result:
    """One score over several folds."""
    results = [result for result, _ in parts.values()]
    levels = results[0].quantiles.levels
    made = Quantiles(levels, np.concatenate([result.quantiles.values for result in results]))
    real = np.concatenate([judge[OUTCOME].to_numpy() for _, judge in parts.values()])
    return Result(score(made, real), made, sum(result.seconds for result in results))


def _instants(rows: pl.DataFrame) -> Iterator[pl.DataFrame]:
    yield from rows.partition_by(AT, maintain_order=True)
