"""Every predictor there is: the one list that training, serving, back-tests and pages go by.

Modules are imported when a predictor is first asked for, so that a process that predicts nothing
loads neither torch nor scikit-learn.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import polars as pl

from predictors.backtest import Backtest
from predictors.base import Predictor
from predictors.baselines import History
from predictors.distribution import Quantiles
from store.errors import PredictorError
from store.nearest import nearest_hint
from store.queries.scope import Scope
from store.reader import Reader

# Needs torch or scikit-learn, which are an extra: a fleet that only looks does not carry them.
EXTRA = "servescope[predict]"


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a predictor lives.

    Attributes:
        name: unique, lower case with dashes.
        group: whose back-test judges it, a key of `BACKTESTS`.
        question: what it answers, in words.
        make: "module:callable" that gives an unfitted one.
        rival: the same of its naive rival.
        load: "module:callable" that reads a saved one from a folder.
        rows: "module:callable" (reader, scope) -> rows of the store to learn from; "" where the
            store cannot hold them (prompts are not kept).
        seasonal: "module:callable" rows -> (quantiles of the same time yesterday, whether that is
            known of each row); "" where a season means nothing.
        lighter: "module:callable" that gives an unfitted one for back-tests on one's own rows,
            which learn once a window; "" where the served one learns quickly enough.
    """

    name: str
    group: str
    question: str
    make: str
    rival: str
    load: str
    rows: str = ""
    seasonal: str = ""
    lighter: str = ""

    def made(self) -> Predictor:
        """A fresh one.

        Raises:
            PredictorError: what it needs is not installed.
        """
        predictor: Predictor = _found(self.make)()
        return predictor

    def made_to_roll(self) -> Predictor:
        """A fresh one to be judged on many windows.

        Raises:
            PredictorError: what it needs is not installed.
        """
        predictor: Predictor = _found(self.lighter or self.make)()
        return predictor

    def made_rival(self) -> Predictor:
        """A fresh rival."""
        predictor: Predictor = _found(self.rival)()
        return predictor

    def loaded(self, folder: Path) -> Predictor:
        """A saved one.

        Raises:
            PredictorError: the folder holds no model of it that this version can read, or what it
                needs is not installed.
        """
        with _of_this_version(folder):
            predictor: Predictor = _found(self.load)(folder)
        return predictor

    def loaded_rival(self, folder: Path) -> Predictor:
        """The rival that was trained beside it.

        Raises:
            PredictorError: the folder holds no model of it.
        """
        fresh = self.made_rival()
        if isinstance(fresh, History):
            # A history is of any quantity: whose it is has to be said.
            with _of_this_version(folder):
                history: Any = History.load(folder, fresh.spec)
            return cast("Predictor", history)
        with _of_this_version(folder):
            return type(fresh).load(folder)

    def seasonal_of(self, rows: pl.DataFrame) -> tuple[Quantiles, npt.NDArray[np.bool_]] | None:
        """What the same time yesterday says about rows, and which of them it knows.

        None where a season means nothing.
        """
        if not self.seasonal:
            return None
        said: tuple[Quantiles, npt.NDArray[np.bool_]] = _found(self.seasonal)(rows)
        return said

    def training_rows(self, reader: Reader, scope: Scope) -> pl.DataFrame:
        """Rows of the store to learn from.

        Raises:
            PredictorError: the store cannot hold such rows.
        """
        if not self.rows:
            raise PredictorError(
                f"{self.name} cannot be trained from the store: prompts are not kept",
                hint="hand over a file with prompts and lengths: servescope train --rows FILE",
            )
        frame: pl.DataFrame = _found(self.rows)(reader, scope)
        return frame


