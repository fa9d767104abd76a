"""What does the fleet cost, and how much of it is idle?

Definitions stand in docs/cost.md. GPU time is that of instances that really ran; every second of it
goes to exactly one line: a tenant's busy time, idle, starting, draining, or not told.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC
from typing import Any

import polars as pl

from analysis import cost_energy, cost_money, cost_words
from analysis.cost_lanes import Pool, course, lanes
from analysis.cost_lines import lines
from analysis.cost_rules import CostRules
from analysis.emptiness import why_empty
from analysis.fairness_tenants import chosen_slo
from analysis.measure import Empty, Measure, View
from analysis.slo_counting import good_rule
from analysis.slo_model import Slo
from store.queries import cost as queries
from store.queries import counters, presence, slo_rolled
from store.queries import slo as slo_queries
from store.queries.scope import LIVE_SOURCE_ID, Scope
from store.reader import Reader

TREND_SCHEMA: dict[str, Any] = {
    "quantity": pl.String,
    "unit": pl.String,
    "value": pl.Float64,
    "before": pl.Float64,
    "change_ratio": pl.Float64,
}
_TOKENS = ("prompt_tokens_total", "generation_tokens_total")
_TRACE = (
    "A trace holds requests, not the instances that served them: what ran, and so what it cost,"
    " is known of fleets that are scraped."
)
_NO_ENGINE = (
    "No engine was scraped here: requests alone do not tell how long replicas ran."
    " Add one with `servescope add URL`."
)


@dataclass(frozen=True, slots=True)
class Spent:
    """What a range took.

    Attributes:
        pools: that were seen.
        course: columns of `cost_lanes.COURSE_SCHEMA`.
        lines: columns of `cost_lines.LINES_SCHEMA`, with cost.
        service: columns of `store.queries.cost.service`.
        known: columns of `cost_money.ASSUMED_SCHEMA`.
        energy: columns of `cost_energy.ENERGY_SCHEMA`.
        measures: numbers by name.
    """

    pools: dict[str, Pool]
    course: pl.DataFrame
    lines: pl.DataFrame
    service: pl.DataFrame
    known: pl.DataFrame
    energy: pl.DataFrame
    measures: dict[str, Measure]


def cost(
    reader: Reader, scope: Scope, *, slos: Sequence[Slo] = (), costs: CostRules | None = None
) -> View:
    """GPU-hours, money and energy of a range, by pool, model and tenant.

    Measures: gpu_hours, busy_gpu_hours, idle_gpu_hours, idle_ratio, cost, idle_cost,
    cost_per_million_input_tokens, cost_per_million_output_tokens, cost_per_request,
    cost_per_met_request, energy_kwh, energy_cost, joules_per_output_token.

    Frames: `kinds`, `pools`, `models`, `tenants`, `lines`, `course` (at, layer, gpu_hours: a layer
    is a pool's busy time, or a kind of what is nobody's), `energy`, `assumed`, `trend`.

    Args:
        reader: the store.
        scope: what is asked about. GPU time belongs to instances: of tenants and routes only the
            table of tenants is narrowed.
        slos: definitions; the first with a latency tells which requests are good.
        costs: prices and cards; None knows none.
    """
    rules = costs or CostRules()
    found = _spent(reader, scope, slos, rules) if LIVE_SOURCE_ID in scope.source_ids else None
    if found is None:
        return View("cost", scope, empty=_why_empty(reader, scope))
    before = replace(scope, start=scope.start - (scope.end - scope.start), end=scope.start)
    earlier = _spent(reader, before, slos, rules)
    frames = {
        "kinds": cost_money.by_kind(found.lines),
        "pools": cost_money.summed(found.lines, "pool"),
        "models": cost_money.summed(found.lines, "model"),
        "tenants": _tenants(found, scope, rules),
        "lines": found.lines,
        "course": _layers(found.course),
        "energy": found.energy,
        "assumed": found.known,
        "trend": _trend(found.measures, earlier.measures if earlier else {}),
    }
    told = cost_words.sentences(found.measures, frames, scope)
    return View("cost", scope, found.measures, frames, told, sql={"course": presence.PLAIN.strip()})


def _spent(reader: Reader, scope: Scope, slos: Sequence[Slo], rules: CostRules) -> Spent | None:
    """What a range took; None where no instance was seen."""
    whole = replace(scope, tenants=(), routes=())
    found, pools = lanes(reader, whole, rules)
    if found.is_empty():
        return None
    timed = course(reader, whole, rules, found, pools)
    service = queries.service(reader, whole, rules.service)
    cards = queries.card_models(reader, scope.start, scope.end)["gpu_model"].to_list()
    known = cost_money.assumed(pools, rules, cards)
    owned = cost_money.priced(lines(timed, service), known)
    energy = cost_energy.cards(reader, scope)
    used = _used(reader, whole, slos, service)
    measures = cost_money.numbers(owned, known, used, energy, rules)
    return Spent(pools, timed, owned, service, known, energy, measures)


def _used(
    reader: Reader, scope: Scope, slos: Sequence[Slo], service: pl.DataFrame
) -> cost_money.Used:
    """Requests and tokens: of rows, and where there are none of the engines' counters."""
    requests = int(service["requests"].sum())
    if not requests:
        stepped = counters.counter_steps(reader, _TOKENS, scope.start, scope.end, scope.seconds)
        sums = dict(stepped.group_by("signal").agg(pl.col("increase").sum()).iter_rows())
        read, made = (sums.get(name) or None for name in _TOKENS)
        return cost_money.Used(0, read, made)
    read, made = (float(service[f"{side}_tokens"].sum()) or None for side in ("input", "output"))
    slo = chosen_slo(reader, scope, slos, "")
    if slo is None:
        return cost_money.Used(requests, read, made)
    rule = good_rule(slo, slo_queries.source_ids(reader))
    width = int(scope.seconds) + 1
    counted = slo_rolled.counts(reader, scope, [rule], scope.start, scope.end, width)
    return cost_money.Used(requests, read, made, int(counted["good"].sum()), slo.name)


