"""Pools of several types that serve one stream of requests, as one: `risk` on their sum.

The rules are judged on the rate of all of them. A type that starts slowly cannot cover what comes
sooner, so for each start-up time there is a cheapest rule of its own; what is always there may be
of any type, what comes and goes has to be of a quick one. Of these ways the cheapest is followed,
and the mix of types is found anew at each decision (`mixing`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from controller.capacity import SPREAD
from controller.numbers import Floats
from controller.observation import Limits, Observation, PoolView
from controller.policies import backlog, following, mixing, remembering
from controller.policies.following import TRUST_SECONDS, Now
from controller.policies.mixing import Kind
from controller.policies.parts import bounded
from controller.policies.rules import Judged, Past, Rule, cheapest
from controller.policies.stream import horizons, quick
from controller.policy import Reason

# What was needed all of so long may be of any type.
_STEADY_SECONDS = 3600.0
# Of a request that is at the door, and of nothing else known.
_SOMETHING = 1e-3


@dataclass(frozen=True, slots=True)
class Types:
    """The types of a stream.

    Attributes:
        whole: all pools as one.
        pools: by name.
        kinds: those that can serve.
        starts: seconds that a start of each is planned with.
    """

    whole: PoolView
    pools: Mapping[str, PoolView]
    kinds: tuple[Kind, ...]
    starts: Mapping[str, float]

    @property
    def horizons(self) -> list[float]:
        """Start-up times for which there is a rule, rising."""
        return horizons(self.starts, self.kinds)


@dataclass(frozen=True, slots=True)
class Way:
    """One way to serve the stream.

    Attributes:
        number: place of its start-up time among the horizons: slower types are not quick.
        past: in replicas of the cheapest quick type.
        best: rule.
        base: requests a second for which any type will do.
        price: an hour, on average.
    """

    number: int
    past: Past
    best: Judged
    base: float
    price: float

    def steady(self) -> float:
        """What may be of any type: the base, and what was needed all of the last hour."""
        course = served_each(self.best.wanted, self.past.capacity)
        lately = course[-max(round(_STEADY_SECONDS / self.past.bin_seconds), 1) :]
        return max(self.base, float(lately.min()) if len(lately) else 0.0)


def ways(
    observation: Observation, types: Types, memory: Mapping[str, Any], doubt: float
) -> list[Way]:
    """All ways; first those that keep the objective, the cheapest first."""
    allowed = 1 - observation.objective.attainment_ratio
    found = []
    for number in range(len(types.horizons)):
        _, past = standing(observation, types, memory, number)
        best = cheapest(past, allowed, doubt)
        base, price = _shared_out(served_each(best.wanted, past.capacity), types, number)
        found.append(Way(number, past, best, base, price))
    return sorted(
        found, key=lambda way: (max(way.best.missed_ratio - allowed, 0.0), way.price, way.number)
    )


def standing(
    observation: Observation, types: Types, memory: Mapping[str, Any], number: int
) -> tuple[PoolView, Past]:
    """A pool of the cheapest quick type that stands for all, and its past."""
    within = types.horizons[number]
    able = [one for one in types.kinds if types.starts[one.name] <= within and one.most > 0]
    first = min(able or types.kinds, key=lambda kind: (kind.per_request, kind.name))
    like, kinds = types.pools[first.name], types.kinds

    def in_replicas(of: Mapping[str, float]) -> float:
        return sum(of[kind.name] * kind.capacity for kind in kinds) / first.capacity

    one = replace(
        types.whole, profile=like.profile, startup=like.startup, role=like.role,
        limits=Limits(
            math.floor(in_replicas({kind.name: kind.least for kind in kinds})),
            math.ceil(in_replicas({kind.name: kind.most for kind in kinds})),
        ),
        target=round(in_replicas({kind.name: types.pools[kind.name].target for kind in kinds})),
        ready=round(in_replicas({kind.name: kind.ready for kind in kinds})),
    )  # fmt: skip
    past = remembering.past_of(observation, one, memory)
    return one, replace(past, startup_seconds=within)


def _shared_out(course: Floats, types: Types, number: int) -> tuple[float, float]:
    """(requests a second for which any type will do, price an hour) of the cheapest share.

    What a base of any type does not cover is of quick ones, and only while it is wanted.
    """
    within = types.horizons[number]
    able = [kind for kind in types.kinds if kind.most > 0] or list(types.kinds)
    fast = [kind for kind in able if types.starts[kind.name] <= within] or able
    any_price = min(kind.per_request for kind in able)
    fast_price = min(kind.per_request for kind in fast)
    # What quick ones have no room for has to be there before.
    lowest = max(
        float(course.max(initial=0.0)) - sum(kind.most * kind.capacity for kind in fast), 0.0
    )
    bases = np.unique(np.append(course[course >= lowest], lowest))
    prices = [
        float(base * any_price + np.maximum(course - base, 0.0).mean() * fast_price)
        for base in bases
    ]
    least = min(prices)
    # The largest of the cheapest: what is always needed may be of the cheapest type.
    return max(b for b, p in zip(bases, prices, strict=True) if p <= least * (1 + 1e-9)), least


def decided(
    observation: Observation, types: Types, memory: dict[str, Any], *, is_seen: bool
) -> tuple[dict[str, int], Reason]:
    """Replicas of each type, and why.

    Args:
        observation: what was seen.
        types: of the stream.
        memory: with the newest rate; what is decided is added.
        is_seen: whether anybody told that rate.
    """
    number = min(int(memory.get("way", len(types.horizons))), len(types.horizons) - 1)
    one, past = standing(observation, types, memory, number)
    rule = Rule.of(memory["rule"]) if "rule" in memory else following.first_rule(one)
    rate = float(past.rates[-1]) if is_seen else 0.0
    now = Now(one, past, rate, memory.get("silent", 0), is_seen)
    need, lower, reason = _needed(now, types, rule, memory)
    # Kept for two decisions, as when it was judged.
    wanted = max(need, memory.get("last", 0.0))
    memory["last"] = remembering.short(need)
    kinds = quick(types.pools, types.kinds, types.starts, types.horizons[number])
    base = memory.get("base", 0.0) if wanted > 0 else 0.0
    replicas = counts(kinds, wanted, base, lower)
    numbers = {**reason.numbers, "need": wanted, "base": base}
    return replicas, replace(reason, numbers=numbers, text=_sentence(reason, numbers, past))


def _sentence(reason: Reason, numbers: Mapping[str, float], past: Past) -> str:
    """Why, in requests a second: replicas are of several types."""
    need = f"room for {numbers['need']:.2f} requests/s"
    if reason.code == "floor":
        return f"{need} is kept whatever comes"
    if reason.code == "forecast":
        seconds = past.ahead_bins * past.bin_seconds
        high = f"moments like this were followed by up to {numbers['ahead']:.2f}"
        return f"{need}: {high} within {seconds:.0f} s"
    if reason.code == "rate":
        return f"{need}: {numbers['rate']:.2f} come now"
    return f"{need}: {reason.text}"


def _needed(
    now: Now, types: Types, rule: Rule, memory: dict[str, Any]
) -> tuple[float, Mapping[str, int], Reason]:
    """(requests a second that must be served, replicas that stay, why)."""
    wanted, reason = following.followed(now, rule)
    numbers = reason.numbers
    capacity = now.past.capacity
    need = served(float(wanted), capacity)
    if "rate" in numbers:
        # Not in whole replicas of one type: others are smaller, or larger.
        ahead = min(rule.gain * numbers["ahead"], served(rule.most_ahead, capacity))
        need = max(served(rule.floor, capacity), ahead, rule.rate_gain * numbers["rate"])
    at_first = memory.setdefault("first", {name: pool.target for name, pool in types.pools.items()})
    lower: Mapping[str, int] = {}
    if now.past.seconds < TRUST_SECONDS:
        lower = {name: int(at_first.get(name, 0)) for name in types.pools}
        text = f"only {now.past.seconds / 60:.0f} minutes of load are known, so nothing shrinks"
        reason = replace(reason, code="learning", text=text)
    if not now.is_seen:
        lower = {name: max(lower.get(name, 0), one.target) for name, one in types.pools.items()}
    if backlog.is_behind(now.pool, now.past):
        waiting = backlog.waiting(now.pool)
        need = max(need, now.rate + waiting / backlog.within(now.past))
        lower = {name: max(lower.get(name, 0), one.target) for name, one in types.pools.items()}
        text = f"{waiting:.0f} requests wait for longer than they may"
        reason = replace(reason, code="behind", text=text)
    is_wanted, reason = following.awake(types.whole, math.ceil(min(need, 1.0)), reason)
    return (max(need, _SOMETHING) if is_wanted else 0.0), lower, reason


def served(replicas: float, capacity: float) -> float:
    """Requests a second that replicas of one type serve, chance allowed for."""
    return float(served_each(np.array([replicas]), capacity)[0])


def served_each(replicas: Floats, capacity: float) -> Floats:
    """(n,) the same of each number."""
    whole = np.maximum(replicas, 0.0)
    return np.asarray(np.maximum(capacity * (whole - SPREAD * np.sqrt(whole)), 0.0))


def counts(
    kinds: Sequence[Kind], need: float, base: float, lower: Mapping[str, int]
) -> dict[str, int]:
    """Replicas of each type."""
    settled = mixing.settled(kinds, base) if base > 0 else {}
    least = {
        kind.name: min(max(settled.get(kind.name, 0), lower.get(kind.name, 0)), kind.most)
        for kind in kinds
    }
    return mixing.mixed(kinds, need, least)


def advice_of(types: Types, way: Way, *, is_priced: bool) -> list[str]:
    """What the cheapest way comes to, beside one type alone."""
    made, base = [], way.steady()
    rule = way.best.rule
    if rule.is_fixed and rule.floor > way.past.least:
        name, seconds = types.whole.name, way.past.startup_seconds
        made.append(
            f"autoscaling cannot help here: the load of stream {name} grows faster than a replica"
            f" starts ({seconds:.0f} s); keep room for {served(rule.floor, way.past.capacity):.2f}"
            " requests/s warm"
        )
    if base > 0:
        still = [replace(kind, there=0) for kind in types.kinds]
        text = instead(still, mixing.settled(still, base), base, is_priced=is_priced)
        if text:
            made.append(f"for the {base:.2f} requests/s that are always needed {text}")
    return made


def instead(
    kinds: Sequence[Kind], replicas: Mapping[str, int], need: float, *, is_priced: bool
) -> str:
    """What a mix saves beside the cheapest single type that it is not; "" where nothing."""
    used = [name for name, n in replicas.items() if n > 0]
    others = [(kind, n) for kind, n in mixing.alone(kinds, need) if used != [kind.name]]
    if not used or not others or not need > 0:
        return ""
    kind, number = others[0]
    saved = kind.price * number - mixing.price_of(kinds, replicas)
    if saved <= 0:
        return ""
    mine = " and ".join(f"{replicas[name]} x {name}" for name in used)
    less = f"{saved:.2f} an hour less" if is_priced else f"{saved:g} cards less"
    unknown = "" if is_priced else "; prices are not known of all, so cards are counted"
    return f"{mine} instead of {number} x {kind.name}: {less}{unknown}"


def target_of(pool: PoolView, replicas: Mapping[str, int]) -> int:
    """Inside its limits; a type that cannot serve keeps its least."""
    return bounded(pool, replicas.get(pool.name, pool.limits.least))
