"""The cheapest mix of GPU types: against all possibilities, and as a policy."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.capacity import requests_per_second
from controller.observation import Limits, Objective, Observation
from controller.policies.melange import Bucket, cheapest_mix
from controller.policies.registry import make
from controller.profile import Profile, StepTimes
from store.errors import ControllerError

# Slow and cheap; fast and dear; and one with a small cache that long requests do not fit.
SLOW, FAST, SMALL = (
    StepTimes(0.02, 0.0004, 0.0, 0.002),
    StepTimes(0.01, 0.0001, 0.0, 0.0005),
    StepTimes(0.01, 0.0001, 0.0, 0.001),
)
PROFILES = {
    "slow": Profile("slow", SLOW, sequences=32, cache_tokens=60_000),
    "fast": Profile("fast", FAST, sequences=128, cache_tokens=400_000),
    "small": Profile("small", SMALL, sequences=64, cache_tokens=9_000),
}
PRICES = {"slow": 1.0, "fast": 3.7, "small": 1.3}
LIMITS = dict.fromkeys(PROFILES, Limits(0, 30))


def brute(load, names, limits, slices):
    """The lowest price over every way to hand out every slice."""
    parts = [
        tuple(
            p for p in itertools.product(range(slices + 1), repeat=len(names)) if sum(p) == slices
        )
        for _ in load
    ]
    best = math.inf
    for chosen in itertools.product(*parts):
        price = 0.0
        for at, name in enumerate(names):
            filled = 0.0
            for bucket, part in zip(load, chosen, strict=True):
                if part[at]:
                    each = requests_per_second(
                        PROFILES[name], Objective(), bucket.input_tokens, bucket.output_tokens
                    )
                    rate = bucket.requests_per_second * part[at] / slices
                    filled += rate / each if each > 1e-6 else math.inf
            count = max(math.ceil(filled - 1e-6) if filled < 1e6 else math.inf, limits[name].least)
            price += PRICES[name] * count if count <= limits[name].most else math.inf
        best = min(best, price)
    return best


buckets = st.builds(
    Bucket, st.sampled_from([100, 1000, 3000]), st.sampled_from([50, 200]), st.floats(0.5, 12)
)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(buckets, min_size=1, max_size=3),
    st.integers(1, 3),
    st.sampled_from([("slow", "fast"), ("fast", "small"), ("slow", "fast", "small")]),
)
def test_no_mix_is_cheaper(load, slices, names):
    """Every small case by hand."""
    if len(load) == 3 and len(names) == 3:
        slices = min(slices, 2)
    profiles = {name: PROFILES[name] for name in names}
    made = cheapest_mix(load, profiles, PRICES, LIMITS, slices=slices)
    wanted = brute(load, names, LIMITS, slices)
    if math.isinf(wanted):
        assert made.unserved_per_second > 0
    else:
        assert made.unserved_per_second == pytest.approx(0, abs=1e-9)
        assert made.price_per_hour == pytest.approx(wanted)


def test_small_requests_go_where_they_are_cheap():
    """And long ones where they fit."""
    load = [Bucket(100, 50, 20.0), Bucket(3000, 200, 2.0)]
    made = cheapest_mix(load, PROFILES, PRICES, LIMITS)
    assert sum(made.shares[name][0] for name in PROFILES) == pytest.approx(1.0)
    dear = cheapest_mix(load, {"fast": PROFILES["fast"]}, PRICES, LIMITS)
    assert made.price_per_hour <= dear.price_per_hour


def test_limits_leave_some_unserved_and_say_so():
    """No mix is better than none."""
    narrow = {"fast": Limits(0, 1)}
    made = cheapest_mix(
        [Bucket(1000, 200, 40.0)], {"fast": PROFILES["fast"]}, PRICES, narrow, slices=8
    )
    assert made.replicas == {"fast": 1}
    assert 0 < made.unserved_per_second < 40


def test_a_type_that_misses_the_objective_gets_nothing():
    """A prompt of 3,000 tokens takes the slow one 1.2 s."""
    strict = Objective(ttft_seconds=1.0)
    pair = {name: PROFILES[name] for name in ("slow", "fast")}
    made = cheapest_mix([Bucket(3000, 50, 1.0)], pair, PRICES, LIMITS, strict)
    assert made.replicas["slow"] == 0


def test_nothing_to_serve_is_the_least():
    """Of each pool."""
    limits = {"slow": Limits(1, 5), "fast": Limits(0, 5)}
    pair = {name: PROFILES[name] for name in limits}
    assert cheapest_mix([], pair, PRICES, limits).replicas == {"slow": 1, "fast": 0}
    assert cheapest_mix([Bucket(1, 1, 0.0)], pair, PRICES, limits).price_per_hour == 1.0


@pytest.mark.parametrize(
    ("prices", "limits", "slices", "words"),
    [
        ({}, LIMITS, 4, "has no price"),
        ({**PRICES, "slow": math.nan}, LIMITS, 4, "has no price"),
        (PRICES, {}, 4, "has no limits"),
        (PRICES, LIMITS, 0, "slices"),
    ],
)
def test_what_is_missing_is_told(prices, limits, slices, words):
    """In one line."""
    with pytest.raises(ControllerError, match=words):
        cheapest_mix([Bucket(1, 1, 1.0)], PROFILES, prices, limits, slices=slices)


def two(pool_of, rates=(6.0, 2.0), **more):
    return tuple(
        pool_of(
            2, name=name, profile=replace(PROFILES[name], price_per_hour=PRICES[name]),
            limits=(0, 30),
            signals={
                "requests_per_second": rate, "mean_input_tokens": 1000.0,
                "mean_output_tokens": 200.0,
            },
            **more,
        )
        for name, rate in zip(("slow", "fast"), rates, strict=True)
    )  # fmt: skip


def test_as_a_policy_it_is_the_mix_of_what_all_pools_get(pool_of):
    """Eight requests/s of average size."""
    pools = two(pool_of)
    proposal, _ = make("melange").decide(Observation(0.0, pools), {})
    pair = {name: PROFILES[name] for name in ("slow", "fast")}
    wanted = cheapest_mix([Bucket(1000, 200, 8.0)], pair, PRICES, LIMITS)
    assert proposal.targets == wanted.replicas


def test_the_highest_rate_of_five_minutes_counts(pool_of):
    """Then less is enough."""
    policy, memory = make("melange"), {}
    course = []
    for at, rates in (
        (0.0, (20.0, 5.0)),
        (60.0, (1.0, 0.0)),
        (300.0, (1.0, 0.0)),
        (361.0, (1.0, 0.0)),
    ):
        proposal, memory = policy.decide(Observation(at, two(pool_of, rates)), memory)
        course.append(proposal.targets)
    assert course[0] == course[1] == course[2] != course[3]


def test_a_given_histogram_is_used(pool_of):
    """Long prompts cost more than the mean tells."""
    pools = two(pool_of)
    plain, _ = make("melange").decide(Observation(0.0, pools), {})
    mixed, _ = make("melange", mix=[[100, 50, 1], [8000, 800, 1]]).decide(
        Observation(0.0, pools), {}
    )
    assert plain.targets != mixed.targets


def test_a_rate_that_is_missing_holds_all(pool_of):
    """They serve the same requests."""
    first, second = two(pool_of)
    pools = (first, replace(second, signals={}))
    proposal, _ = make("melange").decide(Observation(0.0, pools), {})
    assert proposal.targets == {"slow": 2, "fast": 2}


def test_what_no_mix_serves_is_told(pool_of):
    """As advice."""
    pools = tuple(replace(pool, limits=Limits(0, 1)) for pool in two(pool_of, (200.0, 100.0)))
    proposal, _ = make("melange").decide(Observation(0.0, pools), {})
    assert proposal.targets == {"slow": 1, "fast": 1}
    assert "no mix within the limits serves" in proposal.advice[0]
