"""Latency predictions in service: calibrated as first tokens come, beside the naive rival."""

from __future__ import annotations

import heapq
from typing import cast

import numpy as np
import polars as pl

from predictors.base import AT, OUTCOME, Prediction, Predictor, Spec
from predictors.conformal import ConformalSettings
from predictors.distribution import Quantiles
from predictors.serving import Answer, Served, ServingSettings

_ROW = "_row"


# What is told first are the short waits: while a queue builds up, outcomes look better than they
# are, the more so the longer the quantity takes to be known. A pace does not depend on it.
_RATES = {"ttft_seconds": (0.02, 0.1), "tpot_seconds": (0.05, 0.1), "e2e_seconds": (0.005, 0.02)}


def settings(quantity: str) -> ServingSettings:
    """How a latency is calibrated: in small steps; a millisecond counts where seconds are meant."""
    return ServingSettings(conformal=ConformalSettings(*_RATES[quantity], log_floor=0.001))


def served(champion: Predictor, rival: Predictor, quantity: str = "ttft_seconds") -> Served:
    """A latency predictor in service."""
    return Served(champion, rival, settings(quantity))


def in_service(
    rows: pl.DataFrame, champion: Prediction, rival: Prediction, quantity: str = "ttft_seconds"
) -> Prediction:
    """What service would have answered, each outcome told only when it had come.

    Args:
        rows: with `at` and `outcome` in seconds, the time it took to be known.
        champion: raw answers to the rows.
        rival: the same of the rival.
        quantity: what it is about.
    """
    numbered = rows.with_row_index(_ROW).sort(AT, maintain_order=True)
    spec = _spec_of(rows)
    both = served(_replayed(spec, champion), _replayed(spec, rival), quantity)
    coming: list[tuple[float, int]] = []
    asked: dict[int, tuple[pl.DataFrame, Answer]] = {}
    values = np.empty_like(champion.quantiles.values)
    calibration, fallback = champion.calibration.copy(), champion.was_fallback.copy()
    zero = numbered[AT][0] if numbered.height else None
    for row in numbered.iter_slices(1):
        number, at = int(row[_ROW][0]), (row[AT][0] - zero).total_seconds()
        while coming and coming[0][0] <= at:
            _, known = heapq.heappop(coming)
            was, answer = asked.pop(known)
            both.observe(was, answer, was[OUTCOME].to_numpy())
        answer = both.predict(row)
        values[number] = answer.prediction.quantiles.values[0]
        calibration[number] = answer.prediction.calibration[0]
        fallback[number] = answer.prediction.was_fallback[0]
        asked[number] = row, answer
        heapq.heappush(coming, (at + float(row[OUTCOME][0]), number))
    made = Quantiles(champion.quantiles.levels, values)
    age = champion.features_age_seconds
    return Prediction(made, champion.model_id, None, calibration, fallback, age)


def _spec_of(rows: pl.DataFrame) -> Spec:
    keys = tuple(name for name in ("model", "engine", "gpu_type") if name in rows.columns)
    return Spec("latency-replayed", "seconds", "s", (), keys)


def _replayed(spec: Spec, made: Prediction) -> Predictor:
    # It is asked and told, never fitted or kept.
    return cast("Predictor", _Replayed(spec, made))


class _Replayed:
    """Answers that were made before, by their row."""

    def __init__(self, spec: Spec, made: Prediction) -> None:
        self.spec, self._made = spec, made
        self.model_id = made.model_id

    def predict(self, rows: pl.DataFrame) -> Prediction:
        at = rows[_ROW].to_numpy()
        return Prediction.raw(self._made.quantiles.take(at), self.model_id)

    def observe(self, rows: pl.DataFrame) -> None:
        """Nothing: it was fitted before."""
