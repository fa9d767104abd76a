"""Pools of several types that serve one stream of requests: what is known of all of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from controller import observation as seen
from controller.capacity import most_per_second, replica
from controller.observation import Grade, Limits, Objective, PoolView, Reading
from controller.policies import remembering
from controller.policies.mixing import Kind

# Start-up times that rules are made for; types between two count as the slower one.
MOST_HORIZONS = 3
_SUMMED = (
    seen.REQUESTS_PER_SECOND, seen.REFUSED_PER_SECOND, seen.REQUESTS_RUNNING,
    seen.REQUESTS_WAITING, seen.REQUESTS_HELD,
)  # fmt: skip
_AVERAGED = (seen.INPUT_TOKENS, seen.OUTPUT_TOKENS, seen.PREFIX_HIT_RATIO, seen.ATTAINMENT_RATIO)


def all_of(pools: Sequence[PoolView], name: str) -> PoolView:
    """The pools as one, without a profile; what a pool that serves does not tell is unknown."""
    signals = {signal: _summed(pools, signal) for signal in _SUMMED}
    weights = [pool.reading(seen.REQUESTS_PER_SECOND).value or 0.0 for pool in pools]
    signals |= {signal: _averaged(pools, weights, signal) for signal in _AVERAGED}
    return PoolView(
        name,
        sum(pool.target for pool in pools),
        sum(pool.ready for pool in pools),
        sum(pool.starting for pool in pools),
        sum(pool.draining for pool in pools),
        Limits(sum(p.limits.least for p in pools), sum(p.limits.most for p in pools)),
        signals,
        forecasts=tuple(one for pool in pools for one in pool.forecasts),
        history=_histories(pools),
    )


def _summed(pools: Sequence[PoolView], signal: str) -> Reading:
    readings = [(pool, pool.reading(signal)) for pool in pools]
    # Where nobody serves nobody tells; what is told nevertheless, like requests held, counts.
    told = [one for pool, one in readings if one.value is not None or pool.ready > 0]
    if not told or any(one.value is None for one in told):
        return Reading.missing()
    worst = max((one.grade for one in told), key=list(Grade).index)
    value = sum(one.value for one in told if one.value is not None)
    age = max((one.age_seconds or 0.0 for one in told), default=0.0)
    return Reading(value, worst, age, min(one.share for one in told))


def _averaged(pools: Sequence[PoolView], weights: Sequence[float], signal: str) -> Reading:
    pairs = [
        (one, weight)
        for one, weight in ((p.reading(signal), w) for p, w in zip(pools, weights, strict=True))
        if one.fresh is not None
    ]
    total = sum(weight for _, weight in pairs if math.isfinite(weight))
    if not pairs or not total > 0:
        return pairs[0][0] if pairs else Reading.missing()
    mean = sum((one.fresh or 0.0) * weight for one, weight in pairs) / total
    return Reading(mean) if math.isfinite(mean) else Reading.missing()


def _histories(pools: Sequence[PoolView]) -> tuple[float, ...]:
    longest = max((len(pool.history) for pool in pools), default=0)
    total = np.zeros(longest)
    for pool in pools:
        if pool.history:
            total[longest - len(pool.history) :] += remembering.filled(pool.history)
    return tuple(total.tolist())


def kinds_of(
    pools: Sequence[PoolView], objective: Objective, sizes: Sequence[float]
) -> tuple[list[Kind], bool]:
    """(types that can serve such requests at all, whether prices are money)."""
    is_priced = all(p.profile and p.profile.price_per_hour is not None for p in pools)
    found = []
    for pool in pools:
        profile = pool.profile
        if profile is None:
            continue
        one = replica(profile, objective, sizes[0], sizes[1], pool.role)
        capacity = most_per_second(one)
        alone = profile.step.seconds(sizes[0], 0, 0) + profile.request_seconds
        if not capacity > 1e-6 or alone > one.ttft_seconds:
            continue
        price = float((profile.price_per_hour or 0.0) if is_priced else profile.gpus)
        most = max(pool.limits.most, pool.limits.least)
        there = pool.supply
        found.append(
            Kind(pool.name, capacity, price, pool.limits.least, most, there, min(pool.ready, there))
        )
    return found, is_priced


def starts_of(pools: Sequence[PoolView], attainment_ratio: float) -> dict[str, float]:
    """Seconds that a start of each pool is planned with."""
    least = sum(pool.limits.least for pool in pools)
    level = remembering.startup_level(attainment_ratio, least)
    return {pool.name: pool.startup.quantile(level) if pool.startup else 0.0 for pool in pools}


def horizons(starts: Mapping[str, float], kinds: Sequence[Kind]) -> list[float]:
    """Start-up times for which there is a rule, rising; the slowest is among them."""
    every = sorted({starts[kind.name] for kind in kinds})
    if len(every) <= MOST_HORIZONS:
        return every
    return sorted({every[0], every[len(every) // 2], every[-1]})


def quick(
    pools: Mapping[str, PoolView], kinds: Sequence[Kind], starts: Mapping[str, float], within: float
) -> list[Kind]:
    """The kinds with what is quick, and what will be there by then."""
    made = []
    for kind in kinds:
        is_quick = starts[kind.name] <= within
        ages = [one.age_seconds for one in pools[kind.name].replicas if one.state == "starting"]
        left = sum(starts[kind.name] - age <= within for age in ages)
        soon = kind.there if is_quick else min(kind.ready + left, kind.there)
        made.append(replace(kind, is_quick=is_quick, soon=soon))
    return made
