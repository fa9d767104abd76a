"""A candidate beside the policy that decides, over the same time: replicas, cost, what is expected.

Replicas are as if every target had been applied at once. The share of requests inside the objective
is that of a model (`controller.policies.fluid`) on the rates that were recorded: the same model for
both, so that what it gets wrong it gets wrong for both.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl

from controller.capacity import replica
from controller.numbers import Floats
from controller.observation import Objective, PoolView
from controller.policies.fluid import SUBSTEPS, missed, ready_of

MODEL = (
    "a fluid model of the replicas on the recorded rates, both policies alike; a model, not"
    " what came"
)
# Longer than so many steps nobody watched: the time counts for neither.
GAP_STEPS, LEAST_GAP_SECONDS = 4.0, 60.0
# Of the time, for which the rate may be unknown.
MOST_UNKNOWN = 0.1
MOST_BINS, MOST_POINTS = 50_000, 300
LIVE, SHADOW, THERE = "live", "shadow", "there"


@dataclass(frozen=True, slots=True)
class Course:
    """One pool's replicas by step.

    Attributes:
        at: seconds from the first step.
        seconds: that each step stands for.
        replicas: of each side.
    """

    at: Floats
    seconds: Floats
    replicas: Mapping[str, Floats]

    @classmethod
    def of(cls, rows: pl.DataFrame) -> Course:
        """Of rows of one pool, by time."""
        first = rows["at"][0]
        at = (rows["at"] - first).dt.total_microseconds().to_numpy() / 1e6
        gaps = np.diff(at)
        usual = float(np.median(gaps)) if len(gaps) else 0.0
        most = max(GAP_STEPS * usual, LEAST_GAP_SECONDS)
        seconds = np.append(np.where(gaps > most, usual, gaps), usual)
        replicas = {
            side: rows[f"{side}_replicas"].cast(pl.Float64).to_numpy()
            for side in (LIVE, SHADOW, THERE)
        }
        return cls(at, seconds, replicas)

    def hours(self, side: str) -> float | None:
        """Replica-hours of one side; None where nobody told the replicas."""
        total = float((self.replicas[side] * self.seconds).sum()) / 3600
        return total if math.isfinite(total) else None


def compared(
    rows: pl.DataFrame, views: Mapping[str, PoolView], objective: Objective
) -> dict[str, Any]:
    """Both sides over the time of some rows.

    Args:
        rows: of `store.queries.candidates.course`, at least one.
        views: the pools as they were last seen, for profiles, prices and start-up times.
        objective: of their requests.

    Returns:
        start_at, end_at (naive UTC), seconds (that were watched), steps, pools (each with `live`,
        `shadow`, `there`: replica_hours, gpu_hours, cost, predicted_attainment_ratio; unknown is
        None, and `why` says why), totals of both sides, differing_ratio (share of the steps),
        largest_difference_replicas (shadow less live) and largest_difference_at, model, course.
    """
    parts = {str(name): part for (name,), part in rows.group_by("pool", maintain_order=True)}
    courses = {name: Course.of(part) for name, part in parts.items()}
    several = sum(1 for name in parts if name in views and views[name].role == "whole") > 1
    pools = [
        _pool(name, part, courses[name], views.get(name), objective, is_split=several)
        for name, part in parts.items()
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
        "course": _drawn(rows),
    }


def _pool(
    name: str,
    rows: pl.DataFrame,
    course: Course,
    view: PoolView | None,
    objective: Objective,
    *,
    is_split: bool,
) -> dict[str, Any]:
    profile = view.profile if view else None
    price = profile.price_per_hour if profile else None
    hours = {side: course.hours(side) for side in (LIVE, SHADOW, THERE)}
    differs = rows.filter(pl.col("shadow_replicas") != pl.col("live_replicas"))
    attained, why = _attained(rows, course, view, objective, is_split=is_split)
    return {
        "pool": name,
        **{
            side: {
                "replica_hours": value,
                "gpu_hours": _times(value, profile.gpus if profile else None),
                "cost": _times(value, price),
                "predicted_attainment_ratio": attained.get(side),
            }
            for side, value in hours.items()
        },
        "differing_ratio": differs.height / rows.height,
        **_largest(differs),
        "profile": profile.name if profile else None,
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


def _attained(
    rows: pl.DataFrame,
    course: Course,
    view: PoolView | None,
    objective: Objective,
    *,
    is_split: bool,
) -> tuple[dict[str, float], str]:
    """Share of the requests inside the objective, by side; nothing, and why, where unknown."""
    why = _unknown(rows, view, objective, is_split=is_split)
    if why or view is None or view.profile is None or view.startup is None:
        return {}, why
    sizes = _sizes(rows)
    if sizes is None:
        return {}, "how large requests are is not known"
    one = replica(view.profile, objective, *sizes, view.role)
    bin_seconds, chosen = _bins(course)
    rates = _filled(rows["requests_per_second"].to_numpy())[chosen]
    arrived = float(rates.sum()) * bin_seconds
    if arrived <= 0:
        return {}, "no requests came"
    starts = round(view.startup.quantile(0.5) / bin_seconds * SUBSTEPS)
    attained = {}
    for side in (LIVE, SHADOW):
        ready = ready_of(course.replicas[side][chosen], starts)
        late = float(missed(one, rates, ready, bin_seconds, 1, math.inf).sum())
        attained[side] = min(max(1 - late / arrived, 0.0), 1.0)
    return attained, ""


def _unknown(
    rows: pl.DataFrame, view: PoolView | None, objective: Objective, *, is_split: bool
) -> str:
    """Why attainment cannot be predicted; "" where it can."""
    if view is None or view.profile is None:
        return "the pool has no profile"
    if objective.ttft_seconds is None and objective.tpot_seconds is None:
        return "the objective has no bound on latencies"
    if is_split:
        return "how requests are shared among several pools depends on their replicas"
    if view.startup is None:
        return "how long a start takes is not known"
    unknown = rows["requests_per_second"].null_count() / rows.height
    if unknown > MOST_UNKNOWN:
        return f"the rate of requests is unknown for {unknown:.0%} of the time"
    return "" if rows.height > 1 else "it was watched for one step alone"


def _sizes(rows: pl.DataFrame) -> tuple[float, float] | None:
    """Mean prompt and output tokens, weighted by the rate."""
    known = rows.drop_nulls(["requests_per_second", "input_tokens", "output_tokens"])
    weight = known["requests_per_second"].to_numpy()
    if not len(weight) or not float(weight.sum()):
        return None
    values = (known[name].to_numpy() for name in ("input_tokens", "output_tokens"))
    inputs, outputs = (float(np.average(value, weights=weight)) for value in values)
    return inputs, outputs


def _bins(course: Course) -> tuple[float, np.ndarray]:
    """Bins of one width over the watched time, and the step that each belongs to."""
    ends = np.cumsum(course.seconds)
    width = max(float(np.median(course.seconds)), float(ends[-1]) / MOST_BINS, 0.1)
    middles = np.arange(width / 2, ends[-1], width)
    return width, np.minimum(np.searchsorted(ends, middles, side="right"), len(ends) - 1)


def _filled(values: np.ndarray) -> Floats:
    """Single holes are what was before them."""
    made = np.asarray(values, dtype=np.float64)
    known = np.flatnonzero(np.isfinite(made))
    filled: Floats = np.interp(np.arange(len(made)), known, made[known])
    return filled


def _drawn(rows: pl.DataFrame) -> list[dict[str, Any]]:
    """For a picture: the last of each of at most so many parts of the time."""
    first, last = rows["at"].min(), rows["at"].max()
    assert isinstance(first, datetime)  # noqa: S101 - there is a row
    assert isinstance(last, datetime)  # noqa: S101
    width = max((last - first).total_seconds() / MOST_POINTS, 1e-3)
    part = ((pl.col("at") - first).dt.total_microseconds() / 1e6 / width).floor()
    names = ("shadow_replicas", "live_replicas", "there_replicas", "requests_per_second")
    return (
        rows.with_columns(part=part)
        .group_by("pool", "part", maintain_order=True)
        .agg(pl.col("at", *names).last())
        .drop("part")
        .sort("pool", "at")
        .to_dicts()
    )


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
        f"Over {told['seconds'] / 3600:.1f} h {shadow} would have had {hours[1]:.1f}"
        f" replica-hours{less}, {live} {hours[0]:.1f}; they differ at"
        f" {told['differing_ratio']:.0%} of the steps, by"
        f" {abs(told['largest_difference_replicas'])} at most."
    )
    attained = [side["predicted_attainment_ratio"] for side in sides]
    if None in attained:
        return text
    return (
        f"{text} Expected inside the objective, by a model: {attained[1]:.1%}, {attained[0]:.1%}."
    )
