"""Objectives of a fleet that sends no request rows: bounds from the engines' own histograms."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

import polars as pl

from analysis.attainment import Attainment, attainment, joint_attainment
from analysis.doors import counted_targets
from analysis.histograms import Histogram, Observed
from analysis.instances import in_scope, instance_name
from analysis.scraped import observations
from analysis.slo_counts import Counted
from analysis.slo_model import Slo
from store.queries import counters
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
        counters: what the request counters counted, by series and bin.
    """

    instances: dict[int, str]
    histograms: dict[str, list[Observed]] = field(default_factory=dict)
    counters: pl.DataFrame = field(default_factory=pl.DataFrame)


def count_buckets(
    reader: Reader,
    slos: Sequence[Slo],
    scope: Scope,
    start: datetime,
    width_seconds: int,
    edges: Sequence[datetime] | None = None,
) -> list[Counted]:
    """Counts of every SLO from the scraped histograms and counters of the live targets.

    Args:
        reader: the store.
        slos: the definitions.
        scope: about the live fleet.
        start: aware; bins before it are not looked at.
        width_seconds: width of the bins.
        edges: starts of windows (aware) that must be exact, besides those of the last hour; others
            may be off by five minutes. None: all are exact, which takes the samples of a day.
    """
    fleet = _read(reader, slos, scope, start, width_seconds, edges)
    return [_count(fleet, slo, scope, width_seconds) for slo in slos]


def _read(
    reader: Reader,
    slos: Sequence[Slo],
    scope: Scope,
    start: datetime,
    width_seconds: int,
    edges: Sequence[datetime] | None,
) -> _Fleet:
    targets = counted_targets(reader, scope.end)
    instances = {
        row["target_id"]: instance_name(row["url"]) for row in targets.iter_rows(named=True)
    }
    signals = sorted({column for slo in slos for column in slo.limits_seconds})
    found: dict[str, list[Observed]] = defaultdict(list)
    if signals and instances:
        for item in observations(reader, signals, start, scope.end, width_seconds, edges=edges):
            found[item.signal].append(item)
    stepped = counters.counter_steps(
        reader, AVAILABILITY_SIGNALS, start, scope.end, width_seconds, edges=edges
    )
    return _Fleet(instances, dict(found), stepped)


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
    by_bin: dict[int, dict[str, list[Histogram]]] = defaultdict(lambda: defaultdict(list))
    whole: list[Attainment] = []
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
            by_bin[item.bin][signal].append(item.histogram)
        together = attainment([item.histogram for item in items], limit)
        whole += [together] if together is not None else []
    rows = [
        (number, *_bounds(slo, signals))
        for number, signals in sorted(by_bin.items())
        if len(signals) == len(slo.limits_seconds)
    ]
    bins = pl.DataFrame(rows, schema=_SCHEMA, orient="row")
    note = _note(slo, whole) if any(row[3] for row in rows) else _NOTHING_FINISHED
    return Counted(bins, width_seconds, scope.end, "buckets", note)


def _note(slo: Slo, whole: Sequence[Attainment]) -> str:
    """What must be said about counts from buckets, as part of a sentence."""
    if len(slo.limits_seconds) > 1:
        return "a joint objective: marginal histograms give bounds only"
    return next((one.warning for one in whole if one.warning), _FINISHED_ONLY).removesuffix(".")


def _bounds(slo: Slo, signals: Mapping[str, list[Histogram]]) -> tuple[float, ...]:
    """One bin: good at least and at most, attempted, undetermined, measured.

    Of several limits together, as counts of the largest of their histograms.
    """
    shares = [
        share
        for signal, limit in slo.limits_seconds.items()
        if (share := attainment(signals[signal], limit)) is not None
    ]
    joint = joint_attainment(shares)
    if joint is None:
        return (0.0, 0.0, 0.0, 0.0, 0.0)
    attempted = max(share.count for share in shares)
    low, high = joint.low * attempted, joint.high * attempted
    return (low, high, attempted, 0.0, attempted)


def spent_buckets(
    reader: Reader, slo: Slo, scope: Scope, start: datetime, width_seconds: int
) -> pl.DataFrame:
    """Requests that were certainly bad, by model and by instance, from the engines' own metrics.

    Args:
        reader: the store.
        slo: the definition.
        scope: about the live fleet; of its range only the end counts.
        start: aware.
        width_seconds: of the bins that are counted in.

    Returns:
        dimension (model, instance, and "hour" for all together), value, good, bad: as
        `store.queries.slo_rolled.spent` tells them of rows; requests are rounded.
    """
    fleet = _read(reader, [slo], scope, start, width_seconds, None)
    counted = [] if fleet.counters.is_empty() else fleet.counters["model"].to_list()
    seen = [*counted, *(item.model for items in fleet.histograms.values() for item in items)]
    narrowed = [("hour", "0", scope)]
    models = sorted({model for model in seen if model is not None})
    narrowed += [("model", name, replace(scope, models=(name,))) for name in models]
    names = sorted(set(fleet.instances.values()))
    narrowed += [("instance", name, replace(scope, instances=(name,))) for name in names]
    rows = []
    for dimension, value, part in narrowed:
        bins = _count(fleet, slo, part, width_seconds).bins.filter(pl.col("bin") >= 0)
        bad = round(float((bins["attempted"] - bins["good_high"]).sum()))
        rows.append((dimension, value, round(float(bins["attempted"].sum())) - bad, bad))
    schema = {"dimension": pl.String, "value": pl.String, "good": pl.Int64, "bad": pl.Int64}
    return pl.DataFrame(rows, schema=schema, orient="row")
