"""What stands between a proposal and the fleet: pure functions, one after the other.

Each guard gets what was seen and what is to be, and gives what it lets through with a sentence.
They only ever hold or clip: a target never comes out above both what the policy wanted and what is
there, except up to the pool's least. A scale-down needs trust: whatever is stale, partial or
missing holds it, never the scale-up.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from controller import observation as seen
from controller.observation import Grade, Observation, PoolView
from controller.policy import MOST_REPLICAS

# Some engines count no requests: then the tokens they work on tell of the load.
RATES = (
    seen.REQUESTS_PER_SECOND,
    seen.INPUT_TOKENS_PER_SECOND,
    seen.OUTPUT_TOKENS_PER_SECOND,
)


@dataclass(frozen=True, slots=True)
class PoolRules:
    """What an operator allows of one pool.

    Attributes:
        least: replicas.
        most: replicas.
        most_up: replicas more in one decision; None is no bound.
        most_down: replicas fewer in one decision; None is no bound.
        up_cooldown_seconds: after any change, before more are asked for.
        down_cooldown_seconds: after any change, before fewer are asked for.
        stale_seconds: older readings count as stale.
        least_share: of the replicas that must have told something, for a scale-down.
    """

    least: int = 1
    most: int = 10
    most_up: int | None = None
    most_down: int | None = 1
    up_cooldown_seconds: float = 0.0
    down_cooldown_seconds: float = 300.0
    stale_seconds: float = 60.0
    least_share: float = 0.9


@dataclass(frozen=True, slots=True)
class FleetRules:
    """What an operator allows of all pools together.

    Attributes:
        pools: by name.
        most_gpus: of all pools; None is no bound.
        most_per_hour: of all pools, in the currency of the profiles; None is no bound.
    """

    pools: Mapping[str, PoolRules] = field(default_factory=dict)
    most_gpus: int | None = None
    most_per_hour: float | None = None

    def of(self, pool: str) -> PoolRules:
        """Of one pool; the defaults where nobody said anything."""
        return self.pools.get(pool) or PoolRules()


@dataclass(frozen=True, slots=True)
class Standing:
    """What the controller knows besides the observation.

    Attributes:
        changed_at: unix seconds of the last change of each pool by this controller.
        frozen_until: unix seconds by pool; None until resumed.
        foreign: pools that somebody else changed, and to what.
        leased: pools that this controller may act on; None: all.
        blocked: pools that must stay as they are, and why.
        other_gpus: cards of pools that are decided by themselves.
        other_per_hour: what those cost an hour.
    """

    changed_at: Mapping[str, float] = field(default_factory=dict)
    frozen_until: Mapping[str, float | None] = field(default_factory=dict)
    foreign: Mapping[str, int] = field(default_factory=dict)
    leased: frozenset[str] | None = None
    blocked: Mapping[str, str] = field(default_factory=dict)
    other_gpus: int = 0
    other_per_hour: float = 0.0


@dataclass(frozen=True, slots=True)
class Clip:
    """One guard's word.

    Attributes:
        guard: its name.
        pool: whose target.
        before: what came in.
        after: what it let through.
        text: one sentence.
    """

    guard: str
    pool: str
    before: int
    after: int
    text: str


@dataclass(frozen=True, slots=True)
class Passed:
    """What is left of a proposal.

    Attributes:
        targets: replicas by pool.
        clips: what changed it, in order; the last of a pool binds.
    """

    targets: Mapping[str, int]
    clips: tuple[Clip, ...] = ()

    def binding(self, pool: str) -> str:
        """The guard that decided a pool's target; "" when the policy had its way."""
        names = [clip.guard for clip in self.clips if clip.pool == pool]
        return names[-1] if names else ""


Guard = Callable[[Observation, FleetRules, Standing, Passed], Passed]
Rule = Callable[[PoolView, int], tuple[int, str]]


def guarded(
    observation: Observation, rules: FleetRules, standing: Standing, targets: Mapping[str, Any]
) -> Passed:
    """What may be applied of `targets`.

    Args:
        observation: what was seen.
        rules: what the operator allows.
        standing: what the controller knows besides.
        targets: what the policy wants; a pool that is not named, or with no number, stays.
    """
    wanted = {pool.name: _wish(pool, targets) for pool in observation.pools}
    passed = Passed(wanted)
    for guard in GUARDS:
        passed = guard(observation, rules, standing, passed)
    return passed


