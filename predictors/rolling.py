"""A back-test on one's own rows, from rolling origins: learn until an instant, be judged after it.

    |---- learnt ----|1|          each window is judged by a fit of everything before it;
    |----- learnt -----|2|        what was asked before but known only after it is left out
    |------ learnt ------|3|

There is no other split: rows of one hour on both sides would flatter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import polars as pl

from predictors.base import AT, CENSORED, OUTCOME, Spec, learnable
from predictors.catalog import Entry
from predictors.distribution import Floats, Quantiles
from predictors.scoring import pinball
from store.errors import PredictorError

LEAST_WINDOWS, MOST_WINDOWS = 2, 20
LEAST_LEARNT = 50
JUDGED_SHARE = 0.5
"""Of the time: the later half is judged, so that the first fit knows the earlier half."""
BLOCKS = 6
"""Runs of neighbours in time in a window, of which intervals are made."""
HORIZON = "horizon_seconds"
_KEYS = ("window", "learnt_until", "judged_until", "learnt_rows", HORIZON, "block")
SCHEMA = {
    "window": pl.Int64(), "learnt_until": pl.Datetime("us"), "judged_until": pl.Datetime("us"),
    "learnt_rows": pl.Int64(), HORIZON: pl.Float64(), "block": pl.Int64(), "n": pl.Int64(),
    "loss": pl.Float64(), "rival_loss": pl.Float64(), "season_loss": pl.Float64(),
    "absolute_error": pl.Float64(), "rival_absolute_error": pl.Float64(),
    "outcome_sum": pl.Float64(), "below_q90": pl.Int64(), "inside_90": pl.Int64(),
    "fallbacks": pl.Int64(),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Window:
    """What is learnt and what is judged.

    Attributes:
        number: from 1, the oldest first.
        origin: everything learnt from was known by then; naive UTC or trace time.
        until: the judged rows end here.
        learnt: rows.
        judged: rows asked after the origin.
    """

    number: int
    origin: datetime
    until: datetime
    learnt: pl.DataFrame
    judged: pl.DataFrame


def check_count(count: int) -> None:
    """Refuse a number of windows.

    Raises:
        PredictorError: it is below `LEAST_WINDOWS` or above `MOST_WINDOWS`.
    """
    if not LEAST_WINDOWS <= count <= MOST_WINDOWS:
        raise PredictorError(
            f"{count} windows are no back-test", hint=f"take {LEAST_WINDOWS} to {MOST_WINDOWS}"
        )


def windows(rows: pl.DataFrame, spec: Spec, count: int) -> Iterator[Window]:
    """The later half of the time, cut into `count` windows of one length.

    Args:
        rows: with `at` and outcomes.
        spec: of whoever is judged.
        count: `LEAST_WINDOWS` to `MOST_WINDOWS`.

    Raises:
        PredictorError: a count out of range, no time in the rows, or too few of them.
    """
    check_count(count)
    if AT not in rows.columns:
        raise PredictorError("the rows have no times to split by")
    known = learnable(spec, rows)
    known = known.with_columns(_known=known_at(known, spec))
    first, last = known[AT].min(), known[AT].max()
    assert isinstance(first, datetime)  # noqa: S101 - learnable rows are there
    assert isinstance(last, datetime)  # noqa: S101
    width = (last - first) * JUDGED_SHARE / count
    if width <= timedelta(0):
        raise PredictorError("all rows are of one instant", hint="take a longer range")
    for number in range(1, count + 1):
        origin = last - width * (count - number + 1)
        asked = pl.col(AT)
        inside = known.filter((asked > origin) & (asked <= origin + width))
        # A lower bound of an outcome teaches, and judges nobody.
        judged = inside.filter(~pl.col(CENSORED))
        learnt = known.filter(pl.col("_known") <= origin)
        yield Window(number, origin, origin + width, learnt.drop("_known"), judged.drop("_known"))


def known_at(rows: pl.DataFrame, spec: Spec) -> pl.Series:
    """When the outcome of each row was known; learning earlier than that would look ahead.

    A forecast's at its horizon, a request's when it had ended, a duration's when it was over.
    """
    asked = pl.col(AT).cast(pl.Datetime("us"))
    if HORIZON in rows.columns:
        later = _later(pl.col(HORIZON))
    elif spec.horizon_seconds is not None:
        later = _later(pl.lit(spec.horizon_seconds))
    elif spec.unit == "s":
        later = _later(pl.col(OUTCOME))
    else:
        later = pl.duration(microseconds=0)
    known = asked + later
    if "finished_at" in rows.columns:
        known = pl.max_horizontal(known, pl.col("finished_at").cast(pl.Datetime("us")))
    return rows.select(known.alias("known")).to_series()


def _later(seconds: pl.Expr) -> pl.Expr:
    whole = (1e6 * seconds.cast(pl.Float64)).fill_null(0.0).round(0)
    return pl.duration(microseconds=whole.cast(pl.Int64))


def roll(entry: Entry, rows: pl.DataFrame, count: int, told: Callable[[int], None]) -> pl.DataFrame:
    """Cells of a back-test: every window by horizon and run of neighbours, as in `SCHEMA`.

    Losses are added up over rows (each the mean over the scored levels); season_loss is that of the
    same time yesterday, null unless it is known for every row of the cell.

    Args:
        entry: whose predictor and rival are judged.
        rows: to learn from and be judged on.
        count: of windows.
        told: called with the number of each window that is done.

    Raises:
        PredictorError: rows too few or without time, or a fit that failed.
    """
    parts = []
    for one in windows(rows, entry.made_rival().spec, count):
        if one.learnt.height < LEAST_LEARNT:
            raise PredictorError(
                f"{one.learnt.height} rows before the first window are too few to learn from",
                hint=f"at least {LEAST_LEARNT} are needed: take a longer range",
            )
        if one.judged.height:
            parts.append(_judged(entry, one))
        told(one.number)
    return pl.concat(parts) if parts else pl.DataFrame(schema=SCHEMA)


def _judged(entry: Entry, window: Window) -> pl.DataFrame:
    """One window: both fitted on the same rows, asked the same questions."""
    ours, rival = entry.made_to_roll(), entry.made_rival()
    for one in (ours, rival):
        one.fit(window.learnt)
    real = window.judged[OUTCOME].cast(pl.Float64).to_numpy()
    said = ours.predict(window.judged.drop(OUTCOME))
    naive = rival.predict(window.judged.drop(OUTCOME)).quantiles
    row = {
        **_losses(said.quantiles, real, ""),
        **_losses(naive, real, "rival_"),
        "season_loss": _season_loss(entry, window.judged, real),
        "outcome_sum": real,
        "below_q90": real <= said.quantiles.at(0.9),
        "inside_90": (real >= said.quantiles.at(0.05)) & (real <= said.quantiles.at(0.95)),
        "fallbacks": said.was_fallback,
    }
    return _cells(window, pl.DataFrame(row))


def _season_loss(entry: Entry, rows: pl.DataFrame, real: Floats) -> Floats:
    """NaN where the same time yesterday is unknown, or means nothing."""
    said = entry.seasonal_of(rows)
    if said is None:
        return np.full(len(real), np.nan)
    quantiles, is_known = said
    return np.where(is_known, pinball(quantiles, real), np.nan)


def _losses(quantiles: Quantiles, real: Floats, prefix: str) -> dict[str, Floats]:
    return {
        f"{prefix}loss": pinball(quantiles, real),
        f"{prefix}absolute_error": np.abs(real - quantiles.at(0.5)),
    }


def _cells(window: Window, row: pl.DataFrame) -> pl.DataFrame:
    judged = window.judged
    micros = (judged[AT] - window.origin).dt.total_microseconds().to_numpy()
    width = (window.until - window.origin) / timedelta(microseconds=1)
    block = np.clip(micros * BLOCKS // width, 0, BLOCKS - 1).astype(np.int64)
    ahead = judged[HORIZON] if HORIZON in judged.columns else pl.Series([None] * judged.height)
    season = pl.col("season_loss")
    summed = [name for name in row.columns if name != "season_loss"]
    return (
        row.with_columns(
            pl.lit(window.number, pl.Int64).alias("window"),
            pl.lit(window.origin).alias("learnt_until"),
            pl.lit(window.until).alias("judged_until"),
            pl.lit(window.learnt.height, pl.Int64).alias("learnt_rows"),
            ahead.cast(pl.Float64).alias(HORIZON),
            pl.Series("block", block),
        )
        .group_by(_KEYS)
        .agg(
            pl.len().alias("n"),
            pl.col(summed).sum(),
            pl.when(season.is_finite().all()).then(season.sum()).alias("season_loss"),
        )
        .sort("window", HORIZON, "block", nulls_last=True)
        .select(pl.col(name).cast(kind) for name, kind in SCHEMA.items())
    )
