"""Which GPU types serve a load for the least money: buckets of request sizes, cut in slices.

After Mélange (tyler-griggs/melange-release, arXiv 2404.14527): each slice goes to exactly one type,
a type needs as many replicas as its slices fill, and the whole is solved as an integer programme,
here by HiGHS.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from controller import observation as seen
from controller.capacity import requests_per_second
from controller.numbers import Floats
from controller.observation import Limits, Objective, Observation, PoolView
from controller.policies.parts import bounded, each_pool, in_range, sizes, told
from controller.policies.windows import added, within
from controller.policy import Memory, PolicySpec, Proposal, Reason
from controller.profile import Profile
from store.errors import ControllerError

SLICES, HOLD_SECONDS = 4, 300.0
MOST_BUCKETS, MOST_KINDS = 200, 32
# Bounds the search by work, not by time: the same question has the same answer everywhere.
_MOST_NODES = 20_000
_GAP = 1e-6
_MOST_WEIGHT = 1e6
SPEC = PolicySpec(
    "melange",
    "Cheapest mix of GPU types (Mélange)",
    60.0,
    "tyler-griggs/melange-release, arXiv 2404.14527",
    parameters={"margin": 1.0, "slices": SLICES, "hold_seconds": HOLD_SECONDS, "mix": None},
    knob="margin",
    knob_values=(0.7, 0.8, 0.9, 1.0, 1.15, 1.3, 1.6),
)


@dataclass(frozen=True, slots=True)
class Bucket:
    """Requests of about one size.

    Attributes:
        input_tokens: of a request.
        output_tokens: of a request.
        requests_per_second: of them.
    """

    input_tokens: float
    output_tokens: float
    requests_per_second: float


@dataclass(frozen=True, slots=True)
class Mix:
    """An answer.

    Attributes:
        replicas: of each pool.
        price_per_hour: of all of them.
        unserved_per_second: requests that the limits, or the objective, leave no room for.
        shares: of each pool, by bucket: what part of it goes there, 0 to 1.
    """

    replicas: Mapping[str, int]
    price_per_hour: float
    unserved_per_second: float
    shares: Mapping[str, tuple[float, ...]]


def cheapest_mix(
    load: Sequence[Bucket],
    profiles: Mapping[str, Profile],
    prices: Mapping[str, float],
    limits: Mapping[str, Limits],
    objective: Objective | None = None,
    slices: int = SLICES,
) -> Mix:
    """Replicas of each pool that serve the load for the least money.

    Args:
        load: histogram of the requests.
        profiles: by pool.
        prices: of a replica an hour, by pool.
        limits: by pool.
        objective: inside which a replica must serve a bucket; one that cannot gets none of it.
        slices: parts that a bucket may be cut into.

    Raises:
        ControllerError: too much to solve, or a pool without a price or limits.
    """
    names = list(profiles)
    _check(load, names, prices, limits, slices)
    wanted = objective or Objective()
    buckets = [bucket for bucket in load if bucket.requests_per_second > 0]
    filled = np.array(
        [[_filled(one, profiles[name], wanted, slices) for name in names] for one in buckets]
    ).reshape(len(buckets), len(names))
    price = np.array([prices[name] for name in names], dtype=np.float64)
    bounds = np.array([[limits[n].least, max(limits[n].most, limits[n].least)] for n in names])
    counts, assigned = _solved(filled, price, bounds, slices)
    if assigned.sum() < slices * len(buckets):
        # Not all finds room: then slices are cut finer, to use all the room there is.
        counts, assigned = _solved(filled, price, bounds, slices, is_cut=True)
    served = assigned.sum(axis=1)
    missing = sum(
        bucket.requests_per_second * (1 - served[at] / slices) for at, bucket in enumerate(buckets)
    )
    return Mix(
        dict(zip(names, counts.tolist(), strict=True)),
        float(counts @ price),
        max(float(missing), 0.0),
        {name: tuple((assigned[:, at] / slices).tolist()) for at, name in enumerate(names)},
    )


def _check(
    load: Sequence[Bucket],
    names: Sequence[str],
    prices: Mapping[str, float],
    limits: Mapping[str, Limits],
    slices: int,
) -> None:
    if len(load) > MOST_BUCKETS or not 1 <= len(names) <= MOST_KINDS or not 1 <= slices <= 64:
        raise ControllerError(
            f"a mix of {len(names)} pools for {len(load)} sizes in {slices} slices",
            hint=f"1 to {MOST_KINDS} pools, at most {MOST_BUCKETS} sizes, 1 to 64 slices",
        )
    for name in names:
        price = prices.get(name)
        if price is None or not math.isfinite(price) or price < 0:
            raise ControllerError(
                f"pool {name} has no price", hint="give price_per_hour in its profile"
            )
        if name not in limits:
            raise ControllerError(f"pool {name} has no limits")


def _filled(bucket: Bucket, profile: Profile, objective: Objective, slices: int) -> float:
    """Replicas that one slice of a bucket fills; infinite where the profile cannot serve it."""
    alone = profile.step.seconds(bucket.input_tokens, 0, 0) + profile.request_seconds
    if objective.ttft_seconds is not None and alone > objective.ttft_seconds:
        return math.inf
    each = requests_per_second(profile, objective, bucket.input_tokens, bucket.output_tokens)
    return bucket.requests_per_second / slices / each if each > 1e-6 else math.inf


def _solved(
    filled: Floats, price: Floats, bounds: Floats, slices: int, *, is_cut: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """(replicas of each kind, slices of each bucket on each kind).

    Slices of a bucket are alike, so they are counted: n[b, k] of `slices`, and u[b] that nobody
    serves.
    """
    from scipy.optimize import Bounds, LinearConstraint, milp

    b, k = filled.shape
    variables = b * k + b + k
    served = np.isfinite(filled)
    # Whatever can be served is: what one more replica takes costs more left out than all of them.
    fullest = float(np.where(served, filled, 1.0).max(initial=1.0)) if is_cut else 1.0
    left_out = (1.0 + float(price @ bounds[:, 1])) * min(fullest, _MOST_WEIGHT)
    cost = np.concatenate([np.zeros(b * k), np.full(b, left_out), price])
    every = np.zeros((b, variables))
    for at in range(b):
        every[at, at * k : (at + 1) * k] = 1
        every[at, b * k + at] = 1
    room = np.zeros((k, variables))
    for kind in range(k):
        room[kind, kind : b * k : k] = np.where(served[:, kind], filled[:, kind], 0.0)
        room[kind, b * k + b + kind] = -1
    low = np.concatenate([np.zeros(b * k + b), bounds[:, 0]])
    high = np.concatenate([np.where(served, slices, 0).ravel(), np.full(b, slices), bounds[:, 1]])
    found = milp(
        cost,
        integrality=np.concatenate([np.full(b * k + b, int(not is_cut)), np.ones(k)]),
        bounds=Bounds(low, high),
        constraints=[
            LinearConstraint(every, slices, slices),
            LinearConstraint(room, -np.inf, 0),
        ],
        options={"node_limit": _MOST_NODES, "mip_rel_gap": _GAP},
    )
    if found.x is None:
        raise ControllerError(f"no mix was found: {found.message}")
    counts = np.rint(found.x[b * k + b :]).astype(np.int64)
    assigned = found.x[: b * k] if is_cut else np.rint(found.x[: b * k])
    return counts, assigned.reshape(b, k)


@dataclass(frozen=True, slots=True)
class Melange:
    """The cheapest mix of the pools that serve one model, for the highest rate of late.

    Args:
        margin: on the rate.
        slices: parts that a size may be cut into.
        hold_seconds: the highest rate of so long counts.
        mix: sizes as ((input tokens, output tokens, share), ...); None: all are average ones.
        pools: that share the model; None: all whole ones with a profile.
    """

    margin: float = 1.0
    slices: int = SLICES
    hold_seconds: float = HOLD_SECONDS
    mix: Sequence[Sequence[float]] | None = None
    pools: Sequence[str] | None = None
    spec: PolicySpec = field(default=SPEC, init=False)

    def __post_init__(self) -> None:
        """Refuse what is no histogram."""
        in_range(SPEC.name, "margin", self.margin, 0.01, 100)
        in_range(SPEC.name, "slices", self.slices, 1, 64)
        in_range(SPEC.name, "hold_seconds", self.hold_seconds, 0, 86_400)
        for row in self.mix or ():
            if len(row) != 3 or not all(math.isfinite(v) and v >= 0 for v in row):
                raise ControllerError(
                    f"policy melange: {list(row)} is no size",
                    hint="mix is a list of [input tokens, output tokens, share]",
                )
        if self.mix is not None and not sum(row[2] for row in self.mix) > 0:
            raise ControllerError("policy melange: the shares of mix sum to 0")

    def decide(self, observation: Observation, memory: Memory) -> tuple[Proposal, Memory]:
        """Every 60 s."""
        mine = [pool for pool in observation.pools if self._is_mine(pool)]
        rates = [told(pool, seen.REQUESTS_PER_SECOND) for pool in mine]
        known = [rate for rate in rates if rate is not None]
        if not mine or len(known) < len(rates):
            proposal, _ = each_pool(observation, {}, _held)
            return proposal, dict(memory)
        at = observation.at
        past = added(memory.get("rates", []), at, sum(known), self.hold_seconds)
        rate = max(within(past, at, self.hold_seconds)) * self.margin
        found = self._mix(observation, mine, rate)
        reasons = tuple(
            Reason(
                pool.name, "mix",
                f"{found.replicas[pool.name]} in the cheapest mix for {rate:.2f} requests/s",
                {"requests_per_second": rate, "price_per_hour": found.price_per_hour},
            )
            for pool in mine
        )  # fmt: skip
        advice = (
            (f"no mix within the limits serves {found.unserved_per_second:.2f} requests/s of them",)
            if found.unserved_per_second > 1e-9
            else ()
        )
        targets = {pool.name: bounded(pool, found.replicas[pool.name]) for pool in mine}
        return Proposal(targets, reasons, advice), {"rates": past}

    def _is_mine(self, pool: PoolView) -> bool:
        is_named = pool.role == "whole" if self.pools is None else pool.name in self.pools
        return is_named and pool.profile is not None

    def _mix(self, observation: Observation, mine: Sequence[PoolView], rate: float) -> Mix:
        profiles = {pool.name: pool.profile for pool in mine if pool.profile is not None}
        # Without prices in money a card costs a card.
        is_priced = all(profile.price_per_hour is not None for profile in profiles.values())
        prices = {
            name: float((profile.price_per_hour or 0.0) if is_priced else profile.gpus)
            for name, profile in profiles.items()
        }
        limits = {pool.name: pool.limits for pool in mine}
        return cheapest_mix(
            self._histogram(mine, rate),
            profiles,
            prices,
            limits,
            observation.objective,
            self.slices,
        )

    def _histogram(self, mine: Sequence[PoolView], rate: float) -> list[Bucket]:
        if self.mix is None:
            return [Bucket(*_mean_sizes(mine), rate)]
        total = sum(row[2] for row in self.mix)
        return [Bucket(row[0], row[1], rate * row[2] / total) for row in self.mix]


def _mean_sizes(mine: Sequence[PoolView]) -> tuple[float, float]:
    """(prompt tokens to compute, output tokens), weighed by the pools' rates."""
    weights = np.array([told(pool, seen.REQUESTS_PER_SECOND) or 0.0 for pool in mine])
    weights = weights if weights.sum() > 0 else np.ones(len(mine))
    each = np.array([sizes(pool) for pool in mine])
    prompt, output = (weights @ each) / weights.sum()
    return float(prompt), float(output)


def _held(observation: Observation, pool: PoolView, memory: Memory) -> tuple[int, Reason, Memory]:
    return pool.target, Reason(pool.name, "no_data", "a rate or a profile is missing: held"), {}
