"""The fleet as request rows tell it."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import timedelta

import polars as pl

from analysis import fleet_rows_course as course
from analysis import latency
from analysis.coverage import ONE_MOMENT, covered_seconds, covered_span
from analysis.fleet_part import INSTANCES_SCHEMA, FleetPart, conform
from analysis.fleet_rows_course import LATENCIES, P95, SHARES
from analysis.instances import outlier_scores
from analysis.intervals import wilson
from analysis.measure import Measure
from store.queries import fleet as fleet_queries
from store.queries import slo as slo_queries
from store.queries.scope import Scope
from store.reader import Reader

INSTANCES_SECONDS = 86_400


def from_rows(reader: Reader, scope: Scope, width_seconds: int) -> FleetPart | None:
    """What the request rows of a scope say; None when there are none.

    Args:
        reader: the store.
        scope: what is asked about.
        width_seconds: bin width of the sparklines; bins count from 1970-01-01.
    """
    # One pass gives the picture over time and the totals.
    found = course.counts(reader, scope, width_seconds)
    if found.is_empty():
        return None
    span = covered_span(reader, scope)
    blind = slo_queries.without_failures(reader, scope.source_ids)
    lines = course.sparklines(found, course.covered(scope, width_seconds, span))
    return FleetPart(
        _measures(found, covered_seconds(span), blind),
        lines.with_columns(pl.lit(None, pl.Float64).alias(n) for n in SHARES) if blind else lines,
        instances(reader, scope),
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


def instances(reader: Reader, scope: Scope) -> pl.DataFrame:
    """Columns of `INSTANCES_SCHEMA`: those that requests of the last day of a scope name."""
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
