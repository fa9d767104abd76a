"""Training of the learned policy on replayed traces, and the back-test that lets it run live.

Every course is replayed under policies that behave differently, so that full and empty queues are
both seen. At each decision the row that `controller.policies.learned_features` makes is kept; its
label is the rate that had to be served until a replica asked for then would have been ready, with
what waited.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from controller import observation as seen
from controller.numbers import Floats
from controller.observation import Observation
from controller.policies.clairvoyant import Clairvoyant
from controller.policies.learned import PERIOD_SECONDS, Learned
from controller.policies.learned_features import (
    FEATURES,
    features,
    present_rate,
    queue_of,
    remembered_rates,
)
from controller.policies.learned_network import read_network
from controller.policies.parts import told
from controller.policies.registry import make
from controller.policy import Memory, Policy, PolicySpec, Proposal
from controller.profile import Profile
from controller.replay import Outcome, ReplaySettings, replay
from controller.simulator.fleet import PoolPlan
from controller.simulator.workload import Workload
from controller.startup import StartupTimes
from predictors.hindsight import LABEL, Settings, fit

# What waits should be gone so soon after more replicas are there.
DRAIN_SECONDS = 60.0
BIN_SECONDS = 5.0
START_LEVEL = 0.9
# Attainments nearer than this are the same.
SAME_ATTAINMENT = 0.001
POOL = "pool"


@dataclass(frozen=True, slots=True)
class Course:
    """A trace to replay.

    Attributes:
        name: of the trace.
        workload: its requests.
        profile: of a replica.
        settings: objective, limits and first replicas of the pool `POOL`.
        hour_offset_seconds: of its start in the day; None: it has no clock, any hour is drawn.
    """

    name: str
    workload: Workload
    profile: Profile
    settings: ReplaySettings
    hour_offset_seconds: float | None = None

    def plans(self, startup_seconds: float) -> tuple[PoolPlan, ...]:
        """One pool whose replicas take so long to start, give or take a tenth."""
        most = self.settings.limits[POOL].most
        startup = StartupTimes.about(startup_seconds)
        return (PoolPlan(POOL, self.profile, most, startup),)


@dataclass(slots=True)
class Recorder:
    """A policy that is watched: what it was shown becomes rows.

    Args:
        policy: decides.
        workload: that is replayed.
        hour_offset_seconds: of the start in the day.
    """

    policy: Policy
    workload: Workload
    hour_offset_seconds: float = 0.0
    rows: list[list[float]] = field(default_factory=list)
    _past: list[list[float]] = field(default_factory=list)
    _rows_at: float = -math.inf

    @property
    def spec(self) -> PolicySpec:
        """Of the policy."""
        return self.policy.spec

    def decide(self, observation: Observation, memory: Memory) -> tuple[Proposal, Memory]:
        """What the policy decides; a row besides, every `PERIOD_SECONDS`."""
        at, pool = observation.at, observation.pool(POOL)
        self._past = remembered_rates(self._past, pool, at)
        if at - self._rows_at >= PERIOD_SECONDS:
            row = features(self._past, pool, at, PERIOD_SECONDS, self.hour_offset_seconds)
            if row is not None and told(pool, seen.REQUESTS_PER_SECOND) is not None:
                start = pool.startup.quantile(START_LEVEL) if pool.startup else 0.0
                needed = highest_rate(self.workload, at, at + start + PERIOD_SECONDS)
                needed += queue_of(pool) / DRAIN_SECONDS
                now = present_rate(self._past, at)
                label = math.log(max(needed, now / 20) / now)
                self.rows.append([*row.tolist(), label, at])
                self._rows_at = at
        return self.policy.decide(observation, memory)


def highest_rate(workload: Workload, start: float, end: float) -> float:
    """Requests a second in the fullest 15 s of [start, end]."""
    arrived: Floats = workload.arrived
    edges = np.arange(max(start, 0.0), end + 3 * BIN_SECONDS, BIN_SECONDS)
    low, high = np.searchsorted(arrived, [edges[0], edges[-1]])
    counts = np.histogram(arrived[low:high], edges)[0]
    smooth = np.convolve(counts, np.ones(3) / 3, mode="valid")
    return float(smooth.max(initial=0.0)) / BIN_SECONDS


def rows_of(
    courses: Sequence[Course], startups_seconds: Sequence[float], seed: int = 0
) -> pl.DataFrame:
    """Rows to learn from: each course and start-up time under policies that differ."""
    random = np.random.default_rng(seed)
    frames = []
    for course in courses:
        for startup in startups_seconds:
            for policy in _behaviours(course):
                hour = course.hour_offset_seconds
                offset = float(random.uniform(0, 86_400)) if hour is None else hour
                watched = Recorder(policy, course.workload, offset)
                replay(watched, course.workload, course.plans(startup), course.settings, seed)
                frames.append(_frame(watched.rows, f"{course.name}/{startup:g}/{policy.spec.name}"))
    return pl.concat(frames) if frames else _frame([], "")


def _behaviours(course: Course) -> tuple[Policy, ...]:
    return (
        Clairvoyant(course.workload),
        make("kubernetes-hpa", target_ongoing=12.0),
    )


def _frame(rows: list[list[float]], course: str) -> pl.DataFrame:
    names = [*FEATURES, LABEL, "at"]
    made = pl.DataFrame(rows, schema=dict.fromkeys(names, pl.Float64), orient="row")
    return made.with_columns(pl.lit(course).alias("course"))


def train(
    courses: Sequence[Course],
    startups_seconds: Sequence[float],
    settings: Settings | None = None,
) -> dict[str, Any]:
    """Weights of the learned policy, without a record of a back-test."""
    how = settings or Settings()
    made = fit(rows_of(courses, startups_seconds, how.seed), FEATURES, how)
    made["trained"]["courses"] = [course.name for course in courses]
    made["trained"]["startups_seconds"] = list(startups_seconds)
    return made


def gated(
    weights: Mapping[str, Any],
    courses: Sequence[Course],
    startups_seconds: Sequence[float],
    seeds: Sequence[int] = (0,),
    rival: str = "risk",
) -> dict[str, Any]:
    """The weights with the record of a back-test against the default, on courses not learnt from.

    It beats the default if it comes nearer to the objective for no more GPU-hours, or as near for
    fewer.
    """
    policy = Learned(network=read_network(weights, "the weights"))
    mine: list[Outcome] = []
    theirs: list[Outcome] = []
    best: list[Outcome] = []
    for course in courses:
        for startup in startups_seconds:
            for seed in seeds:
                plans = course.plans(startup)
                for runs, one in (
                    (mine, policy),
                    (theirs, make(rival)),
                    (best, Clairvoyant(course.workload)),
                ):
                    runs.append(replay(one, course.workload, plans, course.settings, seed))
    target = courses[0].settings.objective.attainment_ratio
    short, their_short = _shortfall(mine, target), _shortfall(theirs, target)
    hours, their_hours, best_hours = (_hours(runs) for runs in (mine, theirs, best))
    nearer, same = short < their_short - SAME_ATTAINMENT, short <= their_short + SAME_ATTAINMENT
    beats = (nearer and hours <= their_hours) or (same and hours < their_hours)
    return {
        **weights,
        "gate": {
            "trace": ", ".join(course.name for course in courses),
            "startups_seconds": list(startups_seconds),
            "seeds": list(seeds),
            "default": rival,
            "shortfall": round(short, 6),
            "default_shortfall": round(their_short, 6),
            "regret_gpu_hours": round(hours - best_hours, 4),
            "default_regret_gpu_hours": round(their_hours - best_hours, 4),
            "beats": bool(beats),
        },
    }


def _shortfall(runs: Sequence[Outcome], target: float) -> float:
    """Mean of what is missing to the objective."""
    return float(np.mean([max(target - run.attainment_ratio, 0.0) for run in runs]))


def _hours(runs: Sequence[Outcome]) -> float:
    return float(np.mean([run.gpu_hours for run in runs]))
