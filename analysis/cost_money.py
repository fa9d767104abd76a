"""GPU-hours to money and to numbers by token and request; what is not known stays unknown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from analysis.cost_lanes import KINDS, Pool
from analysis.cost_rules import CostRules
from analysis.measure import Measure

ASSUMED_SCHEMA: dict[str, Any] = {
    "pool": pl.String,
    "gpus": pl.Float64,
    "gpus_from": pl.String,
    "gpu_type": pl.String,
    "gpu_type_from": pl.String,
    "price_per_gpu_hour": pl.Float64,
    "price_from": pl.String,
}
GPU_HOURS = "GPU-hours"


@dataclass(frozen=True, slots=True)
class Used:
    """What requests of a range got.

    Attributes:
        requests: how many.
        input_tokens: None is unknown.
        output_tokens: None is unknown.
        met: requests that met the objective; None where there is none.
        met_by: its name.
    """

    requests: int
    input_tokens: float | None
    output_tokens: float | None
    met: int | None = None
    met_by: str = ""


def assumed(pools: Mapping[str, Pool], rules: CostRules, seen: Iterable[str]) -> pl.DataFrame:
    """What is taken for true of each pool, and who told: columns of `ASSUMED_SCHEMA`.

    Args:
        pools: those that were seen.
        rules: prices and cards.
        seen: types of cards that were read; where there is one, it is every pool's that says none.
    """
    types = sorted(set(seen))
    only = types[0] if len(types) == 1 else None
    rows = []
    for pool in sorted(pools.values(), key=lambda pool: pool.name):
        kind, kind_from = rules.type_of(pool.name, pool.labels, only)
        price = rules.price_of(pool.name, kind)
        rows.append((pool.name, pool.gpus, pool.gpus_from, kind or None, kind_from, *price))
    return pl.DataFrame(rows, schema=ASSUMED_SCHEMA, orient="row")


def priced(lines: pl.DataFrame, known: pl.DataFrame) -> pl.DataFrame:
    """Lines with their cost; null where the pool has no price."""
    return lines.join(known.select("pool", "price_per_gpu_hour"), on="pool", how="left").select(
        pl.all().exclude("price_per_gpu_hour"),
        cost=pl.col("gpu_hours") * pl.col("price_per_gpu_hour"),
    )


def summed(lines: pl.DataFrame, by: str) -> pl.DataFrame:
    """GPU-hours of each value of `by`, whole and by kind, and their cost.

    Cost is null where any part of it is not known: a sum of some would pass for the whole.

    Returns:
        by, gpu_hours, busy_gpu_hours … (one column a kind of `KINDS`), idle_ratio, cost; the
        largest first.
    """
    kinds = [
        pl.col("gpu_hours").filter(pl.col("kind") == kind).sum().alias(f"{kind}_gpu_hours")
        for kind in KINDS
    ]
    return (
        lines.group_by(by)
        .agg(pl.col("gpu_hours").sum(), *kinds, cost=_whole("cost"))
        .with_columns(idle_ratio=pl.col("idle_gpu_hours") / pl.col("gpu_hours"))
        .sort("gpu_hours", by, descending=[True, False], nulls_last=True)
    )


def _whole(name: str) -> pl.Expr:
    return pl.when(pl.col(name).null_count() == 0).then(pl.col(name).sum())


def by_kind(lines: pl.DataFrame) -> pl.DataFrame:
    """Where all the GPU time went: kind, gpu_hours, share_ratio, cost; in the order of `KINDS`."""
    order = pl.DataFrame({"kind": list(KINDS)})
    found = lines.group_by("kind").agg(pl.col("gpu_hours").sum(), cost=_whole("cost"))
    return order.join(found, on="kind", maintain_order="left").select(
        "kind",
        "gpu_hours",
        share_ratio=pl.col("gpu_hours") / pl.col("gpu_hours").sum(),
        cost="cost",
    )


def numbers(
    lines: pl.DataFrame, known: pl.DataFrame, used: Used, energy: pl.DataFrame, rules: CostRules
) -> dict[str, Measure]:
    """The single numbers of a range."""
    hours = float(lines["gpu_hours"].sum())
    kinds = dict(by_kind(lines).select("kind", "gpu_hours").iter_rows())
    measures = {
        "gpu_hours": Measure(hours, GPU_HOURS),
        "busy_gpu_hours": Measure(kinds.get("busy", 0.0), GPU_HOURS),
        "idle_gpu_hours": Measure(kinds.get("idle", 0.0), GPU_HOURS, why=_untold(kinds)),
        "idle_ratio": Measure(kinds.get("idle", 0.0) / hours if hours else None, "ratio",
                              why=_untold(kinds)),
    }  # fmt: skip
    cost = _cost(lines, known, rules)
    measures["cost"] = cost
    idle = _cost(lines.filter(pl.col("kind") == "idle"), known, rules)
    measures["idle_cost"] = idle
    measures |= _each(cost, used, rules)
    measures |= _energy(energy, used, rules)
    return measures


def _untold(kinds: Mapping[str, float]) -> str | None:
    if not kinds.get("untold"):
        return None
    return f"of {kinds['untold']:.3g} GPU-hours nobody tells whether they were idle"


def _cost(lines: pl.DataFrame, known: pl.DataFrame, rules: CostRules) -> Measure:
    """All of it; where a price is missing, what is known is a lower bound and no value."""
    total = lines["cost"].drop_nulls().sum()
    missing = lines.filter(pl.col("cost").is_null())["pool"].unique().sort().to_list()
    if not missing:
        return Measure(float(total), rules.currency)
    reasons = dict(known.select("pool", "price_from").iter_rows())
    why = f"no price for {', '.join(missing)}: {reasons.get(missing[0], 'not seen')}"
    return Measure(None, rules.currency, low=float(total) or None, why=why)


def _each(cost: Measure, used: Used, rules: CostRules) -> dict[str, Measure]:
    """Cost of a million tokens, of a request, of one that met its objective; idle time is in it."""
    service = rules.service
    weights = {"input": service.input_weight, "output": service.output_weight}
    tokens = {"input": used.input_tokens, "output": used.output_tokens}
    total = sum(weights[side] * (tokens[side] or 0.0) for side in weights)
    unit = rules.currency
    made = {}
    for side, weight in weights.items():
        why = cost.why or ("no token was counted" if not total else None)
        value = cost.value / total * weight * 1e6 if cost.value is not None and total else None
        made[f"cost_per_million_{side}_tokens"] = Measure(value, unit, why=why)
    for name, number, missing in (
        ("request", used.requests, "no request was recorded"),
        ("met_request", used.met, "no objective tells which requests are good"),
    ):
        why = cost.why or (None if number else missing)
        value = cost.value / number if cost.value is not None and number else None
        made[f"cost_per_{name}"] = Measure(value, unit, n=number, why=why)
    return made


def _energy(energy: pl.DataFrame, used: Used, rules: CostRules) -> dict[str, Measure]:
    if energy.is_empty():
        unknown = "no card tells its power or energy here"
        return {
            "energy_kwh": Measure(None, "kWh", why=unknown),
            "energy_cost": Measure(None, rules.currency, why=unknown),
            "joules_per_output_token": Measure(None, "J", why=unknown),
        }
    kwh = float(energy["energy_kwh"].sum())
    price, tokens = rules.energy_per_kwh, used.output_tokens
    is_priced = price is not None and bool(rules.currency)
    return {
        "energy_kwh": Measure(kwh, "kWh", why=f"of {energy.height:,} cards"),
        "energy_cost": Measure(
            kwh * price if is_priced and price is not None else None,
            rules.currency,
            why=None if is_priced else "cost.energy_per_kwh and cost.currency are not both set",
        ),
        "joules_per_output_token": Measure(
            kwh * 3.6e6 / tokens if tokens else None,
            "J",
            why=None if tokens else "no output token was counted",
        ),
    }
