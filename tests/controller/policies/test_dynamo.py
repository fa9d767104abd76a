"""Dynamo's planner by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.capacity import requests_per_second
from controller.observation import Objective, Observation, ReplicaView
from controller.policies.check import PROFILE, full
from controller.policies.registry import make
from controller.profile import Profile, StepTimes

EACH = requests_per_second(PROFILE, Objective(), 800 * 0.8, 200)


def plan(policy, rates, target=3, memory=None, at=0.0):
    """Targets with a scrape every 15 s and a decision every 5 s; the replicas follow at once."""
    memory, made = memory or {}, []
    for tick in range(len(rates) * 3):
        pool = full(rate=rates[tick // 3], target=target)
        observation = Observation(at + tick * 5.0, (pool,))
        proposal, memory = policy.decide(observation, memory)
        target = proposal.targets["a"]
        made.append(target)
    return made, memory


def test_a_plan_comes_after_an_interval_and_divides_by_the_profile():
    """The mean rate of 180 s over what a replica serves, rounded up."""
    made, _ = plan(make("dynamo-throughput"), [10.0] * 14)
    assert made[:36] == [3] * 36
    assert made[36] == -(-10.0 // EACH)


def test_the_factor_is_on_the_load():
    """Twice."""
    made, _ = plan(make("dynamo-throughput", load_factor=2.0), [10.0] * 14)
    assert made[36] == -(-20.0 // EACH)


def test_one_plan_changes_by_eight_at_most():
    """And the next goes on."""
    made, _ = plan(make("dynamo-throughput"), [35.0] * 26)
    assert made[36] == 11
    assert made[-1] == 19


def test_without_readings_the_plan_stays():
    """They are not taken for no load."""
    policy = make("dynamo-throughput")
    made, memory = plan(policy, [10.0] * 14)
    before = made[-1]
    dark = replace(full(target=before), signals={})
    for tick in range(100):
        proposal, memory = policy.decide(Observation(300.0 + tick * 5, (dark,)), memory)
        assert proposal.targets["a"] == before


@pytest.mark.parametrize("forecast", ["arima", "kalman"])
def test_a_trend_is_planned_ahead(forecast):
    """Six intervals of 5, 6, ... 10 requests/s; the next is 11."""
    steps = [5.0 + n for n in range(6) for _ in range(12)]
    ahead, _ = plan(make("dynamo-throughput", forecast=forecast), [*steps, 10.0, 10.0])
    last, _ = plan(make("dynamo-throughput", forecast="constant"), [*steps, 10.0, 10.0])
    assert last[-1] == -(-10.0 // EACH)
    assert ahead[-1] >= -(-10.9 // EACH)


# A step of 10 ms, 0.1 ms a prompt token, 1 ms a sequence.
PLAIN = Profile(
    "plain", StepTimes(0.01, 0.0001, 0.0, 0.001), token_budget=1000, sequences=256,
    cache_tokens=10_000,
)  # fmt: skip
SIZES = {"mean_input_tokens": 100.0, "mean_output_tokens": 50.0}


def engines(pool_of, loads, role="whole", profile=PLAIN):
    """(queued prompt tokens, running, context tokens) of each."""
    pool = pool_of(len(loads), loads=[0.0] * len(loads), role=role, profile=profile, signals=SIZES)
    views = tuple(
        ReplicaView(f"r{n}", "ready", 900.0, 0.0, running, 0.0, 0.1, queued, context)
        for n, (queued, running, context) in enumerate(loads)
    )
    return replace(pool, replicas=views)


@pytest.mark.parametrize(
    ("loads", "wanted"),
    [
        # A decoding step of b sequences takes 10 + b ms; the bound is 100 ms.
        ([(0, 95, 100), (0, 95, 100)], 3),  # all miss
        ([(0, 95, 100), (0, 50, 100)], 2),  # one does not
        ([(0, 30, 100), (0, 30, 100)], 1),  # 60 on one: 70 ms, under 80
        ([(0, 36, 100), (0, 36, 100)], 2),  # 72: 82 ms
        ([(0, 30, 6000), (0, 30, 100)], 2),  # 12,000 tokens do not fit
        ([(0, 30, 100)], 1),  # the last one stays
        # A prompt step of 1,000 tokens takes 110 ms; the bound is 2 s.
        ([(20_000, 0, 0), (20_000, 0, 0)], 3),  # 21 steps: 2.3 s
        ([(20_000, 0, 0), (100, 0, 0)], 2),
        ([(6000, 0, 0), (100, 0, 0)], 2),  # twice 6,000 does not fit into the cache
    ],
)
def test_load_goes_by_what_every_engine_would_do(decide, pool_of, loads, wanted):
    """One more if all miss, one fewer if the rest would keep 80 % of the objective."""
    assert decide(make("dynamo-load"), engines(pool_of, loads))[0] == wanted


def test_a_prefill_pool_goes_by_its_queue(decide, pool_of):
    """(2 s - its own prompt) * 0.8: 1.6 s of queue are the most after one went."""
    policy = make("dynamo-load")
    for queued, wanted in ((6000, 1), (8000, 2)):
        pool = engines(pool_of, [(queued, 0, 0)] * 2, role="prefill")
        assert decide(policy, pool)[0] == wanted


def test_a_decoding_pool_goes_by_its_pace(decide, pool_of):
    """Its queue of prompts says nothing."""
    pool = engines(pool_of, [(0, 95, 100)] * 2, role="decode")
    assert decide(make("dynamo-load"), pool)[0] == 3


@pytest.mark.parametrize(
    ("mode", "loads", "wanted"),
    [
        ("throughput", [(0, 1, 10_000)] * 2, 3),  # full
        ("throughput", [(0, 1, 7000)] * 2, 2),
        ("throughput", [(0, 1, 5900)] * 2, 1),
        ("latency", [(0, 1, 4000)] * 2, 3),
        ("latency", [(0, 1, 900)] * 2, 1),
    ],
)
def test_easy_modes_go_by_the_cache(decide, pool_of, mode, loads, wanted):
    """1.0 and 0.6, or 0.4 and 0.1."""
    assert decide(make("dynamo-load", target=mode), engines(pool_of, loads))[0] == wanted


def test_it_holds_while_a_scaling_is_under_way(decide, pool_of):
    """Whatever the engines say."""
    pool = replace(engines(pool_of, [(0, 95, 100)] * 2), target=3, starting=1)
    assert decide(make("dynamo-load"), pool)[0] == 3


def test_an_engine_that_tells_nothing_holds_it(decide, pool_of):
    """Not every one was heard."""
    pool = engines(pool_of, [(0, 30, 100)] * 2)
    views = (pool.replicas[0], replace(pool.replicas[1], context_tokens=None))
    assert decide(make("dynamo-load"), replace(pool, replicas=views))[0] == 2


def test_a_plan_is_a_floor_for_the_load(pool_of, decide):
    """Calm engines, and a plan of three."""
    memory = {"a": {"floor": 3, "planned_at": 0.0}}
    calm = engines(pool_of, [(0, 1, 100)] * 4)
    assert decide(make("dynamo"), calm, 5.0, memory)[0] == 3
    three = engines(pool_of, [(0, 1, 100)] * 3)
    assert decide(make("dynamo"), three, 5.0, memory)[0] == 3
    two = engines(pool_of, [(0, 1, 100)] * 2)
    assert decide(make("dynamo"), two, 5.0, memory)[0] == 3
