"""The models of a fleet, as the scraped metrics of live targets tell of them."""

from __future__ import annotations

import polars as pl

from analysis import series
from analysis.fleet_part import (
    MODEL_LINES_SCHEMA,
    MODELS_SCHEMA,
    NOT_TOLD,
    Workloads,
    conform,
)
from analysis.fleet_scraped import Scraped, anchor, intervals
from store.queries.scope import Scope


def from_scrapes(
    scraped: Scraped, stand: pl.DataFrame, scope: Scope, width_seconds: int
) -> Workloads:
    """What the scrapes of a scope say of its models.

    Args:
        scraped: what was scraped in it.
        stand: as `fleet_scraped.standing`.
        scope: what is asked about.
        width_seconds: bin width of the courses; at least a scrape interval.
    """
    return Workloads(_models(scraped, stand), _lines(scraped, scope, width_seconds))


def _models(scraped: Scraped, stand: pl.DataFrame) -> pl.DataFrame:
    """Columns of `MODELS_SCHEMA`, a row a model; gauges of ready instances only."""
    gauges = stand.group_by(workload="model").agg(
        *(
            pl.when(pl.col(name).count() > 0).then(pl.col(name).sum()).alias(name)
            for name in ("requests_waiting", "requests_running")
        ),
        pl.col("kv_cache_usage_ratio").max(),
    )
    finished = series.rates(
        scraped.counters.filter(pl.col("signal") == "requests_finished_total"), "model"
    ).select(
        pl.col("model").alias("workload"),
        pl.col("increase").round().cast(pl.Int64).alias("requests"),
        pl.col("rate_per_second").alias("requests_per_second"),
    )
    found = gauges.join(finished, on="workload", how="full", coalesce=True, nulls_equal=True)
    for signal in ("ttft_seconds", "tpot_seconds"):
        bounds = intervals(scraped, signal, "model", {"workload": pl.String})
        found = found.join(bounds, on="workload", how="left", nulls_equal=True)
    return conform(found.with_columns(pl.col("workload").fill_null(NOT_TOLD)), MODELS_SCHEMA)


def _lines(scraped: Scraped, scope: Scope, width_seconds: int) -> pl.DataFrame:
    """Columns of `MODEL_LINES_SCHEMA`: the rate of each model's finished requests over time."""
    newest = anchor(scope, width_seconds)
    axis = series.round_bins(scope.start, scope.end, width_seconds)
    starts = series.bin_starts(newest, width_seconds, axis.height)
    finished = scraped.counters.filter(pl.col("signal") == "requests_finished_total")
    lines = series.rates(finished, "model", "bin").select(
        pl.col("model").fill_null(NOT_TOLD).alias("workload"),
        pl.col("bin").cast(pl.Int64),
        pl.col("rate_per_second").alias("requests_per_second"),
    )
    whole = starts.join(lines.select(pl.col("workload").unique()), how="cross")
    found = whole.join(lines, on=["workload", "bin"], how="left").sort("workload", "at")
    return conform(found, MODEL_LINES_SCHEMA)
