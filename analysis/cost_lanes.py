"""Lanes: what each instance was over time, so that all its GPU time goes somewhere exactly once.

An instance is there while it is scraped; of that time it is busy at the share of scrapes that saw a
request in it. Starting is before that: of controlled pools what the controller saw, of others the
starts that were observed. Draining is time that the controller saw taking no new requests.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from analysis import cold_start_starts
from analysis.cost_rules import CostRules
from analysis.instances import USUAL_INTERVAL_SECONDS, in_scope, instance_name
from store.queries import cold_start, presence
from store.queries import cost as queries
from store.queries.scope import Scope
from store.reader import Reader
from store.roles import is_instance
from store.rolled_buckets import BUCKET_SECONDS

KINDS = ("busy", "idle", "untold", "starting", "draining")
"""Where GPU time can go; `untold`: it was there, and nobody tells whether it worked."""
# A bin that is covered so far is covered: scrapes are not exactly evenly spaced.
FULL_RATIO = 0.95
LANES_SCHEMA: dict[str, Any] = {
    "pool": pl.String,
    "model": pl.String,
    "instance": pl.String,
    "at": pl.Datetime("us"),
    "gpus": pl.Float64,
    "present_seconds": pl.Float64,
    "busy_ratio": pl.Float64,
}
COURSE_SCHEMA: dict[str, Any] = {
    "pool": pl.String,
    "model": pl.String,
    "instance": pl.String,
    "at": pl.Datetime("us"),
    "kind": pl.String,
    "gpu_seconds": pl.Float64,
}


@dataclass(frozen=True, slots=True)
class Pool:
    """A pool that was seen, with what is assumed of its replicas.

    Attributes:
        name: of the pool.
        labels: of one of its targets.
        gpus: cards of a replica.
        gpus_from: who told.
    """

    name: str
    labels: Mapping[str, str]
    gpus: float
    gpus_from: str


def width_seconds(scope: Scope) -> int:
    """Of bins: whole buckets of five minutes, about 120 of them."""
    return -(-scope.bin_seconds(120) // BUCKET_SECONDS) * BUCKET_SECONDS


def lanes(reader: Reader, scope: Scope, rules: CostRules) -> tuple[pl.DataFrame, dict[str, Pool]]:
    """When each instance was there and how busy, by bin, and the pools that were seen.

    Columns of `LANES_SCHEMA`; busy_ratio is null where no gauge tells. An instance that is told
    through two doors is one.
    """
    width = width_seconds(scope)
    seen = presence.seen(reader, scope.start, scope.end, width)
    pools: dict[str, Pool] = {}
    about = []
    for row in seen.unique("target_id", maintain_order=True).iter_rows(named=True):
        name = instance_name(row["url"])
        if is_instance(row["engine"], row["url"]) and in_scope(scope, name, row["model"]):
            labels = _labels(row, name)
            pool = rules.pool_of(labels)
            gpus = rules.gpus_of(pool, labels)
            pools.setdefault(pool, Pool(pool, labels, gpus.value or 0.0, gpus.source))
            about.append((row["target_id"], pool, row["model"], name, gpus.value))
    names = {
        "target_id": pl.Int32,
        **{n: LANES_SCHEMA[n] for n in ("pool", "model", "instance", "gpus")},
    }
    known = pl.DataFrame(about, schema=names, orient="row").cast(
        {"target_id": seen.schema["target_id"]}
    )
    found = (
        _present(seen, scope, width)
        .join(known, on="target_id")
        .group_by("pool", "model", "instance", "at", "gpus")
        .agg(pl.col("present_seconds").max(), pl.col("busy_ratio").max())
    )
    return found.select(list(LANES_SCHEMA)).cast(LANES_SCHEMA).sort("pool", "instance", "at"), pools  # type: ignore[arg-type]


def _labels(row: Mapping[str, Any], name: str) -> dict[str, str]:
    labels = {key: str(value) for key, value in json.loads(row["labels"] or "{}").items()}
    labels |= {"instance": name, "url": row["url"]}
    return labels | {key: row[key] for key in ("model", "engine") if row[key]}


def _present(seen: pl.DataFrame, scope: Scope, width: int) -> pl.DataFrame:
    """target_id, at, present_seconds: scrapes times their usual distance, at most the bin."""
    step = pl.col("between_seconds") / (pl.col("scrapes") - 1)
    usual = pl.when(pl.col("scrapes") > 1).then(step).median().over("target_id")
    whole = inside(scope, width)
    told = pl.col("scrapes") * usual.fill_null(USUAL_INTERVAL_SECONDS)
    return seen.select(
        "target_id",
        "at",
        "busy_ratio",
        present_seconds=pl.when(told >= FULL_RATIO * whole).then(whole).otherwise(told),
    )


def inside(scope: Scope, width: int) -> pl.Expr:
    """Seconds of a bin that lie in the scope."""
    start, end = (
        pl.lit(at.replace(tzinfo=None), pl.Datetime("us")) for at in (scope.start, scope.end)
    )
    low = pl.max_horizontal(pl.col("at"), start)
    high = pl.min_horizontal(pl.col("at") + timedelta(seconds=width), end)
    return (high - low).dt.total_microseconds() / 1e6


def course(
    reader: Reader, scope: Scope, rules: CostRules, found: pl.DataFrame, pools: Mapping[str, Pool]
) -> pl.DataFrame:
    """GPU time by lane, bin and kind: columns of `COURSE_SCHEMA`, nothing twice, nothing left out.

    Args:
        reader: the store.
        scope: what is asked about.
        rules: cards of pools.
        found: columns of `LANES_SCHEMA`.
        pools: those that were seen.
    """
    width = width_seconds(scope)
    steps = queries.steps(reader, scope.start, scope.end, width)
    steps = steps.filter(pl.col("pool").is_in(list(pools)))
    serving = _with_draining(found, steps)
    gpus = {name: pool.gpus for name, pool in pools.items()}
    controlled = set(steps["pool"])
    parts = [
        *_serving_parts(serving),
        _starting_told(steps, gpus),
        _starting_seen(reader, scope, found, controlled, width),
    ]
    joined = pl.concat([part.select(list(COURSE_SCHEMA)).cast(COURSE_SCHEMA) for part in parts])  # type: ignore[arg-type]
    return joined.filter(pl.col("gpu_seconds") > 0).sort("pool", "instance", "at", "kind")


def _with_draining(found: pl.DataFrame, steps: pl.DataFrame) -> pl.DataFrame:
    """Lanes with the share of their time that their pool was seen draining, in draining_ratio."""
    if steps.is_empty():
        return found.with_columns(draining_ratio=pl.lit(0.0))
    there = found.group_by("pool", "at").agg(present=pl.col("present_seconds").sum())
    share = steps.join(there, on=["pool", "at"]).select(
        "pool", "at", draining_ratio=(pl.col("draining_seconds") / pl.col("present")).clip(0, 1)
    )
    return found.join(share, on=["pool", "at"], how="left").with_columns(
        pl.col("draining_ratio").fill_nan(None).fill_null(0.0)
    )


def _serving_parts(serving: pl.DataFrame) -> list[pl.DataFrame]:
    whole = pl.col("present_seconds") * pl.col("gpus")
    left = whole * (1 - pl.col("draining_ratio"))
    busy = left * pl.col("busy_ratio").fill_null(0.0)
    is_told = pl.col("busy_ratio").is_not_null()
    amounts = {
        "draining": whole * pl.col("draining_ratio"),
        "busy": busy,
        "idle": pl.when(is_told).then(left - busy).otherwise(0.0),
        "untold": pl.when(is_told).then(0.0).otherwise(left),
    }
    return [
        serving.with_columns(kind=pl.lit(kind), gpu_seconds=amount)
        for kind, amount in amounts.items()
    ]


def _starting_told(steps: pl.DataFrame, gpus: Mapping[str, float]) -> pl.DataFrame:
    """What the controller saw starting, of the pools that it looks after."""
    cards = pl.col("pool").replace_strict(dict(gpus), default=0.0, return_dtype=pl.Float64)
    return steps.with_columns(
        pl.lit(None, pl.String).alias("model"),
        pl.lit(None, pl.String).alias("instance"),
        pl.lit("starting").alias("kind"),
        (pl.col("starting_seconds").fill_null(0.0) * cards).alias("gpu_seconds"),
    )


def _starting_seen(
    reader: Reader, scope: Scope, found: pl.DataFrame, controlled: set[str], width: int
) -> pl.DataFrame:
    """Starts that were observed of instances of other pools, less time that they were there."""
    start, end = scope.start.replace(tzinfo=None), scope.end.replace(tzinfo=None)
    starts = cold_start_starts.starts(cold_start.observations(reader, scope), end)
    lanes_seen = found.filter(pl.col("instance").is_in([one.instance for one in starts]))
    lane_of = {row["instance"]: row for row in lanes_seen.unique("instance").iter_rows(named=True)}
    places = lanes_seen.select("instance", "at", "present_seconds").iter_rows()
    there = {(instance, at): seconds for instance, at, seconds in places}
    rows = []
    for one in starts:
        lane = lane_of.get(one.instance)
        if lane is None or lane["pool"] in controlled:
            continue
        until = min(one.ready_at or one.ended_at, end)
        for at, seconds in _by_bin(max(one.began_at, start), until, width):
            free = max(0.0, width - there.get((one.instance, at), 0.0))
            spent = min(seconds, free) * lane["gpus"]
            rows.append((lane["pool"], lane["model"], one.instance, at, "starting", spent))
    return pl.DataFrame(rows, schema=COURSE_SCHEMA, orient="row")


def _by_bin(low: datetime, high: datetime, width: int) -> list[tuple[datetime, float]]:
    found = []
    step = timedelta(seconds=width)
    at = low - (low - datetime(1970, 1, 1)) % step  # noqa: DTZ001 - as the store keeps it
    while at < high:
        found.append((at, (min(high, at + step) - max(low, at)).total_seconds()))
        at += step
    return found
