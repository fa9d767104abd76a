"""KEDA by hand: between zero and one by itself, above by a HPA."""

from __future__ import annotations

import pytest

from controller.policies.registry import make

BUSY = {"requests_running": 30.0, "requests_waiting": 10.0}
IDLE = {"requests_running": 0.0, "requests_waiting": 0.0}


def test_between_one_and_many_it_is_a_hpa(decide, pool_of):
    """40 in flight, 16 each: 3; the HPA begins with what is there, so it does not shrink."""
    assert decide(make("keda"), pool_of(1, signals=BUSY, limits=(0, 9)))[0] == 3
    assert decide(make("keda"), pool_of(5, signals=BUSY, limits=(0, 9)))[0] == 5


def test_it_wakes_for_one_that_is_held(decide, pool_of):
    """An empty pool tells nothing but what waits before it."""
    pool = pool_of(0, loads=[], signals={"requests_held": 1.0}, limits=(0, 9))
    assert decide(make("keda"), pool)[0] == 1


def test_activation_is_above_its_threshold(decide, pool_of):
    """At the threshold it stays asleep."""
    policy = make("keda", activation=5.0)
    for held, wanted in ((5.0, 0), (5.1, 1)):
        pool = pool_of(0, loads=[], signals={**IDLE, "requests_held": held}, limits=(0, 9))
        assert decide(policy, pool)[0] == wanted


def test_it_sleeps_after_the_cooldown(decide, pool_of):
    """300 s after it was last active, whatever the HPA wants."""
    policy = make("keda")
    _, memory = decide(policy, pool_of(2, signals=BUSY, limits=(0, 9)), 0.0)
    for at, wanted in ((30.0, 3), (299.0, 3), (300.0, 0)):
        target, memory = decide(policy, pool_of(3, signals=IDLE, limits=(0, 9)), at, memory)
        assert min(target, 3) == wanted


def test_it_does_not_sleep_where_one_must_stay(decide, pool_of):
    """minReplicaCount 1."""
    policy = make("keda")
    _, memory = decide(policy, pool_of(2, signals=IDLE), 0.0)
    assert decide(policy, pool_of(2, signals=IDLE), 400.0, memory)[0] == 1


@pytest.mark.parametrize(
    ("behaviour", "current", "wanted"),
    [
        ("static", 4, 6),
        ("static", 9, 6),
        ("currentReplicas", 4, 4),
        ("currentReplicasIfHigher", 9, 9),
        ("currentReplicasIfHigher", 4, 6),
        ("currentReplicasIfLower", 4, 4),
        ("currentReplicasIfLower", 9, 6),
    ],
)
def test_a_trigger_that_fails_too_often_falls_back(decide, pool_of, behaviour, current, wanted):
    """At the fourth failure in a row."""
    policy = make("keda", fallback_replicas=6, fallback_behaviour=behaviour)
    memory, made = {}, []
    for tick in range(4):
        target, memory = decide(policy, pool_of(current, limits=(0, 20)), tick * 30.0, memory)
        made.append(target)
    assert made == [current] * 3 + [wanted]


def test_without_a_fallback_it_holds(decide, pool_of):
    """For ever."""
    memory = {}
    for tick in range(20):
        target, memory = decide(make("keda"), pool_of(7, limits=(0, 20)), tick * 30.0, memory)
        assert target == 7


def test_one_answer_forgives_the_failures(decide, pool_of):
    """They count in a row."""
    policy, memory = make("keda", fallback_replicas=6), {}
    for tick, signals in enumerate([{}, {}, {}, BUSY, {}, {}, {}]):
        pool = pool_of(3, signals=signals, limits=(0, 20))
        target, memory = decide(policy, pool, tick * 30.0, memory)
        assert target == 3
