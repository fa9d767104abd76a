"""The models of a fleet (or routes, or sources), as request rows tell of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

import polars as pl

from analysis import fleet_rows_course as course
from analysis.coverage import covered_seconds, covered_span
from analysis.fleet_part import MODEL_LINES_SCHEMA, MODELS_SCHEMA, Workloads, conform
from analysis.fleet_rows_course import LATENCIES
from analysis.slo_counting import blind_to_failures, good_rule
from analysis.slo_model import Slo
from store.queries import slo as slo_queries
from store.queries import slo_rolled
from store.queries.scope import Scope
from store.queries.slo import GoodRule
from store.reader import Reader

MOST_LINES = 50
"""Workloads whose course is told; further ones have numbers only."""


def from_rows(
    reader: Reader,
    scope: Scope,
    slos: Sequence[Slo],
    width_seconds: int,
    ids: Mapping[str, int],
) -> Workloads | None:
    """What the request rows of a scope say of its workloads; None when there are none.

    Args:
        reader: the store.
        scope: what is asked about.
        slos: those that are about these sources.
        width_seconds: bin width of the courses; bins count from 1970-01-01.
        ids: source name -> source id.
    """
    label, found = _counts(reader, scope, width_seconds)
    if found.is_empty():
        return None
    span = covered_span(reader, scope)
    models = _models(found, covered_seconds(span)).join(
        _attainment(reader, scope, slos, label, ids), on="workload", how="left"
    )
    lines = _lines(found, course.covered(scope, width_seconds, span))
    return Workloads(conform(models, MODELS_SCHEMA), lines)


def _counts(reader: Reader, scope: Scope, width_seconds: int) -> tuple[str, pl.DataFrame]:
    """Counts over time by model; where none is named by route, where that is not either by source.

    Returns:
        "model", "route" or "source"; and the counts with a column workload.
    """
    labels: tuple[Literal["model"], Literal["route"]] = ("model", "route")
    for label in labels:
        found = course.counts(reader, scope, width_seconds, label)
        if found[label].null_count() < found.height or found.is_empty():
            unnamed = pl.col(label).fill_null(f"(no {label})")
            return label, found.with_columns(workload=unnamed)
    names = {number: name for name, number in slo_queries.source_ids(reader).items()}
    parts = [
        course.counts(reader, replace(scope, source_ids=(number,)), width_seconds).with_columns(
            workload=pl.lit(names.get(number, str(number)))
        )
        for number in scope.source_ids
    ]
    return "source", pl.concat(parts)


def _models(found: pl.DataFrame, seconds: float | None) -> pl.DataFrame:
    """Columns of `MODELS_SCHEMA`, as far as requests tell them; attainment is not among them."""
    requests, quantity = pl.col("requests"), pl.col("quantity")
    means = {
        f"{name}_mean": pl.col("value_sum").filter(quantity == name).sum()
        / requests.filter(quantity == name).sum()
        for name in course.SUMS
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
    """The lowest attainment of any SLO that is counted over the visible range, by workload."""
    rules = [
        rule
        for slo, rule in ((slo, good_rule(slo, ids)) for slo in slos)
        if not blind_to_failures(reader, slo, scope, rule)
    ]
    spent = (
        _by_source(reader, scope, rules, ids)
        if label == "source"
        else slo_rolled.spent(
            reader, scope, rules, scope.start, scope.end, [label], leaves_late=True
        )
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


def _lines(bins: pl.DataFrame, axis: pl.DataFrame) -> pl.DataFrame:
    """The rate of each workload over time; of the `MOST_LINES` with most requests."""
    arrivals = bins.lazy().filter(pl.col("quantity") == "arrival")
    counted = arrivals.group_by("workload", "at").agg(pl.col("requests").sum())
    largest = counted.group_by("workload").agg(pl.col("requests").sum())
    shown = largest.top_k(MOST_LINES, by="requests").select("workload")
    whole = shown.join(axis.lazy(), how="cross").join(counted, on=["workload", "at"], how="left")
    rate = pl.col("requests").fill_null(0) / pl.col("covered")
    found = whole.with_columns(requests_per_second=rate).sort("workload", "at")
    return found.select(list(MODEL_LINES_SCHEMA)).collect()
