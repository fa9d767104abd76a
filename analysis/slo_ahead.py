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
    or does not go at this pace. The budget of a calendar period is followed to the reset, where
    the line may end above nothing: so much will have been left over.

    Args:
        frame: at, budget_left_ratio; the last row is now.
        status: where the objective stands.
        end: the time that is now (aware).

    Returns:
        The frame with projected_ratio; one row more where there is a projection.
    """
    plain = frame.with_columns(projected_ratio=pl.lit(None, pl.Float64))
    left = status.budget_left_ratio
    ahead = _end_of_line(status, end)
    if left is None or left <= 0 or ahead is None:
        return plain
    until, rest = ahead
    at = pl.Series("at", [until.astimezone(UTC).replace(tzinfo=None)], pl.Datetime("us"))
    last = pl.DataFrame({"at": at, "budget_left_ratio": [None], "projected_ratio": [rest]},
                        schema_overrides={"budget_left_ratio": pl.Float64})  # fmt: skip
    is_last = pl.int_range(pl.len()) == pl.len() - 1
    now = plain.with_columns(projected_ratio=pl.when(is_last).then(pl.lit(left)))
    return pl.concat([now, last])


def _end_of_line(status: SloStatus, end: datetime) -> tuple[datetime, float] | None:
    """When the projection ends and what is left then; None where there is nothing to project."""
    left, gone, window = status.budget_left_ratio or 0.0, status.exhausted_at, status.window
    if gone is not None and gone <= end:
        return None
    if window.resets_at is not None:
        if gone is not None:
            return gone, 0.0
        if not status.pace or window.resets_at <= end:
            return None
        return window.resets_at, left - status.pace * window.left_seconds / window.length_seconds
    if gone is None:
        return None
    until = min(gone, end + timedelta(seconds=status.slo.window_seconds * FARTHEST_RATIO))
    return until, left * (1 - (until - end) / (gone - end))
