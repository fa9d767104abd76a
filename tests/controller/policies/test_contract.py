"""Every policy keeps the promises of `controller.policy`, whatever it is shown."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controller import observation as seen
from controller.observation import (
    Grade,
    Limits,
    Objective,
    Observation,
    PoolView,
    Reading,
    ReplicaView,
)
from controller.policies.check import PROFILE, awkward, check_policy, check_step, full
from controller.policies.registry import POLICIES, make
from controller.policy import PolicySpec, Proposal, Reason
from controller.simulator.workload import Workload
from controller.startup import StartupTimes

WORK = Workload.of([1.0, 2.0, 50.0], [10, 10, 30], [5, 5, 9])
# An integer programme at every step: fewer of them do.
SLOW = ("melange",)

values = st.one_of(
    st.none(),
    st.floats(0, 1e4),
    st.sampled_from([0.0, -1.0, math.nan, math.inf, 1e300]),
)
readings = st.builds(
    Reading,
    values,
    st.sampled_from(Grade),
    st.one_of(st.none(), st.floats(0, 1e4)),
    st.sampled_from([0.0, 0.3, 1.0]),
)
replicas = st.builds(
    ReplicaView,
    st.sampled_from(["r1", "r2", "r3", "r4"]),
    st.sampled_from(["starting", "ready", "draining"]),
    st.floats(0, 1e5),
    st.one_of(st.none(), st.floats(0, 1000)),
    values, values, values, values, values,
)  # fmt: skip


@st.composite
def pools(draw, name):
    ready, starting = draw(st.integers(0, 6)), draw(st.integers(0, 3))
    least = draw(st.integers(0, 3))
    return PoolView(
        name,
        draw(st.integers(0, 12)),
        ready,
        starting,
        draw(st.integers(0, 2)),
        Limits(least, draw(st.integers(least, 15))),
        draw(st.dictionaries(st.sampled_from(list(seen.SIGNALS)), readings)),
        tuple(draw(st.lists(replicas, max_size=5))),
        draw(st.sampled_from(["whole", "prefill", "decode"])),
        draw(st.sampled_from([None, PROFILE])),
        draw(st.sampled_from([None, StartupTimes.about(60.0)])),
    )


@st.composite
def courses(draw):
    at, made = 1000.0, []
    for _ in range(draw(st.integers(1, 4))):
        names = draw(st.sampled_from([(), ("a",), ("a", "b"), ("b", "c")]))
        objective = draw(
            st.sampled_from([Objective(), Objective(None, None), Objective(0.01, None)])
        )
        made.append(Observation(at, tuple(draw(pools(name)) for name in names), objective))
        at += draw(st.sampled_from([0.0, 2.0, 15.0, 180.0, 3600.0]))
    return made


def made_of(name):
    return make(name, workload=WORK) if name == "clairvoyant" else make(name)


@pytest.mark.parametrize("name", list(POLICIES))
def test_a_policy_keeps_its_promises(name):
    """Pure, JSON, whole numbers in bounds, through missing, stale, NaN, zero and empty pools."""
    check_policy(made_of(name), long_ticks=150 if name in SLOW else 1500)


@pytest.mark.parametrize("name", [name for name in POLICIES if name not in ("clairvoyant", *SLOW)])
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(course=courses())
def test_a_policy_bears_any_course(name, course):
    """Drawn observations, with the memory of those before."""
    memory = {}
    policy = made_of(name)
    for observation in course:
        memory = check_step(policy, observation, memory)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("wva", {"analyzer": "v2"}),
        ("wva", {"variants": "all"}),
        ("dynamo", {"forecast": "kalman"}),
        ("dynamo", {"forecast": "constant", "target": "latency"}),
        ("dynamo-load", {"target": "throughput"}),
        ("keda", {"fallback_replicas": 6, "fallback_failures": 0}),
        ("kubernetes-hpa", {"target_kv_cache_usage_ratio": 0.5, "target_waiting": 2.0}),
        ("kubernetes-hpa", {"target_requests_per_second": 2.0, "up_seconds": 60.0}),
        ("aibrix-apa", {"others": {"ongoing": 8.0}}),
        ("knative-kpa", {"down_delay_seconds": 60.0, "activation_scale": 3}),
        ("ray-serve", {"up_factor": 0.3, "down_factor": 0.3, "zero_seconds": 0.0}),
        ("static", {"replicas": {"a": 5}}),
    ],
)
def test_other_parameters_keep_them_too(name, parameters):
    """Each way a policy can be set."""
    check_policy(make(name, **parameters))


class Broken:
    """Keeps nothing, wants half a replica, or raises."""

    spec = PolicySpec("broken", "Broken", 15.0, "nobody")

    def __init__(self, fault):
        self.fault = fault
        self.calls = 0

    def decide(self, observation, memory):
        self.calls += 1
        if not observation.pools:
            return Proposal({}), {}
        pool = observation.pools[0]
        target, kept = pool.target, {}
        if self.fault == "random":
            kept = {"n": self.calls}
        if self.fault == "half":
            target += 0.5
        if self.fault == "wild":
            target = pool.limits.most + 1
        if self.fault == "set":
            kept = {"pools": {1, 2}}
        if self.fault == "mutates":
            memory["seen"] = self.calls
        reasons = (Reason("moon", "x", "y"),) if self.fault == "moon" else ()
        return Proposal({pool.name: target}, reasons), kept


@pytest.mark.parametrize("fault", ["random", "half", "wild", "set", "mutates", "moon"])
def test_the_check_finds_what_is_broken(fault):
    """Each promise is looked after."""
    with pytest.raises(Exception, match=r"broken|replicas|kept"):
        check_policy(Broken(fault))


def test_what_is_unknown_never_shrinks_a_fleet():
    """An outage of all scrapes: every policy but those told otherwise holds or grows."""
    for name in POLICIES:
        if name in ("static", "clairvoyant"):
            continue
        policy, memory = made_of(name), {}
        _, memory = policy.decide(Observation(1000.0, (full(target=6),)), memory)
        dark = replace(
            full(target=6), signals={},
            replicas=tuple(ReplicaView(f"a{n}", "ready", 600.0) for n in range(6)),
        )  # fmt: skip
        for tick in range(5):
            at = 2000.0 + tick * policy.spec.period_seconds
            proposal, memory = policy.decide(Observation(at, (dark,)), memory)
            assert proposal.targets.get("a", 6) >= 6, name


def test_awkward_fleets_are_what_they_are_called():
    """Empty, missing and contradictory ones are among them."""
    made = awkward()
    assert any(not one.pools for one in made)
    assert any(pool.limits.least > pool.limits.most for one in made for pool in one.pools)
