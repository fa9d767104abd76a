"""Training of the learned policy on replayed traces, and the back-test that lets it run live.

Every course is replayed under policies that behave differently, so that full and empty queues are
both seen. At each decision the row that `controller.policies.learned_features` makes is kept; its
label is the rate that had to be served until a replica asked for then would have been ready, with
what waited.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import polars as pl

from controller import observation as seen
from controller.capacity import requests_per_second
from controller.numbers import Floats
from controller.observation import Observation, PoolView, Reading
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
# Less than this part of the present rate is no need to learn.
MOST_DROP = 20.0
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
        if (
            at - self._rows_at >= PERIOD_SECONDS
            and told(pool, seen.REQUESTS_PER_SECOND) is not None
        ):
            row = _row(self.workload, self._past, pool, at, self.hour_offset_seconds)
            if row is not None:
                self.rows.append(row)
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


def rows_of_arrivals(
    courses: Sequence[Course], startups_seconds: Sequence[float], seed: int = 0
) -> pl.DataFrame:
    """Rows without a fleet: what scrapes of the arrivals alone would have told, and empty queues.

    A hundred times as fast as `rows_of`, so that many courses can be learnt from.
    """
    random = np.random.default_rng(seed)
    frames = []
    for course in courses:
        every = course.settings.scrape_seconds
        edges = np.arange(0.0, course.workload.seconds, every)
        rates = np.diff(np.searchsorted(course.workload.arrived, edges)) / every
        hour = course.hour_offset_seconds
        offset = float(random.uniform(0, 86_400)) if hour is None else hour
        starts = [course.plans(startup)[0].startup for startup in startups_seconds]
        rows: list[list[list[float]]] = [[] for _ in starts]
        past: list[list[float]] = []
        for at, rate in zip(edges[1:].tolist(), rates.tolist(), strict=True):
            limits = course.settings.limits[POOL]
            pool = PoolView(POOL, 1, 1, 0, 0, limits, {seen.REQUESTS_PER_SECOND: Reading(rate)})
            past = remembered_rates(past, pool, at)
            for mine, start in zip(rows, starts, strict=True):
                row = _row(course.workload, past, replace(pool, startup=start), at, offset)
                mine += [] if row is None else [row]
        for mine, seconds in zip(rows, startups_seconds, strict=True):
            frames.append(_frame(mine, f"{course.name}/{seconds:g}/arrivals"))
    return pl.concat(frames) if frames else _frame([], "")


def _row(
    workload: Workload, past: Sequence[Sequence[float]], pool: PoolView, at: float, offset: float
) -> list[float] | None:
    """Features, label and time; None where too little is known."""
    row = features(past, pool, at, PERIOD_SECONDS, offset)
    if row is None:
        return None
    start = pool.startup.quantile(START_LEVEL) if pool.startup else 0.0
    needed = highest_rate(workload, at, at + start + PERIOD_SECONDS)
    needed += queue_of(pool) / DRAIN_SECONDS
    now = present_rate(past, at)
    return [*row.tolist(), math.log(max(needed, now / MOST_DROP) / now), at]


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
    arrivals: Sequence[Course] = (),
) -> dict[str, Any]:
    """Weights of the learned policy, without a record of a back-test.

    Args:
        courses: that are replayed on a fleet.
        startups_seconds: each course with each of them.
        settings: of the training.
        arrivals: more courses, of which the arrivals alone are looked at.
    """
    how = settings or Settings()
    rows = pl.concat(
        [
            rows_of(courses, startups_seconds, how.seed),
            rows_of_arrivals(arrivals, startups_seconds, how.seed),
        ]
    )
    made = fit(rows, FEATURES, how)
    made["trained"]["courses"] = [course.name for course in courses]
    made["trained"]["arrivals"] = [course.name for course in arrivals]
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
    fewer; and where it keeps the objective and the default does not, for no more than a fixed fleet
    that serves the peak.
    """
    runs: dict[str, list[Outcome]] = {"learned": [], rival: [], "peak": [], "best": []}
    policy = Learned(network=read_network(weights, "the weights"))
    for course in courses:
        each: dict[str, Policy] = {
            "learned": policy,
            rival: make(rival),
            "peak": make("static", replicas=_peak(course)),
            "best": Clairvoyant(course.workload),
        }
        for startup in startups_seconds:
            for seed in seeds:
                for name, one in each.items():
                    plans = course.plans(startup)
                    runs[name].append(replay(one, course.workload, plans, course.settings, seed))
    target = courses[0].settings.objective.attainment_ratio
    short = {name: _shortfall(made, target) for name, made in runs.items()}
    hours = {name: float(np.mean([run.gpu_hours for run in made])) for name, made in runs.items()}
    return {
        **weights,
        "gate": {
            "trace": ", ".join(course.name for course in courses),
            "startups_seconds": list(startups_seconds),
            "seeds": list(seeds),
            "default": rival,
            "shortfall": round(short["learned"], 6),
            "default_shortfall": round(short[rival], 6),
            "regret_gpu_hours": round(hours["learned"] - hours["best"], 4),
            "default_regret_gpu_hours": round(hours[rival] - hours["best"], 4),
            "peak_regret_gpu_hours": round(hours["peak"] - hours["best"], 4),
            "beats": is_better(
                (short["learned"], hours["learned"]), (short[rival], hours[rival]), hours["peak"]
            ),
        },
    }


def is_better(mine: tuple[float, float], other: tuple[float, float], peak_hours: float) -> bool:
    """Whether (shortfall of the objective, GPU-hours) beats another, see `gated`."""
    nearer = mine[0] < other[0] - SAME_ATTAINMENT
    if nearer and mine[1] <= other[1]:
        return True
    if mine[0] <= other[0] + SAME_ATTAINMENT and mine[1] < other[1]:
        return True
    return nearer and mine[0] <= SAME_ATTAINMENT and mine[1] <= peak_hours


def _peak(course: Course) -> int:
    """Replicas that serve the fullest 15 s."""
    work = course.workload
    capacity = requests_per_second(
        course.profile, course.settings.objective, float(work.prompt.mean()),
        float(work.output.mean()),
    )  # fmt: skip
    wanted = math.ceil(highest_rate(work, 0.0, work.seconds) / max(capacity, 1e-9))
    return min(max(wanted, 1), course.settings.limits[POOL].most)


def _shortfall(runs: Sequence[Outcome], target: float) -> float:
    """Mean of what is missing to the objective."""
    return float(np.mean([max(target - run.attainment_ratio, 0.0) for run in runs]))
