"""Ours over several types of cards: the cheapest mix that serves in time, without flapping."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller import observation as seen
from controller.comparison.building import built
from controller.comparison.fleets import FleetPool
from controller.observation import Limits, Objective, Observation, PoolView, Reading
from controller.policies import mixing
from controller.policies.check import PROFILE, check_policy
from controller.policies.mixing import Kind
from controller.policies.registry import make, parameters_of
from controller.policies.risk import Risk
from controller.startup import StartupTimes

GOAL, BIN = Objective(2.0, 0.1, 0.99), 15.0
SMALL = replace(PROFILE, name="small", gpu_type="l40s", price_per_hour=1.0)
# Twice as fast, four times the price; and the dear one that starts at once.
LARGE = replace(
    SMALL, name="large", gpu_type="h100", sequences=128, price_per_hour=4.0, gpus=2,
    step=replace(
        PROFILE.step, fixed_seconds=0.005, sequence_squared_seconds=0.0,
        prompt_token_seconds=0.00005, sequence_seconds=PROFILE.step.sequence_seconds / 2,
    ),
)  # fmt: skip


def pool(name, profile, rate, count, *, startup=60.0, most=20, least=0, ready=None, history=()):
    told = {
        seen.REQUESTS_PER_SECOND: rate,
        seen.REQUESTS_RUNNING: 0.0 if rate is None else 4 * rate,
        seen.REQUESTS_WAITING: 0.0,
        seen.INPUT_TOKENS: 800.0,
        seen.OUTPUT_TOKENS: 200.0,
    }
    signals = {key: Reading(value) for key, value in told.items() if value is not None}
    serving = count if ready is None else ready
    return PoolView(
        name, count, serving, count - serving, 0, Limits(least, most), signals if serving else {},
        profile=profile, startup=StartupTimes.about(startup), history=tuple(history),
    )  # fmt: skip


def seen_now(at, *pools):
    return Observation(at, pools, GOAL, BIN)


def run(ticks, rate_at, first, start_seconds, profiles, limits=20, history=()):
    """Follow it: replicas are ready so long after they were asked for. Gives targets by tick."""
    policy, memory, made = Risk(together="chat"), {}, []
    asked = {name: [(-1e9)] * count for name, count in first.items()}
    for tick in range(ticks):
        at, rate = BIN * tick, rate_at(tick)
        ready = {n: sum(at - t >= start_seconds[n] for t in times) for n, times in asked.items()}
        total = max(sum(ready.values()), 1)
        pools = [
            pool(
                name, profiles[name], rate * ready[name] / total if ready[name] else None,
                len(asked[name]), startup=start_seconds[name], most=limits, ready=ready[name],
                history=history if tick == 0 and name == next(iter(first)) else (),
            )
            for name in first
        ]  # fmt: skip
        proposal, memory = policy.decide(seen_now(at, *pools), memory)
        for name, target in proposal.targets.items():
            times = asked[name]
            asked[name] = times[:target] + [at] * (target - len(times))
        made.append((dict(proposal.targets), ready, proposal))
    return made


PROFILES = {"l40s": SMALL, "h100": LARGE}


def test_a_steady_load_moves_to_the_cheaper_type_and_stays_there():
    """From cards at four times the price; never with too few that serve, and without flapping."""
    made = run(
        160, lambda _: 8.0, {"h100": 4, "l40s": 0}, {"h100": 60.0, "l40s": 60.0}, PROFILES,
        history=[8.0] * 1400,
    )  # fmt: skip
    targets = [one[0] for one in made]
    assert targets[-1]["h100"] == 0
    assert targets[-1]["l40s"] > 0
    assert all(one == targets[-1] for one in targets[60:])
    proposal = made[-1][2]
    assert "l40s instead of" in proposal.reasons[0].text
    assert "an hour less" in proposal.reasons[0].text
    assert any("l40s instead of" in one for one in proposal.advice)
    # What served was enough at every moment: dear ones went when cheap ones were there.
    first_gone = next(n for n, one in enumerate(targets) if one["h100"] < targets[0]["h100"])
    assert made[first_gone][1]["l40s"] > 0


def test_what_starts_slowly_does_not_cover_what_comes_sooner():
    """Cheap cards that take ten minutes are the base, dear ones of 15 s follow the bursts."""
    rates = np.tile([4.0] * 60 + [24.0] * 12, 20)
    made = run(
        170, lambda tick: rates[tick], {"h100": 0, "l40s": 6}, {"h100": 15.0, "l40s": 600.0},
        PROFILES, history=rates.tolist(),
    )  # fmt: skip
    cheap = [one[0]["l40s"] for one in made[60:]]
    dear = [one[0]["h100"] for one in made[60:]]
    assert max(dear) > min(dear)
    assert min(cheap) >= 1
    assert max(cheap) - min(cheap) <= max(dear)
    assert sum(a != b for a, b in pairwise(cheap)) <= 8


def test_without_prices_cards_are_counted_and_it_says_so():
    """Nobody told what the dear one costs: it is two cards."""
    unpriced = replace(LARGE, price_per_hour=None)
    made = run(
        60, lambda _: 8.0, {"h100": 4, "l40s": 0}, {"h100": 15.0, "l40s": 15.0},
        {"l40s": SMALL, "h100": unpriced}, history=[8.0] * 1400,
    )  # fmt: skip
    text = made[-1][2].reasons[0].text + " ".join(made[-1][2].advice)
    assert "cards are counted" in text or "instead of" not in text


def test_limits_of_a_type_are_kept():
    """Three cheap ones are all there are: the rest is of the dear ones."""
    made = run(
        120, lambda _: 30.0, {"h100": 4, "l40s": 3}, {"h100": 15.0, "l40s": 15.0}, PROFILES,
        limits=3, history=[30.0] * 1400,
    )  # fmt: skip
    assert made[-1][0] == {"h100": 3, "l40s": 3}


def test_a_stream_of_which_a_type_tells_nothing_is_held():
    """It serves, and nobody knows what: no type moves."""
    quiet = replace(pool("h100", LARGE, 4.0, 3), signals={})
    proposal, _ = Risk(together="chat").decide(
        seen_now(0.0, pool("l40s", SMALL, 4.0, 2), quiet), {}
    )
    assert proposal.targets == {"l40s": 2, "h100": 3}
    assert {one.code for one in proposal.reasons} == {"unknown"}


def test_one_is_awake_where_something_is_at_the_door():
    """All types are at zero, a request is held: the cheapest starts."""
    empty = [pool(name, PROFILES[name], None, 0, history=[0.0] * 1400) for name in PROFILES]
    policy = Risk(together="chat")
    told = {seen.REQUESTS_PER_SECOND: Reading(0.0), seen.REQUESTS_HELD: Reading(0.0)}
    asleep, memory = policy.decide(seen_now(0.0, *(replace(p, signals=told) for p in empty)), {})
    held = {seen.REQUESTS_PER_SECOND: Reading(0.0), seen.REQUESTS_HELD: Reading(1.0)}
    awake, _ = policy.decide(seen_now(15.0, replace(empty[0], signals=held), empty[1]), memory)
    assert asleep.targets == {"l40s": 0, "h100": 0}
    assert awake.targets == {"l40s": 1, "h100": 0}


def test_alone_a_pool_is_decided_as_without_a_stream():
    """The name alone changes nothing, neither do pools that share nothing."""
    one = pool("a", SMALL, 8.0, 4, history=[8.0] * 500)
    for policy in (Risk(), Risk(together="chat")):
        proposal, memory = policy.decide(seen_now(0.0, one), {})
        assert set(memory) == {"a"}
    two = seen_now(0.0, one, replace(one, name="b"))
    assert set(Risk().decide(two, {})[1]) == {"a", "b"}
    assert proposal.targets["a"] == Risk().decide(two, {})[0].targets["b"]


def test_a_replayed_fleet_is_one_stream():
    """Its whole pools share the arrivals, and it is told so; one pool is not."""
    fleet = (FleetPool("l40s", SMALL), FleetPool("h100", LARGE))
    assert parameters_of(built("risk", {}, None, fleet))["together"]
    assert parameters_of(built("risk(together=)", {}, None, fleet))["together"] == ""
    assert parameters_of(built("risk", {}, None, fleet[:1]))["together"] == ""


def test_it_keeps_its_promises_together():
    """Pure, JSON, whole numbers in bounds, whatever the fleet looks like."""
    policy = make("risk", together="chat")
    assert parameters_of(policy) == {"doubt": 1.0, "together": "chat"}
    check_policy(policy, long_ticks=200)


kinds = st.lists(
    st.tuples(
        st.floats(0.1, 20), st.floats(0, 50), st.integers(0, 3), st.integers(0, 8),
        st.integers(0, 6), st.integers(0, 6), st.booleans(),
    ),
    min_size=1, max_size=4,
)  # fmt: skip


@given(kinds, st.floats(0, 60), st.floats(0, 30))
@settings(max_examples=60, deadline=None)
def test_a_mix_is_inside_its_limits_and_serves_what_it_can(drawn, need, base):
    """Whatever there is; what serves now is not given up below the need."""
    made = [
        Kind(f"k{n}", one[0], one[1], one[2], one[2] + one[3], one[4], min(one[4], one[5]),
             one[4], is_quick=one[6])
        for n, one in enumerate(drawn)
    ]  # fmt: skip
    found = mixing.mixed(made, need)
    assert all(kind.least <= found[kind.name] <= kind.most for kind in made)
    reachable = sum(
        kind.capacity * (kind.most if kind.is_quick else min(kind.there, kind.most))
        for kind in made
    )
    served = sum(kind.capacity * found[kind.name] for kind in made)
    assert served >= min(need, reachable) * 0.9999 - 1e-6
    assert mixing.mixed(made, need) == found


def test_the_cheapest_mix_is_found():
    """Two large ones and a small one, where three large ones would be idle in part."""
    small, large = Kind("s", 1.0, 1.0, 0, 9), Kind("l", 5.0, 3.5, 0, 9)
    assert mixing.mixed([small, large], 4.0) == {"s": 0, "l": 1}
    assert mixing.mixed([small, large], 0.5) == {"s": 1, "l": 0}
    assert mixing.mixed([small, large], 0.0) == {"s": 0, "l": 0}
    assert mixing.alone([small, large], 4.0)[0][0].name == "l"


@pytest.mark.parametrize(("price", "moves"), [(0.97, False), (0.8, True)])
def test_moving_must_pay(price, moves):
    """Three per cent are not worth starting replicas for; a fifth is."""
    there = Kind("there", 1.0, 1.0, 0, 9, 5, 5, 5)
    other = Kind("other", 1.0, price, 0, 9)
    assert (mixing.settled([there, other], 4.0)["other"] > 0) == moves
