"""Windows of ServeGen's clients (rates of 600 s) as rows.

Source: alibaba/ServeGen, Apache-2.0.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from predictors.base import AT, OUTCOME
from predictors.cold_start.activity import CLIENT, MODEL, RATE, with_activity
from store.errors import PredictorError

FILE = Path("servegen/windows.parquet")
MODELS = ("m-small", "m-large")
LEARN_SHARE = 10 / 14
LEAST_BUSY_SHARE = 0.05
IS_ALIVE = "is_alive"


def rows(data: Path) -> tuple[pl.DataFrame, pl.DataFrame]:
    """(to learn from, to be judged on): the first 10/14 of each model's time, and the rest.

    Everybody is learnt from. Clients that were busy in under 5 % of the windows to learn from, or
    in all of them, are not judged: the dead ones would flatter every policy, since it costs nothing
    to leave them cold.

    Raises:
        PredictorError: the data set is missing.
    """
    path = data / FILE
    if not path.is_file():
        raise PredictorError("servegen is missing", where=str(data))
    windows = pl.read_parquet(path).filter(pl.col("model").is_in(MODELS)).select(
        MODEL,
        pl.col("client_id").cast(pl.String).alias(CLIENT),
        pl.from_epoch(pl.col("window_start_s") * 1_000_000, "us").alias(AT),
        pl.col("rate_req_per_s").alias(RATE),
    )  # fmt: skip
    known = with_activity(windows).drop_nulls(OUTCOME)
    begin, end = pl.col(AT).min().over(MODEL), pl.col(AT).max().over(MODEL)
    is_first = (pl.col(AT) - begin) < (end - begin) * LEARN_SHARE
    known = known.with_columns(is_first.alias("is_first"))
    share = pl.col(OUTCOME).filter(pl.col("is_first")).mean().over(MODEL, CLIENT)
    is_judged = (share >= LEAST_BUSY_SHARE) & (share < 1)
    known = known.with_columns(is_judged.alias(IS_ALIVE))
    learn = known.filter("is_first")
    judge = known.filter(pl.col(IS_ALIVE) & ~pl.col("is_first"))
    return learn.drop("is_first").sort(AT), judge.drop("is_first").sort(AT)
