"""What the scrapes of a fleet hold, and the few questions that all its tables ask of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from analysis import series
from analysis.doors import counted_targets
from analysis.fleet_part import FAILURES
from analysis.histograms import Observed, merge, quantile_interval
from analysis.instances import in_scope, instance_name, state
from analysis.slo_buckets import FAILED_REASONS
from store.queries.scope import Scope
from store.reader import Reader
from store.roles import is_instance

P95 = 0.95
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
