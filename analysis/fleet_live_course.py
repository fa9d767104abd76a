"""The fleet over time, as the scraped metrics of live targets tell it."""

from __future__ import annotations

import polars as pl

from analysis import series
from analysis.fleet_part import FAILURES, SPARKLINES_SCHEMA, conform
from analysis.fleet_scraped import GAUGES, RATES, Scraped, anchor, ended, intervals, is_bad, is_of
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


def _quantile_line(scraped: Scraped, signal: str) -> pl.DataFrame:
    """Bounds of the p95 by time; the plain column stays null, since no point is known."""
    return intervals(scraped, signal, "bin", {"bin": pl.Int64})
