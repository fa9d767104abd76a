"""What every policy must do: run it against one of your own.

check_policy(MyPolicy())
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import asdict, replace

from controller import observation as seen
from controller.observation import (
    ForecastView,
    Grade,
    Limits,
    Objective,
    Observation,
    PoolView,
    Reading,
    ReplicaView,
)
from controller.policy import Memory, Policy, Proposal, checked, remembered
from controller.profile import Profile, StepTimes
from controller.startup import StartupTimes

LONG_TICKS = 1500
PROFILE = Profile(
    "check", StepTimes(0.01, 0.0001, 0.0, 0.001, 0.0, 1e-6), sequences=64, cache_tokens=100_000,
    price_per_hour=2.0,
)  # fmt: skip
_BAD = (0.0, -1.0, math.nan, math.inf, -math.inf, 1e300, 1e-300)


def check_policy(
    policy: Policy,
    observations: Iterable[Observation] | None = None,
    long_ticks: int = LONG_TICKS,
) -> None:
    """Raise AssertionError at the first promise of `controller.policy` that is broken.

    Args:
        policy: any.
        observations: of a fleet, in the order of time; by default awkward ones of several.
        long_ticks: decisions after which its memory must still be small.
    """
    _spec_is_whole(policy)
    memory: Memory = {}
    for observation in awkward() if observations is None else observations:
        # Alone, and with what it remembers of a fleet that looked otherwise.
        check_step(policy, observation, {})
        memory = check_step(policy, observation, memory)
    _stays_small(policy, long_ticks)


def check_step(policy: Policy, observation: Observation, memory: Memory) -> Memory:
    """One decision: pure, JSON, whole numbers inside bounds, the same after a restart.

    Returns:
        What the policy remembers.
    """
    name, before = policy.spec.name, remembered(memory)
    proposal, kept = policy.decide(observation, memory)
    _expect(remembered(memory) == before, f"{name} changed the memory that it was given")
    again, kept_again = policy.decide(observation, memory)
    _expect(_bytes(proposal, kept) == _bytes(again, kept_again), f"{name} answers otherwise twice")
    restarted, kept_restarted = policy.decide(observation, json.loads(before))
    _expect(
        _bytes(proposal, kept) == _bytes(restarted, kept_restarted),
        f"{name} answers otherwise after a restart",
    )
    checked(proposal, observation)
    _expect(
        all(type(target) is int for target in proposal.targets.values()),
        f"{name} wants targets that are no whole numbers",
    )
    known = {pool.name for pool in observation.pools}
    for reason in proposal.reasons:
        _expect(
            reason.pool in known, f"{name} gives a reason for {reason.pool}, which is not there"
        )
        _expect(bool(reason.code and reason.text), f"{name} gives a reason without words")
    for pool in observation.pools:
        _inside(name, pool, proposal.targets.get(pool.name, pool.target))
    return kept


def _inside(name: str, pool: PoolView, target: int) -> None:
    """Inside the limits, or where the pool is already; what cannot be kept is not asked for."""
    if name == "static" or pool.limits.least > pool.limits.most:
        return
    least, most = min(pool.limits.least, pool.target), max(pool.limits.most, pool.target)
    _expect(least <= target <= most, f"{name} wants {target} of {pool.name}, not {least} to {most}")


def _spec_is_whole(policy: Policy) -> None:
    spec = policy.spec
    _expect(
        bool(spec.name and spec.title and spec.source), f"{spec.name}: the spec says too little"
    )
    _expect(spec.period_seconds > 0, f"{spec.name}: no period")
    _expect(bool(spec.knob) == bool(spec.knob_values), f"{spec.name}: a knob without values")
    _expect(spec.name == spec.name.lower(), f"{spec.name}: names are lower case")


def _stays_small(policy: Policy, ticks: int) -> None:
    """However long it runs, and whatever comes and goes."""
    memory: Memory = {}
    for tick in range(ticks):
        rate = 5 + 4 * math.sin(tick / 50)
        pool = full(f"p{tick % 3}", rate=rate, target=3 + tick % 2)
        observation = Observation(1000.0 + tick * policy.spec.period_seconds, (pool,))
        _, memory = policy.decide(observation, memory)
    remembered(memory)


def _bytes(proposal: Proposal, memory: Memory) -> str:
    return json.dumps(asdict(proposal), sort_keys=True) + remembered(memory)


def _expect(is_kept: bool, text: str) -> None:
    if not is_kept:
        raise AssertionError(text)


def full(
    name: str = "a",
    rate: float = 8.0,
    target: int = 3,
    ready: int | None = None,
    role: str = "whole",
) -> PoolView:
    """A pool of which everything is known."""
    count = target if ready is None else ready
    each = rate / max(count, 1)
    replicas = tuple(
        ReplicaView(f"{name}{n}", "ready", 500.0, 0.0, 4 * each, each, 0.3, 500 * each, 2e4)
        for n in range(count)
    ) + tuple(ReplicaView(f"{name}s{n}", "starting", 20.0) for n in range(target - count))
    signals = {
        seen.REQUESTS_PER_SECOND: rate,
        seen.REFUSED_PER_SECOND: 0.0,
        seen.INPUT_TOKENS_PER_SECOND: 800 * rate,
        seen.OUTPUT_TOKENS_PER_SECOND: 200 * rate,
        seen.REQUESTS_RUNNING: 4 * rate,
        seen.REQUESTS_WAITING: rate,
        seen.REQUESTS_HELD: 0.0,
        seen.INPUT_TOKENS: 800.0,
        seen.OUTPUT_TOKENS: 200.0,
        seen.PREFIX_HIT_RATIO: 0.2,
        seen.KV_CACHE_USAGE_RATIO: 0.3,
        seen.BUSY_RATIO: 0.6,
        seen.TTFT_P95_SECONDS: 0.8,
        seen.TPOT_P95_SECONDS: 0.05,
        seen.ATTAINMENT_RATIO: 0.99,
    }
    return PoolView(
        name, target, count, max(target - count, 0), 0, Limits(1, 20),
        {key: Reading(value) for key, value in signals.items()}, replicas, role,  # type: ignore[arg-type]
        PROFILE, StartupTimes.about(60.0),
        (ForecastView(seen.REQUESTS_PER_SECOND, 600.0, (0.1, 0.5, 0.9), (rate, rate, 2 * rate)),),
    )  # fmt: skip


def awkward() -> list[Observation]:
    """Fleets that a policy must bear, in the order of time."""
    whole = full()
    bare = PoolView("a", 3, 3, 0, 0, Limits(1, 20))
    pools: list[tuple[PoolView, ...]] = [
        (whole,),
        (),
        (bare,),
        (replace(bare, target=0, ready=0, limits=Limits(0, 5)),),
        (replace(whole, profile=None, startup=None, forecasts=()),),
        (replace(whole, target=0, ready=0, replicas=(), limits=Limits(0, 0)),),
        (replace(whole, limits=Limits(5, 2)),),
        (replace(whole, limits=Limits(4, 20)), replace(full("b", 0.0), target=30)),
        (full("p", role="prefill"), full("d", role="decode")),
        (full("d", role="decode"),),
        (full("a", 500.0, 3, 1),),
        (full("a", 0.0, 7),),
        (replace(whole, name="h", history=(8.0,) * 400),),
        (replace(whole, name="i", history=(math.nan, 3.0)),),
    ]
    pools += [(_with(whole, value),) for value in _BAD]
    pools += [(_graded(whole, grade),) for grade in Grade]
    objectives = [Objective(), Objective(None, None, 1.0), Objective(1e-9, 1e-9, 0.5)]
    made, at = [], 1_700_000_000.0
    for objective in objectives:
        for some in pools:
            made.append(Observation(at, some, objective))
            at += 37.0
    # Nothing has passed, and the clock went back.
    return [*made, made[-1], replace(made[-1], at=at - 5000.0)]


def _with(pool: PoolView, value: float) -> PoolView:
    signals = {name: Reading(value) for name in seen.SIGNALS}
    replicas = tuple(
        ReplicaView(f"x{n}", "ready", 10.0, 0.0, value, value, value, value, value)
        for n in range(pool.ready)
    )
    return replace(pool, signals=signals, replicas=replicas)


def _graded(pool: PoolView, grade: Grade) -> PoolView:
    age = None if grade is Grade.MISSING else 1e4 if grade is Grade.STALE else 1.0
    share = 0.4 if grade is Grade.PARTIAL else 1.0
    signals = {
        name: Reading(None if age is None else reading.value, grade, age, share)
        for name, reading in pool.signals.items()
    }
    replicas = tuple(
        replace(one, scrape_age_seconds=age) if n % 2 else ReplicaView(one.name, "ready", 1.0)
        for n, one in enumerate(pool.replicas)
    )
    return replace(pool, signals=signals, replicas=replicas)
