"""Every policy on a simulated fleet: a step of load, on one pool and on a pair."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from controller.observation import Limits, Objective
from controller.policies.check import PROFILE
from controller.policies.registry import POLICIES, make
from controller.replay import ReplaySettings, replay
from controller.simulator.fleet import PoolPlan
from controller.simulator.workload import Workload
from controller.startup import StartupTimes

# Four requests a second fill a replica this small: the step asks for several.
OBJECTIVE = Objective(2.0, 0.15, 0.9)
START = StartupTimes.about(20.0)
SMALL = replace(PROFILE, sequences=8, cache_tokens=20_000)
# A knob that suits this replica, where the documented default is for another.
KNOBS = {
    "kubernetes-hpa": {"target_ongoing": 6.0},
    "knative-kpa": {"target": 6.0},
    "keda": {"target": 6.0},
    "skyserve": {"up_seconds": 60.0},
    "aibrix-apa": {"target": 0.1},
    "wva": {"kv_saturated": 0.15, "kv_spare": 0.05},
    "heteroscale": {"target_tokens_per_second": 80.0},
    "tokenscale": {"share": 0.7},
}
FIXED = ("static", "queue-length-hpa")


@pytest.fixture(scope="module")
def step():
    """Two requests a second for five minutes, then nine for ten."""
    random = np.random.default_rng(0)
    counts = random.poisson(np.repeat([2.0, 9.0], [300, 600]))
    at = np.repeat(np.arange(900.0), counts) + random.uniform(0, 1, counts.sum())
    return Workload.of(at, np.full(len(at), 400), np.full(len(at), 60))


def ran(name, work, plans, first):
    told = {"workload": work} if name == "clairvoyant" else {}
    policy = make(name, **KNOBS.get(name, {}), **told)
    limits = {plan.name: Limits(1, 12) for plan in plans}
    settings = ReplaySettings(OBJECTIVE, limits, dict.fromkeys(limits, first))
    return replay(policy, work, plans, settings)


@pytest.mark.parametrize("name", POLICIES)
def test_every_policy_steers_a_pool(name, step):
    """Nothing is lost, and a step of load is answered by those that look at it."""
    made = ran(name, step, [PoolPlan("a", SMALL, 12, START)], 1 if name != "static" else 4)
    assert made.requests == len(step)
    assert made.gpu_hours > 0
    if name not in FIXED:
        assert made.most_replicas > 1
        assert made.scale_events > 0


@pytest.mark.parametrize(
    "name", ["clairvoyant", "heteroscale", "tokenscale", "dynamo-throughput", "learned", "skyserve"]
)
def test_policies_on_traffic_steer_a_pair(name, step):
    """Prefill and decoding both grow when they must, and requests come through."""
    plans = [
        PoolPlan("p", SMALL, 12, START, role="prefill", sends_to="d"),
        PoolPlan("d", SMALL, 12, START, role="decode"),
    ]
    made = ran(name, step, plans, 1)
    grown = [max(lane[2] for lane in made.lanes if lane[1] == number) for number in (0, 1)]
    assert grown[1] > 1
    assert made.refused_ratio < 0.05
