"""A recorded course of replicas and rates: its hours, and what a model expects of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from controller.capacity import most_per_second, replica
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
MOST_BINS = 50_000
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


def attained(
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
    capacity = most_per_second(one)
    bin_seconds, chosen = _bins(course)
    rates = _filled(rows["requests_per_second"].to_numpy())[chosen]
    arrived = float(rates.sum()) * bin_seconds
    if arrived <= 0:
        return {}, "no requests came"
    starts = round(view.startup.quantile(0.5) / bin_seconds * SUBSTEPS)
    found = {}
    for side in (LIVE, SHADOW):
        ready = ready_of(course.replicas[side][chosen], starts)
        late = float(missed(one, capacity, rates, ready, bin_seconds, 1, math.inf).sum())
        found[side] = min(max(1 - late / arrived, 0.0), 1.0)
    return found, ""


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
