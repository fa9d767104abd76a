"""What stands between a proposal and the fleet: pure functions, one after the other.

Each guard gets what was seen, what is to be and why, and gives what it lets through with a
sentence. They only ever hold or clip; nothing here raises a target above what the policy wanted,
except up to the pool's least. A scale-down needs trust: whatever is stale, partial or missing holds
it, never the scale-up.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from controller import observation as seen
from controller.observation import Grade, Observation, PoolView

HELD_SIGNALS = (seen.REQUESTS_PER_SECOND, seen.REQUESTS_RUNNING)


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
        least_share: of the replicas that must have told something.
    """

    least: int = 1
    most: int = 10
    most_up: int | None = None
    most_down: int | None = 1
    up_cooldown_seconds: float = 0.0
    down_cooldown_seconds: float = 300.0
    stale_seconds: float = 60.0
    least_share: float = 0.7


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
        frozen_until: unix seconds by pool; infinite until resumed.
        foreign: pools that somebody else changed, and to what.
        leased: pools that this controller may act on; None: all.
    """

    changed_at: Mapping[str, float] = field(default_factory=dict)
    frozen_until: Mapping[str, float] = field(default_factory=dict)
    foreign: Mapping[str, int] = field(default_factory=dict)
    leased: frozenset[str] | None = None


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


def guarded(
    observation: Observation, rules: FleetRules, standing: Standing, targets: Mapping[str, int]
) -> Passed:
    """What may be applied of `targets`.

    Args:
        observation: what was seen.
        rules: what the operator allows.
        standing: what the controller knows besides.
        targets: what the policy wants.
    """
    wanted = {pool.name: targets.get(pool.name, pool.target) for pool in observation.pools}
    passed = Passed(wanted)
    for guard in GUARDS:
        passed = guard(observation, rules, standing, passed)
    return passed


def _each(
    name: str,
    observation: Observation,
    passed: Passed,
    rule: Callable[[PoolView, int], tuple[int, str]],
) -> Passed:
    targets, clips = dict(passed.targets), list(passed.clips)
    for pool in observation.pools:
        before = targets[pool.name]
        after, text = rule(pool, before)
        if after != before:
            targets[pool.name] = after
            clips.append(Clip(name, pool.name, before, after, text))
    return replace(passed, targets=targets, clips=tuple(clips))


def trust(o: Observation, rules: FleetRules, standing: Standing, passed: Passed) -> Passed:
    """No scale-down on what is missing, stale or partial; no scale-up on nothing at all."""

    def rule(pool: PoolView, wanted: int) -> tuple[int, str]:
        if wanted == pool.target:
            return wanted, ""
        doubt = _doubt(pool, rules.of(pool.name))
        if doubt and wanted < pool.target:
            return pool.target, f"{doubt}: held rather than scaled down"
        if wanted > pool.target and all(
            pool.reading(name).grade is Grade.MISSING for name in HELD_SIGNALS
        ):
            return pool.target, "nothing is known of the load: held"
        return wanted, ""

    return _each("trust", o, passed, rule)


def _doubt(pool: PoolView, rules: PoolRules) -> str:
    for name in HELD_SIGNALS:
        reading = pool.reading(name)
        if reading.value is None or not math.isfinite(reading.value):
            return f"{name} is missing"
        if reading.grade is not Grade.FRESH:
            return f"{name} is {reading.grade}"
        if reading.age_seconds is None or reading.age_seconds > rules.stale_seconds:
            return f"{name} is {reading.age_seconds or 0:.0f} s old"
        if reading.share < rules.least_share:
            return f"{name} was told by {reading.share:.0%} of the replicas"
    return ""


def ownership(o: Observation, rules: FleetRules, standing: Standing, passed: Passed) -> Passed:
    """One controller a pool, and what somebody else did is not undone."""

    def rule(pool: PoolView, wanted: int) -> tuple[int, str]:
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
        until = standing.frozen_until.get(pool.name, -math.inf)
        return (pool.target, "frozen") if o.at < until else (wanted, "")

    return _each("freeze", o, passed, rule)


def cooldown(o: Observation, rules: FleetRules, standing: Standing, passed: Passed) -> Passed:
    """Some time between changes."""

    def rule(pool: PoolView, wanted: int) -> tuple[int, str]:
        mine = rules.of(pool.name)
        since = o.at - standing.changed_at.get(pool.name, -math.inf)
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


def bounds(o: Observation, rules: FleetRules, standing: Standing, passed: Passed) -> Passed:
    """Between the pool's least and most."""

    def rule(pool: PoolView, wanted: int) -> tuple[int, str]:
        mine = rules.of(pool.name)
        least, most = max(mine.least, pool.limits.least), min(mine.most, pool.limits.most)
        if wanted < least:
            return least, f"at least {least}"
        return (most, f"at most {most}") if wanted > most else (wanted, "")

    return _each("bounds", o, passed, rule)


def budget(o: Observation, rules: FleetRules, standing: Standing, passed: Passed) -> Passed:
    """What is asked for beside what is there must be affordable; nothing is scaled down for it."""
    targets, clips = dict(passed.targets), list(passed.clips)
    while (over := _over(o, rules, targets)) and (pool := _dearest_growth(o, targets)) is not None:
        before = targets[pool.name]
        targets[pool.name] = before - 1
        clips.append(Clip("budget", pool.name, before, before - 1, over))
    return Passed(targets, _folded(clips))


def _over(o: Observation, rules: FleetRules, targets: Mapping[str, int]) -> str:
    gpus = sum(targets[p.name] * (p.profile.gpus if p.profile else 1) for p in o.pools)
    if rules.most_gpus is not None and gpus > rules.most_gpus:
        return f"at most {rules.most_gpus} GPUs in all"
    prices = [
        targets[p.name] * p.profile.price_per_hour
        for p in o.pools
        if p.profile and p.profile.price_per_hour is not None
    ]
    if rules.most_per_hour is not None and sum(prices) > rules.most_per_hour:
        return f"at most {rules.most_per_hour:g} an hour in all"
    return ""


def _dearest_growth(o: Observation, targets: Mapping[str, int]) -> PoolView | None:
    growing = [pool for pool in o.pools if targets[pool.name] > pool.target]
    return max(growing, key=lambda p: (p.profile.gpus if p.profile else 1, p.name), default=None)


def _folded(clips: Sequence[Clip]) -> tuple[Clip, ...]:
    """Steps of one guard on one pool as one clip."""
    made: list[Clip] = []
    for clip in clips:
        same = [
            at for at, one in enumerate(made) if (one.guard, one.pool) == (clip.guard, clip.pool)
        ]
        if same:
            made[same[0]] = replace(made[same[0]], after=clip.after)
        else:
            made.append(clip)
    return tuple(made)


GUARDS: tuple[Guard, ...] = (trust, cooldown, step, bounds, budget, ownership, freeze)
"""In this order: what holds a pool altogether comes last, so that nothing moves it again."""
