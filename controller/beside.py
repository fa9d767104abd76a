"""A candidate beside the policy that decides, over the same time: replicas, cost, what is expected.

Replicas are as if every target had been applied at once. The share of requests inside the objective
is that of a model (`controller.policies.fluid`) on the rates that were recorded: the same model for
both, so that what it gets wrong it gets wrong for both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import polars as pl

from controller.courses import LIVE, MODEL, SHADOW, THERE, Course, attained
from controller.observation import Objective, PoolView
from store.queries import candidates as queries


class Price(NamedTuple):
    """What a replica takes; None is unknown.

    Attributes:
        gpus: cards.
        per_hour: cost.
    """

    gpus: int | None = None
    per_hour: float | None = None


def compared(
    rows: pl.DataFrame,
    views: Mapping[str, PoolView],
    objective: Objective,
    prices: Mapping[str, Price] | None = None,
) -> dict[str, Any]:
    """Both sides over the time of some rows.

    Args:
        rows: of `store.queries.candidates.course`, at least one.
        views: the pools as they were last seen, for profiles and start-up times.
        objective: of their requests.
        prices: of a replica of each pool; None takes those of the profiles.

    Returns:
        start_at, end_at (naive UTC), seconds (that were watched), steps, pools (each with `live`,
        `shadow`, `there`: replica_hours, gpu_hours, cost, predicted_attainment_ratio; unknown is
        None, and `why` says why), totals of both sides, differing_ratio (share of the steps),
        largest_difference_replicas (shadow less live) and largest_difference_at, model, course.
    """
    parts = {str(name): part for (name,), part in rows.group_by("pool", maintain_order=True)}
    courses = {name: Course.of(part) for name, part in parts.items()}
    several = sum(1 for name in parts if name in views and views[name].role == "whole") > 1
    known = {name: _price(views.get(name)) for name in parts} | dict(prices or {})
    shares = {
        name: attained(part, courses[name], views.get(name), objective, is_split=several)
        for name, part in parts.items()
    }
    pools = [
        _pool(name, part, courses[name], known[name], shares[name]) for name, part in parts.items()
    ]
    differs = rows.filter(pl.col("shadow_replicas") != pl.col("live_replicas"))
    first, last = rows["at"].min(), rows["at"].max()
    longest = max(courses.values(), key=lambda one: float(one.seconds.sum()))
    return {
        "start_at": first,
        "end_at": last,
        "seconds": float(longest.seconds.sum()),
        "steps": max(len(one.at) for one in courses.values()),
        "pools": pools,
        **{side: _total(pools, side) for side in (LIVE, SHADOW, THERE)},
        "differing_ratio": differs.height / rows.height,
        **_largest(differs),
        "model": MODEL,
        "course": queries.thinned(rows).to_dicts(),
    }


def _price(view: PoolView | None) -> Price:
    profile = view.profile if view else None
    return Price(profile.gpus, profile.price_per_hour) if profile else Price()


def _pool(
    name: str,
    rows: pl.DataFrame,
    course: Course,
    price: Price,
    attained: tuple[Mapping[str, float], str],
) -> dict[str, Any]:
    differs = rows.filter(pl.col("shadow_replicas") != pl.col("live_replicas"))
    shares, why = attained
    return {
        "pool": name,
        **{
            side: {
                "replica_hours": (hours := course.hours(side)),
                "gpu_hours": _times(hours, price.gpus),
                "cost": _times(hours, price.per_hour),
                "predicted_attainment_ratio": shares.get(side),
            }
            for side in (LIVE, SHADOW, THERE)
        },
        "differing_ratio": differs.height / rows.height,
        **_largest(differs),
        "why": why,
    }


def _times(value: float | None, factor: float | None) -> float | None:
    return None if value is None or factor is None else value * factor


def _total(pools: Sequence[Mapping[str, Any]], side: str) -> dict[str, float | None]:
    """Of all pools; unknown where it is of one."""
    made: dict[str, float | None] = {}
    for name in ("replica_hours", "gpu_hours", "cost"):
        values = [pool[side][name] for pool in pools]
        made[name] = None if None in values else sum(values)
    alone = pools[0][side]["predicted_attainment_ratio"] if len(pools) == 1 else None
    return {**made, "predicted_attainment_ratio": alone}


def _largest(differs: pl.DataFrame) -> dict[str, Any]:
    if differs.is_empty():
        return {"largest_difference_replicas": 0, "largest_difference_at": None}
    by = pl.col("shadow_replicas") - pl.col("live_replicas")
    row = differs.select("at", by=by).sort(pl.col("by").abs(), descending=True).row(0, named=True)
    return {"largest_difference_replicas": int(row["by"]), "largest_difference_at": row["at"]}


def sentence(told: Mapping[str, Any], live: str, shadow: str) -> str:
    """What came of it, for people.

    Args:
        told: as `compared` gives it.
        live: name of the policy that decides.
        shadow: name of the candidate's.
    """
    sides = told[LIVE], told[SHADOW]
    hours = [side["replica_hours"] for side in sides]
    less = "" if not hours[0] else f" ({hours[1] / hours[0] - 1:+.0%})"
    text = (
        f"Over {lasted(told['seconds'])} {shadow} would have had {hours[1]:.3g}"
        f" replica-hours{less}, {live} {hours[0]:.3g}; they differ at"
        f" {told['differing_ratio']:.0%} of the steps, by"
        f" {abs(told['largest_difference_replicas'])} at most."
    )
    attained = [side["predicted_attainment_ratio"] for side in sides]
    if None in attained:
        return text
    return (
        f"{text} Expected inside the objective, by a model: {attained[1]:.1%}, {attained[0]:.1%}."
    )


def lasted(seconds: float) -> str:
    """A length of time, for people."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
