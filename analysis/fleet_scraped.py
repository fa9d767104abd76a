"""What the scrapes of a fleet hold, and the few questions that all its tables ask of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

import polars as pl

from analysis import series
from analysis.doors import counted_targets
from analysis.fleet_part import FAILURES
from analysis.histograms import Observed, merge, quantile_interval
from analysis.instances import in_scope, instance_name, state
from analysis.scraped import observations
from analysis.sharing import Sharing
from analysis.slo_buckets import FAILED_REASONS
from store.queries import counters, telemetry
from store.queries.scope import LIVE_SOURCE_ID, Scope
from store.queries.scraped_range import STRETCH_SECONDS
from store.reader import Reader
from store.roles import is_instance

P95 = 0.95
STRETCH_LEAST_SECONDS = 600
COUNTERS = (
    "prompt_tokens_total",
    "generation_tokens_total",
    "requests_finished_total",
    "requests_refused_total",
)
HISTOGRAMS = ("ttft_seconds", "tpot_seconds", "queue_seconds")
GAUGES = ("requests_running", "requests_waiting", "kv_cache_usage_ratio")
RATES = {
    "requests_per_second": "requests_finished_total",
    "input_tokens_per_second": "prompt_tokens_total",
    "output_tokens_per_second": "generation_tokens_total",
}
_REASONS = {"failed_ratio": "error", "aborted_ratio": "abort"}


@dataclass(frozen=True, slots=True)
class Scraped:
    """All that was scraped in a scope.

    Attributes:
        targets: as `telemetry.targets`, with instance, state and why.
        gauges: as `telemetry.gauge_bins`, the whole range in one bin.
        lines: as `telemetry.gauge_lines`.
        counters: as `counters.counter_steps`.
        histograms: what was observed.
    """

    targets: pl.DataFrame
    gauges: pl.DataFrame
    lines: pl.DataFrame
    counters: pl.DataFrame
    histograms: list[Observed]


def scraped_in(
    reader: Reader, scope: Scope, width_seconds: int, sharing: Sharing
) -> Scraped | None:
    """What was scraped in a scope; None when it is not about live targets or there are none.

    Args:
        reader: the store.
        scope: what is asked about.
        width_seconds: bin width of the sparklines; at least a scrape interval.
        sharing: keeps it, since several views of a scope tell of it.
    """
    if LIVE_SOURCE_ID not in scope.source_ids:
        return None
    key = f"scrapes of the fleet by {width_seconds} s"
    return sharing(key, lambda: _read(reader, scope, width_seconds))


def _read(reader: Reader, scope: Scope, width_seconds: int) -> Scraped | None:
    targets = targets_of(reader, scope)
    if targets.is_empty():
        return None
    ids = targets["target_id"].to_list()
    span = (scope.start, scope.end, width_seconds, anchor(scope, width_seconds))
    apart = targets["interval_seconds"].max()
    apart_seconds = float(apart) if isinstance(apart, int | float) else 0.0
    longest = series.LONGEST_GAP_INTERVALS * max(width_seconds, apart_seconds)
    stretch = max(STRETCH_LEAST_SECONDS, min(STRETCH_SECONDS, width_seconds))
    stepped = counters.counter_steps(
        reader, COUNTERS, *span, longest_step_seconds=longest, targets=ids
    )
    found = observations(reader, HISTOGRAMS, *span, stretch, targets=ids)
    return Scraped(
        targets,
        telemetry.gauge_bins(reader, GAUGES, scope.start, scope.end, scope.seconds, targets=ids),
        telemetry.gauge_lines(reader, GAUGES, *span, targets=ids),
        stepped,
        [item for item in found if item.bin >= 0],
    )


def standing(scraped: Scraped) -> pl.DataFrame:
    """The targets with their newest gauges; null where an instance is not ready.

    What an unreachable instance last said is not what it says now.
    """
    newest = pl.col("latest_at") == pl.col("latest_at").max().over("target_id", "signal")
    latest = (
        # One scrape holds a series a model: their requests add up, the fullest cache counts.
        scraped.gauges.filter(newest)
        .group_by("target_id", "signal")
        .agg(
            pl.when(pl.col("signal").first() == "kv_cache_usage_ratio")
            .then(pl.col("latest").max())
            .otherwise(pl.col("latest").sum())
            .alias("latest")
        )
        .pivot("signal", index="target_id", values="latest")
    )
    joined = scraped.targets.join(latest, on="target_id", how="left")
    return joined.with_columns(
        pl.when(pl.col("state") == "ready")
        .then(pl.col(name) if name in joined.columns else pl.lit(None, pl.Float64))
        .alias(name)
        for name in GAUGES
    )


def anchor(scope: Scope, width_seconds: int) -> datetime:
    """Where the newest bin ends, so that bins count from 1970-01-01 as those of request rows do."""
    axis = series.round_bins(scope.start, scope.end, width_seconds)
    last: datetime = axis["at"][-1]
    return last + timedelta(seconds=width_seconds)


def ended(scraped: Scraped) -> pl.DataFrame:
    """Known steps of the counters of requests that came to an end, served or not."""
    return scraped.counters.filter(
        pl.col("signal").is_in(["requests_finished_total", "requests_refused_total"])
        & pl.col("increase").is_not_null()
    )


def is_bad() -> pl.Expr:
    """Counters of requests that came to nothing."""
    return (pl.col("signal") == "requests_refused_total") | pl.col("reason").is_in(
        list(FAILED_REASONS)
    ).fill_null(value=False)


def is_of(failure: str) -> pl.Expr:
    """Counters of one way to fail, a name of `FAILURES`: engines say why a request ended."""
    if failure not in FAILURES:
        raise ValueError(f"no such way to fail: {failure}")
    if failure == "refused_ratio":
        return pl.col("signal") == "requests_refused_total"
    return (pl.col("reason") == _REASONS[failure]).fill_null(value=False)


def interval(items: Iterable[Observed]) -> tuple[float | None, float | None, float]:
    """The bucket that holds the 95 % quantile, and how many observations are behind it."""
    whole = merge([item.histogram for item in items if item.histogram.count > 0])
    found = quantile_interval(whole, P95) if whole is not None else None
    if whole is None or found is None:
        return None, None, 0.0
    return *found, whole.count


def intervals(
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


def targets_of(reader: Reader, scope: Scope) -> pl.DataFrame:
    """The engines of a scope with instance, state and why, as seen at its end."""
    found = counted_targets(reader, scope.end)
    end = scope.end.replace(tzinfo=None)
    rows = [
        {
            **row,
            "instance": instance_name(row["url"]),
            **dict(
                zip(
                    ("state", "why"),
                    state(
                        row["last_at"],
                        row["last_outcome"],
                        row["last_error"],
                        row["last_success_at"],
                        row["interval_seconds"],
                        end,
                    ),
                    strict=True,
                )
            ),
        }
        for row in found.iter_rows(named=True)
        if is_instance(row["engine"], row["url"])
        and in_scope(scope, instance_name(row["url"]), row["model"])
    ]
    schema: dict[str, Any] = {
        **found.schema,
        "instance": pl.String,
        "state": pl.String,
        "why": pl.String,
    }
    return pl.DataFrame(rows, schema=schema)
