"""What is the same for every policy of a comparison, and how it is handed to worker processes.

Same arrivals, scrapes, router, fleet, start-up times, limits and time limit for all. A case has a
part that policies are judged on (B) and, where they are tuned, one before it (A). What goes before
a judged part is replayed, too, so that every policy has its history; it is neither judged nor paid.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from controller.comparison.contradictions import contradictions
from controller.comparison.fleets import (
    ENTRY_ROLES,
    FleetPool,
    kinds_of,
    profile_of,
    ranks_by_cost,
    rules_of,
)
from controller.comparison.foresight import Foreseen
from controller.comparison.sizing import ladder
from controller.comparison.validity import is_valid
from controller.guards import FleetRules
from controller.observation import Limits, Objective
from controller.profile import Profile
from controller.replay import ReplaySettings
from controller.simulator.fleet import PoolPlan
from controller.simulator.workload import Workload
from controller.startup import StartupTimes
from store.errors import ControllerError

POOL = "pool"

MOST_RUNS = 20_000
LEAST_TUNED = 50
SCRAPE_SECONDS = 15.0
# Intervals of the past that are handed over: a day.
MOST_PAST = 5760
_FIRST_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of a trace.

    Attributes:
        workload: what arrives, what goes before included.
        warm_up_seconds: of its start, neither judged nor paid.
        past: requests a second of each scrape interval before its start, oldest first: what a
            controller that runs for longer has seen.
        forecasts: of the rate, where policies are handed such.
    """

    workload: Workload
    warm_up_seconds: float = 0.0
    past: tuple[float, ...] = ()
    forecasts: Foreseen | None = None

    @property
    def judged(self) -> int:
        """Requests that count."""
        return int((self.workload.arrived >= self.warm_up_seconds).sum())


@dataclass(frozen=True, slots=True)
class Case:
    """A course of load.

    Attributes:
        name: of the trace.
        tests: segment B: one for all seeds, or one for each.
        tuning: segment A, likewise; empty where nothing is tuned.
    """

    name: str
    tests: tuple[Segment, ...]
    tuning: tuple[Segment, ...] = ()

    def segment(self, part: str, number: int) -> Segment:
        """The segment that the seed of this number runs on; `part` is "test" or "tuning"."""
        found = self.tests if part == "test" else self.tuning
        return found[number % len(found)]


