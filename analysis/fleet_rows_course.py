"""The fleet over time, as request rows tell it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

import polars as pl

from analysis import latency, series
from analysis.coverage import Span
from analysis.fleet_part import FAILURES, MODEL_LINES_SCHEMA, SPARKLINES_SCHEMA, conform
from store.queries.scope import Scope

P95 = 0.95
# A bin at the edge of the range of which less was recorded says too little about a rate.
SHORTEST_COVER_RATIO = 0.2
MOST_LINES = 50
"""Workloads whose course is told; further ones have numbers only."""
_STATUSES = ("failed", "refused", "aborted")
SHARES: Mapping[str, pl.Expr] = {
    "error_ratio": pl.col("status") != "ok",
    **{name: pl.col("status") == status
       for name, status in zip(FAILURES, _STATUSES, strict=True)},
}  # fmt: skip


def covered(scope: Scope, width_seconds: int, span: Span) -> pl.DataFrame:
    """at, covered (seconds of the bin that were recorded; null where too few were)."""
    axis = series.round_bins(scope.start, scope.end, width_seconds)
    width = timedelta(seconds=width_seconds)
    first, last = (edge.replace(tzinfo=None) for edge in span)
    recorded = (
        pl.min_horizontal(pl.col("at") + width, pl.lit(last, pl.Datetime("us")))
        - pl.max_horizontal(pl.col("at"), pl.lit(first, pl.Datetime("us")))
    ).dt.total_microseconds() / 1e6
    known = pl.when(recorded >= SHORTEST_COVER_RATIO * width_seconds).then(recorded)
    return axis.with_columns(covered=known)


def model_lines(bins: pl.DataFrame, axis: pl.DataFrame) -> pl.DataFrame:
    """The rate of each workload over time; of the `MOST_LINES` with most requests."""
    arrivals = bins.filter(pl.col("quantity") == "arrival")
    counted = arrivals.group_by("workload", "at").agg(pl.col("requests").sum())
    largest = counted.group_by("workload").agg(pl.col("requests").sum())
    shown = largest.top_k(MOST_LINES, by="requests").select("workload")
    whole = shown.join(axis, how="cross").join(counted, on=["workload", "at"], how="left")
    rate = pl.col("requests").fill_null(0) / pl.col("covered")
    found = whole.with_columns(requests_per_second=rate).sort("workload", "at")
    return conform(found, MODEL_LINES_SCHEMA)


def sparklines(bins: pl.DataFrame, axis: pl.DataFrame) -> pl.DataFrame:
    """Columns of `SPARKLINES_SCHEMA`, a row a bin of `covered`."""
    arrivals = (
        bins.lazy()
        .filter(pl.col("quantity") == "arrival")
        .group_by("at")
        .agg(
            pl.col("requests").sum(),
            *((pl.col("requests").filter(bad).sum() / pl.col("requests").sum()).alias(name)
              for name, bad in SHARES.items()),
        )
    )  # fmt: skip
    # While a source records, a bin without requests is a true zero; outside nothing is known.
    whole = _onto(axis.lazy(), arrivals).with_columns(
        requests_per_second=pl.col("requests").fill_null(0) / pl.col("covered")
    )
    known = set(bins["quantity"].unique())
    for side in ("input", "output"):
        if f"{side}_tokens" in known:
            sums = bins.lazy().filter(pl.col("quantity") == f"{side}_tokens")
            by_time = sums.group_by("at").agg(pl.col("value_sum").sum().alias(side))
            whole = _onto(whole, by_time).with_columns(
                (pl.col(side).fill_null(0.0) / pl.col("covered")).alias(f"{side}_tokens_per_second")
            )
    for name in ("ttft", "tpot"):
        times = latency.quantiles(bins.filter(pl.col("quantity") == name), P95, "at")
        column = f"{name}_p95_seconds"
        points = times.lazy().select(
            "at",
            *(pl.col("seconds").alias(f"{column}{end}") for end in ("", "_low", "_high")),
        )
        whole = _onto(whole, points)
    return conform(whole.collect(), SPARKLINES_SCHEMA)


def _onto(axis: pl.LazyFrame, values: pl.LazyFrame) -> pl.LazyFrame:
    return axis.join(values, on="at", how="left", maintain_order="left")
