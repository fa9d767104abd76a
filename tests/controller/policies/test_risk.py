"""Ours: what it learns from a past, and what its fluid model is worth beside the simulator."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from controller import observation as seen
from controller.capacity import most_per_second, replica, staffed
from controller.cases import LLAMA_70B, burst_rate
from controller.observation import Grade, Limits, Objective, Observation, PoolView, Reading
from controller.policies import analogs
from controller.policies.fluid import missed, ready_of
from controller.policies.remembering import PAST_SECONDS, startup_level
from controller.policies.risk import Risk
from controller.policies.rules import Past, cheapest
from controller.replay import ReplaySettings, replay
from controller.simulator.fleet import PoolPlan
from controller.simulator.workload import Workload
from controller.startup import StartupTimes

OBJECTIVE = Objective(2.0, 0.1, 0.99)
SIZES = (1150.0, 210.0)
ONE = replica(LLAMA_70B, OBJECTIVE, *SIZES, "whole")
CAPACITY = most_per_second(ONE)
BIN = 15.0


def burst_rates(hours, seed=0):
    """Requests a second in bins of 15 s; bursts every ten minutes or so."""
    random = np.random.default_rng(seed)
    at, bursts = 0.0, []
    while at < hours * 3600:
        at += float(random.uniform(300, 900))
        bursts.append((at, 360.0, float(random.uniform(2, 3.5))))
        at += 480.0
    rates = burst_rate(np.arange(0.0, hours * 3600, BIN), bursts)
    return random.poisson(rates * BIN) / BIN


def workload_of(rates, seed=0):
    random = np.random.default_rng(seed)
    starts = np.repeat(np.arange(len(rates)) * BIN, np.round(rates * BIN).astype(int))
    n = len(starts)
    return Workload.of(
        starts + random.uniform(0, BIN, n),
        random.integers(1, int(2 * SIZES[0]), n),
        random.integers(1, int(2 * SIZES[1]), n),
    )


def simulated(work, replicas):
    from controller.policies.static import Static

    plans = [PoolPlan("a", LLAMA_70B, 60, StartupTimes.about(0.0))]
    settings = ReplaySettings(OBJECTIVE, {"a": Limits(1, 60)}, {"a": replicas})
    return 1 - replay(Static(replicas), work, plans, settings).attainment_ratio


@pytest.mark.parametrize("replicas", [2, 6])
def test_a_replica_serves_what_its_profile_says(replicas):
    """Below the capacity few requests miss in the simulator, above it nearly all."""
    for share, low, high in ((0.8, 0.0, 0.03), (1.12, 0.8, 1.0)):
        rates = np.full(120, share * CAPACITY * replicas)
        assert low <= simulated(workload_of(rates), replicas) <= high


@pytest.mark.parametrize("replicas", [7, 8, 9])
def test_the_fluid_misses_what_the_simulator_misses(replicas):
    """On two hours of bursts, within a few points."""
    rates = burst_rates(2)
    ready = ready_of(np.full(len(rates), float(replicas)), 0)
    late = missed(ONE, CAPACITY, rates, ready, BIN, 6, math.inf).sum() / (rates.sum() * BIN)
    assert late == pytest.approx(simulated(workload_of(rates), replicas), abs=0.06)


def test_a_batch_that_fills_is_time():
    """A short overload is served, a long one is not."""
    over = 1.15 * CAPACITY * 4
    for bins, is_late in ((2, False), (40, True)):
        rates = np.concatenate([np.full(40, 4.0), np.full(bins, over), np.full(40, 4.0)])
        late = missed(
            ONE, CAPACITY, rates, ready_of(np.full(len(rates), 4.0), 0), BIN, 1, math.inf
        )[0]
        assert (late > 0.02 * rates.sum() * BIN) == is_late


def test_replicas_serve_a_start_up_after_they_are_wanted():
    """And are gone at once."""
    wanted = np.array([1.0, 3.0, 3.0, 3.0, 1.0, 1.0])
    ready = ready_of(wanted, 10).reshape(6, 5)[:, 0]
    assert ready.tolist() == [1.0, 1.0, 1.0, 3.0, 1.0, 1.0]


def test_chance_takes_more_of_few_replicas():
    """Per replica, one serves less than ten do."""
    assert staffed(CAPACITY, CAPACITY) > 1.1
    assert staffed(10 * CAPACITY, CAPACITY) < 10.6
    assert staffed(0.0, CAPACITY) == 0.0


def test_analogs_find_what_came_after():
    """A rate that doubles five bins after each dip is foreseen at a dip, and not elsewhere."""
    rates = np.tile([10.0] * 60 + [5.0] * 3 + [10.0] * 2 + [20.0] * 5, 12)
    moments = analogs.described(rates, BIN)
    ahead = analogs.highest_ahead(rates, 6)
    at = 70 * 6 + 63
    found = analogs.foreseen(moments, ahead, moments[at : at + 1], at, 5, 40)[0]
    assert (found == 20.0).all()
    quiet = 70 * 6 + 40
    assert (
        analogs.foreseen(moments, ahead, moments[quiet : quiet + 1], quiet, 5, 40)[0] == 10.0
    ).all()


@pytest.mark.parametrize(("startup", "most"), [(0.0, 6.5), (60.0, 8.0), (600.0, 9.0)])
def test_slow_starts_are_paid_with_warm_replicas(startup, most):
    """The slower a start, the more is kept; never more than a fixed number that suffices."""
    past = Past(burst_rates(6), BIN, startup, ONE, 1.0, 60.0)
    found = cheapest(past, 0.01, 1.0)
    assert found.missed_ratio <= 0.01
    assert found.replicas <= most
    assert found.rule.is_fixed == (startup == 600.0)


def observed(at, rate, target=9, history=(), least=1, grade=Grade.FRESH, startup=600.0):
    readings = {seen.REQUESTS_PER_SECOND: Reading(rate, grade)}
    readings |= {seen.INPUT_TOKENS: Reading(SIZES[0]), seen.OUTPUT_TOKENS: Reading(SIZES[1])}
    pool = PoolView(
        "a", target, target, 0, 0, Limits(least, 60), readings, profile=LLAMA_70B,
        startup=StartupTimes.about(startup), history=tuple(history),
    )  # fmt: skip
    return Observation(at, (pool,), OBJECTIVE, BIN)


def test_it_says_where_scaling_cannot_help():
    """Bursts of minutes and starts of ten: a fixed number is kept, and people are told why."""
    policy = Risk()
    proposal, memory = policy.decide(observed(0.0, None, history=burst_rates(6)), {})
    proposal, memory = policy.decide(observed(15.0, 8.0), memory)
    assert "autoscaling cannot help here" in proposal.advice[0]
    assert proposal.targets["a"] == int(proposal.advice[0].rsplit("keep ")[1].split()[0])


def test_a_steady_pool_shrinks_to_what_it_needs():
    """With hours of the same rate nothing is kept for what never comes."""
    policy = Risk()
    _, memory = policy.decide(observed(0.0, 8.0, target=20, history=[8.0] * 1000), {})
    proposal, _ = policy.decide(observed(15.0, 8.0, target=20), memory)
    assert 3 <= proposal.targets["a"] <= 4


def test_what_was_there_stays_before_enough_is_known():
    """An hour of quiet is no proof."""
    policy, memory = Risk(), {}
    for tick in range(240):
        proposal, memory = policy.decide(observed(15.0 * tick, 1.0, target=9), memory)
    assert proposal.targets["a"] == 9
    assert proposal.reasons[0].code == "learning"


@pytest.mark.parametrize("grade", [Grade.STALE, Grade.MISSING])
def test_doubtful_rates_hold(grade):
    """Nothing is learnt from them, nothing moves."""
    policy = Risk()
    value = None if grade is Grade.MISSING else 0.0
    proposal, memory = policy.decide(observed(0.0, value, grade=grade), {})
    assert proposal.targets["a"] == 9
    assert "rates" not in memory.get("a", {})


def test_memory_stays_small_and_bins_stay_even():
    """A day of scrapes, some missed, is kept as the last hours; a gap is filled."""
    policy, memory = Risk(), {}
    for tick in [*range(100), *range(110, 120)]:
        _, memory = policy.decide(observed(15.0 * tick, 3.0), memory)
    assert len(memory["a"]["rates"]) == 120
    memory["a"]["rates"] = [3.0] * 5000
    _, memory = policy.decide(observed(15.0 * 120, 3.0), memory)
    assert len(memory["a"]["rates"]) == PAST_SECONDS / BIN
    assert len(json.dumps(memory)) < 20_000


def test_what_is_really_missed_widens_the_margin():
    """A pool whose requests miss although its rates say they should not gets more replicas."""
    policy = Risk()
    targets = {}
    for met in (1.0, 0.95):
        _, memory = policy.decide(observed(0.0, 20.0, target=1, history=[20.0] * 1000), {})
        for tick in range(1, 120):
            told = observed(15.0 * tick, 20.0, target=1)
            told.pools[0].signals[seen.ATTAINMENT_RATIO] = Reading(met)  # type: ignore[index]
            proposal, memory = policy.decide(told, memory)
        targets[met] = proposal.targets["a"]
    assert targets[0.95] > targets[1.0]


def test_a_queue_is_worked_off():
    """A number that is just enough for the rate never gets through what waits before it."""
    policy = Risk()
    steady = [20.0] * 1000
    _, memory = policy.decide(observed(0.0, 20.0, target=8, history=steady), {})
    usual, memory = policy.decide(observed(15.0, 20.0, target=8), memory)
    told = observed(30.0, 20.0, target=8, startup=60.0)
    told.pools[0].signals[seen.REQUESTS_WAITING] = Reading(600.0)  # type: ignore[index]
    behind, _ = policy.decide(told, memory)
    assert behind.reasons[0].code == "behind"
    assert behind.targets["a"] >= usual.targets["a"] + 3
    few = observed(30.0, 20.0, target=8)
    few.pools[0].signals[seen.REQUESTS_WAITING] = Reading(5.0)  # type: ignore[index]
    assert policy.decide(few, memory)[0].targets == usual.targets


@pytest.mark.parametrize(("goal", "level"), [(0.9, 0.5), (0.99, 0.9), (0.995, 0.95), (1.0, 0.99)])
def test_the_stricter_the_objective_the_slower_the_start_that_is_planned_with(goal, level):
    """A start that is late costs misses: few of them may be, where few may miss."""
    assert startup_level(goal) == pytest.approx(level)


@pytest.mark.parametrize(
    ("name", "told"), [("pool", "of the pool grows"), ("chat", "of pool chat")]
)
def test_advice_calls_a_pool_by_its_name(name, told):
    """Also one that is called pool."""
    seen_now = observed(0.0, 8.0, history=burst_rates(6))
    pool = replace(seen_now.pools[0], name=name)
    proposal, _ = Risk().decide(replace(seen_now, pools=(pool,)), {})
    assert told in proposal.advice[0]


def test_silent_replicas_have_as_much_as_the_others():
    """A third is silent: the rate is told higher; most are silent: nothing is known."""
    policy = Risk()
    for share, code in ((0.67, "floor"), (0.3, "unknown")):
        told = observed(0.0, 6.7)
        partial = Reading(6.7, Grade.PARTIAL, 0.0, share)
        told.pools[0].signals[seen.REQUESTS_PER_SECOND] = partial  # type: ignore[index]
        proposal, memory = policy.decide(told, {})
        assert proposal.reasons[0].code == code
        assert memory.get("a", {}).get("rates") == (None if share < 0.5 else [10.0])