PREDICTORS: Mapping[str, Entry] = {
    "length-text": Entry(
        name="length-text",
        group="length",
        question="How many tokens will the answer to this prompt have?",
        make="predictors.length.text:TextLength",
        rival="predictors.length.histogram:LengthHistogram",
        load="predictors.length.text:load",
    ),
    "length-metadata": Entry(
        name="length-metadata",
        group="length",
        question="How many tokens will the answer have, going by all but the text?",
        make="predictors.length.metadata:MetadataLength",
        rival="predictors.length.histogram:LengthHistogram",
        load="predictors.length.metadata:load",
        rows="predictors.rows.requests:output_tokens",
    ),
    "length-encoder": Entry(
        name="length-encoder",
        group="length",
        question="The same from an encoder that you name and tune; off by default.",
        make="predictors.length.encoder:named_encoder",
        rival="predictors.length.histogram:LengthHistogram",
        load="predictors.length.encoder:load",
    ),
    "cold-start": Entry(
        name="cold-start",
        group="cold_start",
        question="How long does a load or start take until it is ready?",
        make="predictors.cold_start.duration:ColdStart",
        rival="predictors.cold_start.rivals:PreviousLoad",
        load="predictors.cold_start.duration:load",
        rows="predictors.cold_start.rows:start_rows",
    ),
    "cold-start-busy": Entry(
        name="cold-start-busy",
        group="cold_start",
        question="Will anybody ask in the next window, so that a replica should be warm?",
        make="predictors.cold_start.busy:Busy",
        rival="predictors.cold_start.busy:SinceBusy",
        load="predictors.cold_start.busy:load",
        rows="predictors.cold_start.rows:window_rows",
    ),
    "degradation": Entry(
        name="degradation",
        group="degradation",
        question="How much of its isolated performance does an instance get now?",
        make="predictors.degradation.model:Degradation",
        rival="predictors.degradation.rivals:constant",
        load="predictors.degradation.model:load",
        rows="predictors.degradation.live:rows",
    ),
    "degradation-ahead": Entry(
        name="degradation-ahead",
        group="degradation",
        question="How much of it will the instance get over the next 30 seconds?",
        make="predictors.degradation.model:DegradationAhead",
        rival="predictors.degradation.rivals:constant_ahead",
        load="predictors.degradation.model:load_ahead",
        rows="predictors.degradation.live:rows_ahead",
    ),
    "latency-ttft": Entry(
        name="latency-ttft",
        group="latency",
        question="How long until the first token, on an instance in this state?",
        make="predictors.latency.model:TtftModel",
        rival="predictors.latency.rivals:LinearTtft",
        load="predictors.latency.model:load_ttft",
        rows="predictors.rows.requests:ttft_seconds",
    ),
    "latency-tpot": Entry(
        name="latency-tpot",
        group="latency",
        question="How long between output tokens, on an instance in this state?",
        make="predictors.latency.model:TpotModel",
        rival="predictors.latency.rivals:LinearTpot",
        load="predictors.latency.model:load_tpot",
        rows="predictors.rows.requests:tpot_seconds",
    ),
    "latency-e2e": Entry(
        name="latency-e2e",
        group="latency",
        question="How long until the last token, given state and length?",
        make="predictors.latency.total:E2eModel",
        rival="predictors.latency.rivals:LinearE2e",
        load="predictors.latency.total:load",
        rows="predictors.rows.requests:e2e_seconds",
    ),
    "demand-rate": Entry(
        name="demand-rate",
        group="demand",
        question="How many requests a second will a model or tenant get in the next hour?",
        make="predictors.demand.model:DemandForecast",
        rival="predictors.demand.rivals:LastValue",
        load="predictors.demand.model:load",
        rows="predictors.demand.rows:rate_rows",
        seasonal="predictors.demand.rivals:same_time_yesterday",
        lighter="predictors.demand.model:lighter",
    ),
    "demand-tokens": Entry(
        name="demand-tokens",
        group="demand",
        question="How many tokens a second, in and out, will that be?",
        make="predictors.demand.model:TokenForecast",
        rival="predictors.demand.rivals:LastTokens",
        load="predictors.demand.model:load_tokens",
        rows="predictors.demand.rows:token_rows",
        seasonal="predictors.demand.rivals:same_time_yesterday",
        lighter="predictors.demand.model:lighter_tokens",
    ),
}

BACKTESTS: Mapping[str, str] = {
    "length": "predictors.length.backtest:backtest",
    "cold_start": "predictors.cold_start.backtest:backtest",
    "degradation": "predictors.degradation.backtest:backtest",
    "demand": "predictors.demand.backtest:backtest",
    "latency": "predictors.latency.backtest:backtest",
}


def entry(name: str) -> Entry:
    """The predictor of that name.

    Raises:
        PredictorError: there is none.
    """
    found = PREDICTORS.get(name)
    if found is None:
        raise PredictorError(f"no predictor '{name}'", hint=nearest_hint(name, PREDICTORS))
    return found


def backtest(name: str) -> Backtest:
    """What judges the predictors of that group.

    Raises:
        PredictorError: there is none, or what it needs is not installed.
    """
    if name not in BACKTESTS:
        raise PredictorError(f"no back-test '{name}'", hint=nearest_hint(name, BACKTESTS))
    judge: Backtest = _found(BACKTESTS[name])
    return judge


def _found(place: str) -> Callable[..., Any]:
    module, name = place.split(":")
    with extra_needed():
        found: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return found


@contextmanager
def extra_needed() -> Iterator[None]:
    """Turn a missing library of the extra into one line that says what to install.

    Raises:
        PredictorError: what was imported inside is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] in _EXTRA_MODULES:
            raise PredictorError(
                f"{error.name} is not installed, and this predictor needs it",
                hint=f"pip install '{EXTRA}'; the histograms answer without it",
            ) from error
        raise


_EXTRA_MODULES = frozenset(
    {"torch", "sklearn", "statsforecast", "crepes", "river", "threadpoolctl"}
)


@contextmanager
def _of_this_version(folder: Path) -> Iterator[None]:
    """Turn the failure to understand a whole model file into one line.

    Its bytes are as they were written: another version of servescope wrote other arrays.

    Raises:
        PredictorError: what was read inside is not what this version expects.
    """
    try:
        yield
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise PredictorError(
            f"another version of servescope wrote this model: {type(error).__name__} {error}",
            where=str(folder),
            hint="train it again: servescope train NAME",
        ) from error