def _wish(pool: PoolView, targets: Mapping[str, Any]) -> int:
    """A second net under `policy.checked`: what is no number of replicas is no wish."""
    wish = targets.get(pool.name, pool.target)
    if isinstance(wish, bool) or not isinstance(wish, int | float) or not math.isfinite(wish):
        return pool.target
    return int(wish) if 0 <= wish <= MOST_REPLICAS else pool.target


def _each(name: str, observation: Observation, passed: Passed, rule: Rule) -> Passed:
    targets, clips = dict(passed.targets), list(passed.clips)
    for pool in observation.pools:
        before = targets[pool.name]
        after, text = rule(pool, before)
        if after != before:
            targets[pool.name] = after
            clips.append(Clip(name, pool.name, before, after, text))
    return replace(passed, targets=targets, clips=tuple(clips))


def most(o: Observation, rules: FleetRules, standing: Standing, passed: Passed) -> Passed:
    """Not more than the pool may have."""

    def rule(pool: PoolView, wanted: int) -> tuple[int, str]:
        bound = min(rules.of(pool.name).most, pool.limits.most)
        return (bound, f"at most {bound}") if wanted > bound else (wanted, "")

    return _each("most", o, passed, rule)


def trust(o: Observation, rules: FleetRules, standing: Standing, passed: Passed) -> Passed:
    """No scale-down on what is missing, stale or partial; no scale-up on nothing at all."""

    def rule(pool: PoolView, wanted: int) -> tuple[int, str]:
        if wanted == pool.target:
            return wanted, ""
        if wanted > pool.target:
            is_blind = all(pool.reading(name).value is None for name in held_signals(pool))
            return (pool.target, "nothing is known of the load: held") if is_blind else (wanted, "")
        doubt = doubt_of(pool, rules.of(pool.name))
        if doubt:
            return pool.target, f"{doubt}: held rather than scaled down"
        return _as_if_all_told(pool, wanted)

    return _each("trust", o, passed, rule)


def _as_if_all_told(pool: PoolView, wanted: int) -> tuple[int, str]:
    """Those that told nothing may be as busy as the others."""
    share = min(pool.reading(name).share for name in held_signals(pool))
    needed = min(math.ceil(wanted / share - 1e-9), pool.target)
    if needed > wanted:
        return needed, f"only {share:.0%} of the replicas told something; the others count as busy"
    return wanted, ""


def held_signals(pool: PoolView) -> tuple[str, str]:
    """What a scale-down of the pool rests on: a rate of what comes, and what runs.

    The first rate of which anything was ever known; one that got lost stands for itself.
    """
    known = (name for name in RATES if pool.reading(name).value is not None)
    return next(known, seen.REQUESTS_PER_SECOND), seen.REQUESTS_RUNNING


def doubt_of(pool: PoolView, rules: PoolRules) -> str:
    """Why a scale-down of the pool cannot be trusted; "" when it can."""
    for name in held_signals(pool):
        reading = pool.reading(name)
        if reading.value is None or not math.isfinite(reading.value):
            return f"{name} is missing"
        if reading.grade not in (Grade.FRESH, Grade.PARTIAL):
            return f"{name} is {reading.grade.value}"
        age = reading.age_seconds
        if age is None or not 0 <= age <= rules.stale_seconds:
            return f"{name} is of unknown age" if age is None else f"{name} is {age:.0f} s old"
        if not reading.share >= rules.least_share or reading.share <= 0:
            return f"{name} was told by {reading.share:.0%} of the replicas"
    return ""


def cooldown(o: Observation, rules: FleetRules, standing: Standing, passed: Passed) -> Passed:
    """Some time between changes."""

    def rule(pool: PoolView, wanted: int) -> tuple[int, str]:
        mine = rules.of(pool.name)
        # A clock that was set back must not keep a pool from growing.
        since = max(o.at - standing.changed_at.get(pool.name, -math.inf), 0.0)
        wait = mine.up_cooldown_seconds if wanted > pool.target else mine.down_cooldown_seconds
        if wanted != pool.target and since < wait:
            return pool.target, f"changed {since:.0f} s ago; {wait:.0f} s must lie between"
        return wanted, ""

    return _each("cooldown", o, passed, rule)


