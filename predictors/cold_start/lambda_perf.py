"""Initialisations of AWS Lambda functions (maxday/lambda-perf), daily, as rows.

Source: maxday/lambda-perf, Apache-2.0.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from predictors.base import AT, OUTCOME
from predictors.cold_start.history import with_history
from predictors.cold_start.spec import INSTANCE, MODEL
from store.errors import PredictorError

FILE = Path("lambda_perf/lambda_perf.parquet")
DAY, MONTH_MEDIAN = "day", "month_median_seconds"
_CONFIGURATION = ("runtime", "package", "memory_mb", "arch")


def days(data: Path, most_configurations: int, seed: int) -> pl.DataFrame:
    """One row a configuration and day.

    Columns: `at`, `instance`, `model` (family of the runtime), `memory_bytes`, `init_seconds`
    (list), `outcome` (their median, s).

    Args:
        data: the folder that holds `lambda_perf`.
        most_configurations: a seeded choice of so many.
        seed: of the choice.

    Raises:
        PredictorError: the data set is missing.
    """
    path = data / FILE
    if not path.is_file():
        raise PredictorError("lambda_perf is missing", where=str(data))
    name = pl.concat_str(
        [pl.col(part).cast(pl.String).fill_null("") for part in _CONFIGURATION], separator="/"
    )
    frame = pl.read_parquet(path).with_columns(name.alias(INSTANCE))
    some = frame[INSTANCE].unique().sort().to_list()
    order = np.random.default_rng(seed).permutation(len(some))[:most_configurations]
    seconds = pl.col("init_ms").list.eval(pl.element() / 1000)
    return (
        frame.filter(pl.col(INSTANCE).is_in([some[number] for number in order]))
        .select(
            pl.col(DAY).cast(pl.Date).cast(pl.Datetime("us")).alias(AT),
            INSTANCE,
            family(pl.col("runtime")).alias(MODEL),
            (pl.col("memory_mb").cast(pl.Float64) * 2**20).alias("memory_bytes"),
            seconds.alias("init_seconds"),
            seconds.list.median().alias(OUTCOME),
        )
        .filter(pl.col(OUTCOME) > 0)
        .sort(AT, INSTANCE)
    )


def family(runtime: pl.Expr) -> pl.Expr:
    """The language of a runtime: "python311" is python."""
    letters = runtime.cast(pl.String).str.to_lowercase().str.extract(r"^([a-z]+)", 1)
    return letters.fill_null("unknown")


def initialisations(daily: pl.DataFrame) -> pl.DataFrame:
    """One row an initialisation, with the history of days before (their medians)."""
    known = with_history(daily.drop("init_seconds"), known_after_seconds=86_400.0)
    month = (
        daily.sort(AT)
        .rolling(AT, period="30d", group_by=INSTANCE, closed="left")
        .agg(pl.col(OUTCOME).median().alias(MONTH_MEDIAN))
    )
    each = daily.select(AT, INSTANCE, pl.col("init_seconds")).explode("init_seconds")
    return (
        known.rename({OUTCOME: "day_median_seconds"})
        .join(month, on=[AT, INSTANCE], how="left")
        .join(each, on=[AT, INSTANCE])
        .rename({"init_seconds": OUTCOME})
        .sort(AT, INSTANCE)
    )


def first_starts(daily: pl.DataFrame, most_days: int = 3) -> pl.DataFrame:
    """The first days of each configuration, one initialisation after the other, with history."""
    first = pl.col(AT).rank("ordinal").over(INSTANCE) <= most_days
    each = daily.sort(AT).filter(first).select(
        AT, INSTANCE, MODEL, "memory_bytes", pl.col("init_seconds").alias(OUTCOME),
        pl.int_ranges(pl.col("init_seconds").list.len()).alias("place"),
    )  # fmt: skip
    one = each.explode(OUTCOME, "place")
    later = pl.col(AT) + pl.duration(minutes=pl.col("place"))
    return with_history(one.with_columns(later.alias(AT)).drop("place"), known_after_seconds=0.0)
