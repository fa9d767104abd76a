"""Courses of the two fleet tiles that bins of requests do not tell: budget left, replicas ready."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import polars as pl

from analysis import series
from analysis.instances import in_scope, instance_name
from analysis.slo_frames import budget_of_late
from analysis.verdict import Judged
from store.queries import presence
from store.queries.scope import Scope
from store.reader import Reader
from store.roles import is_instance
from store.rolled_buckets import BUCKET_SECONDS

LATE_SECONDS = 3600.0
BUDGET_SCHEMA: dict[str, Any] = {"at": pl.Datetime("us"), "budget_left_ratio": pl.Float64}
READY_SCHEMA: dict[str, Any] = {"at": pl.Datetime("us"), "instances_ready": pl.Int64}


def budget_line(judged: Sequence[Judged]) -> pl.DataFrame:
    """The budget left over the last hour of the objective that has least: `BUDGET_SCHEMA`."""
    known = [one for one in judged if one.status.budget_left_ratio is not None]
    if not known:
        return pl.DataFrame(schema=BUDGET_SCHEMA)
    least = min(known, key=lambda one: one.status.budget_left_ratio or 0.0)
    return budget_of_late(least.status.slo, least.counted, LATE_SECONDS)


def ready_line(reader: Reader, scope: Scope, width_seconds: int) -> pl.DataFrame:
    """Instances that answered a scrape in each bin, those removed since too: `READY_SCHEMA`.

    Null where none did: whether somebody asked is not told there.

    Args:
        reader: the store.
        scope: what is asked about.
        width_seconds: of the page's bins; taken up to whole buckets of five minutes, since in
            shorter ones a scrape may be missing. Bins that the range cuts are left out.
    """
    width = -(-width_seconds // BUCKET_SECONDS) * BUCKET_SECONDS
    found = presence.seen(reader, scope.start, scope.end, width, with_load=False)
    names = {
        row["target_id"]: instance_name(row["url"])
        for row in found.unique("target_id").iter_rows(named=True)
        if is_instance(row["engine"], row["url"])
        and in_scope(scope, instance_name(row["url"]), row["model"])
    }
    start, end = (at.replace(tzinfo=None) for at in (scope.start, scope.end))
    whole = (pl.col("at") >= start) & (pl.col("at") <= end - timedelta(seconds=width))
    known = (
        found.lazy()
        .filter(whole & pl.col("target_id").is_in(list(names)))
        .group_by("at")
        .agg(
            pl.col("target_id")
            .replace_strict(names, return_dtype=pl.String)
            .n_unique()
            .cast(pl.Int64)
            .alias("instances_ready")
        )
        .collect()
    )
    if known.is_empty():
        return pl.DataFrame(schema=READY_SCHEMA)
    axis = series.round_bins(scope.start, scope.end, width).filter(whole)
    return axis.join(known, on="at", how="left").sort("at").select(list(READY_SCHEMA))
