"""One policy over one workload: the fair protocol's loop, and what came of it.

Everybody gets the same arrivals, scrapes, router, start-up distribution and limits, and decides at
its own documented period. Refused and given-up requests are misses; replicas cost from when they
were asked for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from controller.guards import FleetRules
from controller.observation import Limits, Objective
from controller.policy import Memory, Policy, checked
from controller.simulator.eyes import Eyes, Foresight, is_good, latencies
from controller.simulator.fence import Fence
from controller.simulator.fleet import FleetModel, PoolPlan
from controller.simulator.state import DONE
from controller.simulator.workload import Workload

Told = Callable[[float], None]
# (at, pool number, target, ready, starting, draining).
Lane = tuple[float, int, int, int, int, int]


@dataclass(frozen=True, slots=True)
class ReplaySettings:
    """What all policies of a comparison share.

    Attributes:
        objective: when a request is good.
        limits: of each pool.
        initial: replicas of each pool that are ready at the start.
        scrape_seconds: between two scrapes.
        warm_up_seconds: of the start, not judged and not paid.
        rules: what all pools may have together, and with guards each one, too.
        has_guards: whether the live guards stand behind the policy.
    """

    objective: Objective
    limits: Mapping[str, Limits]
    initial: Mapping[str, int]
    scrape_seconds: float = 15.0
    warm_up_seconds: float = 0.0
    rules: FleetRules = field(default_factory=FleetRules)
    has_guards: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a replay came to; shares in 0 to 1, NaN where nothing could be measured.

    Attributes:
        policy: name.
        seed: of the run.
        requests: judged.
        attainment_ratio: of all that arrived.
        refused_ratio: refused, given up or lost.
        gpu_hours: from being asked for to the end, draining included.
        cost: in the currency of the profiles; NaN without a price.
        ttft_p50_seconds: of those that ended.
        ttft_p95_seconds: of those that ended.
        ttft_p99_seconds: of those that ended.
        tpot_p50_seconds: of those that ended.
        tpot_p95_seconds: of those that ended.
        tpot_p99_seconds: of those that ended.
        worst_minute_ratio: attainment of the worst minute of arrivals with 10 requests or more.
        scale_events: times that a pool was told another size.
        most_replicas: at the same time.
        lanes: (at, pool number, target, ready, starting, draining) at each change.
        advice: what the policy said besides, each sentence once.
        pool_gpu_hours: the GPU-hours of each pool.
        clips: of each pool, by guard: decisions that it held or clipped.
    """

    policy: str
    seed: int
    requests: int
    attainment_ratio: float
    refused_ratio: float
    gpu_hours: float
    cost: float
    ttft_p50_seconds: float
    ttft_p95_seconds: float
    ttft_p99_seconds: float
    tpot_p50_seconds: float
    tpot_p95_seconds: float
    tpot_p99_seconds: float
    worst_minute_ratio: float
    scale_events: int
    most_replicas: int
    lanes: tuple[Lane, ...] = field(default=(), repr=False)
    advice: tuple[str, ...] = ()
    pool_gpu_hours: Mapping[str, float] = field(default_factory=dict)
    clips: Mapping[str, Mapping[str, int]] = field(default_factory=dict)


