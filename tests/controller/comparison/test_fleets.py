"""Comparisons of whole fleets: prefill with decode, several kinds of cards, guards."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.comparison import handing, sizing
from controller.comparison.fixed import Search
from controller.comparison.fleets import FleetPool, manner
from controller.comparison.foresight import foreseen
from controller.comparison.protocol import Comparison, split
from controller.comparison.runs import Run, row_of
from controller.comparison.tasks import Task, work
from controller.guards import FleetRules, PoolRules
from controller.observation import Objective
from controller.profile import Profile, StepTimes
from controller.simulator.workload import Workload
from controller.startup import StartupTimes
from store.errors import ControllerError

SMALL = Profile("small", StepTimes(0.02, 0.0002, 0.0, 0.001), sequences=16, gpu_type="a")
LARGE = replace(SMALL, name="large", step=StepTimes(0.01, 0.0001, 0.0, 0.0005), gpu_type="b")
GOAL = Objective(2.0, 0.1, 0.95)
PAIR = (
    FleetPool("first", SMALL, "prefill", 1, 8),
    FleetPool("second", SMALL, "decode", 1, 8),
)
KINDS = (
    FleetPool("cheap", replace(SMALL, price_per_hour=1.0), least=0, most=10),
    FleetPool("dear", replace(LARGE, price_per_hour=2.5), least=0, most=10),
)


def load(n=2400, seconds=600.0, seed=0):
    random = np.random.default_rng(seed)
    at = np.sort(random.uniform(0, seconds, n))
    return Workload.of(at, random.integers(50, 400, n), random.integers(5, 60, n))


def comparison(fleet, policies=("risk",), **more):
    settings = {"objective": GOAL, "seeds": (0, 1), "startups_seconds": (20.0,), **more}
    return Comparison(policies, fleet[0].profile, fleet=fleet, **settings)


@pytest.fixture(scope="module")
def case():
    return split("load", load(), 0.0, 100.0)


@pytest.mark.parametrize(
    ("fleet", "more", "words"),
    [
        (PAIR[1:], {}, "do not pair up"),
        ((PAIR[0], PAIR[0], PAIR[1], PAIR[1]), {}, "same name"),
        ((replace(PAIR[0], role="both"),), {}, "'both' is no role"),
        ((replace(KINDS[0], name="Not This"),), {}, "no name of a pool"),
        ((replace(KINDS[0], least=5, most=2),), {}, "pool cheap: at least 5 and at most 2"),
        ((replace(KINDS[0], initial=50),), {}, "50 replicas at the start"),
        ((KINDS[0], replace(PAIR[0], role="whole")), {}, "no price of first"),
        (PAIR, {"rules": FleetRules(most_per_hour=5.0)}, "no price of first, second"),
        (PAIR, {"rules": FleetRules(most_gpus=1)}, "1 GPUs are fewer than the 2"),
        (
            tuple(replace(one, least=1) for one in KINDS),
            {"rules": FleetRules(most_per_hour=1.0)},
            "less than the 3.5",
        ),
        (PAIR, {"policies": ("melange",)}, "melange decides whole pools"),
        (PAIR, {"policies": ("static(other=3)",)}, "'other', which is no pool"),
        (tuple(replace(KINDS[0], name=f"p{n}") for n in range(9)), {}, "more than 8"),
    ],
)
def test_a_fleet_that_contradicts_itself_is_refused_in_one_line(fleet, more, words):
    """It names the pool and says what to do."""
    with pytest.raises(ControllerError, match=words) as caught:
        comparison(fleet, **more)
    assert caught.value.hint
    assert "\n" not in str(caught.value)


def test_a_pool_that_cannot_serve_such_requests_is_named():
    """One of several."""
    slow = replace(SMALL, name="slow", step=StepTimes(0.5))
    with pytest.raises(ControllerError, match="pool b, cannot serve"):
        comparison((KINDS[0], FleetPool("b", replace(slow, price_per_hour=1.0)))).capacities(load())


def test_a_fleet_survives_being_handed_to_another_process(tmp_path, case):
    """Pools, their rules and start-up times, forecasts."""
    pools = (replace(PAIR[0], startup=StartupTimes.about(5.0), rules=PoolRules(most_up=2)), PAIR[1])
    rules = FleetRules({"first": PoolRules()}, 40, None)
    made = comparison(pools, rules=rules, has_guards=True, has_forecasts=True)
    told = replace(case.tests[0], forecasts=foreseen(load(4000, 4000.0), (), 15.0))
    handing.save(tmp_path, made, [replace(case, tests=(told,))])
    found, (back,) = handing.load(tmp_path)
    assert found == made
    np.testing.assert_array_equal(back.tests[0].forecasts.values, told.forecasts.values)
    assert back.tests[0].forecasts.skill == told.forecasts.skill


KIND = st.builds(
    sizing.Kind,
    st.just("p"),
    st.just("whole"),
    st.floats(0.1, 5),
    st.floats(0.1, 10),
    st.integers(0, 2),
    st.integers(2, 5),
)


@given(st.lists(KIND, min_size=1, max_size=3), st.floats(0, 30), st.booleans())
def test_the_ladder_holds_the_cheapest_fleet_for_every_rate(kinds, rate, is_paired):
    """Against all fleets there are; a pair serves what its smaller half does."""
    if is_paired and len(kinds) > 1:
        kinds[0], kinds[1] = replace(kinds[0], role="prefill"), replace(kinds[1], role="decode")
    every = np.stack(
        [
            one.ravel()
            for one in np.meshgrid(
                *(np.arange(kind.least, kind.most + 1) for kind in kinds), indexing="ij"
            )
        ],
        axis=1,
    )
    able = every[sizing.served(kinds, every) >= rate - 1e-9]
    rungs = sizing.ladder(kinds)
    place = int(np.searchsorted(rungs.per_second, rate - 1e-9))
    if not len(able):
        assert place == len(rungs)
        return
    assert rungs.cost[place] == pytest.approx(sizing.price(kinds, able).min())
    assert rungs.per_second[place] >= rate - 1e-9


@given(st.lists(KIND, min_size=2, max_size=2), st.floats(0.5, 20))
def test_the_cheapest_fixed_fleet_is_found_although_profiles_are_wrong(kinds, rate):
    """What keeps the objective is known to the judge alone; he is asked a few dozen times."""
    asked = []

    def judge(fleet):
        asked.append(fleet)
        # In truth the first kind serves three quarters of what its profile says.
        return fleet[0] * kinds[0].per_second * 0.75 + fleet[1] * kinds[1].per_second >= rate

    found = Search(kinds, judge).cheapest()
    every = [
        (a, b)
        for a in range(kinds[0].least, kinds[0].most + 1)
        for b in range(kinds[1].least, kinds[1].most + 1)
    ]
    kept = [fleet for fleet in every if judge(fleet)]
    if not kept:
        assert found == (kinds[0].most, kinds[1].most)
        return

    def cost(fleet):
        return sum(n * kind.unit for n, kind in zip(fleet, kinds, strict=True))

    assert judge(found)
    assert cost(found) == pytest.approx(min(cost(fleet) for fleet in kept))


def test_prefill_and_decode_are_sized_together(case):
    """The fixed pair keeps the goal, one replica fewer on either side does not."""
    made = comparison(PAIR, seeds=(0, 1))
    run = Run(0, "test", "static", "static-peak", 20.0)
    rows = work(Task("fixed", run), made, [case], lambda share: None)["rows"]
    assert len(rows) == 2
    best = json.loads(rows[0]["parameters"])["replicas"]
    assert min(row["attainment_ratio"] for row in rows) >= 0.95
    assert set(json.loads(rows[0]["pool_gpu_hours"])) == {"first", "second"}
    for name in best:
        if best[name] > 1:
            fewer = {"replicas": {**best, name: best[name] - 1}}
            assert row_of(replace(run, parameters=fewer), made, [case])["attainment_ratio"] < 0.95


def test_who_knows_the_future_keeps_the_goal_for_no_more_than_a_fixed_fleet_of_kinds(case):
    """Money is what is compared, and one kind alone is tried, too."""
    made = comparison(KINDS)
    assert made.ranks_by_cost
    ways = ({}, {"only": "cheap"}, {"only": "dear"})
    ahead = Task(
        "cheapest", Run(0, "test", "clairvoyant", "clairvoyant", 20.0), ways, "margin",
        (0.6, 0.8, 1.0, 1.2, 1.5),
    )  # fmt: skip
    rows = work(ahead, made, [case], lambda share: None)["rows"]
    fixed = work(Task("fixed", Run(0, "test", "static", "static-peak", 20.0)), made, [case],
                 lambda share: None)["rows"]  # fmt: skip
    assert {row["state"] for row in (*rows, *fixed)} == {"done"}
    assert min(row["attainment_ratio"] for row in fixed) >= 0.95
    assert rows[0]["cost"] <= fixed[0]["cost"] * 1.3


def test_a_fixed_fleet_of_ones_own_is_named_by_pool(case):
    """And begins with that."""
    row = row_of(
        Run(0, "test", "static(first=3,second=2)", "default", 20.0, has_lanes=True),
        comparison(PAIR, ("static(first=3,second=2)",)),
        [case],
    )
    assert row["state"] == "done"
    assert {(lane[1], lane[2], lane[3]) for lane in row["lanes"]} == {(0, 3, 3), (1, 2, 2)}
    assert row["scale_events"] == 0


def test_guards_hold_what_they_would_hold_live_and_say_so(case):
    """One step down at a time with minutes between; the fixed fleet is nobody's to hold."""
    name = "ray-serve(down_seconds=15,up_seconds=1)"
    rules = PoolRules(most_up=1, down_cooldown_seconds=200.0)
    fleet = (FleetPool("only", SMALL, most=10, initial=10, rules=rules),)
    run = Run(0, "test", name, "default", 20.0, has_lanes=True)
    free = row_of(run, comparison(fleet, (name,)), [case])
    held = row_of(run, comparison(fleet, (name,), has_guards=True), [case])
    assert free["clips"] is None
    assert json.loads(held["clips"])["only"]["cooldown"] > 0
    targets = [lane[2] for lane in held["lanes"]]
    assert max(b - a for a, b in pairwise(targets)) <= 1
    assert min(b - a for a, b in pairwise(targets)) >= -1
    reference = replace(run, policy="clairvoyant", row="clairvoyant")
    assert row_of(reference, comparison(fleet, has_guards=True), [case])["clips"] is None


