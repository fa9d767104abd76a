"""Ours at zero: when it goes there, what wakes it, what it does before a request it awaits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller import observation as seen
from controller.capacity import replica
from controller.cases import LLAMA_70B
from controller.observation import Grade, Limits, Objective, Observation, PoolView, Reading
from controller.policies import idle
from controller.policies.following import Now, followed
from controller.policies.remembering import startup_level
from controller.policies.risk import Risk
from controller.policies.rules import Past, Rule, cheapest, courses
from controller.replay import ReplaySettings, replay
from controller.simulator.fleet import PoolPlan
from controller.simulator.workload import Workload
from controller.startup import StartupTimes

BIN, HOUR = 15.0, 3600.0
GOAL = Objective(2.0, 0.1, 0.9)
NIGHT = (0.0,) * 1000


def seen_now(
    at=0.0,
    rate: float | None = 0.0,
    target=1,
    running: float | None = 0.0,
    held=None,
    history=NIGHT,
):
    """A pool that may be empty; what is None is missing."""
    told = {
        seen.REQUESTS_PER_SECOND: rate,
        seen.REQUESTS_RUNNING: running,
        seen.REQUESTS_WAITING: running and 0.0,
        seen.REQUESTS_HELD: held,
    }
    signals = {name: Reading(value) for name, value in told.items() if value is not None}
    pool = PoolView(
        "a", target, target, 0, 0, Limits(0, 10), signals, profile=LLAMA_70B,
        startup=StartupTimes.about(60.0), history=tuple(history),
    )  # fmt: skip
    return Observation(at, (pool,), GOAL, BIN)


def decided(*observations):
    memory = {}
    for observation in observations:
        proposal, memory = Risk().decide(observation, memory)
    return proposal.targets["a"], proposal.reasons[0].code


def test_a_pool_without_requests_goes_to_zero():
    """After hours of silence."""
    assert decided(seen_now(), seen_now(15.0)) == (0, "silent")


@pytest.mark.parametrize(
    ("running", "held", "code"),
    [(1.0, None, "awake"), (0.0, 3.0, "awake"), (None, None, "unknown")],
)
def test_it_does_not_while_something_is_there_or_may_be(running, held, code):
    """A long answer still runs, a request is held at the door, engines do not tell."""
    assert decided(seen_now(), seen_now(15.0, running=running, held=held)) == (1, code)


@pytest.mark.parametrize("rate", [None, 0.0])
def test_a_held_request_wakes_an_empty_pool_at_once(rate):
    """Whether or not anybody tells its rate."""
    asleep = seen_now(target=0, running=None)
    assert decided(asleep, seen_now(15.0, rate, 0, None, held=1.0)) == (1, "awake")


def test_an_empty_pool_of_which_nothing_is_told_stays_empty():
    """Unknown is no reason to start; and nothing is learnt from it."""
    _, memory = Risk().decide(seen_now(target=0, running=None), {})
    proposal, after = Risk().decide(seen_now(600.0, None, 0, None), memory)
    assert proposal.targets["a"] == 0
    assert after["a"]["rates"] == memory["a"]["rates"]
    assert after["a"]["silent"] == memory["a"]["silent"] + 40


def test_what_comes_after_a_silent_night_is_followed():
    """The first rate after hours of nothing asks for all that it needs, not for one."""
    target, _ = decided(seen_now(), seen_now(15.0, 20.0))
    assert target >= 7


def test_a_pair_sleeps_and_wakes_together():
    """A request that is held at prefill wakes the decoding pool too."""
    one = seen_now(15.0, 0.0, 0, None, held=2.0).pools[0]
    pair = (
        replace(one, name="p", role="prefill"),
        replace(one, name="d", role="decode", signals={}),
    )
    proposal, _ = Risk().decide(Observation(15.0, pair, GOAL, BIN), {})
    assert proposal.targets == {"p": 1, "d": 1}


def every(minutes, hours, at=5, requests=4):
    """Rates of a pool that is asked every so many minutes."""
    rates = np.zeros(int(hours * HOUR / BIN))
    rates[at :: int(minutes * 60 / BIN)] = requests / BIN
    return rates


def test_a_periodic_pool_is_warm_before_it_is_asked():
    """Asked every 20 minutes, started in one: mostly at zero, and nothing is missed."""
    rates = every(20, 6)
    past = Past(
        rates, BIN, 60.0, replica(LLAMA_70B, GOAL, 1150.0, 210.0, "whole"), 0.0, 10.0,
        idle.silences(rates),
    )  # fmt: skip
    found = cheapest(past, 0.1, 1.0)
    assert found.rule.chance > 0
    assert found.replicas < 0.3
    assert found.missed_ratio <= 0.1


def test_requests_without_a_pattern_keep_one_warm():
    """Where no silence tells when it ends, zero would miss too many."""
    random = np.random.default_rng(3)
    rates = (random.random(1440) < 0.02) / BIN
    past = Past(
        rates, BIN, 60.0, replica(LLAMA_70B, GOAL, 1150.0, 210.0, "whole"), 0.0, 10.0,
        idle.silences(rates),
    )  # fmt: skip
    found = cheapest(past, 0.01, 1.0)
    assert found.replicas > 0.8


def test_a_long_silence_is_judged_by_silences_alone():
    """To a forecast all its moments look alike: what it found among them is chance."""
    rates = every(15, 6)
    past = Past(
        rates, BIN, 120.0, replica(LLAMA_70B, GOAL, 1150.0, 210.0, "whole"), 0.0, 10.0,
        idle.silences(rates),
    )  # fmt: skip
    rules = [rule for rule, _ in courses(past)]
    assert all(rule.chance > 0 for rule in rules if rule.neighbours)
    awaits = Rule(0.0, 24, 1.0, 1.0, 1.0, 1.0, 0.1)
    silent = Now(seen_now().pools[0], past, 0.0, silent=40)
    assert followed(silent, awaits)[0] == 0
    assert followed(replace(silent, silent=55), awaits)[0] == 1


@pytest.mark.parametrize(("least", "level"), [(0, 0.99), (1, 0.9)])
def test_at_zero_all_requests_of_a_late_start_miss(least, level):
    """So starts are planned slower where a pool may go there."""
    assert startup_level(0.99, least) == level


def test_in_replay_it_wakes_before_the_clock_strikes():
    """Requests every 15 minutes: all of two hours meet a warm replica, which is gone between."""
    at = np.arange(300.0, 3 * HOUR, 900.0)
    n = 3 * len(at)
    arrived = np.repeat(at, 3) + np.tile([0.0, 0.4, 0.8], len(at))
    work = Workload.of(arrived, [300] * n, [80] * n)
    plans = [PoolPlan("a", LLAMA_70B, 10, StartupTimes.about(60.0))]
    limits = ReplaySettings(GOAL, {"a": Limits(0, 10)}, {"a": 0}, BIN, HOUR)
    history = tuple(every(15, 4).tolist())
    found = replay(Risk(), work, plans, limits, history={"a": history})
    assert found.attainment_ratio == 1.0
    assert found.gpu_hours < 0.4 * 2 * LLAMA_70B.gpus


def test_a_silence_looks_at_others_not_at_its_own_end():
    """The chance for one of two silences is told by the other one alone."""
    known = np.array([10.0, 40.0])
    silent, own = np.array([8.0, 8.0]), np.array([10.0, 40.0])
    short, long = idle.chances(known, silent, 4, own)
    assert short == pytest.approx((0 + 4 / 12) / 2)
    assert long == pytest.approx((1 + 4 / 12) / 2)


@given(
    st.lists(st.integers(1, 5000), max_size=50),
    st.lists(st.integers(0, 6000), min_size=1, max_size=20),
    st.integers(1, 300),
)
@settings(deadline=None)
def test_chances_are_chances(known, silent, ahead):
    """Between 0 and 1, and no lower where one looks further ahead."""
    lengths, now = np.array(known, dtype=float), np.array(silent, dtype=float)
    found = idle.chances(lengths, now, ahead)
    assert ((found > 0) & (found <= 1)).all()
    assert (idle.chances(lengths, now, ahead + 60) >= found - 1e-12).all()


@given(st.lists(st.sampled_from([0.0, 0.0, 0.2]), min_size=1, max_size=200))
@settings(deadline=None)
def test_silences_that_are_counted_on_are_those_of_the_whole(rates):
    """Bin by bin, or all at once."""
    known, silent = [], 0
    began = False
    for rate in rates:
        # A silence before the first request had no beginning.
        began = began or rate > 0
        if began:
            known, silent = idle.longer(known, silent, rate, 1)
    assert known == [int(one) for one in idle.silences(np.array(rates))][-idle.MOST_SILENCES :]


def test_rules_are_remembered_as_before_where_silence_is_not_looked_at():
    """Six numbers; a seventh for pools that may go to zero."""
    assert Rule.of(Rule(3.0).told()) == Rule(3.0)
    awaits = Rule(0.0, chance=0.1)
    assert Rule.of(awaits.told()) == awaits
    assert len(Rule(3.0).told()) == 6


@pytest.mark.parametrize("grade", [Grade.STALE, Grade.PARTIAL])
def test_doubtful_words_of_engines_are_no_evidence(grade):
    """Some, or all of them long ago, said that nothing runs."""
    told = seen_now(15.0)
    told.pools[0].signals[seen.REQUESTS_RUNNING] = Reading(0.0, grade, 10.0, 0.6)  # type: ignore[index]
    assert decided(seen_now(), told) == (1, "unknown")
