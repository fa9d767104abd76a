"""End to end: the first token, then the others at their pace, as many as the answer will have.

The three distributions are folded on 64 points that fill the unit cube evenly; they are taken to
be independent of each other, and what that misses is mended by one factor a level. The length is
whatever was predicted of the request (`length_quantiles`), else that of earlier answers to
prompts of about the same size.
"""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import numpy.typing as npt
import polars as pl

from predictors import artifact
from predictors.base import OUTCOME, FitReport, Prediction, Spec, learnable
from predictors.distribution import LEVELS, Floats, Quantiles
from predictors.latency.features import E2E, LENGTHS, MAX_TOKENS, OUTPUT_TOKENS, lists_of
from predictors.latency.fleet import numbers_of
from predictors.latency.life import MEAN_TOKENS
from predictors.latency.model import LatencyModel, TpotModel, TtftModel
from predictors.serving import limited, limits_of
from store.errors import PredictorError

POINTS = 64
# Sizes of prompts are told apart by a quarter of an octave.
SIZES, _A_DOUBLING = 96, 4
LEAST_OF_A_SIZE = 20
_LEAST_SECONDS = 1e-5
_MOST_OFFSET = 5.0
TTFT_SECONDS = "ttft_seconds"


class E2eModel:
    """Seconds from arrival to the last token.

    Args:
        seed: of the boosting inside.
    """

    spec: ClassVar[Spec] = E2E

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed
        self._ttft, self._tpot = TtftModel(seed), TpotModel(seed)
        self._lengths: Floats | None = None
        self._offsets = np.zeros(len(LEVELS))
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
        ended = known.head(0) if ended.is_empty() else _paced(ended)
        if ended.is_empty():
            raise PredictorError(f"{self.spec.name}: every row was cut off, none has ended")
        self._ttft.fit(ended.with_columns(pl.col(TTFT_SECONDS).alias(OUTCOME)))
        pace = ended.filter(pl.col(OUTPUT_TOKENS) > 1)
        pace = ended if pace.is_empty() else pace
        self._tpot.fit(pace.with_columns(pl.col("tpot_seconds").alias(OUTCOME)))
        self._lengths = _lengths_of(ended)
        real = np.maximum(numbers_of(ended, OUTCOME), _LEAST_SECONDS)
        misses = np.log(real[:, None] / np.maximum(self._folded(ended), _LEAST_SECONDS))
        own = [np.quantile(misses[:, at], level) for at, level in enumerate(LEVELS)]
        share = len(real) / (len(real) + LEAST_OF_A_SIZE)
        self._offsets = np.clip(share * np.array(own), -_MOST_OFFSET, _MOST_OFFSET)
        body = hashlib.sha256((self._ttft.model_id + self._tpot.model_id).encode())
        body.update(self._offsets.tobytes() + self._lengths.tobytes())
        self._model_id = f"{self.spec.name}-{body.hexdigest()[:12]}"
        return FitReport(ended.height, 0, time.process_time() - start, None, None)

    def predict(self, rows: pl.DataFrame) -> Prediction:
        """Answer every row.

        Raises:
            PredictorError: it was never fitted, or a needed column is missing.
        """
        asked = self.spec.frame(rows)
        values = self._folded(asked) * np.exp(self._offsets)
        made = limited(Quantiles.of(LEVELS, values), *limits_of(self.spec, asked))
        age = numbers_of(asked, "scraped_age_seconds")
        return Prediction.raw(made, self.model_id, features_age_seconds=age)

    def observe(self, rows: pl.DataFrame) -> None:
        """Nothing: what has ended is learnt at the next fit."""

    def save(self, folder: Path) -> None:
        """Write `manifest.json` and `arrays.safetensors`, and a folder for each part."""
        if self._lengths is None:
            raise _unfitted(self.spec)
        self._ttft.save(folder / "ttft")
        self._tpot.save(folder / "tpot")
        arrays = {"lengths": self._lengths, "offsets": self._offsets}
        parts = {"ttft": self._ttft.model_id, "tpot": self._tpot.model_id}
        artifact.write(
            folder, self.spec, self.model_id, arrays, {"seed": self._seed, "parts": parts}
        )

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            PredictorError: another predictor, another feature list, or changed bytes.
        """
        model_id, arrays, settings = artifact.read(folder, cls.spec)
        made = cls(settings["seed"])
        made._ttft, made._tpot = TtftModel.load(folder / "ttft"), TpotModel.load(folder / "tpot")
        if {"ttft": made._ttft.model_id, "tpot": made._tpot.model_id} != settings["parts"]:
            raise PredictorError(
                "its parts are of another fit", where=str(folder), hint="train it again"
            )
        made._lengths, made._offsets = arrays["lengths"], arrays["offsets"]
        made._model_id = model_id
        return made

    def _folded(self, asked: pl.DataFrame) -> Floats:
        if self._lengths is None:
            raise _unfitted(self.spec)
        told = lists_of(asked, LENGTHS, len(LEVELS))
        usual = self._lengths[_size_of(asked)]
        is_told = np.isfinite(told).all(axis=1, keepdims=True)
        lengths = np.where(is_told, np.sort(told, axis=1), usual)
        most = numbers_of(asked, MAX_TOKENS)
        lengths = np.clip(lengths, 1.0, np.where(most >= 1, most, np.inf)[:, None])
        return folded(_quantiles(self._ttft, asked), _quantiles(self._tpot, asked), lengths)


def folded(first: Floats, pace: Floats, lengths: Floats) -> Floats:
    """(n, k) quantiles at LEVELS of `first + pace * (length - 1)`, the three independent.

    Args:
        first: (n, k) quantiles at LEVELS, seconds.
        pace: the same, seconds a token.
        lengths: the same, tokens, at least 1.
    """
    turn = np.arange(POINTS, dtype=np.float64)
    # Steps by the plastic number and its square fill the cube evenly.
    steps = np.array([[1 / POINTS], [0.7548776662], [0.5698402910]])
    shares, other, third = (steps * turn + [[0.5 / POINTS], [0.5], [0.5]]) % 1
    more = np.maximum(_at(lengths, shares) - 1, 0.0)
    values = np.sort(_at(first, other) + _at(pace, third) * more, axis=1)
    place = np.clip(np.array(LEVELS) * POINTS - 0.5, 0, POINTS - 1)
    low = place.astype(np.int64)
    high, part = np.minimum(low + 1, POINTS - 1), place - low
    return np.asarray(values[:, low] * (1 - part) + values[:, high] * part, dtype=np.float64)


def _at(quantiles: Floats, shares: Floats) -> Floats:
    place = np.asarray(np.interp(shares, LEVELS, np.arange(len(LEVELS))), dtype=np.float64)
    low = place.astype(np.int64)
    high, part = np.minimum(low + 1, len(LEVELS) - 1), place - low
    return np.asarray(quantiles[:, low] * (1 - part) + quantiles[:, high] * part, dtype=np.float64)


def _quantiles(model: LatencyModel, rows: pl.DataFrame) -> Floats:
    return model.predict(rows).quantiles.values


def _paced(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows with `output_tokens` and `tpot_seconds` filled in where they were unknown."""
    tokens = numbers_of(rows, OUTPUT_TOKENS)
    tokens = np.where(tokens >= 1, tokens, MEAN_TOKENS)
    decoding = numbers_of(rows, OUTCOME) - numbers_of(rows, TTFT_SECONDS)
    pace = np.maximum(decoding / np.maximum(tokens - 1, 1.0), _LEAST_SECONDS)
    told = numbers_of(rows, "tpot_seconds")
    return rows.with_columns(
        pl.Series(OUTPUT_TOKENS, tokens), tpot_seconds=pl.Series(np.where(told > 0, told, pace))
    )


def _size_of(rows: pl.DataFrame) -> npt.NDArray[np.int64]:
    tokens = np.nan_to_num(numbers_of(rows, "input_tokens"))
    octaves = np.log2(np.maximum(tokens, 1.0)) * _A_DOUBLING
    return np.asarray(np.clip(octaves, 0, SIZES - 1), dtype=np.int64)


def _lengths_of(rows: pl.DataFrame) -> Floats:
    """(SIZES, k) quantiles of output tokens by size of the prompt, shrunk to those of all."""
    tokens, size = numbers_of(rows, OUTPUT_TOKENS), _size_of(rows)
    every = np.quantile(tokens, LEVELS)
    made = np.tile(every, (SIZES, 1))
    for number in np.unique(size):
        mine = tokens[size == number]
        if len(mine) >= LEAST_OF_A_SIZE:
            made[number] = np.quantile(mine, LEVELS)
    return made


def _unfitted(spec: Spec) -> PredictorError:
    return PredictorError(f"{spec.name} was never fitted", hint="train it: servescope train")


def load(folder: Path) -> E2eModel:
    """A saved predictor of the time to the last token."""
    return E2eModel.load(folder)
