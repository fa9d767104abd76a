"""Whose GPU time it was: busy time by the tokens served in it, the rest by what it was."""

from __future__ import annotations

from typing import Any

import polars as pl

LINES_SCHEMA: dict[str, Any] = {
    "pool": pl.String,
    "model": pl.String,
    "tenant": pl.String,
    "kind": pl.String,
    "gpu_hours": pl.Float64,
}


def lines(course: pl.DataFrame, service: pl.DataFrame) -> pl.DataFrame:
    """GPU-hours by pool, model, tenant and kind; their sum is that of the course.

    Busy time of an instance belongs to the models and tenants whose tokens it served, in the
    proportion of their service; where no request names the instance, in that of the requests of
    its model which name no instance that was seen; where there are none either, to nobody that is
    known (tenant null). What is not busy is nobody's.

    Args:
        course: columns of `cost_lanes.COURSE_SCHEMA`.
        service: columns of `store.queries.cost.service`.
    """
    whole = course.group_by("pool", "model", "instance", "kind").agg(pl.col("gpu_seconds").sum())
    busy = whole.filter(pl.col("kind") == "busy")
    served = service.filter(pl.col("service") > 0)
    own = _shares(served.drop_nulls("instance"), "instance")
    mine = busy.join(own, on="instance")
    rest = _without(busy, mine)
    elsewhere = served.join(busy.select("instance").unique(), on="instance", how="anti")
    others = _shares(elsewhere.drop_nulls("model"), "model")
    by_model = rest.join(others, on="model")
    nobody = _without(rest, by_model)
    shared = pl.col("gpu_seconds") * pl.col("share")
    parts = [
        mine.with_columns(gpu_seconds=shared, model=pl.coalesce("served_model", "model")),
        by_model.with_columns(gpu_seconds=shared),
        nobody.with_columns(tenant=pl.lit(None, pl.String)),
        whole.filter(pl.col("kind") != "busy").with_columns(tenant=pl.lit(None, pl.String)),
    ]
    names = ["pool", "model", "tenant", "kind"]
    return (
        pl.concat([part.select(*names, "gpu_seconds") for part in parts])
        .group_by(names)
        .agg(gpu_hours=pl.col("gpu_seconds").sum() / 3600)
        .sort(names, nulls_last=True)
        .cast(LINES_SCHEMA)  # type: ignore[arg-type]
    )


def _without(lanes: pl.DataFrame, shared: pl.DataFrame) -> pl.DataFrame:
    """The lanes that were not shared yet."""
    lane = ["pool", "model", "instance"]
    return lanes.join(shared.select(lane).unique(), on=lane, how="anti", nulls_equal=True)


def _shares(served: pl.DataFrame, key: str) -> pl.DataFrame:
    """key, served_model, tenant, share of the service of the key."""
    summed = served.group_by(key, pl.col("model").alias("served_model"), "tenant").agg(
        pl.col("service").sum()
    )
    return summed.with_columns(share=pl.col("service") / pl.col("service").sum().over(key)).drop(
        "service"
    )
