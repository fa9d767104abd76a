"""Processor time of an answer: tier 0, tier 1 alone and in batches."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import numpy as np
import polars as pl

from predictors.backtest import Cell
from predictors.length import castillo
from predictors.length.histogram import LengthHistogram
from predictors.length.network import Recipe
from predictors.length.spec import KEYS, PROMPT
from predictors.length.text import TextLength, TextSettings

BATCH = 64
_REPEATS = 60
_PROMPTS = 600


def speed(found: pl.DataFrame, seed: int) -> Iterator[Cell]:
    """Median processor time of an answer in microseconds.

    Args:
        found: pairs of `castillo.pairs`.
        seed: of the prompts that are asked.
    """
    few = found.unique(PROMPT, keep="first", maintain_order=True).head(_PROMPTS)
    rows = castillo.learning_rows(few)
    histogram = LengthHistogram()
    histogram.fit(rows)
    # Tables of full size with little training: the time of an answer is that of its shapes.
    model = TextLength(TextSettings(recipe=Recipe(passes=1, least_steps=1), held_out_ratio=0.0))
    model.fit(rows)
    asked = few.sample(BATCH, seed=seed).drop(castillo.SAMPLES)
    alone = [asked.slice(number, 1) for number in range(BATCH)]
    key = (str(few[KEYS[0]][0]), str(few[KEYS[1]][0]))
    cases: tuple[tuple[str, Callable[[int], object], int, float], ...] = (
        ("tier 0", lambda _: histogram.shares_of(key), 1, 20.0),
        ("tier 1 alone", lambda number: model.predict(alone[number % BATCH]), 1, 1000.0),
        (f"tier 1 in batches of {BATCH}", lambda _: model.predict(asked), BATCH, 100.0),
    )
    for case, act, size, target in cases:
        yield Cell(
            *("length", f"speed, {case}", "ours", "us_per_request"),
            value=_microseconds(act) / size,
            n=_REPEATS,
            seed=seed,
            target=target,
        )


def _microseconds(act: Callable[[int], object]) -> float:
    act(0)
    spent = []
    for number in range(_REPEATS):
        start = time.process_time_ns()
        act(number)
        spent.append(time.process_time_ns() - start)
    return float(np.median(spent)) / 1000
