"""The naive answer of a quantity that always exists: what its key's last requests came to.

It answers where no model was trained, or none that is better, and every row says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Self

import numpy as np
import polars as pl

from predictors.base import FitReport, Prediction, Predictor, Spec
from predictors.baselines import History
from predictors.cold_start.serving import serving as cold_start_settings
from predictors.cold_start.spec import SPEC as COLD_START
from predictors.conformal import ConformalSettings
from predictors.demand.serving import SERVING as DEMAND
from predictors.latency.serving import settings as latency_settings
from predictors.serving import Served, ServingSettings
from store.errors import PredictorError

TOKENS_FLOOR, SECONDS_FLOOR = 1.0, 1e-3
_DAY_SECONDS = 86_400.0
SPECS: Mapping[str, Spec] = {
    spec.quantity: spec
    for spec in (
        Spec("history-output-tokens", "output_tokens", "tokens", (), ("model", "route", "tenant")),
        *(
            Spec(f"history-{name}", f"{name}_seconds", "s", (), ("model", "instance"), 0.0, most)
            for name, most in (("ttft", _DAY_SECONDS), ("tpot", 3600.0), ("e2e", _DAY_SECONDS))
        ),
    )
}
"""Quantity -> what its history goes by."""


class Recent:
    """Quantiles of the last requests of a row's key, under one name for as long as it runs.

    Args:
        spec: what it is about.
    """

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self._history = History(spec)

    @property
    def model_id(self) -> str:
        """The name of its spec: what it knows changes with every request."""
        return self.spec.name

    def fit(self, rows: pl.DataFrame) -> FitReport:
        """Let the history learn.

        Raises:
            PredictorError: no row has an outcome.
        """
        return self._history.fit(rows)

    def predict(self, rows: pl.DataFrame) -> Prediction:
        """What requests of each key came to.

        Raises:
            PredictorError: it has seen no outcome yet.
        """
        return replace(self._history.predict(rows), model_id=self.model_id)

    def observe(self, rows: pl.DataFrame) -> None:
        """Remember finished rows."""
        self._history.observe(rows)

    def save(self, folder: Path) -> None:
        """Write the history."""
        self._history.save(folder)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Refuse.

        Raises:
            PredictorError: always.
        """
        raise PredictorError("a history is learnt from recent rows, not loaded", where=str(folder))


class Alone:
    """A rival in the champion's place as well: beside itself it learns, here it answers.

    Args:
        rival: the same `Served` has it as its rival.
    """

    def __init__(self, rival: Predictor) -> None:
        self._rival = rival

    @property
    def spec(self) -> Spec:
        """Of the rival."""
        return self._rival.spec

    @property
    def model_id(self) -> str:
        """Of the rival."""
        return self._rival.model_id

    def fit(self, rows: pl.DataFrame) -> FitReport:
        """Let the rival learn.

        Raises:
            PredictorError: no row has an outcome.
        """
        return self._rival.fit(rows)

    def predict(self, rows: pl.DataFrame) -> Prediction:
        """The rival's answer, marked as the fallback's.

        Raises:
            PredictorError: it has seen no outcome yet.
        """
        made = self._rival.predict(rows)
        return replace(made, was_fallback=np.ones(len(made), np.bool_))

    def observe(self, rows: pl.DataFrame) -> None:
        """Nothing: it is taught as the rival."""

    def save(self, folder: Path) -> None:
        """Write the rival."""
        self._rival.save(folder)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Refuse.

        Raises:
            PredictorError: always.
        """
        raise PredictorError("a stand-in is made, not loaded", where=str(folder))


def settings_of(spec: Spec) -> ServingSettings:
    """How answers of `spec` are corrected: what is small beside the quantity, in its unit."""
    if spec.unit.endswith("/s"):
        return DEMAND
    if spec.name.startswith("latency-"):
        return latency_settings(spec.quantity)
    if spec.quantity == COLD_START.quantity:
        return cold_start_settings()
    floor = TOKENS_FLOOR if spec.unit == "tokens" else SECONDS_FLOOR
    return ServingSettings(conformal=ConformalSettings(log_floor=floor))


def naive(spec: Spec, rows: pl.DataFrame) -> Served:
    """The history of `rows`, ready to answer.

    Raises:
        PredictorError: no row has an outcome.
    """
    return alone(Recent(spec), rows)


def alone(rival: Predictor, rows: pl.DataFrame) -> Served:
    """A rival that learns `rows` and answers by itself, for want of a champion.

    Raises:
        PredictorError: no row has an outcome.
    """
    rival.fit(rows)
    return Served(Alone(rival), rival, settings_of(rival.spec))
