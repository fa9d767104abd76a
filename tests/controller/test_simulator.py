"""The fast simulator: against hand-made courses, its own invariants, and the finer mode."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.observation import Limits, Objective
from controller.profile import Profile, StepTimes
from controller.simulator import fine
from controller.simulator.eyes import Eyes
from controller.simulator.fleet import FleetModel, PoolPlan
from controller.simulator.state import DONE, EXPIRED, NOBODY, OPEN, REFUSED
from controller.simulator.workload import Workload
from controller.startup import StartupTimes

STEP = StepTimes(0.01, 0.0001, 0.0, 0.001, 0.0, 1e-6)
PROFILE = Profile("test", STEP, token_budget=512, sequences=8, cache_tokens=20_000)
AT_ONCE = StartupTimes.about(0.0)


def fleet(workload, profile=PROFILE, replicas=1, seed=0, **plan):
    made = FleetModel(
        workload, [PoolPlan("a", profile, 50, plan.pop("startup", AT_ONCE), **plan)], seed
    )
    made.scale("a", replicas, at_once=True)
    return made


def ran(made):
    made.run_until(made.workload.seconds)
    made.finish(1e6)
    return made.world.requests


def crowd(n, rate, seed=0, prompt=300, output=60):
    random = np.random.default_rng(seed)
    return Workload.of(
        np.cumsum(random.exponential(1 / rate, n)),
        random.integers(1, 2 * prompt, n),
        random.integers(1, 2 * output, n),
    )


def test_one_request_takes_its_prompt_step_and_its_decoding_steps():
    """Seconds add up by hand."""
    requests = ran(fleet(Workload.of([1.0], [100], [5])))
    first = 0.01 + 100 * 0.0001
    assert requests["first"][0] == pytest.approx(1.0 + first)
    decoding = sum(0.01 + 0.001 + 1e-6 * (101 + k) for k in range(4))
    assert requests["end"][0] == pytest.approx(1.0 + first + decoding)
    assert requests["status"][0] == DONE


def test_a_long_prompt_is_computed_in_parts():
    """1,100 tokens with a budget of 512 take three steps."""
    requests = ran(fleet(Workload.of([0.0], [1100], [1])))
    assert requests["end"][0] == pytest.approx(3 * 0.01 + 1100 * 0.0001)
    assert requests["first"][0] == requests["end"][0]


def test_what_cannot_fit_is_refused_at_the_door():
    """A request larger than the whole cache would wait for ever."""
    requests = ran(fleet(Workload.of([0.0, 0.0], [30_000, 10], [5, 5])))
    assert requests["status"].tolist() == [REFUSED, DONE]


def test_a_client_gives_up_where_nobody_serves_it_in_time():
    """Behind slots that are full it is gone after its patience."""
    work = Workload.of([0.0, 0.0], [10, 10], [2000, 10])
    profile = Profile("one", STEP, sequences=1, cache_tokens=20_000)
    requests = ran(fleet(work, profile, patience_seconds=5.0))
    assert requests["status"].tolist() == [DONE, EXPIRED]
    assert requests["end"][1] == pytest.approx(5.0)


def test_a_full_cache_throws_out_the_newest_and_loses_nothing():
    """Everything ends, with more steps than the answers alone would take."""
    profile = Profile("small", STEP, sequences=8, cache_tokens=600)
    work = Workload.of([0.0, 0.01, 0.02], [150, 150, 150], [200, 200, 200])
    requests = ran(fleet(work, profile))
    assert (requests["status"] == DONE).all()
    assert requests["preempted"].sum() > 0
    assert requests["preempted"][0] == 0


def test_requests_wait_for_a_replica_that_starts():
    """With none ready they are held, and go to the first that is."""
    made = fleet(
        Workload.of([1.0, 2.0], [10, 10], [2, 2]), replicas=0, startup=StartupTimes.about(30, 0)
    )
    made.scale("a", 1)
    requests = ran(made)
    assert (requests["first"] > 30).all()
    assert made.lives[0].ready_at == pytest.approx(30.0)
    assert made.gpu_seconds() >= 30.0


def test_a_drained_replica_ends_what_it_has():
    """It takes nothing new, and is paid for until it is empty."""
    work = Workload.of([0.0, 1.0], [10, 10], [1000, 10])
    made = fleet(work, replicas=2)
    made.run_until(0.5)
    made.scale("a", 1)
    assert made.counts("a") == (1, 0, 0)
    requests = ran(made)
    assert (requests["status"] == DONE).all()


def test_an_idle_replica_is_paid_for_until_it_is_let_go():
    """Not only until its last request: it was there."""
    made = fleet(Workload.of([10.0, 3000.0], [10, 10], [5, 5]), replicas=1)
    made.run_until(1000.0)
    made.scale("a", 0)
    made.run_until(1100.0)
    assert made.lives[0].stopped_at == 1000.0


def test_a_failure_loses_what_is_on_the_replica():
    """And nothing else."""
    work = Workload.of([0.0, 0.0], [10, 10], [1000, 1000])
    made = fleet(work, replicas=2)
    made.run_until(1.0)
    assert made.fail("a") == 1
    requests = ran(made)
    assert sorted(requests["status"].tolist()) == [DONE, 4]


def test_prefill_and_decode_pools_hand_over():
    """The first token comes after both the prompt and the transfer."""
    work = crowd(200, 5.0)
    prefill = Profile(
        "p", STEP, cache_tokens=20_000, transfer_seconds=0.05, transfer_token_seconds=1e-5
    )
    plans = [
        PoolPlan("p", prefill, 4, AT_ONCE, role="prefill", sends_to="d"),
        PoolPlan("d", PROFILE, 4, AT_ONCE, role="decode"),
    ]
    made = FleetModel(work, plans)
    made.scale("p", 2, at_once=True)
    made.scale("d", 2, at_once=True)
    requests = ran(made)
    assert (requests["status"] == DONE).all()
    least = 0.01 + 0.0001 * work.prompt + 0.05 + 1e-5 * work.prompt
    assert (requests["first"] - work.arrived >= least - 1e-9).all()


def doors(work, cache=20_000, **ready):
    """Two entry pools; replicas of the second count for half."""
    slow = Profile("slow", STEP, sequences=4, cache_tokens=cache)
    plans = [
        PoolPlan("a", PROFILE, 10, StartupTimes.about(5.0, 0.0), is_entry=True),
        PoolPlan("b", slow, 10, AT_ONCE, is_entry=True, weight=0.5),
    ]
    made = FleetModel(work, plans)
    for name, count in ready.items():
        made.scale(name, count, at_once=True)
    return made


def test_entry_pools_share_what_arrives_by_what_their_replicas_count_for():
    """Each is told its own share; nothing is lost."""
    work = crowd(800, 20.0)
    made = doors(work, a=2, b=2)
    requests = ran(made)
    assert (requests["status"] == DONE).all()
    arrived = made.world.pools["arrived_total"].tolist()
    assert sum(arrived) == len(work)
    assert 1.4 < arrived[0] / arrived[1] < 3.2
    assert np.bincount(requests["entered"]).tolist() == arrived


def test_an_entry_pool_without_replicas_gets_nothing_and_what_fits_nowhere_else_waits():
    """Held before the first; the first replica of any of them lets them in."""
    alone = doors(crowd(200, 5.0), b=2)
    assert (ran(alone)["pool"] == 1).all()
    late = doors(Workload.of([0.0, 0.1, 0.2], [10, 10, 10], [2, 2, 2]))
    late.run_until(1.0)
    assert late.world.pools["held"].tolist() == [3, 0]
    late.scale("b", 1)
    requests = ran(late)
    assert (requests["status"] == DONE).all()
    assert (requests["pool"] == 1).all()
    # Too large for what becomes ready: refused there, and the others go on.
    small = doors(Workload.of([0.0, 0.1], [900, 10], [2, 2]), cache=500)
    small.run_until(1.0)
    small.scale("b", 1)
    assert ran(small)["status"].tolist() == [REFUSED, DONE]


def test_a_decoding_pool_is_told_how_many_requests_come_to_it():
    """As its engines would count them; the prefill pool is told all prompts, also of those gone."""
    work = crowd(600, 6.0)
    plans = [
        PoolPlan("p", PROFILE, 4, AT_ONCE, role="prefill", sends_to="d"),
        PoolPlan("d", PROFILE, 4, AT_ONCE, role="decode"),
    ]
    made = FleetModel(work, plans)
    eyes = Eyes(made, Objective(), {"p": Limits(1, 4), "d": Limits(1, 4)})
    for name in ("p", "d"):
        made.scale(name, 3, at_once=True)
    for at in (0.0, 60.0):
        made.run_until(at)
        eyes.scrape()
    first, second = eyes.observation().pools
    came = work.between(0.0, 60.0)
    assert first.reading("requests_per_second").value == pytest.approx(len(came) / 60, abs=0.05)
    assert second.reading("requests_per_second").value == pytest.approx(len(came) / 60, rel=0.1)
    assert first.reading("mean_input_tokens").value == pytest.approx(came.prompt.mean(), rel=0.01)


def test_copies_of_a_faster_trace_have_beginnings_of_their_own():
    """Else ten times the traffic would find ten times as much in the caches."""
    work = crowd(200, 5.0)
    group = np.where(np.arange(200) % 3 == 0, NOBODY, np.arange(200) % 7).astype(np.int32)
    made = replace(work, group=group, shared=np.full(200, 50, np.int32)).faster(2.5, 1)
    known = made.group[made.group != NOBODY]
    assert set(known.tolist()) == set(range(21))
    assert (made.group == NOBODY).sum() == pytest.approx(200 / 3 * 2.5, rel=0.1)
    assert set(work.faster(0.5).group.tolist()) == {NOBODY}


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 4),
    st.floats(0.5, 40),
    st.integers(0, 1000),
    st.sampled_from([1500, 4000, 20_000]),
    st.booleans(),
)
def test_nothing_is_lost_and_time_goes_forward(replicas, rate, seed, cache, is_chunked):
    """Every request ends; its times are in order; counters agree with the requests."""
    profile = Profile(
        "any", STEP, token_budget=256, sequences=6, cache_tokens=cache, is_chunked=is_chunked
    )
    work = crowd(150, rate, seed, prompt=200, output=40)
    made = fleet(work, profile, replicas, seed)
    made.run_until(work.seconds)
    requests = ran(made)
    done = requests["status"] == DONE
    assert not (requests["status"] == OPEN).any()
    assert (requests["first"][done] > requests["arrived"][done]).all()
    assert (requests["end"][done] >= requests["first"][done]).all()
    assert (requests["out"][done] == requests["output"][done]).all()
    assert made.world.replicas["context"].max() == pytest.approx(0.0)
    assert made.world.course["done_count"][0] == len(work)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 1000), st.integers(2, 400))
def test_when_it_is_looked_at_changes_nothing(seed, looks):
    """Scrapes are no events."""
    work = crowd(200, 8.0, seed)
    one, other = fleet(work, replicas=2), fleet(work, replicas=2)
    for at in np.linspace(0, work.seconds, looks):
        other.run_until(float(at))
    assert np.allclose(ran(one)["end"], ran(other)["end"])


@pytest.mark.parametrize("rate", [4.0, 12.0, 20.0])
@pytest.mark.parametrize("is_chunked", [True, False])
def test_fast_and_fine_agree(rate, is_chunked):
    """Median and 95 % quantiles of TTFT and TPOT within 5 %; room in the cache."""
    profile = Profile(
        "both", STEP, token_budget=512, sequences=32, cache_tokens=200_000, is_chunked=is_chunked
    )
    work = crowd(1500, rate, prompt=300, output=60)
    requests = ran(fleet(work, profile, 2))
    slow = fine.simulate(work, profile, 2)
    ttft = requests["first"] - requests["arrived"]
    more = np.maximum(requests["output"] - 1, 1)
    tpot = np.where(requests["output"] > 1, (requests["end"] - requests["first"]) / more, math.nan)
    for level in (0.5, 0.95):
        assert np.quantile(ttft, level) == pytest.approx(np.quantile(slow.ttft, level), rel=0.05)
        assert np.nanquantile(tpot, level) == pytest.approx(
            np.nanquantile(slow.tpot, level), rel=0.05
        )


def test_a_shared_beginning_is_computed_once():
    """The second request of a conversation finds its prefix in the cache of its replica."""
    work = Workload.of([0.0, 10.0], [1000, 1200], [5, 5])
    shared = Workload(
        work.arrived, work.prompt, work.output, work.tenant,
        np.array([0, 0], np.int32), np.array([0, 992], np.int32),
    )  # fmt: skip
    requests = ran(fleet(shared))
    assert requests["cached"].tolist() == [0, 992]
    assert requests["first"][1] - 10.0 < requests["first"][0]


def test_the_same_seed_gives_the_same_course():
    """Bit by bit."""
    work = crowd(300, 10.0)
    ends = [ran(fleet(work, replicas=3, seed=5, router=2))["end"] for _ in range(2)]
    assert np.array_equal(ends[0], ends[1])
