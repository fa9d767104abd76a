"""Forecasts of demand judged by what came: losses, coverage, errors, and the course of one.

All from one frame of `store.queries.forecasts.said`.
"""

from __future__ import annotations

import polars as pl

from analysis.predictions_judged import ntile
from store.queries.forecasts import MOST_DRAWN
from store.queries.predictions import SCORED_LEVELS

_BY = ("quantity", "key", "horizon_seconds")
_BANDS = {"q05": "ours_5", "q25": "ours_25", "median": "ours_50", "q75": "ours_75",
          "q95": "ours_95", "rival_median": "naive_50"}  # fmt: skip


def with_losses(said: pl.DataFrame) -> pl.DataFrame:
    """`said` with loss and rival_loss: pinball losses added up over `SCORED_LEVELS`."""
    is_known = pl.col("outcome").is_not_null()
    return said.with_columns(
        pl.when(is_known).then(_loss(whose)).alias(name)
        for name, whose in (("loss", "ours"), ("rival_loss", "naive"))
    )


def judged(said: pl.DataFrame) -> pl.DataFrame:
    """Forecasts added up by quantity, key and horizon.

    Columns: quantity, key, horizon_seconds, forecasts, outcomes, loss and rival_loss, inside_50 and
    inside_90 (outcomes inside those intervals), absolute_error, rival_absolute_error and
    outcome_sum (added up), fallbacks, last_made_at.

    Args:
        said: as of `with_losses`.
    """
    outcome = pl.col("outcome")
    return (
        said.group_by(_BY)
        .agg(
            pl.col("loss", "rival_loss").sum(),
            forecasts=pl.len().cast(pl.Int64),
            outcomes=outcome.count().cast(pl.Int64),
            inside_50=outcome.is_between("ours_25", "ours_75").sum().cast(pl.Int64),
            inside_90=outcome.is_between("ours_5", "ours_95").sum().cast(pl.Int64),
            absolute_error=(outcome - pl.col("ours_50")).abs().sum(),
            rival_absolute_error=(outcome - pl.col("naive_50")).abs().sum(),
            outcome_sum=outcome.sum(),
            fallbacks=pl.col("was_fallback").sum().cast(pl.Int64),
            last_made_at=pl.col("made_at").max(),
        )
        .sort(_BY)
    )


def blocks(said: pl.DataFrame) -> pl.DataFrame:
    """Losses summed over runs of neighbours in time, of which an interval is made.

    Columns: quantity, key, horizon_seconds, block (from 1), loss, rival_loss.

    Args:
        said: as of `with_losses`.
    """
    known = said.filter(pl.col("outcome").is_not_null()).sort("at", "key", "horizon_seconds")
    place = pl.int_range(pl.len()).over("quantity")
    rows = known.with_columns(block=ntile(place, pl.len().over("quantity")))
    return rows.group_by(*_BY, "block").agg(pl.col("loss", "rival_loss").sum()).sort(*_BY, "block")


def course(said: pl.DataFrame, quantity: str, key: str, horizon_seconds: float) -> pl.DataFrame:
    """Forecasts of one quantity, key and horizon over the time they are about, the newest few.

    Columns: at (when the window ends), made_at, horizon_seconds, q05, q25, median, q75, q95,
    rival_median, was_fallback, outcome (null: not yet, or nothing was recorded).
    """
    own = said.filter(
        pl.col("quantity") == quantity,
        pl.col("key") == key,
        pl.col("horizon_seconds") == horizon_seconds,
    )
    bands = [pl.col(column).alias(name) for name, column in _BANDS.items()]
    shown = own.select("at", "made_at", "horizon_seconds", *bands, "was_fallback", "outcome")
    return shown.sort("at").tail(MOST_DRAWN)


def _loss(whose: str) -> pl.Expr:
    parts = []
    for level in SCORED_LEVELS:
        short = pl.col("outcome") - pl.col(f"{whose}_{round(100 * level)}")
        parts.append(pl.max_horizontal(level * short, (level - 1) * short))
    return pl.sum_horizontal(parts)
