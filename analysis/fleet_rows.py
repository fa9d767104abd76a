"""The fleet as request rows tell it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Literal

import polars as pl

from analysis import fleet_rows_course as course
from analysis import latency
from analysis.coverage import ONE_MOMENT, covered_seconds, covered_span
from analysis.fleet_part import INSTANCES_SCHEMA, MODELS_SCHEMA, FleetPart, conform
from analysis.fleet_rows_course import LATENCIES, P95, SHARES
from analysis.instances import outlier_scores
from analysis.intervals import wilson
from analysis.measure import Measure
from analysis.slo_counting import blind_to_failures, good_rule
from analysis.slo_model import Slo
from store.queries import fleet as fleet_queries
from store.queries import rollup, slo_rolled
from store.queries import slo as slo_queries
from store.queries.scope import Scope
from store.queries.slo import GoodRule
from store.reader import Reader

# From half a day on the roll-ups are cheaper than the rows.
ROLLED_FROM_SECONDS = 43_200
INSTANCES_SECONDS = 86_400
QUANTITIES = ("arrival", "ttft", "tpot")
SUMS = ("input_tokens", "output_tokens")


def from_rows(
    reader: Reader,
    scope: Scope,
    slos: Sequence[Slo],
    width_seconds: int,
    ids: Mapping[str, int],
) -> FleetPart | None:
    """What the request rows of a scope say; None when there are none.

    Args:
        reader: the store.
        scope: what is asked about.
        slos: those that are about these sources.
        width_seconds: bin width of the sparklines; bins count from 1970-01-01.
        ids: source name -> source id.
    """
    # One pass gives the picture over time, the totals and the workloads.
    label, found = _workloads(reader, scope, width_seconds)
    if found.is_empty():
        return None
    # A failed request has no latency: one that was turned away at once was not fast.
    found = found.filter(~pl.col("quantity").is_in(LATENCIES) | (pl.col("status") == "ok"))
    span = covered_span(reader, scope)
    seconds = covered_seconds(span)
    models = _models(found, seconds).join(
        _attainment(reader, scope, slos, label, ids), on="workload", how="left"
    )
    blind = slo_queries.without_failures(reader, scope.source_ids)
    axis = course.covered(scope, width_seconds, span)
    lines = course.sparklines(found, axis)
    return FleetPart(
        _measures(found, seconds, blind),
        lines.with_columns(pl.lit(None, pl.Float64).alias(n) for n in SHARES) if blind else lines,
        conform(models, MODELS_SCHEMA),
        _instances(reader, scope),
        model_lines=course.model_lines(found, axis),
    )


def _measures(bins: pl.DataFrame, seconds: float | None, blind: bool) -> dict[str, Measure]:
    totals = bins.group_by("quantity", "status").agg(pl.col("requests", "value_sum").sum())
    by_status = {
        status: count for quantity, status, count, _ in totals.iter_rows() if quantity == "arrival"
    }
    requests = sum(by_status.values())
    measures = {
        "requests_per_second": Measure(
            requests / seconds if seconds else None,
            "requests/s",
            n=requests,
            why=None if seconds else ONE_MOMENT,
        ),
    }
    for name, statuses in SHARES.items():
        count = sum(by_status.get(status, 0) for status in statuses)
        low, high = wilson(count, requests) or (None, None)
        measures[name] = (
            Measure(None, "ratio", why="this format records no failures")
            if blind
            else Measure(count / requests, "ratio", low, high, requests)
        )
    for side in ("input", "output"):
        known = [row[2:] for row in totals.iter_rows() if row[0] == f"{side}_tokens"]
        measures[f"{side}_tokens_per_second"] = Measure(
            math.fsum(total for _, total in known) / seconds if known and seconds else None,
            "tokens/s",
            n=sum(count for count, _ in known),
            why=_why_no_tokens(bool(known), seconds, side),
        )
    latencies = bins.filter(pl.col("quantity").is_in(LATENCIES))
    p95 = {name: row for name, *row in latency.quantiles(latencies, P95, "quantity").iter_rows()}
    for name in LATENCIES:
        told, n = p95.get(name, (None, None))
        measures[f"{name}_p95_seconds"] = (
            Measure(None, "s", why=f"these requests carry no {name.upper()}")
            if told is None
            else Measure(told, "s", told, told, n)
        )
    return measures


def _why_no_tokens(known: bool, seconds: float | None, side: str) -> str | None:
    if not known:
        return f"these requests carry no {side} length"
    return None if seconds else ONE_MOMENT


def _workloads(reader: Reader, scope: Scope, width_seconds: int) -> tuple[str, pl.DataFrame]:
    """Counts over time by model; where none is named by route, where that is not either by source.

    Returns:
        "model", "route" or "source"; and the counts with a column workload.
    """
    use: rollup.Use = "rollup" if scope.seconds >= ROLLED_FROM_SECONDS else "auto"
    labels: tuple[Literal["model"], Literal["route"]] = ("model", "route")
    for label in labels:
        found = rollup.counts(
            reader, scope, QUANTITIES, width_seconds, by=label, sums=SUMS, use=use
        )
        if found[label].null_count() < found.height or found.is_empty():
            unnamed = pl.col(label).fill_null(f"(no {label})")
            return label, found.with_columns(workload=unnamed)
    names = {number: name for name, number in slo_queries.source_ids(reader).items()}
    parts = [
        rollup.counts(
            reader, replace(scope, source_ids=(number,)), QUANTITIES, width_seconds, sums=SUMS
        ).with_columns(workload=pl.lit(names.get(number, str(number))))
        for number in scope.source_ids
    ]
    return "source", pl.concat(parts)


def _models(found: pl.DataFrame, seconds: float | None) -> pl.DataFrame:
    """Columns of `MODELS_SCHEMA`, as far as requests tell them; attainment is not among them."""
    requests, quantity = pl.col("requests"), pl.col("quantity")
    means = {
        f"{name}_mean": pl.col("value_sum").filter(quantity == name).sum()
        / requests.filter(quantity == name).sum()
        for name in SUMS
    }
    ends = {
        f"{name}_p95_seconds_{end}": pl.col(f"{name}_p95_seconds")
        for name in LATENCIES
        for end in ("low", "high")
    }
    return (
        found.lazy()
        .group_by("workload")
        .agg(requests.filter(quantity == "arrival").sum(), **means)
        .join(course.p95(found, "workload"), on="workload", how="left")
        .with_columns(
            # Nothing over nothing: no request of it tells its length.
            pl.col(*means).fill_nan(None),
            requests_per_second=requests / pl.lit(seconds, pl.Float64),
            **ends,
        )
        .collect()
    )


def _attainment(
    reader: Reader, scope: Scope, slos: Sequence[Slo], label: str, ids: Mapping[str, int]
) -> pl.DataFrame:
    """The lowest attainment of any SLO over the visible range, by workload."""
    rules = [
        rule
        for slo, rule in ((slo, good_rule(slo, ids)) for slo in slos)
        if not blind_to_failures(reader, slo, scope, rule)
    ]
    spent = (
        _by_source(reader, scope, rules, ids)
        if label == "source"
        else slo_rolled.spent(reader, scope, rules, scope.start, scope.end, [label])
    )
    attempted = pl.col("good") + pl.col("bad")
    return (
        spent.filter((attempted > 0) & ((pl.col("measured") > 0) | (pl.col("undetermined") == 0)))
        .group_by(pl.col("value").alias("workload"))
        .agg(attainment_ratio=(pl.col("good") / attempted).min())
    )


def _by_source(
    reader: Reader, scope: Scope, rules: Sequence[GoodRule], ids: Mapping[str, int]
) -> pl.DataFrame:
    """Good and bad requests of each rule by source; a column value names it."""
    width = int(scope.seconds) + 1
    parts = [
        slo_rolled.counts(
            reader, replace(scope, source_ids=(number,)), rules, scope.start, scope.end, width
        ).with_columns(value=pl.lit(name))
        for name, number in ids.items()
        if number in scope.source_ids
    ]
    return pl.concat(parts)


def _instances(reader: Reader, scope: Scope) -> pl.DataFrame:
    recent = scope.end - timedelta(seconds=INSTANCES_SECONDS)
    found = fleet_queries.request_instances(reader, replace(scope, start=max(scope.start, recent)))
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
