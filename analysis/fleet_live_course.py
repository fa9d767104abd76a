"""The fleet over time and by model, as the scraped metrics of live targets tell it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import polars as pl

from analysis import series
from analysis.fleet_part import (
    FAILURES,
    MODEL_LINES_SCHEMA,
    MODELS_SCHEMA,
    NOT_TOLD,
    SPARKLINES_SCHEMA,
    conform,
)
from analysis.fleet_scraped import GAUGES, RATES, Scraped, anchor, ended, interval, is_bad, is_of
from analysis.histograms import Observed
from store.queries.scope import Scope


def sparklines(scraped: Scraped, scope: Scope, width_seconds: int) -> pl.DataFrame:
    """Columns of `SPARKLINES_SCHEMA`, a row a bin of the page's axis."""
    newest = anchor(scope, width_seconds)
    axis = series.round_bins(scope.start, scope.end, width_seconds)
    framed = pl.DataFrame({"bin": range(axis.height)}, schema={"bin": pl.Int64})
    parts = [_gauge_line(scraped, name) for name in GAUGES]
    parts += [
        series.rates(scraped.counters.filter(pl.col("signal") == signal), "bin").select(
            pl.col("bin").cast(pl.Int64), pl.col("rate_per_second").alias(name)
        )
        for name, signal in RATES.items()
    ]
    parts.append(_error_line(scraped))
    parts += [_quantile_line(scraped, signal) for signal in ("ttft_seconds", "tpot_seconds")]
    for part in parts:
        framed = framed.join(part, on="bin", how="left")
    starts = series.bin_starts(newest, width_seconds, axis.height)
    return conform(series.on_bins(framed, starts), SPARKLINES_SCHEMA)


def _gauge_line(scraped: Scraped, signal: str) -> pl.DataFrame:
    """Summed over instances; the KV cache, which a sum would make meaningless, as the fullest."""
    whole = "highest" if signal == "kv_cache_usage_ratio" else "total"
    return scraped.lines.filter(pl.col("signal") == signal).select(
        pl.col("bin").cast(pl.Int64), pl.col(whole).alias(signal)
    )


def _error_line(scraped: Scraped) -> pl.DataFrame:
    """Shares of failures by bin; a way to fail that nothing counts has no column."""
    counted = ended(scraped)
    told = [name for name in FAILURES if counted.filter(is_of(name)).height]
    shares = {"error_ratio": is_bad(), **{name: is_of(name) for name in told}}
    total = pl.col("increase").sum()
    return (
        counted.group_by(pl.col("bin").cast(pl.Int64))
        .agg(
            total.alias("total"),
            *((pl.col("increase").filter(bad).sum() / total).alias(name)
              for name, bad in shares.items()),
        )
        .filter(pl.col("total") > 0)
        .drop("total")
    )  # fmt: skip


def model_lines(scraped: Scraped, scope: Scope, width_seconds: int) -> pl.DataFrame:
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


def _quantile_line(scraped: Scraped, signal: str) -> pl.DataFrame:
    """Bounds of the p95 by time; the plain column stays null, since no point is known."""
    return _intervals(scraped, signal, "bin", {"bin": pl.Int64})


def models(scraped: Scraped, instances: pl.DataFrame) -> pl.DataFrame:
    """One row a model; gauges of ready instances only."""
    names = scraped.targets.select("instance", "target_id", workload="model")
    gauges = (
        instances.join(names, on="instance")
        .group_by("workload")
        .agg(
            *(
                pl.when(pl.col(name).count() > 0).then(pl.col(name).sum()).alias(name)
                for name in ("requests_waiting", "requests_running")
            ),
            pl.col("kv_cache_usage_ratio").max(),
        )
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
        found = found.join(
            _model_quantiles(scraped, signal), on="workload", how="left", nulls_equal=True
        )
    return conform(found.with_columns(pl.col("workload").fill_null(NOT_TOLD)), MODELS_SCHEMA)


def _model_quantiles(scraped: Scraped, signal: str) -> pl.DataFrame:
    return _intervals(scraped, signal, "model", {"workload": pl.String})


def _intervals(
    scraped: Scraped, signal: str, key: Literal["bin", "model"], column: Mapping[str, Any]
) -> pl.DataFrame:
    """Bounds of the p95 of a signal for each bin or model; the key becomes the first column."""
    groups: dict[Any, list[Observed]] = {}
    for item in scraped.histograms:
        if item.signal == signal:
            groups.setdefault(getattr(item, key), []).append(item)
    rows = [(value, *interval(items)[:2]) for value, items in groups.items()]
    name = signal.replace("_seconds", "_p95_seconds")
    bounds = dict.fromkeys((f"{name}_low", f"{name}_high"), pl.Float64)
    return pl.DataFrame(rows, schema={**column, **bounds}, orient="row")
