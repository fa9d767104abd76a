"""Objectives of a fleet that sends no request rows: bounds from the engines' own histograms."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

import polars as pl

from analysis import series
from analysis.histograms import (
    Observed,
    is_edge,
    joint_bounds,
    neighbours,
    observed,
    within_interval,
)
from analysis.instances import in_scope, instance_name
from analysis.slo_counts import Counted
from analysis.slo_model import Slo, short_seconds
from store.queries import telemetry
from store.queries.scope import Scope
from store.reader import Reader

FAILED_REASONS = ("error", "abort")
AVAILABILITY_SIGNALS = ("requests_finished_total", "requests_refused_total")
_SCHEMA = {
    "bin": pl.Int64,
    "good_low": pl.Float64,
    "good_high": pl.Float64,
    "attempted": pl.Float64,
    "undetermined": pl.Float64,
    "measured": pl.Float64,
}
_NOTHING_FINISHED = "no such request finished in the window"
_FINISHED_ONLY = "from engine histograms, which hold finished requests only"


@dataclass(frozen=True, slots=True)
class _Fleet:
    """What the live targets said in the range, read once for all SLOs.

    Attributes:
        instances: target_id -> instance name.
        histograms: signal -> what was observed.
        counters: points of the request counters, with their steps.
    """

    instances: dict[int, str]
    histograms: dict[str, list[Observed]] = field(default_factory=dict)
    counters: pl.DataFrame = field(default_factory=pl.DataFrame)


def count_buckets(
    reader: Reader, slos: Sequence[Slo], scope: Scope, start: datetime, width_seconds: int
) -> list[Counted]:
    """Counts of every SLO from the scraped histograms and counters of the live targets.

    Args:
        reader: the store.
        slos: the definitions.
        scope: about the live fleet.
        start: aware; bins before it are not looked at.
        width_seconds: width of the bins.
    """
    fleet = _read(reader, slos, scope, start, width_seconds)
    return [_count(fleet, slo, scope, width_seconds) for slo in slos]


def _read(
    reader: Reader, slos: Sequence[Slo], scope: Scope, start: datetime, width_seconds: int
) -> _Fleet:
    targets = telemetry.targets(reader, scope.end)
    instances = {
        row["target_id"]: instance_name(row["url"]) for row in targets.iter_rows(named=True)
    }
    signals = sorted({column for slo in slos for column in slo.limits_seconds})
    found: dict[str, list[Observed]] = defaultdict(list)
    if signals and instances:
        points = telemetry.histogram_points(reader, signals, start, scope.end, width_seconds)
        for item in observed(points):
            found[item.signal].append(item)
    counters = series.steps(
        telemetry.counter_points(reader, AVAILABILITY_SIGNALS, start, scope.end, width_seconds)
    )
    return _Fleet(instances, dict(found), counters)


def _count(fleet: _Fleet, slo: Slo, scope: Scope, width_seconds: int) -> Counted:
    match = slo.match
    if match.tenants or match.routes or match.classes or scope.tenants or scope.routes:
        note = "needs request rows: engine metrics carry no tenant, route or class"
        return _nothing(scope, width_seconds, note)
    if not fleet.instances:
        return _nothing(scope, width_seconds, "no target is scraped and no request was recorded")
    if slo.kind == "availability":
        return _availability(fleet, slo, scope, width_seconds)
    return _latency(fleet, slo, scope, width_seconds)


def _nothing(scope: Scope, width_seconds: int, note: str) -> Counted:
    return Counted(pl.DataFrame(schema=_SCHEMA), width_seconds, scope.end, "buckets", note)


def _meant(fleet: _Fleet, slo: Slo, scope: Scope, target_id: int, model: str | None) -> bool:
    instance = fleet.instances.get(target_id)
    if instance is None or not in_scope(scope, instance, model):
        return False
    return not slo.match.models or model in slo.match.models


def _availability(fleet: _Fleet, slo: Slo, scope: Scope, width_seconds: int) -> Counted:
    good: dict[int, float] = defaultdict(float)
    bad: dict[int, float] = defaultdict(float)
    for row in fleet.counters.filter(pl.col("increase") > 0).iter_rows(named=True):
        if row["bin"] < 0 or not _meant(fleet, slo, scope, row["target_id"], row["model"]):
            continue
        if row["reason"] == "abort" and not slo.count_aborted:
            continue
        failed = row["signal"] == "requests_refused_total" or row["reason"] in FAILED_REASONS
        (bad if failed else good)[row["bin"]] += row["increase"]
    rows = [
        (number, good[number], good[number], good[number] + bad[number], 0.0, good[number])
        for number in sorted(good.keys() | bad.keys())
    ]
    note = "from engine counters of finished and refused requests" if rows else _NOTHING_FINISHED
    if fleet.counters.is_empty():
        note = "needs counts of finished requests; the engines in scope show none in this window"
    bins = pl.DataFrame(rows, schema=_SCHEMA, orient="row")
    return Counted(bins, width_seconds, scope.end, "buckets", note)


def _latency(fleet: _Fleet, slo: Slo, scope: Scope, width_seconds: int) -> Counted:
    by_bin: dict[int, dict[str, list[float]]] = defaultdict(dict)
    note = _FINISHED_ONLY
    for signal, limit in slo.limits_seconds.items():
        items = [
            item
            for item in fleet.histograms.get(signal, [])
            if _meant(fleet, slo, scope, item.target_id, item.model)
        ]
        if not items:
            name = signal.removesuffix("_seconds").upper()
            return _nothing(
                scope, width_seconds, f"needs {name}; the engines in scope show none in this window"
            )
        for item in items:
            low, high = within_interval(item.histogram, limit)
            sums = by_bin[item.bin].setdefault(signal, [0.0, 0.0, 0.0])
            sums[0] += low
            sums[1] += high
            sums[2] += item.histogram.count
        note = _edge_note(items, limit) or note
    if len(slo.limits_seconds) > 1:
        note = "a joint objective: marginal histograms give bounds only"
    rows = [
        _joint(number, signals)
        for number, signals in sorted(by_bin.items())
        if len(signals) == len(slo.limits_seconds)
    ]
    if not any(row[3] for row in rows):
        note = _NOTHING_FINISHED
    bins = pl.DataFrame(rows, schema=_SCHEMA, orient="row")
    return Counted(bins, width_seconds, scope.end, "buckets", note)


def _joint(number: int, signals: dict[str, list[float]]) -> tuple[float, ...]:
    """One bin: Fréchet bounds over the signals, as counts of the largest of them."""
    attempted = max(sums[2] for sums in signals.values())
    if attempted <= 0:
        return (number, 0.0, 0.0, 0.0, 0.0, 0.0)
    if len(signals) == 1:
        low, high, count = next(iter(signals.values()))
        return (number, low, high, count, 0.0, count)
    shares = [(sums[0] / sums[2], sums[1] / sums[2]) for sums in signals.values() if sums[2] > 0]
    low, high = joint_bounds(shares)
    return (number, low * attempted, high * attempted, attempted, 0.0, attempted)


def _edge_note(items: Sequence[Observed], limit: float) -> str | None:
    for item in items:
        if not is_edge(item.histogram, limit):
            below, above = neighbours(item.histogram, limit)
            edges = " and ".join(short_seconds(edge) for edge in (below, above) if edge is not None)
            return (
                f"{short_seconds(limit)} is not a bucket edge of these engines"
                f" (nearest: {edges}), so only bounds are known"
            )
    return None
