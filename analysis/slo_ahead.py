"""Where an error budget goes if the pace of the last hours goes on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl

from analysis.slo import SloStatus

# Drawn at most so far ahead, as a share of the objective's window: further, nobody knows the pace.
FARTHEST_RATIO = 0.5


def projected(frame: pl.DataFrame, status: SloStatus, end: datetime) -> pl.DataFrame:
    """The course of a budget with its projection behind it.

    A straight line from the budget left now to nothing at `status.exhausted_at`, which is what the
    tile says; at most half the window ahead. Nothing is projected where the budget is gone already
    or does not go at this pace.

    Args:
        frame: at, budget_left_ratio; the last row is now.
        status: where the objective stands.
        end: the time that is now (aware).

    Returns:
        The frame with projected_ratio; one row more where there is a projection.
    """
    left, gone = status.budget_left_ratio, status.exhausted_at
    plain = frame.with_columns(projected_ratio=pl.lit(None, pl.Float64))
    if left is None or gone is None or left <= 0 or gone <= end:
        return plain
    farthest = timedelta(seconds=status.slo.window_seconds * FARTHEST_RATIO)
    until = min(gone, end + farthest)
    rest = left * (1 - (until - end) / (gone - end))
    at = pl.Series("at", [until.astimezone(UTC).replace(tzinfo=None)], pl.Datetime("us"))
    ahead = pl.DataFrame({"at": at, "budget_left_ratio": [None], "projected_ratio": [rest]},
                         schema_overrides={"budget_left_ratio": pl.Float64})  # fmt: skip
    is_last = pl.int_range(pl.len()) == pl.len() - 1
    now = plain.with_columns(projected_ratio=pl.when(is_last).then(pl.lit(left)))
    return pl.concat([now, ahead])