def replay(
    policy: Policy,
    workload: Workload,
    plans: Sequence[PoolPlan],
    settings: ReplaySettings,
    seed: int = 0,
    foresight: Foresight | None = None,
    memory: Memory | None = None,
    history: Mapping[str, tuple[float, ...]] | None = None,
    told: Told | None = None,
) -> Outcome:
    """Run it.

    Args:
        policy: decides.
        workload: what arrives.
        plans: pools, the entry pool first.
        settings: shared by all policies of a comparison.
        seed: of start-up times and dice.
        foresight: forecasts that the policy is given.
        memory: what it remembers from before.
        history: rates of each pool before the start, by scrape interval.
        told: called with the share of the time that has passed.

    Raises:
        ControllerError: the policy proposes what is no fleet.
    """
    fleet = FleetModel(workload, plans, seed)
    eyes = Eyes(fleet, settings.objective, settings.limits, settings.scrape_seconds, foresight)
    for plan in plans:
        fleet.scale(plan.name, settings.initial[plan.name], at_once=True)
    eyes.asked(settings.initial)
    fleet.scale_events = 0
    fence = Fence(settings.rules, settings.limits, has_guards=settings.has_guards)
    kept: Memory = memory or {}
    lanes, advice = list[Lane](), dict[str, None]()
    end, period = workload.seconds, policy.spec.period_seconds
    next_scrape, next_tick = 0.0, 0.0
    while (at := min(next_scrape, next_tick)) <= end:
        fleet.run_until(at)
        if at >= next_scrape:
            eyes.scrape()
            next_scrape += settings.scrape_seconds
            if told is not None:
                told(at / max(end, 1e-9))
        if at < next_tick:
            continue
        next_tick += period
        observation = eyes.observation() if kept else eyes.observation(history)
        proposal, kept = policy.decide(observation, kept)
        targets = fence.passed(observation, checked(proposal, observation).targets)
        advice |= dict.fromkeys(proposal.advice)
        for pool, target in targets.items():
            fleet.scale(pool, target)
        eyes.asked(targets)
        lanes += _lanes(fleet, targets, lanes)
    fleet.run_until(end)
    fleet.finish()
    made = _outcome(policy, fleet, settings, seed, tuple(lanes), tuple(advice))
    return replace(made, clips=fence.clips)


def _lanes(
    fleet: FleetModel,
    targets: Mapping[str, int],
    before: Sequence[Lane],
) -> list[Lane]:
    last = {lane[1]: lane[2:] for lane in before[-2 * len(fleet.plans) :]}
    made = []
    for number, plan in enumerate(fleet.plans):
        now = (targets.get(plan.name, -1), *fleet.counts(plan.name))
        if last.get(number) != now:
            made.append((fleet.now, number, *now))
    return made


def _outcome(
    policy: Policy,
    fleet: FleetModel,
    settings: ReplaySettings,
    seed: int,
    lanes: tuple[Lane, ...],
    advice: tuple[str, ...],
) -> Outcome:
    requests, start = fleet.world.requests, settings.warm_up_seconds
    who = np.flatnonzero(requests["arrived"] >= start)
    good = is_good(fleet, who, settings.objective)
    done = who[requests["status"][who] == DONE]
    ttft, tpot = latencies(fleet, done)
    seconds = [
        (max(life.stopped_at - max(life.asked_at, start), 0.0), fleet.plans[life.pool].profile)
        for life in fleet.lives
    ]
    prices = [profile.price_per_hour for _, profile in seconds]
    cost = sum(
        spent / 3600 * (price or 0.0) for (spent, _), price in zip(seconds, prices, strict=True)
    )
    n = len(who)
    return Outcome(
        policy=policy.spec.name,
        seed=seed,
        requests=n,
        attainment_ratio=float(good.mean()) if n else math.nan,
        refused_ratio=1 - len(done) / n if n else math.nan,
        gpu_hours=sum(spent * profile.gpus for spent, profile in seconds) / 3600,
        cost=math.nan if None in prices else cost,
        ttft_p50_seconds=_quantile(ttft, 0.5),
        ttft_p95_seconds=_quantile(ttft, 0.95),
        ttft_p99_seconds=_quantile(ttft, 0.99),
        tpot_p50_seconds=_quantile(tpot, 0.5),
        tpot_p95_seconds=_quantile(tpot, 0.95),
        tpot_p99_seconds=_quantile(tpot, 0.99),
        worst_minute_ratio=_worst_minute(requests["arrived"][who], good),
        scale_events=fleet.scale_events,
        most_replicas=max((sum(lane[3:5]) for lane in lanes), default=0),
        lanes=lanes,
        advice=advice,
        pool_gpu_hours={
            plan.name: sum(
                spent * profile.gpus
                for life, (spent, profile) in zip(fleet.lives, seconds, strict=True)
                if life.pool == number
            )
            / 3600
            for number, plan in enumerate(fleet.plans)
        },
    )


def _quantile(values: np.ndarray, level: float) -> float:
    known = values[np.isfinite(values)]
    return float(np.quantile(known, level)) if len(known) else math.nan


def _worst_minute(arrived: np.ndarray, good: np.ndarray) -> float:
    if not len(arrived):
        return math.nan
    minute = (arrived // 60).astype(np.int64)
    minute -= minute.min()
    counts, met = np.bincount(minute), np.bincount(minute, weights=good)
    enough = counts >= 10
    return float((met[enough] / counts[enough]).min()) if enough.any() else math.nan