def step(o: Observation, rules: FleetRules, standing: Standing, passed: Passed) -> Passed:
    """Not too much at a time."""

    def rule(pool: PoolView, wanted: int) -> tuple[int, str]:
        mine = rules.of(pool.name)
        if mine.most_up is not None and wanted > pool.target + mine.most_up:
            return pool.target + mine.most_up, f"at most {mine.most_up} more at a time"
        if mine.most_down is not None and wanted < pool.target - mine.most_down:
            return pool.target - mine.most_down, f"at most {mine.most_down} fewer at a time"
        return wanted, ""

    return _each("step", o, passed, rule)


def least(o: Observation, rules: FleetRules, standing: Standing, passed: Passed) -> Passed:
    """Not fewer than the pool must have; the one guard that may ask for more than was wanted."""

    def rule(pool: PoolView, wanted: int) -> tuple[int, str]:
        bound = max(rules.of(pool.name).least, pool.limits.least)
        return (bound, f"at least {bound}") if wanted < bound else (wanted, "")

    return _each("least", o, passed, rule)


def budget(o: Observation, rules: FleetRules, standing: Standing, passed: Passed) -> Passed:
    """What is asked for beside what is there must be affordable; nothing is scaled down for it."""
    for bound, spent, unit, text in _budgets(rules, standing):
        if bound is not None:
            passed = _afforded(o, passed, bound - spent, unit, text.format(bound))
    return passed


_Unit = Callable[[PoolView], float]


def _budgets(
    rules: FleetRules, standing: Standing
) -> tuple[tuple[float | None, float, _Unit, str], ...]:
    return (
        (rules.most_gpus, standing.other_gpus, _gpus, "at most {:g} GPUs in all"),
        (rules.most_per_hour, standing.other_per_hour, _price, "at most {:g} an hour in all"),
    )


def _gpus(pool: PoolView) -> float:
    return float(pool.profile.gpus) if pool.profile else 1.0


def _price(pool: PoolView) -> float:
    return (pool.profile.price_per_hour or 0.0) if pool.profile else 0.0


def _afforded(o: Observation, passed: Passed, room: float, unit: _Unit, text: str) -> Passed:
    """Growth of the dearest pools is cut first."""
    targets, clips = dict(passed.targets), list(passed.clips)
    over = sum(targets[pool.name] * unit(pool) for pool in o.pools) - room
    for pool in sorted(o.pools, key=lambda one: (-unit(one), one.name)):
        before, price = targets[pool.name], unit(pool)
        growth = max(before - pool.target, 0)
        if over <= 1e-9 or not growth or not price:
            continue
        # Compared first: a price next to nothing would make the quotient infinite.
        cut = growth if over >= growth * price else min(growth, math.ceil(over / price - 1e-9))
        over -= cut * price
        targets[pool.name] = before - cut
        clips.append(Clip("budget", pool.name, before, before - cut, text))
    return Passed(targets, tuple(clips))


def ownership(o: Observation, rules: FleetRules, standing: Standing, passed: Passed) -> Passed:
    """One controller a pool, and what somebody else did is not undone."""

    def rule(pool: PoolView, wanted: int) -> tuple[int, str]:
        if pool.name in standing.blocked:
            return pool.target, standing.blocked[pool.name]
        if standing.leased is not None and pool.name not in standing.leased:
            return pool.target, "another controller holds the lease"
        if pool.name in standing.foreign:
            to = standing.foreign[pool.name]
            return pool.target, f"somebody else set {to}; held until resumed"
        return wanted, ""

    return _each("ownership", o, passed, rule)


def freeze(o: Observation, rules: FleetRules, standing: Standing, passed: Passed) -> Passed:
    """A frozen pool stays as it is."""

    def rule(pool: PoolView, wanted: int) -> tuple[int, str]:
        if pool.name not in standing.frozen_until:
            return wanted, ""
        until = standing.frozen_until[pool.name]
        if until is None:
            return pool.target, "frozen until resumed"
        return (pool.target, f"frozen for {until - o.at:.0f} s") if o.at < until else (wanted, "")

    return _each("freeze", o, passed, rule)


GUARDS: tuple[Guard, ...] = (most, trust, cooldown, step, least, budget, ownership, freeze)
"""In this order: what holds a pool altogether comes last, so that nothing moves it again."""