@dataclass(frozen=True, slots=True)
class Comparison:
    """The protocol's settings.

    Attributes:
        policies: by name; "module:factory" is one's own.
        profile: of a replica; of a fleet, the first pool's.
        objective: when a request is good, and how many should be.
        startups_seconds: each is a comparison of its own.
        seeds: of start-up times, of dice, and of whatever is drawn of a case.
        least: replicas.
        most: replicas.
        initial: replicas at the start; None: enough for the first five minutes.
        scrape_seconds: between two scrapes.
        startup_spread: start-up times lie evenly within this share of their value.
        trials: search budget of each policy, start-up time and segment; 0 tunes nothing.
        tuning_seeds: seeds that a trial is judged by.
        curve_seeds: seeds of the curves of main knobs; 0 makes none.
        run_seconds: a replay that takes longer has failed.
        patience_seconds: after which a client that waits gives up; None never.
        fleet: pools; () is one of `profile` with the limits above.
        rules: what all pools may have together; with guards, those of each pool, too.
        has_guards: whether the live guards stand behind every policy.
        has_forecasts: whether policies are handed forecasts of the request rate.
    """

    policies: tuple[str, ...]
    profile: Profile
    objective: Objective = field(default_factory=Objective)
    startups_seconds: tuple[float, ...] = (60.0,)
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    least: int = 1
    most: int = 40
    initial: int | None = None
    scrape_seconds: float = SCRAPE_SECONDS
    startup_spread: float = 0.1
    trials: int = 0
    tuning_seeds: int = 2
    curve_seeds: int = 0
    run_seconds: float = 300.0
    patience_seconds: float | None = None
    fleet: tuple[FleetPool, ...] = ()
    rules: FleetRules = field(default_factory=FleetRules)
    has_guards: bool = False
    has_forecasts: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot be compared.

        Raises:
            ControllerError: naming what, and what to do.
        """
        for is_wrong, text, hint in contradictions(self):
            if is_wrong:
                raise ControllerError(text, hint=hint)

    @property
    def is_validated(self) -> bool:
        """Whether all profiles were compared with real rows, and are near enough."""
        return all(is_valid(pool.profile) for pool in self.pools)

    @property
    def pools(self) -> tuple[FleetPool, ...]:
        """Of the fleet, at least one."""
        alone = FleetPool(POOL, self.profile, "whole", self.least, self.most, self.initial)
        return self.fleet or (alone,)

    @property
    def ranks_by_cost(self) -> bool:
        """Whether fleets are compared by money: their cards differ, and have prices."""
        return ranks_by_cost(self.pools)

    def plans(self, startup_seconds: float, workload: Workload) -> list[PoolPlan]:
        """The fleet.

        Args:
            startup_seconds: of pools that have no start-up times of their own.
            workload: that it serves; by its sizes replicas of several kinds are weighed.
        """
        startup = StartupTimes.about(startup_seconds, self.startup_spread)
        patience = math.inf if self.patience_seconds is None else self.patience_seconds
        pairs = _pairs(self.pools)
        doors = sum(pool.role in ENTRY_ROLES for pool in self.pools)
        weights = self.capacities(workload) if doors > 1 else {}
        return [
            PoolPlan(
                pool.name, pool.profile, pool.most, pool.startup or startup, pool.role,
                pairs.get(pool.name, ""), patience_seconds=patience,
                is_entry=pool.role in ENTRY_ROLES, weight=weights.get(pool.name, 1.0),
            )
            for pool in self.pools
        ]  # fmt: skip

    def settings(self, segment: Segment) -> ReplaySettings:
        """What a replay of the segment shares with all others."""
        own = {pool.name: pool.guarded_by for pool in self.pools}
        return ReplaySettings(
            self.objective,
            {pool.name: Limits(pool.least, pool.most) for pool in self.pools},
            self.first_replicas(segment.workload),
            self.scrape_seconds,
            segment.warm_up_seconds,
            replace(self.rules, pools=own),
            has_guards=self.has_guards,
        )

    def first_replicas(self, workload: Workload) -> dict[str, int]:
        """Replicas at the start: as told, or enough for the first minutes."""
        told = {pool.name: pool.initial for pool in self.pools if pool.initial is not None}
        if len(told) == len(self.pools):
            return told
        came = workload.between(0.0, _FIRST_SECONDS)
        rate = len(came) / min(_FIRST_SECONDS, max(workload.seconds, 1.0))
        first = came if len(came) else workload
        if not self.fleet:
            need = math.ceil(rate / self.capacity(first))
            return {POOL: min(max(need, self.least, 1), self.most)}
        self.capacities(first)
        rungs = ladder(kinds_of(self.pools, self.objective, sizes_of(first)))
        return {**rungs.serving(rate), **told}

    def capacity(self, workload: Workload) -> float:
        """Requests a second that one replica of the first pool serves inside the objective.

        Raises:
            ControllerError: not even one.
        """
        return self.capacities(workload)[self.pools[0].name]

    def capacities(self, workload: Workload) -> dict[str, float]:
        """Requests a second that one replica of each pool serves inside the objective.

        Raises:
            ControllerError: not even one.
        """
        sizes = sizes_of(workload)
        kinds = kinds_of(self.pools, self.objective, sizes)
        for kind, pool in zip(kinds, self.pools, strict=True):
            if kind.per_second <= 1e-6:
                where = f", pool {pool.name}," if self.fleet else ""
                raise ControllerError(
                    f"a replica of {pool.profile.name}{where} cannot serve such requests inside the"
                    f" objective ({sizes[0]:.0f} prompt and {sizes[1]:.0f} output tokens on"
                    " average)",
                    hint="give a laxer objective, or another profile",
                )
        return {kind.name: kind.per_second for kind in kinds}

    def document(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)

    @classmethod
    def of_document(cls, told: Mapping[str, Any]) -> Comparison:
        """What `document` made."""
        given = dict(told)
        for name in ("policies", "startups_seconds", "seeds"):
            given[name] = tuple(given[name])
        given["profile"] = profile_of(given["profile"])
        given["objective"] = Objective(**given["objective"])
        given["fleet"] = tuple(FleetPool.of_document(one) for one in given["fleet"])
        given["rules"] = rules_of(given["rules"])
        return cls(**given)


def sizes_of(workload: Workload) -> tuple[float, float]:
    """Mean prompt and output tokens of a request."""
    return float(workload.prompt.mean()), float(workload.output.mean())


def _pairs(pools: Sequence[FleetPool]) -> dict[str, str]:
    """Where each prefill pool sends to."""
    of = {role: [one.name for one in pools if one.role == role] for role in ("prefill", "decode")}
    return dict(zip(of["prefill"], of["decode"], strict=False))


def rates_of(workload: Workload, seconds: float) -> tuple[float, ...]:
    """Requests a second of whole scrape intervals, the last of which ends at `seconds`.

    Args:
        workload: from second 0.
        seconds: the end.
    """
    count = min(int(seconds / SCRAPE_SECONDS), MOST_PAST)
    edges = seconds - SCRAPE_SECONDS * np.arange(count, -1, -1)
    counts = np.histogram(workload.arrived, edges)[0] if count else np.zeros(0)
    return tuple(float(f"{one / SCRAPE_SECONDS:.4g}") for one in counts)


def split(name: str, workload: Workload, share: float, history_seconds: float) -> Case:
    """A case of one trace: what comes before a point of time is A, what comes after is B.

    Args:
        name: of the trace.
        workload: the whole.
        share: of the time that is A; 0 judges everything but the history.
        history_seconds: that goes before B unjudged, where there is that much.

    Raises:
        ControllerError: nothing is left to judge.
    """
    whole = workload.seconds
    at = whole * share if share else min(history_seconds, whole * 0.25)
    start = max(at - history_seconds, 0.0)
    past = rates_of(workload.between(0.0, start), start)
    test = Segment(workload.between(start, math.inf), at - start, past)
    if not test.judged:
        raise ControllerError(
            f"{name}: {len(workload):,} requests in {whole:.0f} s leave nothing to judge",
            hint="take a longer range",
        )
    if not share:
        return Case(name, (test,))
    before = workload.between(0.0, at)
    if len(before) < LEAST_TUNED:
        raise ControllerError(
            f"{name}: the {len(before)} requests of its first {at:.0f} s are too few to tune on",
            hint=f"at least {LEAST_TUNED} are needed: take a longer range, or leave --tune out",
        )
    return Case(name, (test,), (Segment(before),))
