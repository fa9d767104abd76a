"""What one kind of record (request rows, or scrapes) says of a fleet, and how to join two."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from analysis.measure import Measure
from store.queries.scope import LIVE_SOURCE_ID, Scope
from store.rollup import BUCKET_SECONDS

NOT_TOLD = "(model not told)"
# Scrapes are seconds apart: finer bins would be mostly holes.
SHORTEST_LIVE_BIN_SECONDS = 10
SPARKLINE_BINS = 100
# Ways to come to nothing, by whose doing: the fleet's (5xx), the fleet's on purpose (429), the
# client's.
FAILURES = ("failed_ratio", "refused_ratio", "aborted_ratio")
SPARKLINES_SCHEMA: dict[str, Any] = {
    "at": pl.Datetime("us"),
    "requests_per_second": pl.Float64,
    "input_tokens_per_second": pl.Float64,
    "output_tokens_per_second": pl.Float64,
    "error_ratio": pl.Float64,
    "failed_ratio": pl.Float64,
    "refused_ratio": pl.Float64,
    "aborted_ratio": pl.Float64,
    "ttft_p95_seconds": pl.Float64,
    "ttft_p95_seconds_low": pl.Float64,
    "ttft_p95_seconds_high": pl.Float64,
    "tpot_p95_seconds": pl.Float64,
    "tpot_p95_seconds_low": pl.Float64,
    "tpot_p95_seconds_high": pl.Float64,
    "requests_waiting": pl.Float64,
    "requests_running": pl.Float64,
    "kv_cache_usage_ratio": pl.Float64,
}
MODELS_SCHEMA: dict[str, Any] = {
    "workload": pl.String,
    "requests": pl.Int64,
    "requests_per_second": pl.Float64,
    "input_tokens_mean": pl.Float64,
    "output_tokens_mean": pl.Float64,
    "ttft_p95_seconds_low": pl.Float64,
    "ttft_p95_seconds_high": pl.Float64,
    "tpot_p95_seconds_low": pl.Float64,
    "tpot_p95_seconds_high": pl.Float64,
    "attainment_ratio": pl.Float64,
    "requests_waiting": pl.Float64,
    "requests_running": pl.Float64,
    "kv_cache_usage_ratio": pl.Float64,
    "instances_ready": pl.Int64,
    "instances_known": pl.Int64,
    "replicas_starting": pl.Int64,
    "replicas_target": pl.Int64,
}
MODEL_LINES_SCHEMA: dict[str, Any] = {
    "workload": pl.String,
    "at": pl.Datetime("us"),
    "requests_per_second": pl.Float64,
}
INSTANCES_SCHEMA: dict[str, Any] = {
    "instance": pl.String,
    "engine": pl.String,
    "engine_version": pl.String,
    "model": pl.String,
    "state": pl.String,
    "requests_running": pl.Float64,
    "requests_waiting": pl.Float64,
    "kv_cache_usage_ratio": pl.Float64,
    "ttft_p95_seconds_low": pl.Float64,
    "ttft_p95_seconds_high": pl.Float64,
    "tpot_p95_seconds_low": pl.Float64,
    "tpot_p95_seconds_high": pl.Float64,
    "output_tokens_per_second": pl.Float64,
    "outlier_score": pl.Float64,
    "last_seen_at": pl.Datetime("us"),
    "why": pl.String,
}
MEASURE_UNITS = {
    "requests_per_second": "requests/s",
    "input_tokens_per_second": "tokens/s",
    "output_tokens_per_second": "tokens/s",
    "error_ratio": "ratio",
    "failed_ratio": "ratio",
    "refused_ratio": "ratio",
    "aborted_ratio": "ratio",
    "ttft_p95_seconds": "s",
    "tpot_p95_seconds": "s",
    "requests_waiting": "requests",
    "requests_running": "requests",
    "instances_ready": "instances",
}


@dataclass(frozen=True, slots=True)
class FleetPart:
    """Numbers and tables of the fleet page, as far as one kind of record knows them.

    Attributes:
        measures: keys of `MEASURE_UNITS`; a missing key means that this record cannot know it.
        sparklines: columns of `SPARKLINES_SCHEMA`, on the axis of the page.
        instances: columns of `INSTANCES_SCHEMA`.
        sql: query texts by frame.
    """

    measures: Mapping[str, Measure] = field(default_factory=dict)
    sparklines: pl.DataFrame = field(default_factory=lambda: empty(SPARKLINES_SCHEMA))
    instances: pl.DataFrame = field(default_factory=lambda: empty(INSTANCES_SCHEMA))
    sql: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Workloads:
    """Models (or routes, or sources) of a fleet, as far as one kind of record knows them.

    Attributes:
        models: columns of `MODELS_SCHEMA`.
        lines: columns of `MODEL_LINES_SCHEMA`.
    """

    models: pl.DataFrame = field(default_factory=lambda: empty(MODELS_SCHEMA))
    lines: pl.DataFrame = field(default_factory=lambda: empty(MODEL_LINES_SCHEMA))


def sparkline_width_seconds(scope: Scope) -> int:
    """About a hundred bins; from ten minutes on, whole buckets of the roll-up."""
    width = scope.bin_seconds(SPARKLINE_BINS)
    if width >= BUCKET_SECONDS:
        width = -(-width // BUCKET_SECONDS) * BUCKET_SECONDS
    return max(width, SHORTEST_LIVE_BIN_SECONDS) if LIVE_SOURCE_ID in scope.source_ids else width


def empty(schema: Mapping[str, Any]) -> pl.DataFrame:
    """A frame without rows."""
    return pl.DataFrame(schema=dict(schema))


def conform(frame: pl.DataFrame, schema: Mapping[str, Any]) -> pl.DataFrame:
    """Exactly the columns of a schema; what is missing is null."""
    if not frame.columns:
        return empty(schema)
    return frame.select(
        (pl.col(name) if name in frame.columns else pl.lit(None)).cast(kind).alias(name)
        for name, kind in schema.items()
    )


def join(rows: FleetPart, live: FleetPart) -> FleetPart:
    """Both parts as one: request rows where they know, scrapes where they do not."""
    measures = {}
    for name, unit in MEASURE_UNITS.items():
        options = [part.measures[name] for part in (rows, live) if name in part.measures]
        known = [option for option in options if option.value is not None or _bounded(option)]
        unknown = options or [Measure(None, unit, why="no engine is scraped here")]
        measures[name] = known[0] if known else unknown[-1]
    return FleetPart(
        measures,
        _coalesce(rows.sparklines, live.sparklines, "at", SPARKLINES_SCHEMA).sort("at"),
        join_instances(live.instances, rows.instances),
        {**live.sql, **rows.sql},
    )


def join_instances(live: pl.DataFrame, recorded: pl.DataFrame) -> pl.DataFrame:
    """Scraped instances, and those that request rows name; what scrapes tell of one goes first."""
    return _coalesce(live, recorded, "instance", INSTANCES_SCHEMA).sort("instance")


def join_workloads(rows: Workloads, live: Workloads) -> Workloads:
    """Both as one, the worst first: request rows where they know, scrapes where they do not."""
    models = _coalesce(rows.models, live.models, "workload", MODELS_SCHEMA).sort(
        "attainment_ratio",
        "requests",
        "workload",
        descending=[False, True, False],
        nulls_last=True,
    )
    # The course of a workload is told by one of both: two counts of it make no line.
    others = live.lines.join(rows.lines, on="workload", how="anti")
    return Workloads(models, pl.concat([rows.lines, others]))


def _bounded(measure: Measure) -> bool:
    return measure.low is not None or measure.high is not None


def _coalesce(
    first: pl.DataFrame, second: pl.DataFrame, key: str, schema: Mapping[str, Any]
) -> pl.DataFrame:
    if second.is_empty() or first.is_empty():
        return conform(first if second.is_empty() else second, schema)
    joined = first.join(second, on=key, how="full", coalesce=True, suffix="_other")
    return joined.select(
        pl.col(key),
        *(pl.coalesce(name, f"{name}_other").alias(name) for name in schema if name != key),
    ).select(*schema)
