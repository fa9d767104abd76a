"""The fleet as the scraped metrics of live targets tell it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

import polars as pl

from analysis import series
from analysis.doors import counted_targets
from analysis.fleet_part import (
    INSTANCES_SCHEMA,
    MODELS_SCHEMA,
    SPARKLINES_SCHEMA,
    FleetPart,
    conform,
)
from analysis.fleet_reach import joined, left_out
from analysis.histograms import Observed, merge, quantile_interval
from analysis.instances import in_scope, instance_name, outlier_scores, state
from analysis.intervals import wilson
from analysis.measure import Measure
from analysis.scraped import observations
from analysis.slo_buckets import FAILED_REASONS
from store.queries import counters, telemetry
from store.queries.scope import LIVE_SOURCE_ID, Scope
from store.queries.scraped_range import STRETCH_SECONDS
from store.reader import Reader
from store.roles import is_instance

P95 = 0.95
STRETCH_LEAST_SECONDS = 600
GAUGES = ("requests_running", "requests_waiting", "kv_cache_usage_ratio")
COUNTERS = (
    "prompt_tokens_total",
    "generation_tokens_total",
    "requests_finished_total",
    "requests_refused_total",
)
HISTOGRAMS = ("ttft_seconds", "tpot_seconds", "queue_seconds")
_RATES = {
    "requests_per_second": "requests_finished_total",
    "input_tokens_per_second": "prompt_tokens_total",
    "output_tokens_per_second": "generation_tokens_total",
}
_ABSENT = {
    "requests_finished_total": "a count of finished requests",
    "prompt_tokens_total": "a count of input tokens",
    "generation_tokens_total": "a count of output tokens",
    "ttft_seconds": "a TTFT histogram",
    "tpot_seconds": "a TPOT histogram",
}


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


def from_scrapes(reader: Reader, scope: Scope, width_seconds: int) -> FleetPart | None:
    """What the scrapes of a scope say; None when it is not about live targets or there are none.

    Args:
        reader: the store.
        scope: what is asked about.
        width_seconds: bin width of the sparklines; at least a scrape interval.
    """
    if LIVE_SOURCE_ID not in scope.source_ids:
        return None
    targets = _targets(reader, scope)
    if targets.is_empty():
        return None
    scraped = _read(reader, scope, targets, width_seconds)
    instances = _instances(scraped, scope)
    return FleetPart(
        _measures(scraped, instances),
        _sparklines(scraped, scope, width_seconds),
        _models(scraped, instances),
        instances,
        {"instances": telemetry.TARGETS.strip()},
    )


def _targets(reader: Reader, scope: Scope) -> pl.DataFrame:
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


def _read(reader: Reader, scope: Scope, targets: pl.DataFrame, width_seconds: int) -> Scraped:
    ids = targets["target_id"].to_list()
    span = (scope.start, scope.end, width_seconds, _anchor(scope, width_seconds))
    interval = targets["interval_seconds"].max()
    longest = series.LONGEST_GAP_INTERVALS * max(width_seconds, _number(interval) or 0.0)
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


def _anchor(scope: Scope, width_seconds: int) -> datetime:
    """Where the newest bin ends, so that bins count from 1970-01-01 as those of request rows do."""
    axis = series.round_bins(scope.start, scope.end, width_seconds)
    last: datetime = axis["at"][-1]
    return last + timedelta(seconds=width_seconds)


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _instances(scraped: Scraped, scope: Scope) -> pl.DataFrame:
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
    scores = _outliers(scraped)
    told = pl.DataFrame([_told(scraped, number) for number in joined["target_id"]], schema=_TOLD)
    return conform(
        pl.concat([joined, told], how="horizontal").with_columns(
            outlier_score=pl.Series(
                [scores.get(number) for number in joined["target_id"]], dtype=pl.Float64
            ),
            last_seen_at=pl.col("last_success_at"),
            # What an unreachable instance last said is not what it says now.
            **{
                name: pl.when(pl.col("state") == "ready").then(
                    pl.col(name) if name in joined.columns else pl.lit(None, pl.Float64)
                )
                for name in GAUGES
            },
        ),
        INSTANCES_SCHEMA,
    )


_TOLD = {name: kind for name, kind in INSTANCES_SCHEMA.items() if "_p95_" in name} | {
    "output_tokens_per_second": pl.Float64
}


def _told(scraped: Scraped, target_id: int) -> dict[str, float | None]:
    """Latencies and tokens of one instance over the range."""
    row: dict[str, float | None] = {}
    for name in ("ttft", "tpot"):
        mine = [item for item in scraped.histograms
                if item.signal == f"{name}_seconds" and item.target_id == target_id]  # fmt: skip
        low, high, _ = _interval(mine)
        row |= {f"{name}_p95_seconds_low": low, f"{name}_p95_seconds_high": high}
    counted = scraped.counters.filter(
        (pl.col("signal") == "generation_tokens_total") & (pl.col("target_id") == target_id)
    )
    rate = series.rates(counted)
    row["output_tokens_per_second"] = None if rate.is_empty() else rate["rate_per_second"][0]
    return row


def _outliers(scraped: Scraped) -> dict[int, float | None]:
    """The worse of two scores per target, among targets of the same model: mean TPOT and queue."""
    scores: dict[int, float | None] = {}
    for (_,), peers in scraped.targets.group_by("model", maintain_order=True):
        ids = peers["target_id"].to_list()
        for signal in ("tpot_seconds", "queue_seconds"):
            means = [_mean(scraped.histograms, signal, number) for number in ids]
            for number, score in zip(ids, outlier_scores(means), strict=True):
                known = [s for s in (scores.get(number), score) if s is not None]
                scores[number] = max(known) if known else None
    return scores


def _mean(items: Sequence[Observed], signal: str, target_id: int) -> float | None:
    chosen = [
        item.histogram
        for item in items
        if item.signal == signal
        and item.target_id == target_id
        and item.histogram.total is not None
    ]
    count = sum(histogram.count for histogram in chosen)
    return sum(histogram.total or 0.0 for histogram in chosen) / count if count > 0 else None


def _measures(scraped: Scraped, instances: pl.DataFrame) -> dict[str, Measure]:
    measures = {name: _rate(scraped, signal, name) for name, signal in _RATES.items()}
    measures["error_ratio"] = _error_ratio(scraped)
    for signal in ("ttft_seconds", "tpot_seconds"):
        name = signal.replace("_seconds", "_p95_seconds")
        measures[name] = _p95(scraped, signal)
    ready = int((instances["state"] == "ready").sum())
    for name in ("requests_waiting", "requests_running"):
        known = instances[name].drop_nulls()
        missing = instances.height - len(known)
        measures[name] = Measure(
            float(known.sum()) if len(known) else None,
            "requests",
            n=len(known),
            why=f"{missing} of {instances.height} instances unknown" if missing else None,
        )
    away = instances.height - ready
    measures["instances_ready"] = Measure(
        float(ready), "instances", n=instances.height, why=f"{away} not ready" if away else None
    )
    return measures


def _why_absent(scraped: Scraped, signal: str) -> str:
    engines = sorted({name for name in scraped.targets["engine"].to_list() if name})
    who = " and ".join(engines) if engines else "the engine"
    return f"{who} showed no {_ABSENT[signal].removeprefix('a ')} in this range"


def _rate(scraped: Scraped, signal: str, name: str) -> Measure:
    unit = "requests/s" if name == "requests_per_second" else "tokens/s"
    stepped = scraped.counters.filter(pl.col("signal") == signal)
    found = series.rates(stepped)
    if found.is_empty():
        why = "needs two scrapes" if stepped.height else _why_absent(scraped, signal)
        return Measure(None, unit, why=why)
    n = int(found["increase"][0]) if name == "requests_per_second" else None
    return Measure(
        float(found["rate_per_second"][0]), unit, n=n, why=_counters_left_out(scraped, signal)
    )


def _counters_left_out(scraped: Scraped, signal: str) -> str | None:
    """Which ready instances a number made of this counter does not speak for."""
    shown = scraped.counters.filter(pl.col("signal") == signal)
    counted = shown.filter(pl.col("increase").is_not_null())
    return left_out(scraped.targets, signal, set(counted["target_id"]), set(shown["target_id"]))


def _error_ratio(scraped: Scraped) -> Measure:
    counted = _ended(scraped)
    if counted.is_empty():
        return Measure(None, "ratio", why=_why_absent(scraped, "requests_finished_total"))
    total = float(counted["increase"].sum())
    bad = float(counted.filter(_is_bad())["increase"].sum())
    interval = wilson(min(bad, total), total)
    if interval is None:
        return Measure(None, "ratio", n=0, why="no request finished in this range")
    why = _counters_left_out(scraped, "requests_finished_total")
    return Measure(bad / total, "ratio", *interval, round(total), why)


def _ended(scraped: Scraped) -> pl.DataFrame:
    """Known steps of the counters of requests that came to an end, served or not."""
    return scraped.counters.filter(
        pl.col("signal").is_in(["requests_finished_total", "requests_refused_total"])
        & pl.col("increase").is_not_null()
    )


def _is_bad() -> pl.Expr:
    return (pl.col("signal") == "requests_refused_total") | pl.col("reason").is_in(
        list(FAILED_REASONS)
    ).fill_null(value=False)


def _p95(scraped: Scraped, signal: str) -> Measure:
    items = [item for item in scraped.histograms if item.signal == signal]
    if not items:
        return Measure(None, "s", why=_why_absent(scraped, signal))
    low, high, count = _interval(items)
    if count == 0:
        return Measure(None, "s", n=0, why="no request finished in this range")
    told = {item.target_id for item in items}
    without = left_out(scraped.targets, signal, told, told)
    why = joined("from the engine's buckets: only bounds", without)
    return Measure(None, "s", low, high, round(count), why)


def _interval(items: Iterable[Observed]) -> tuple[float | None, float | None, float]:
    """The bucket that holds the 95 % quantile, and how many observations are behind it."""
    whole = merge([item.histogram for item in items if item.histogram.count > 0])
    found = quantile_interval(whole, P95) if whole is not None else None
    if whole is None or found is None:
        return None, None, 0.0
    return *found, whole.count


def _sparklines(scraped: Scraped, scope: Scope, width_seconds: int) -> pl.DataFrame:
    anchor = _anchor(scope, width_seconds)
    axis = series.round_bins(scope.start, scope.end, width_seconds)
    framed = pl.DataFrame({"bin": range(axis.height)}, schema={"bin": pl.Int64})
    parts = [_gauge_line(scraped, name) for name in GAUGES]
    parts += [
        series.rates(scraped.counters.filter(pl.col("signal") == signal), "bin").select(
            pl.col("bin").cast(pl.Int64), pl.col("rate_per_second").alias(name)
        )
        for name, signal in _RATES.items()
    ]
    parts.append(_error_line(scraped))
    parts += [_quantile_line(scraped, signal) for signal in ("ttft_seconds", "tpot_seconds")]
    for part in parts:
        framed = framed.join(part, on="bin", how="left")
    starts = series.bin_starts(anchor, width_seconds, axis.height)
    return conform(series.on_bins(framed, starts), SPARKLINES_SCHEMA)


def _gauge_line(scraped: Scraped, signal: str) -> pl.DataFrame:
    """Summed over instances; the KV cache, which a sum would make meaningless, as the fullest."""
    whole = "highest" if signal == "kv_cache_usage_ratio" else "total"
    return scraped.lines.filter(pl.col("signal") == signal).select(
        pl.col("bin").cast(pl.Int64), pl.col(whole).alias(signal)
    )


def _error_line(scraped: Scraped) -> pl.DataFrame:
    return (
        _ended(scraped)
        .group_by(pl.col("bin").cast(pl.Int64))
        .agg(bad=pl.col("increase").filter(_is_bad()).sum(), total=pl.col("increase").sum())
        .filter(pl.col("total") > 0)
        .select("bin", error_ratio=pl.col("bad") / pl.col("total"))
    )


def _quantile_line(scraped: Scraped, signal: str) -> pl.DataFrame:
    """Bounds of the p95 by time; the plain column stays null, since no point is known."""
    return _intervals(scraped, signal, "bin", {"bin": pl.Int64})


def _models(scraped: Scraped, instances: pl.DataFrame) -> pl.DataFrame:
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
    models = gauges.join(finished, on="workload", how="full", coalesce=True, nulls_equal=True)
    for signal in ("ttft_seconds", "tpot_seconds"):
        models = models.join(
            _model_quantiles(scraped, signal), on="workload", how="left", nulls_equal=True
        )
    return conform(
        models.with_columns(pl.col("workload").fill_null("(model not told)")), MODELS_SCHEMA
    )


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
    rows = [(value, *_interval(items)[:2]) for value, items in groups.items()]
    name = signal.replace("_seconds", "_p95_seconds")
    bounds = dict.fromkeys((f"{name}_low", f"{name}_high"), pl.Float64)
    return pl.DataFrame(rows, schema={**column, **bounds}, orient="row")
