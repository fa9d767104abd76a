"""The table of tenants: what each asked for, got, waited for, and how that compares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from analysis.fairness_courses import Courses, Floats
from analysis.intervals import wilson
from analysis.latency import several_quantiles
from analysis.slo_counting import applicable, good_rule
from analysis.slo_model import Slo
from store.errors import InputError
from store.queries import slo_rolled
from store.queries.scope import Scope
from store.reader import Reader

MOST_ROWS = 500
FEWEST_EVENTS = 30
ATTAINMENT_SCHEMA: dict[str, Any] = {
    "tenant": pl.String,
    "judged": pl.Int64,
    "attainment_ratio": pl.Float64,
    "attainment_low": pl.Float64,
    "attainment_high": pl.Float64,
}
TENANTS_SCHEMA: dict[str, Any] = {
    "tenant": pl.String,
    "requests": pl.Int64,
    "refused": pl.Int64,
    "failed": pl.Int64,
    "demand_tokens": pl.Float64,
    "service_tokens": pl.Float64,
    "service_share_ratio": pl.Float64,
    "weight": pl.Float64,
    "of_fair_share": pl.Float64,
    "waiting_ratio": pl.Float64,
    "waited_mean_seconds": pl.Float64,
    "ttft_p50_seconds": pl.Float64,
    "ttft_p95_seconds": pl.Float64,
    "attainment_ratio": pl.Float64,
    "attainment_low": pl.Float64,
    "attainment_high": pl.Float64,
    "judged": pl.Int64,
}


def ranked(totals: pl.DataFrame) -> pl.DataFrame:
    """One row a tenant (null last: requests of no tenant), the largest demand first.

    Args:
        totals: as `store.queries.fairness.tenants` gives.

    Returns:
        tenant, requests, refused, failed, sized, demand_tokens, waits, waited_mean_seconds, timed,
        told_weight (mean; null where no gateway told).
    """
    of = {name: pl.col("requests").filter(pl.col("status") == name) for name in ("refused", "ok")}
    refused, good = of["refused"].sum(), of["ok"].sum()
    return (
        totals.lazy()
        .group_by("tenant")
        .agg(
            pl.col("requests").sum(),
            refused.alias("refused"),
            (pl.col("requests").sum() - refused - good).alias("failed"),
            pl.col("sized").sum(),
            pl.when(pl.col("sized").sum() > 0).then(pl.col("cost").sum()).alias("demand_tokens"),
            pl.col("waits").sum(),
            pl.when(pl.col("waits").sum() > 0)
            .then(pl.col("waited_seconds").sum() / pl.col("waits").sum())
            .alias("waited_mean_seconds"),
            pl.col("timed").sum(),
            pl.when(pl.col("weighted").sum() > 0)
            .then(pl.col("weight_sum").sum() / pl.col("weighted").sum())
            .alias("told_weight"),
        )
        .sort(
            pl.col("tenant").is_null(), pl.col("demand_tokens"), "requests", "tenant",
            descending=[False, True, True, False], nulls_last=True,
        )
        .collect()
    )  # fmt: skip


def timed(tenants: pl.DataFrame, totals: pl.DataFrame) -> pl.DataFrame:
    """The same rows with ttft_p50_seconds and ttft_p95_seconds of successful requests.

    Args:
        tenants: as `ranked` gives.
        totals: what they were made of.
    """
    has_token = (pl.col("status") == "ok") & (pl.col("first_tokens") > 0)
    counts = totals.filter(has_token).select("tenant", "log_bin", requests="first_tokens")
    found = several_quantiles(counts, {"ttft_p50": 0.5, "ttft_p95": 0.95}, "tenant")
    return tenants.join(
        found.drop("requests"), on="tenant", how="left", nulls_equal=True, maintain_order="left"
    )


def chosen_slo(
    reader: Reader,
    scope: Scope,
    slos: Sequence[Slo],
    name: str,
    ids: Mapping[str, int] | None = None,
) -> Slo | None:
    """The objective that tenants are judged by: the named one, else the first with a latency.

    Args:
        reader: the store.
        scope: sources.
        slos: the definitions.
        name: of the objective, or nothing.
        ids: source name -> source id, where the caller knows them.

    Raises:
        InputError: none of this name is about these sources.
    """
    fitting = applicable(reader, slos, scope, ids)
    if not name:
        return next((slo for slo in fitting if slo.limits_seconds), next(iter(fitting), None))
    named = next((slo for slo in fitting if slo.name == name), None)
    if named is None:
        known = ", ".join(slo.name for slo in fitting) or "none"
        raise InputError(f"no SLO '{name[:60]}' is about these sources", hint=f"there are: {known}")
    return named


def attainment(
    reader: Reader, scope: Scope, slo: Slo | None, ids: Mapping[str, int]
) -> pl.DataFrame:
    """Attainment of each tenant with its Wilson interval, columns of `ATTAINMENT_SCHEMA`.

    Args:
        reader: the store.
        scope: what is asked about.
        slo: the objective; None judges nobody.
        ids: source name -> source id.
    """
    if slo is None:
        return pl.DataFrame(schema=ATTAINMENT_SCHEMA)
    rule = good_rule(slo, ids)
    spent = slo_rolled.spent(reader, scope, [rule], scope.start, scope.end, ("tenant",))
    rows = []
    for tenant, good, bad in spent.select("value", "good", "bad").rows():
        interval = wilson(good, good + bad)
        if interval is not None:
            rows.append((tenant, good + bad, good / (good + bad), *interval))
    return pl.DataFrame(rows, schema=ATTAINMENT_SCHEMA, orient="row")


def table(
    tenants: pl.DataFrame,
    courses: Courses | None,
    weights: Floats,
    ratios: Floats | None,
    judged: pl.DataFrame,
) -> pl.DataFrame:
    """The rows of `TENANTS_SCHEMA`, largest demand first; what is not known is null.

    Args:
        tenants: as `timed` gives.
        courses: of those told apart; None where nothing can be placed in time.
        weights: of those.
        ratios: service over fair share of those; NaN is unknown. None where waits are not known.
        judged: as `attainment` gives.
    """
    found = tenants.lazy().filter(pl.col("tenant").is_not_null()).head(MOST_ROWS)
    for more in (_of_courses(courses, weights, ratios), judged):
        found = found.join(more.lazy(), on="tenant", how="left", maintain_order="left")
    return found.select(pl.col(name).cast(kind) for name, kind in TENANTS_SCHEMA.items()).collect()


def _of_courses(courses: Courses | None, weights: Floats, ratios: Floats | None) -> pl.DataFrame:
    schema = {
        "tenant": pl.String, "service_tokens": pl.Float64, "service_share_ratio": pl.Float64,
        "weight": pl.Float64, "of_fair_share": pl.Float64, "waiting_ratio": pl.Float64,
    }  # fmt: skip
    if courses is None:
        return pl.DataFrame(schema=schema)
    service = courses.service[:, -1]
    total = float(service.sum() + courses.others[-1])
    known = ratios is not None
    waits = courses.backlogged[:, 1:].mean(axis=1)
    return pl.DataFrame(
        {
            "tenant": list(courses.tenants),
            "service_tokens": service,
            "service_share_ratio": service / total if total else [None] * len(service),
            "weight": weights,
            "of_fair_share": ratios if known else [None] * len(service),
            "waiting_ratio": waits if known else [None] * len(service),
        },
        schema=schema,
        nan_to_null=True,
    )
