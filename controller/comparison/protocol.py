"""What is the same for every policy of a comparison, and how it is handed to worker processes.

Same arrivals, scrapes, router, replica, start-up times, limits and time limit for all. A case has a
part that policies are judged on (B) and, where they are tuned, one before it (A). What goes before
a judged part is replayed, too, so that every policy has its history; it is neither judged nor paid.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from controller.capacity import requests_per_second
from controller.comparison.validity import is_valid
from controller.observation import Limits, Objective
from controller.profile import FitError, Profile, StepTimes
from controller.replay import ReplaySettings
from controller.simulator.fleet import PoolPlan
from controller.simulator.workload import Workload
from controller.startup import StartupTimes
from store.errors import ControllerError

POOL = "pool"
LEAST_SEEDS, FAIR_SEEDS = 2, 5
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
    """

    workload: Workload
    warm_up_seconds: float = 0.0
    past: tuple[float, ...] = ()

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
        profile: of a replica.
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

    def __post_init__(self) -> None:
        """Refuse what cannot be compared.

        Raises:
            ControllerError: naming what, and what to do.
        """
        for is_wrong, text, hint in _complaints(self):
            if is_wrong:
                raise ControllerError(text, hint=hint)

    @property
    def is_validated(self) -> bool:
        """Whether the profile was compared with real rows, and is near enough."""
        return is_valid(self.profile)

    def plans(self, startup_seconds: float) -> list[PoolPlan]:
        """The fleet."""
        startup = StartupTimes.about(startup_seconds, self.startup_spread)
        patience = math.inf if self.patience_seconds is None else self.patience_seconds
        return [PoolPlan(POOL, self.profile, self.most, startup, patience_seconds=patience)]

    def settings(self, segment: Segment) -> ReplaySettings:
        """What a replay of the segment shares with all others."""
        return ReplaySettings(
            self.objective,
            {POOL: Limits(self.least, self.most)},
            {POOL: self.first_replicas(segment.workload)},
            self.scrape_seconds,
            segment.warm_up_seconds,
        )

    def first_replicas(self, workload: Workload) -> int:
        """Replicas at the start: as told, or enough for the first minutes."""
        if self.initial is not None:
            return self.initial
        came = workload.between(0.0, _FIRST_SECONDS)
        rate = len(came) / min(_FIRST_SECONDS, max(workload.seconds, 1.0))
        need = math.ceil(rate / self.capacity(came if len(came) else workload))
        return min(max(need, self.least, 1), self.most)

    def capacity(self, workload: Workload) -> float:
        """Requests a second that one replica serves inside the objective.

        Raises:
            ControllerError: not even one.
        """
        sizes = float(workload.prompt.mean()), float(workload.output.mean())
        found = requests_per_second(self.profile, self.objective, *sizes)
        if found <= 1e-6:
            raise ControllerError(
                f"a replica of {self.profile.name} cannot serve such requests inside the objective"
                f" ({sizes[0]:.0f} prompt and {sizes[1]:.0f} output tokens on average)",
                hint="give a laxer objective, or another profile",
            )
        return found

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
        return cls(**given)


def _complaints(c: Comparison) -> list[tuple[bool, str, str]]:
    goal = c.objective
    bounds = [bound for bound in (goal.ttft_seconds, goal.tpot_seconds) if bound is not None]
    return [
        (not c.policies, "no policy was named", "give --policies a,b"),
        (len(set(c.policies)) < len(c.policies), "a policy is named twice", "name each once"),
        (
            c.most < 1,
            "a fleet of zero replicas serves nothing",
            "let --most be 1 or more",
        ),
        (c.least < 0, f"the least replicas cannot be {c.least}", "let --least be 0 or more"),
        (
            c.least > c.most,
            f"at least {c.least} and at most {c.most} replicas contradict each other",
            "let --least be no more than --most",
        ),
        (
            c.initial is not None and not c.least <= c.initial <= c.most,
            f"{c.initial} replicas at the start are outside {c.least} to {c.most}",
            "start inside the limits",
        ),
        (
            len(set(c.seeds)) < LEAST_SEEDS,
            "one seed tells no range, so nothing could be said of it",
            f"give at least {LEAST_SEEDS} seeds; {FAIR_SEEDS} are the protocol's",
        ),
        (
            not c.startups_seconds
            or any(not (math.isfinite(s) and 0 <= s <= 86_400) for s in c.startups_seconds),
            "start-up times are 0 to 86,400 seconds",
            "give --startup 0,60,300",
        ),
        (
            not 0 < goal.attainment_ratio < 1,
            f"an attainment of {goal.attainment_ratio} is no goal",
            "give a share between 0 and 1, such as 0.99",
        ),
        (
            not bounds or any(not bound > 0 for bound in bounds),
            "an objective needs a bound above 0 for ttft or tpot",
            "give --objective ttft=2,tpot=0.1,attainment=0.99",
        ),
        (
            not 1 <= c.scrape_seconds <= 600,
            f"scraping every {c.scrape_seconds:g} s is outside 1 to 600",
            "15 is usual",
        ),
        (
            c.trials < 0 or c.tuning_seeds < 1 or c.curve_seeds < 0,
            "trials and seeds are counts",
            "give 0 or more",
        ),
    ]  # fmt: skip


def profile_of(told: Mapping[str, Any]) -> Profile:
    """A profile from what `asdict` made of it."""
    given = dict(told)
    step, error = StepTimes(**given.pop("step")), given.pop("error", None)
    notes = tuple(given.pop("notes", ()))
    judged = FitError(**error) if error else None
    return Profile(step=step, error=judged, notes=notes, **given)


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
