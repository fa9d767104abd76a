"""Instances that are slower than their peers of the same model."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import polars as pl

from analysis import anatomy_scraped as scraped
from analysis.anatomy_newest import newest
from analysis.doors import counted_targets
from analysis.emptiness import why_empty
from analysis.instances import instance_name, outlier_scores
from analysis.latency import quantiles
from analysis.measure import View
from store.queries import anatomy as queries
from store.queries import counters, telemetry
from store.queries.scope import LIVE_SOURCE_ID, Scope
from store.reader import Reader

INSTANCES_SCHEMA: dict[str, Any] = {
    "instance": pl.String,
    "model": pl.String,
    "requests": pl.Int64,
    "tpot_p50_seconds": pl.Float64,
    "tpot_to_peers": pl.Float64,
    "ttft_p50_seconds": pl.Float64,
    "ttft_to_peers": pl.Float64,
    "outlier_score": pl.Float64,
    "stands_out": pl.Boolean,
    "kv_cache_usage_ratio": pl.Float64,
    "preemptions": pl.Float64,
    "restarts": pl.Int64,
    "basis": pl.String,
}
STANDS_OUT = 3.0
# Medians are read from bins of 4.4 %: what is slower by less than a tenth is no straggler.
LEAST_RATIO = 1.1
NEWEST_REQUESTS = 1_000_000
"""How many of the newest requests instances are compared by."""
_LATENCIES = ("tpot", "ttft")


def latency_stragglers(reader: Reader, scope: Scope) -> View:
    """Each instance beside its peers of the same model, the oddest first.

    Frame: `instances` (`INSTANCES_SCHEMA`). `*_to_peers` is the median latency ÷ the median of the
    peers' medians; `outlier_score` is the worse of both distances in robust deviations; what is
    three of them away and a tenth slower stands out. Without request rows the means of the
    engines' histograms stand in for the medians (`basis`).
    """
    recent = newest(reader, scope, NEWEST_REQUESTS)
    typical = _from_rows(reader, recent) if recent else pl.DataFrame()
    basis = "median of requests"
    if typical.is_empty():
        typical, basis = _from_scrapes(reader, scope), "mean of histograms"
    empty = None
    if typical.is_empty():
        empty = why_empty(reader, scope, "instance")
        return View(
            "latency_stragglers", scope, empty=empty,
            frames={"instances": pl.DataFrame(schema=INSTANCES_SCHEMA)},
        )  # fmt: skip
    compared = _compared(typical)
    states = _states(reader, scope)
    joined = compared.join(states, on="instance", how="left").with_columns(basis=pl.lit(basis))
    instances = joined.select(
        (pl.col(n) if n in joined.columns else pl.lit(None)).cast(kind).alias(n)
        for n, kind in INSTANCES_SCHEMA.items()
    ).sort(
        "stands_out", "outlier_score", "instance", descending=[True, True, False], nulls_last=True
    )
    sentences = list(_words(instances))
    if recent is not None and recent != scope:
        sentences.append(f"Instances are compared by the newest {NEWEST_REQUESTS:,} requests")
    return View(
        "latency_stragglers", scope, frames={"instances": instances}, sentences=tuple(sentences)
    )


def _from_rows(reader: Reader, scope: Scope) -> pl.DataFrame:
    """instance, model, requests, tpot, ttft: medians of the requests."""
    found: pl.DataFrame | None = None
    for name in _LATENCIES:
        counts = queries.log_counts_by_labels(reader, scope, name).filter(
            pl.col("instance").is_not_null()
        )
        keyed = counts.with_columns(model=pl.col("model").fill_null(""))
        part = quantiles(keyed, 0.5, "instance", "model").rename(
            {"seconds": name, "requests": f"requests_{name}"}
        )
        found = part if found is None else _outer(found, part)
    assert found is not None  # noqa: S101 - there are two
    return found.select(
        "instance",
        pl.col("model").replace("", None),
        pl.max_horizontal("requests_tpot", "requests_ttft").alias("requests"),
        "tpot",
        "ttft",
    )


def _outer(left: pl.DataFrame, right: pl.DataFrame) -> pl.DataFrame:
    return left.join(right, on=["instance", "model"], how="full", coalesce=True)


def _from_scrapes(reader: Reader, scope: Scope) -> pl.DataFrame:
    """The same columns from the engines' histograms, whose means are exact."""
    signals = [f"{name}_seconds" for name in _LATENCIES]
    found = scraped.observations(reader, scope, signals, scope.bin_seconds())
    sums: dict[tuple[str, str | None], dict[str, list[float]]] = defaultdict(
        lambda: {name: [0.0, 0.0] for name in _LATENCIES}
    )
    for instance, item in found:
        if item.histogram.total is not None:
            held = sums[instance, item.model][item.signal.removesuffix("_seconds")]
            held[0] += item.histogram.total
            held[1] += item.histogram.count
    rows = [
        {
            "instance": instance,
            "model": model,
            "requests": round(max(held[1] for held in by.values())),
            **{name: held[0] / held[1] if held[1] else None for name, held in by.items()},
        }
        for (instance, model), by in sorted(sums.items(), key=lambda pair: str(pair[0]))
    ]
    schema = {"instance": pl.String, "model": pl.String, "requests": pl.Int64}
    return pl.DataFrame(rows, schema=schema | dict.fromkeys(_LATENCIES, pl.Float64))