def _tenants(found: Spent, scope: Scope, rules: CostRules) -> pl.DataFrame:
    """Busy GPU-hours of tenants, and what is nobody's as lines of their own.

    Columns: tenant (null: nobody told), kind, gpu_hours, share_ratio, cost, requests,
    input_tokens, output_tokens, cost_per_million_output_tokens.
    """
    taken = found.lines.group_by("tenant", "kind").agg(
        pl.col("gpu_hours").sum(),
        cost=pl.when(pl.col("cost").null_count() == 0).then(pl.col("cost").sum()),
    )
    names = ["requests", "input_tokens", "output_tokens"]
    served = (
        found.service.group_by("tenant").agg(pl.col(names).sum()).with_columns(kind=pl.lit("busy"))
    )
    weighted = rules.service.input_weight * pl.col("input_tokens") + (
        rules.service.output_weight * pl.col("output_tokens")
    )
    table = (
        taken.join(served, on=["tenant", "kind"], how="left", nulls_equal=True)
        .with_columns(
            share_ratio=pl.col("gpu_hours") / pl.col("gpu_hours").sum(),
            cost_per_million_output_tokens=pl.when(weighted > 0).then(
                pl.col("cost") / weighted * rules.service.output_weight * 1e6
            ),
        )
        .select("tenant", "kind", "gpu_hours", "share_ratio", "cost", *names,
                "cost_per_million_output_tokens")
        .sort(pl.col("kind") != "busy", "gpu_hours", "tenant", descending=[False, True, False])
    )  # fmt: skip
    if scope.tenants:
        return table.filter(pl.col("tenant").is_in(scope.tenants))
    return table


def _layers(timed: pl.DataFrame) -> pl.DataFrame:
    """at, layer, gpu_hours: the busy time of each pool, then what is nobody's."""
    is_busy = pl.col("kind") == "busy"
    layered = (
        timed.with_columns(
            layer=pl.when(is_busy).then(pl.col("pool") + " busy").otherwise("kind"), first=~is_busy
        )
        .group_by("first", "layer", "at")
        .agg(gpu_hours=pl.col("gpu_seconds").sum() / 3600)
    )
    # Stacked areas need every layer at every time.
    axis = layered.select("at").unique()
    names = layered.select("first", "layer").unique()
    return (
        names.join(axis, how="cross")
        .join(layered, on=["first", "layer", "at"], how="left")
        .with_columns(pl.col("gpu_hours").fill_null(0.0))
        .sort("first", "layer", "at")
        .select("at", "layer", "gpu_hours")
    )


def _trend(now: dict[str, Measure], earlier: dict[str, Measure]) -> pl.DataFrame:
    """Each number beside that of the period before: columns of `TREND_SCHEMA`."""
    rows = []
    for name, measure in now.items():
        before = earlier[name].value if name in earlier else None
        value, change = measure.value, None
        if value is not None and before:
            change = value / before - 1
        rows.append((name, measure.unit, value, before, change))
    return pl.DataFrame(rows, schema=TREND_SCHEMA, orient="row")


def _why_empty(reader: Reader, scope: Scope) -> Empty:
    if LIVE_SOURCE_ID not in scope.source_ids:
        return Empty("metric_absent", _TRACE)
    last_at = queries.ever_scraped(reader)
    if last_at is None:
        empty = why_empty(reader, scope)
        if empty is not None and empty.kind == "nothing_connected":
            return empty
        return Empty("metric_absent", _NO_ENGINE)
    last = last_at.replace(tzinfo=UTC)
    if scope.start <= last < scope.end:
        return Empty("no_traffic", "No instance with these labels ran here.", last)
    return Empty("outside_range", f"An engine last answered {last:%d %b %Y %H:%M} UTC.", last)