def test_a_budget_holds_over_all_pools_also_without_guards(case):
    """Growth that cannot be afforded is cut, and counted."""
    name = "kubernetes-hpa(target_ongoing=1)"
    fleet = tuple(replace(one, initial=1) for one in PAIR)
    made = comparison(fleet, (name,), rules=FleetRules(most_gpus=6))
    row = row_of(Run(0, "test", name, "default", 20.0), made, [case])
    assert row["most_replicas"] <= 6
    assert any("budget" in held for held in json.loads(row["clips"]).values())


def test_it_is_said_which_policies_decide_pools_together():
    """As their owners would deploy them."""
    assert manner(PAIR, "heteroscale") == "together"
    assert manner(PAIR, "kubernetes-hpa(target_ongoing=3)") == "pool by pool"
    assert manner(KINDS, "melange") == "together"
    assert manner(KINDS, "tokenscale") == "pool by pool"
    assert manner(KINDS, "risk") == "together"
    assert manner(KINDS, "risk(together=)") == "pool by pool"
    assert manner(KINDS[:1], "melange") == ""


def test_replicas_at_the_start_are_enough_for_the_first_minutes(case):
    """Of all pools together, at the least cost; what is told stays."""
    first = comparison(PAIR).first_replicas(case.tests[0].workload)
    assert set(first) == {"first", "second"}
    assert min(first.values()) >= 1
    told = (replace(PAIR[0], initial=7), PAIR[1])
    assert comparison(told).first_replicas(case.tests[0].workload)["first"] == 7
