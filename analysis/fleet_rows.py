"""The fleet as request rows tell it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import polars as pl

from analysis import latency, series
from analysis.fleet_part import (
    INSTANCES_SCHEMA,
    MODELS_SCHEMA,
    SPARKLINES_SCHEMA,
    FleetPart,
    conform,
)
from analysis.instances import outlier_scores
from analysis.intervals import wilson
from analysis.measure import Measure
from analysis.slo import good_rule
from analysis.slo_model import Slo
from store.queries import fleet as fleet_queries
from store.queries import slo as slo_queries
from store.queries.scope import Scope
from store.queries.slo import GoodRule
from store.reader import Reader

P95 = 0.95
# Attainment is counted per pair of SLO and workload; past this many the rarest workloads go
# without.
MOST_PAIRS = 60
_LATENCIES: tuple[tuple[str, fleet_queries.LatencyColumn, str], ...] = (
    ("ttft", "ttft_seconds", "with_ttft"),
    ("tpot", "tpot_seconds", "with_tpot"),
)


def from_rows(
    reader: Reader, scope: Scope, slos: Sequence[Slo], width_seconds: int
) -> FleetPart | None:
    """What the request rows of a scope say; None when there are none.

    Args:
        reader: the store.
        scope: what is asked about.
        slos: those that are about these sources.
        width_seconds: bin width of the sparklines.
    """
    bins, sql = fleet_queries.time_bins(reader, scope, width_seconds)
    if bins.is_empty():
        return None
    span = covered_span(reader, scope)
    seconds = max((span[1] - span[0]).total_seconds(), 1e-6) if span else scope.seconds
    measures = _rates(bins, seconds)
    tables: dict[str, pl.DataFrame] = {}
    times: dict[str, pl.DataFrame] = {}
    for name, column, present in _LATENCIES:
        counts = pl.DataFrame()
        if bins[present].sum():
            counts, _ = fleet_queries.latency_bins(reader, scope, column, width_seconds)
        measures[f"{name}_p95_seconds"] = _p95(counts, name)
        if not counts.is_empty():
            times[name] = latency.quantiles(counts, P95, "bin")
            tables[name] = latency.quantiles(counts, P95, "workload")
    found, models_sql = fleet_queries.workloads(reader, scope)
    models = _models(found, tables, seconds).join(
        _attainment(reader, scope, slos, found), on="workload", how="left"
    )
    return FleetPart(
        measures,
        _sparklines(bins, times, scope, width_seconds, span),
        conform(models, MODELS_SCHEMA),
        _instances(reader, scope),
        {"sparklines": sql, "models": models_sql},
    )


def covered_span(reader: Reader, scope: Scope) -> tuple[datetime, datetime] | None:
    """The part of the scope in which its sources were recording; None when there is no overlap.

    A trace covers the time between its first and last request; the live fleet that from its first
    request on.
    """
    spans = fleet_queries.spans(reader, scope)
    if spans.is_empty():
        return None
    first = spans.select(pl.col("first_at").min()).item().replace(tzinfo=UTC)
    last = spans.select(pl.col("last_at").max()).item().replace(tzinfo=UTC)
    start = max(scope.start, first)
    end = scope.end if scope.is_live else min(scope.end, last + timedelta(microseconds=1))
    return (start, end) if start < end else None


def _rates(bins: pl.DataFrame, seconds: float) -> dict[str, Measure]:
    requests, not_ok = int(bins["requests"].sum()), int(bins["not_ok"].sum())
    interval = wilson(not_ok, requests)
    measures = {
        "requests_per_second": Measure(requests / seconds, "requests/s", n=requests),
        "error_ratio": Measure(
            not_ok / requests if requests else None,
            "ratio",
            interval[0] if interval else None,
            interval[1] if interval else None,
            requests,
        ),
    }
    for side in ("input", "output"):
        known = bins[f"{side}_tokens"].drop_nulls()
        measures[f"{side}_tokens_per_second"] = Measure(
            float(known.sum()) / seconds if len(known) else None,
            "tokens/s",
            n=requests,
            why=None if len(known) else f"these requests carry no {side} length",
        )
    return measures


def _p95(counts: pl.DataFrame, name: str) -> Measure:
    found = latency.quantile(counts, P95) if not counts.is_empty() else None
    if found is None:
        return Measure(None, "s", why=f"these requests carry no {name.upper()}")
    return Measure(found[0], "s", found[0], found[0], found[1])


def _sparklines(
    bins: pl.DataFrame,
    times: dict[str, pl.DataFrame],
    scope: Scope,
    width_seconds: int,
    span: tuple[datetime, datetime] | None,
) -> pl.DataFrame:
    number = max(1, -int(-scope.seconds // width_seconds))
    axis = series.bin_starts(scope.end, width_seconds, number)
    framed = bins.select(
        "bin",
        requests_per_second=pl.col("requests") / width_seconds,
        input_tokens_per_second=pl.col("input_tokens") / width_seconds,
        output_tokens_per_second=pl.col("output_tokens") / width_seconds,
        error_ratio=pl.col("not_ok") / pl.col("requests"),
    )
    for name, found in times.items():
        column = f"{name}_p95_seconds"
        quantile = found.select("bin", pl.col("seconds").alias(column))
        framed = framed.join(quantile, on="bin", how="left").with_columns(
            pl.col(column).alias(f"{column}_low"), pl.col(column).alias(f"{column}_high")
        )
    whole = series.on_bins(framed, axis)
    if span is None:
        return conform(whole, SPARKLINES_SCHEMA)
    width = timedelta(seconds=width_seconds)
    recorded = (pl.col("at") + width > span[0].replace(tzinfo=None)) & (
        pl.col("at") < span[1].replace(tzinfo=None)
    )
    rates = ("requests_per_second", "input_tokens_per_second", "output_tokens_per_second")
    # While a source records, a bin without requests is a true zero; outside it nothing is known.
    filled = whole.with_columns(
        pl.when(recorded).then(pl.col(name).fill_null(0.0)).otherwise(pl.col(name)).alias(name)
        for name in rates
    )
    return conform(filled, SPARKLINES_SCHEMA)


def _models(found: pl.DataFrame, tables: dict[str, pl.DataFrame], seconds: float) -> pl.DataFrame:
    models = (
        found.group_by("workload", maintain_order=True)
        .agg(
            pl.col("requests").sum(),
            pl.col("input_tokens_mean").first(),
            pl.col("output_tokens_mean").first(),
        )
        .with_columns(requests_per_second=pl.col("requests") / seconds)
    )
    for name, table in tables.items():
        models = models.join(
            table.select(
                "workload",
                pl.col("seconds").alias(f"{name}_p95_seconds_low"),
                pl.col("seconds").alias(f"{name}_p95_seconds_high"),
            ),
            on="workload",
            how="left",
        )
    return models


def _attainment(
    reader: Reader, scope: Scope, slos: Sequence[Slo], found: pl.DataFrame
) -> pl.DataFrame:
    """The lowest attainment of any SLO over the visible range, by workload."""
    ids = slo_queries.source_ids(reader)
    pairs = [(slo, row) for row in found.to_dicts() for slo in slos][:MOST_PAIRS]
    rules, names = [], []
    for slo, row in pairs:
        rule = _narrowed(good_rule(slo, ids), row["label"], row["workload"], ids)
        if rule is not None:
            rules.append(rule)
            names.append(row["workload"])
    width = max(1, int(scope.seconds) + 1)
    counted = slo_queries.counts(reader, scope, rules, scope.start, scope.end, width)
    workloads = pl.DataFrame(
        {"rule": range(len(names)), "workload": names},
        schema={"rule": pl.Int64, "workload": pl.String},
    )
    return (
        counted.join(workloads, on="rule")
        .filter((pl.col("measured") > 0) | (pl.col("undetermined") == 0))
        .with_columns(ratio=pl.col("good") / (pl.col("good") + pl.col("bad")))
        .group_by("workload")
        .agg(pl.col("ratio").min().alias("attainment_ratio"))
    )


def _narrowed(rule: GoodRule, label: str, workload: str, ids: dict[str, int]) -> GoodRule | None:
    """The rule for one workload only; None when the SLO is not about it."""
    if label == "source":
        number = ids.get(workload, 0)
        if rule.source_ids and number not in rule.source_ids:
            return None
        return GoodRule(rule.limits_seconds, rule.labels, (number,), rule.count_aborted)
    accepted = rule.labels.get(label)
    if accepted and workload not in accepted:
        return None
    labels = {**rule.labels, label: (workload,)}
    return GoodRule(rule.limits_seconds, labels, rule.source_ids, rule.count_aborted)


def _instances(reader: Reader, scope: Scope) -> pl.DataFrame:
    found = fleet_queries.request_instances(reader, scope)
    if found.is_empty():
        return conform(pl.DataFrame(), INSTANCES_SCHEMA)
    parts = []
    for (_,), peers in found.group_by("model", maintain_order=True):
        scores = zip(
            outlier_scores(peers["tpot_mean_seconds"].to_list()),
            outlier_scores(peers["queue_mean_seconds"].to_list()),
            strict=True,
        )
        worst = [max((s for s in pair if s is not None), default=None) for pair in scores]
        parts.append(peers.with_columns(outlier_score=pl.Series(worst, dtype=pl.Float64)))
    return conform(
        pl.concat(parts)
        .sort("last_at", descending=True)
        .unique("instance", keep="first", maintain_order=True)
        .with_columns(
            state=pl.lit("recorded"),
            last_seen_at=pl.col("last_at"),
            why=pl.lit("known from request rows only"),
        ),
        INSTANCES_SCHEMA,
    )
