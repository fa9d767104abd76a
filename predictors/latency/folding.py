"""First token, pace and length folded into the time to the last token.

The three distributions are folded on 64 points that fill the unit cube evenly; they are taken to
be independent of each other, and what that misses is mended by one factor a level. The length is
whatever was predicted of the request (`length_quantiles`), else that of earlier answers to
prompts of about the same size.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import polars as pl

from predictors.base import OUTCOME
from predictors.distribution import LEVELS, Floats
from predictors.latency.features import LENGTHS, MAX_TOKENS, OUTPUT_TOKENS, lists_of
from predictors.latency.fleet import numbers_of
from predictors.latency.life import MEAN_TOKENS
from predictors.latency.model import TpotModel, TtftModel
from store.errors import PredictorError

POINTS = 64
# Sizes of prompts are told apart by a quarter of an octave.
SIZES, _A_DOUBLING = 96, 4
LEAST_OF_A_SIZE = 20
LEAST_SECONDS = 1e-5
_MOST_OFFSET = 5.0
TTFT_SECONDS = "ttft_seconds"


@dataclass(frozen=True, slots=True)
class Folding:
    """The time to the last token from its parts.

    Attributes:
        ttft: of the first token.
        tpot: of the pace.
        lengths: (SIZES, k) quantiles of output tokens by size of the prompt.
        offsets: (k,) what the independence of the parts misses, in logarithms.
    """

    ttft: TtftModel
    tpot: TpotModel
    lengths: Floats
    offsets: Floats

    @classmethod
    def fitted(cls, ended: pl.DataFrame, seed: int) -> Self:
        """Learn from requests that ended, as `paced` gives them, with `outcome` and first token."""
        ttft, tpot = TtftModel(seed), TpotModel(seed)
        ttft.fit(ended.with_columns(pl.col(TTFT_SECONDS).alias(OUTCOME)))
        pace = ended.filter(pl.col(OUTPUT_TOKENS) > 1)
        pace = ended if pace.is_empty() else pace
        tpot.fit(pace.with_columns(pl.col("tpot_seconds").alias(OUTCOME)))
        raw = cls(ttft, tpot, _lengths_of(ended), np.zeros(len(LEVELS)))
        real = np.maximum(numbers_of(ended, OUTCOME), LEAST_SECONDS)
        misses = np.log(real[:, None] / raw.values(ended))
        own = [np.quantile(misses[:, at], level) for at, level in enumerate(LEVELS)]
        share = len(real) / (len(real) + LEAST_OF_A_SIZE)
        offsets = np.clip(share * np.array(own), -_MOST_OFFSET, _MOST_OFFSET)
        return cls(ttft, tpot, raw.lengths, offsets)

    def values(self, asked: pl.DataFrame) -> Floats:
        """(n, k) quantiles at LEVELS, seconds, rising, above 0."""
        first, pace = (model.predict(asked).quantiles.values for model in (self.ttft, self.tpot))
        values = folded(first, pace, self.tokens(asked)) * np.exp(self.offsets)
        return np.sort(np.maximum(values, LEAST_SECONDS), axis=1)

    def tokens(self, asked: pl.DataFrame) -> Floats:
        """(n, k) quantiles of the length: as predicted, else as usual; at most what is allowed."""
        told = lists_of(asked, LENGTHS, len(LEVELS))
        usual = self.lengths[_size_of(asked)]
        is_told = np.isfinite(told).all(axis=1, keepdims=True)
        lengths = np.where(is_told, np.sort(told, axis=1), usual)
        most = numbers_of(asked, MAX_TOKENS)
        return np.clip(lengths, 1.0, np.where(most >= 1, most, np.inf)[:, None])

    def digest(self) -> str:
        """Changes with every fit."""
        body = hashlib.sha256((self.ttft.model_id + self.tpot.model_id).encode())
        body.update(self.offsets.tobytes() + self.lengths.tobytes())
        return body.hexdigest()

    def parts(self) -> dict[str, str]:
        """Which models it is made of."""
        return {"ttft": self.ttft.model_id, "tpot": self.tpot.model_id}

    def save(self, folder: Path) -> dict[str, npt.NDArray[Any]]:
        """Write a folder for each part; the arrays are for the whole's own file."""
        self.ttft.save(folder / "ttft")
        self.tpot.save(folder / "tpot")
        return {"lengths": self.lengths, "offsets": self.offsets}

    @classmethod
    def load(cls, folder: Path, arrays: dict[str, npt.NDArray[Any]], parts: dict[str, str]) -> Self:
        """Read what `save` wrote.

        Raises:
            PredictorError: a part is of another fit.
        """
        ttft, tpot = TtftModel.load(folder / "ttft"), TpotModel.load(folder / "tpot")
        made = cls(ttft, tpot, arrays["lengths"], arrays["offsets"])
        if made.parts() != parts:
            raise PredictorError(
                "its parts are of another fit", where=str(folder), hint="train it again"
            )
        return made


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


def paced(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows with `output_tokens` and `tpot_seconds` filled in where they were unknown."""
    tokens = numbers_of(rows, OUTPUT_TOKENS)
    tokens = np.where(tokens >= 1, tokens, MEAN_TOKENS)
    decoding = numbers_of(rows, OUTCOME) - numbers_of(rows, TTFT_SECONDS)
    pace = np.maximum(decoding / np.maximum(tokens - 1, 1.0), LEAST_SECONDS)
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
