"""Demand from the store: ten-minute windows of requests and tokens, by model and tenant."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal

import numpy as np
import polars as pl

from predictors.base import AT, OUTCOME
from predictors.demand.windows import (
    STEPS,
    TOTAL,
    WINDOW_SECONDS,
    Series,
    rows_of,
    series_of,
)
from store.queries import predictor_rows as queries
from store.queries.scope import Scope
from store.queries.workload import client_rates
from store.reader import Reader

Quantity = Literal["requests_per_second", "tokens_per_second"]
_WINDOW = timedelta(seconds=WINDOW_SECONDS)
# Each row holds two lists of fifty hours: this many take about 300 MB.
MOST_ROWS = 60_000
LEAST_WINDOWS = 3
MOST_TENANTS = 200
"""Busiest tenants that are forecast; the rest counts in the total of its model."""


def rate_rows(reader: Reader, scope: Scope) -> pl.DataFrame:
    """Requests a second: rows to learn from."""
    return _learnable(reader, scope, "requests_per_second")


def token_rows(reader: Reader, scope: Scope) -> pl.DataFrame:
    """Tokens a second, input and output together: rows to learn from."""
    return _learnable(reader, scope, "tokens_per_second")


def questions(reader: Reader, scope: Scope, quantity: Quantity) -> pl.DataFrame:
    """Rows that ask about the hour after the scope's end, for each model and tenant seen in it.

    Args:
        reader: the store.
        scope: ends now and reaches back two days or more; 50 hours are used.
        quantity: what is asked for.

    Returns:
        A row for each series and window ahead; none where nothing was seen.
    """
    series, start = _series(reader, scope, quantity)
    newest = {(one.model, one.tenant): [len(one.values) - 1] for one in series}
    return rows_of(series, newest, start).drop(OUTCOME)


def recent_rows(reader: Reader, scope: Scope, quantity: Quantity) -> pl.DataFrame:
    """Rows whose outcomes came in the scope's last hour or so, with all the history they had then.

    The first window of a record began before it and is no value to go by.

    Args:
        reader: the store.
        scope: as in `questions`.
        quantity: what was asked for.
    """
    series, start = _series(reader, scope, quantity)
    origins = {
        (one.model, one.tenant): range(max(len(one.values) - 1 - 2 * STEPS, 1), len(one.values) - 1)
        for one in series
    }
    rows = rows_of(series, origins, start)
    return rows.filter(pl.col(OUTCOME).is_finite()).sort(AT, maintain_order=True)


def _learnable(reader: Reader, scope: Scope, quantity: Quantity) -> pl.DataFrame:
    series, start = _series(reader, scope, quantity)
    whole = sum(max(len(one.values) - LEAST_WINDOWS, 0) for one in series) * STEPS
    every = max(-(-whole // MOST_ROWS), 1)
    # Drawn, since every n-th window of a series that alternates is always its low one; all share
    # the draw, so that they can be added up.
    longest = max((len(one.values) for one in series), default=0)
    drawn = np.random.default_rng(0).random(longest) < 1 / every
    drawn[: LEAST_WINDOWS - 1] = False
    origins = {
        (one.model, one.tenant): np.flatnonzero(drawn[: len(one.values)]).tolist() for one in series
    }
    rows = rows_of(series, origins, start)
    return rows.with_columns(pl.col(OUTCOME).fill_nan(None)).sort(AT, maintain_order=True)


def _series(reader: Reader, scope: Scope, quantity: Quantity) -> tuple[list[Series], datetime]:
    end = scope.end.replace(tzinfo=None, second=0, microsecond=0)
    windows = _windows(reader, scope, quantity, end)
    if windows.is_empty():
        return [], end
    start: datetime = windows[AT].min()  # type: ignore[assignment]
    # All series share one grid, so that rows of one instant can be put together.
    anchor = (
        windows.select("model")
        .unique()
        .with_columns(
            pl.lit(start).cast(pl.Datetime("us")).alias(AT), tenant=pl.lit(""), value=pl.lit(0.0)
        )
    )
    found = series_of(pl.concat([windows, anchor.select(windows.columns)]), end)
    return _busiest(found), start


def _busiest(series: list[Series]) -> list[Series]:
    totals = [one for one in series if one.tenant == TOTAL]
    named = [one for one in series if one.tenant not in (TOTAL, "") and one.mean > 0]
    return totals + sorted(named, key=lambda one: -one.mean)[:MOST_TENANTS]


def _windows(reader: Reader, scope: Scope, quantity: Quantity, end: datetime) -> pl.DataFrame:
    """model, tenant, at, value of windows that end at `end` or whole windows before it."""
    parts = [_counted(reader, scope, quantity)]
    if quantity == "requests_per_second":
        parts.append(_rated(reader, scope))
    back = (pl.lit(end).cast(pl.Datetime("us")) - pl.col(AT)).dt.total_microseconds()
    width = int(_WINDOW.total_seconds() * 1e6)
    place = (back - 1) // width + 1
    at = pl.lit(end).cast(pl.Datetime("us")) - pl.duration(microseconds=place * width)
    start = scope.start.replace(tzinfo=None)
    return (
        pl.concat(parts)
        .filter(pl.col(AT) < end)
        .with_columns(at.cast(pl.Datetime("us")).alias(AT))
        .filter(pl.col(AT) >= start)
        .group_by("model", "tenant", AT)
        .agg(pl.col("value").sum())
        .sort("model", "tenant", AT)
    )


def _counted(reader: Reader, scope: Scope, quantity: Quantity) -> pl.DataFrame:
    counts = queries.counts(reader, scope, 60)
    tokens = pl.col("input_tokens").fill_null(0.0) + pl.col("output_tokens").fill_null(0.0)
    value = pl.col("requests") if quantity == "requests_per_second" else tokens
    return counts.select(
        *("model", "tenant", pl.col(AT).cast(pl.Datetime("us"))),
        (value / WINDOW_SECONDS).cast(pl.Float64).alias("value"),
    )


def _rated(reader: Reader, scope: Scope) -> pl.DataFrame:
    rates = client_rates(reader, scope)
    return rates.select(
        pl.format("source {}", "source_id").alias("model"),
        pl.col("client").cast(pl.String).alias("tenant"),
        pl.col(AT).cast(pl.Datetime("us")),
        (pl.col("rate_per_second") * pl.col("window_seconds") / WINDOW_SECONDS).alias("value"),
    )
