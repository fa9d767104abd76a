"""Pools by hand."""

from __future__ import annotations

import pytest

from controller.observation import Limits, Observation, PoolView, Reading, ReplicaView
from controller.policies.check import PROFILE
from controller.startup import StartupTimes


def _pool(
    target=4,
    ready=None,
    loads=None,
    signals=None,
    limits=(1, 100),
    name="a",
    role="whole",
    profile=PROFILE,
    startup=None,
):
    """`loads`: requests running of each ready replica; None of one that told nothing."""
    ready = target if ready is None else ready
    loads = loads if loads is not None else [4.0] * ready
    replicas = [
        ReplicaView(f"{name}{n}", "ready", 900.0)
        if load is None
        else ReplicaView(f"{name}{n}", "ready", 900.0, 0.0, load, 0.0, load / 100, 0.0, 0.0)
        for n, load in enumerate(loads)
    ]
    replicas += [ReplicaView(f"{name}s{n}", "starting", 5.0) for n in range(target - ready)]
    return PoolView(
        name, target, ready, max(target - ready, 0), 0, Limits(*limits),
        {key: Reading(value) for key, value in (signals or {}).items()}, tuple(replicas), role,
        profile, startup or StartupTimes.about(60.0),
    )  # fmt: skip


@pytest.fixture
def pool_of():
    """Builds a pool."""
    return _pool


@pytest.fixture
def decide():
    """One decision on one pool: (target, memory)."""

    def once(policy, pool, at=0.0, memory=None):
        proposal, kept = policy.decide(Observation(at, (pool,)), memory or {})
        return proposal.targets[pool.name], kept

    return once


@pytest.fixture
def follow(decide):
    """Targets of a course of pools, `at` by its period; every target is had at once."""

    def course(policy, make, ticks, start=0.0, target=4):
        memory, made = {}, []
        for tick in range(ticks):
            at = start + tick * policy.spec.period_seconds
            target, memory = decide(policy, make(at, target), at, memory)
            made.append(target)
        return made

    return course
