"""Replicas that are wanted beside those that serve, of the fleet and of each model."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import polars as pl

from analysis.fleet_part import NOT_TOLD
from analysis.measure import Measure
from store.queries import pools as queries
from store.queries.scope import Scope
from store.queries.slo import naive_utc
from store.reader import Reader

# A pool of which nothing was decided for as long is not looked after any more.
RECENT_SECONDS = 600.0
_UNCONTROLLED = "no pool of replicas is under the controller"
_OTHER_LABELS = "pools have no tenants, routes or single instances"
_POOLS: Mapping[str, Any] = {
    "pool": pl.String, "workload": pl.String, "target": pl.Int64, "starting": pl.Int64,
    "instances": pl.List(pl.String),
}  # fmt: skip


def replicas(reader: Reader, scope: Scope, instances: pl.DataFrame) -> dict[str, Measure]:
    """The measures replicas_starting and replicas_target (asked for) at the end of a range.

    Args:
        reader: the store.
        scope: what is asked about.
        instances: instance, model and state of each.
    """
    if not scope.is_live:
        return _unknown("a trace has no replicas")
    if not _has_pools(scope):
        return _unknown(_OTHER_LABELS)
    pools = _pools(reader, scope, _scraped(instances))
    if pools.is_empty():
        return _unknown(_UNCONTROLLED)
    return {
        f"replicas_{name}": _summed(pools[name], pools.height) for name in ("starting", "target")
    }


def of_models(reader: Reader, scope: Scope, instances: pl.DataFrame) -> pl.DataFrame:
    """Replicas of each model at the end of a range; arguments as of `replicas`.

    Returns:
        a row a model: workload, instances_ready, instances_known, replicas_starting,
        replicas_target; the latter two null where no pool has it, or instances outside of pools
        serve it, too.
    """
    scraped = _scraped(instances)
    known = _counted(scraped)
    if known.is_empty() or not scope.is_live or not _has_pools(scope):
        return _wanting_nothing(known)
    return _of_models(known, _pools(reader, scope, scraped), scraped)


def _has_pools(scope: Scope) -> bool:
    return not (scope.tenants or scope.routes or scope.instances)


def _scraped(instances: pl.DataFrame) -> pl.DataFrame:
    return instances.filter(pl.col("state") != "recorded")


def _wanting_nothing(known: pl.DataFrame) -> pl.DataFrame:
    unknown = pl.lit(None, pl.Int64)
    return known.with_columns(replicas_starting=unknown, replicas_target=unknown)


def _unknown(why: str) -> dict[str, Measure]:
    names = ("replicas_starting", "replicas_target")
    return {name: Measure(None, "replicas", why=why) for name in names}


def _summed(column: pl.Series, pools: int) -> Measure:
    """A sum that leaves no pool out; else unknown."""
    if column.null_count():
        why = f"{column.null_count()} of {pools} pools do not tell"
        return Measure(None, "replicas", n=pools, why=why)
    return Measure(float(column.sum()), "replicas", n=pools)


def _counted(instances: pl.DataFrame) -> pl.DataFrame:
    """workload, instances_ready, instances_known."""
    return instances.group_by(workload=pl.col("model").fill_null(NOT_TOLD)).agg(
        instances_ready=(pl.col("state") == "ready").sum().cast(pl.Int64),
        instances_known=pl.len().cast(pl.Int64),
    )


def _pools(reader: Reader, scope: Scope, instances: pl.DataFrame) -> pl.DataFrame:
    """Columns of `_POOLS`, of those that the scope is about; a pool of several models has none."""
    end = naive_utc(scope.end)
    found = queries.standing(reader, end - timedelta(seconds=RECENT_SECONDS), end)
    models = dict(instances.select("instance", "model").iter_rows())
    rows = []
    for row in found.iter_rows(named=True):
        # One that is starting is not scraped yet.
        names = {models.get(name) for name in row["instances"]} - {None}
        model = names.pop() if len(names) == 1 else None
        if not scope.models or model in scope.models:
            rows.append((row["pool"], model, row["target"], row["starting"], row["instances"]))
    return pl.DataFrame(rows, schema=dict(_POOLS), orient="row")


def _of_models(known: pl.DataFrame, pools: pl.DataFrame, instances: pl.DataFrame) -> pl.DataFrame:
    """`known` with what pools want of each model, where all that serve are of pools."""
    named = pools.drop_nulls("workload")
    pooled = named.select(model="workload", instance="instances").explode("instance")
    serving = instances.filter(pl.col("state") == "ready")
    outside = serving.join(pooled, on=["model", "instance"], how="anti")["model"].to_list()
    wanted = (
        named.filter(~pl.col("workload").is_in(outside))
        .group_by("workload")
        .agg(_whole(name).alias(f"replicas_{name}") for name in ("starting", "target"))
    )
    return known.join(wanted, on="workload", how="left")


def _whole(name: str) -> pl.Expr:
    """A sum that leaves no pool out."""
    return pl.when(pl.col(name).null_count() == 0).then(pl.col(name).sum())