def _compared(typical: pl.DataFrame) -> pl.DataFrame:
    """Each instance against the same-model peers: ratios and the worse of two scores."""
    parts = []
    for _, peers in typical.group_by("model", maintain_order=True):
        scores = [outlier_scores(peers[name].to_list()) for name in _LATENCIES]
        worst = [
            max((s for s in pair if s is not None), default=None)
            for pair in zip(*scores, strict=True)
        ]
        ratios = [
            (pl.col(name) / pl.col(name).median()).alias(f"{name}_to_peers")
            if peers.height > 1
            else pl.lit(None, pl.Float64).alias(f"{name}_to_peers")
            for name in _LATENCIES
        ]
        parts.append(
            peers.with_columns(*ratios, outlier_score=pl.Series(worst, dtype=pl.Float64))
            .with_columns(stands_out=_stands_out())
            .rename({name: f"{name}_p50_seconds" for name in _LATENCIES})
        )
    return pl.concat(parts)


def _stands_out() -> pl.Expr:
    slower = pl.max_horizontal(*(f"{name}_to_peers" for name in _LATENCIES)) >= LEAST_RATIO
    return ((pl.col("outlier_score") >= STANDS_OUT) & slower).fill_null(value=False)


def _states(reader: Reader, scope: Scope) -> pl.DataFrame:
    """What targets say about instances: KV cache, preemptions, restarts."""
    schema = {"instance": pl.String, "kv_cache_usage_ratio": pl.Float64, "preemptions": pl.Float64}
    targets = counted_targets(reader, scope.end)
    if LIVE_SOURCE_ID not in scope.source_ids or targets.is_empty():
        return pl.DataFrame(schema={**schema, "restarts": pl.Int64})
    named = targets.select(
        "target_id",
        instance=pl.col("url").map_elements(instance_name, return_dtype=pl.String),
    )
    span = (scope.start, scope.end, scope.seconds)
    kv = (
        telemetry.gauge_bins(reader, ["kv_cache_usage_ratio"], *span)
        .group_by("target_id")
        .agg(kv_cache_usage_ratio=pl.col("mean").max())
    )
    stepped = counters.counter_steps(reader, ["preemptions_total"], *span)
    thrown = stepped.group_by("target_id").agg(preemptions=pl.col("increase").sum())
    found = named
    for part in (kv, thrown, queries.restarts(reader, scope)):
        same = part.cast({"target_id": named.schema["target_id"]})
        found = found.join(same, on="target_id", how="left")
    return found.drop("target_id").unique("instance", keep="first", maintain_order=True)


def _words(instances: pl.DataFrame) -> tuple[str, ...]:
    odd = instances.filter("stands_out")
    if odd.is_empty():
        return ()
    row = odd.row(0, named=True)
    ratios = [
        f"{name.upper()} {row[f'{name}_to_peers']:.2g}\N{MULTIPLICATION SIGN} its peers'"
        for name in _LATENCIES
        if (row[f"{name}_to_peers"] or 0.0) >= LEAST_RATIO
    ]
    more = f", and {odd.height - 1} more" if odd.height > 1 else ""
    return (f"{row['instance']} stands out{more}: {' and '.join(ratios)}",)
