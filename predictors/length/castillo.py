"""CASTILLO as rows: ten sampled lengths of each prompt and model. For back-tests alone.

Prompts and answers keep their own terms, so neither rows nor weights made of them are shipped.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from predictors.base import OUTCOME
from predictors.distribution import Floats
from predictors.length.spec import ANSWER, INPUT, KEYS, PROMPT

FILES = ("castillo/castillo_train.parquet", "castillo/castillo_validate.parquet")
WIDER = "gpteacher/instructions.parquet"
SAMPLES = "samples"
IS_MIXED = "is_mixed"
# A token of English is about so many characters; the texts come without counts.
_CHARACTERS_A_TOKEN = 4.2


def pairs(data: Path) -> pl.DataFrame:
    """A row a prompt and model: the ten lengths in `samples`, and whether it is of the mixed file.

    Args:
        data: folder with the data sets.
    """
    parts = [
        pl.read_parquet(data / name).with_columns(pl.lit(value=number == 1).alias(IS_MIXED))
        for number, name in enumerate(FILES)
    ]
    return (
        pl.concat(parts)
        .unique(["prompt_text", "model"], keep="first", maintain_order=True)
        .select(
            pl.col("prompt_text").alias(PROMPT),
            pl.col("model").alias(KEYS[0]),
            pl.col("dataset").alias(KEYS[1]),
            pl.col("input_size_tokens").cast(pl.Float64).alias(INPUT),
            pl.col("longest_response").alias(ANSWER),
            pl.col("output_sizes_tokens").cast(pl.List(pl.Float64)).alias(SAMPLES),
            IS_MIXED,
        )
    )


def learning_rows(found: pl.DataFrame) -> pl.DataFrame:
    """A row a sample, as a fleet would have logged them."""
    return found.explode(SAMPLES).rename({SAMPLES: OUTCOME}).drop(IS_MIXED)


def wider_rows(data: Path) -> pl.DataFrame | None:
    """Instructions with written answers: more prompts, of one more "model"; None without the set.

    Their lengths are characters over 4.2, in a head of their own, and are never scored.
    """
    path = data / WIDER
    if not path.exists():
        return None
    given, more = pl.col("instruction").fill_null(""), pl.col("input").fill_null("")
    answer = pl.col("response").fill_null("")
    return pl.read_parquet(path).select(
        (given + pl.when(more != "").then("\n" + more).otherwise(pl.lit(""))).alias(PROMPT),
        pl.lit("written").alias(KEYS[0]),
        pl.lit("instructions").alias(KEYS[1]),
        pl.lit(None, pl.Float64).alias(INPUT),
        answer.alias(ANSWER),
        (answer.str.len_chars() / _CHARACTERS_A_TOKEN).alias(OUTCOME),
    )


def samples_of(found: pl.DataFrame) -> Floats:
    """(n, 10) the sampled lengths."""
    return np.array(found[SAMPLES].to_list(), dtype=np.float64)


def one_of(samples: Floats, seed: int) -> Floats:
    """(n,) one sample of each pair."""
    picked = np.random.default_rng(seed).integers(0, samples.shape[1], len(samples))
    return np.asarray(samples[np.arange(len(samples)), picked])
