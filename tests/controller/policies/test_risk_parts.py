"""Ours on a prefill and a decoding pool: what each part can do, who was late, new sizes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from controller import observation as seen
from controller.capacity import most_per_second, replica, staffed
from controller.cases import LLAMA_70B
from controller.observation import Limits, Objective, Observation, PoolView, Reading
from controller.policies.fluid import chance_waiting
from controller.policies.remembering import sizes_of
from controller.policies.risk import Risk
from controller.simulator.eyes import Eyes, is_good
from controller.simulator.fleet import FleetModel, PoolPlan
from controller.simulator.workload import Workload
from controller.startup import StartupTimes

OBJECTIVE = Objective(2.0, 0.1, 0.99)
PROFILE = replace(LLAMA_70B, transfer_seconds=0.005, transfer_token_seconds=6.5e-6)
LONG, USUAL = (2050.0, 28.0), (1150.0, 210.0)
# So many that the other pool is in nobody's way.
PLENTY = 60


def steady(rate, sizes, seed=0, n=4000):
    """Arrivals by Poisson's law, sizes that scatter by an exponential one."""
    random = np.random.default_rng(seed)
    prompt, output = (np.ceil(random.exponential(mean, n)).astype(int) for mean in sizes)
    return Workload.of(np.cumsum(random.exponential(1 / rate, n)), prompt, output)


def pair(work, prefill, decode):
    """Both pools, of fixed sizes."""
    start = StartupTimes.about(60.0)
    plans = [
        PoolPlan("prefill", PROFILE, PLENTY, start, "prefill", "decode"),
        PoolPlan("decode", PROFILE, PLENTY, start, "decode"),
    ]
    fleet = FleetModel(work, plans, 0)
    for name, replicas in (("prefill", prefill), ("decode", decode)):
        fleet.scale(name, replicas, at_once=True)
    return fleet


def missed_ratio(work, prefill, decode):
    fleet = pair(work, prefill, decode)
    fleet.run_until(work.seconds)
    fleet.finish()
    return 1 - float(is_good(fleet, np.arange(len(work))[len(work) // 10 :], OBJECTIVE).mean())


@pytest.mark.parametrize("sizes", [LONG, USUAL])
@pytest.mark.parametrize("replicas", [1, 2, 4])
@pytest.mark.parametrize("role", ["prefill", "decode"])
def test_the_other_part_given_so_many_keep_the_objective_and_a_third_more_load_breaks_it(
    role, replicas, sizes
):
    """What chance takes of few replicas of a part is what the simulator says, and a bit more."""
    one = replica(PROFILE, OBJECTIVE, *sizes, role)
    capacity = most_per_second(one)
    rate = capacity * (replicas - one.spread * replicas**0.5)
    assert staffed(rate, capacity, one.spread) == pytest.approx(replicas)
    counts = {"prefill": PLENTY, "decode": PLENTY} | {role: replicas}
    assert missed_ratio(steady(rate, sizes), **counts) < 0.015
    too_much = steady(max(1.35 * rate, 1.02 * replicas * capacity), sizes)
    assert missed_ratio(too_much, **counts) > 0.05


def test_the_judge_allows_what_so_many_miss():
    """Where a part is just large enough the fluid model says what is allowed, and less beyond."""
    one = replica(PROFILE, OBJECTIVE, *LONG, "prefill")
    for replicas in (1.0, 4.0, 9.0):
        need = replicas - one.spread * replicas**0.5
        assert chance_waiting(one, need, replicas) == pytest.approx(0.01)
        assert chance_waiting(one, need, replicas + 1) < 0.01 < chance_waiting(one, need, need)
    assert chance_waiting(one, 1.0, 0.0) == 1.0


@pytest.mark.parametrize(("prefill", "decode", "guilty"), [(1, 20, "prefill"), (20, 1, "decode")])
def test_each_part_is_judged_for_its_own(prefill, decode, guilty):
    """A part that is in time does not learn a margin from what the other makes late."""
    work = steady(9.5, USUAL)
    fleet = pair(work, prefill, decode)
    limits = dict.fromkeys(("prefill", "decode"), Limits(1, PLENTY))
    eyes = Eyes(fleet, OBJECTIVE, limits)
    eyes.scrape()
    fleet.run_until(120.0)
    eyes.scrape()
    met = {
        pool.name: pool.reading(seen.ATTAINMENT_RATIO).fresh for pool in eyes.observation().pools
    }
    innocent = "decode" if guilty == "prefill" else "prefill"
    assert met[guilty] < 0.5
    assert met[innocent] is None or met[innocent] > 0.9


def pool(prompt, rate=20.0):
    """One pool that tells sizes."""
    told = {seen.REQUESTS_PER_SECOND: rate, seen.INPUT_TOKENS: prompt, seen.OUTPUT_TOKENS: 200.0}
    signals = {name: Reading(float(value)) for name, value in told.items()}
    return PoolView("a", 5, 5, 0, 0, Limits(1, 50), signals, profile=PROFILE)


def test_other_sizes_are_followed_within_a_minute_and_chance_is_not():
    """300 requests a scrape tell a mean to 6 %; twice the size is somebody else."""
    random = np.random.default_rng(0)
    known = None
    for _ in range(400):
        known = sizes_of(pool(1000 * (1 + random.normal(0, 0.055))), known, 300.0)
        assert known[0] == pytest.approx(1000, rel=0.1)
    for _ in range(4):
        known = sizes_of(pool(2000.0), known, 300.0)
    assert known[0] > 1650
    assert known[1] == pytest.approx(200.0)


def test_few_requests_tell_little():
    """Five of twice the size are no change of what is sent."""
    known = sizes_of(pool(1000.0), None, 5.0)
    assert sizes_of(pool(2000.0), known, 5.0)[0] < 1050


def test_a_memory_without_late_sizes_goes_on():
    """As an older version left it."""
    observation = Observation(1000.0, (pool(1000.0),), OBJECTIVE, 15.0)
    _, memory = Risk().decide(observation, {})
    old = {name: {**mine, "sizes": mine["sizes"][:2]} for name, mine in memory.items()}
    later = Observation(1015.0, (pool(1000.0),), OBJECTIVE, 15.0)
    _, memory = Risk().decide(later, old)
    assert memory["a"]["sizes"][:2] == [1000.0, 200.0]
