"""What every autoscaler is held against: a fixed number, and the future."""

from __future__ import annotations

import numpy as np
import pytest

from controller.capacity import requests_per_second
from controller.observation import Objective
from controller.policies.check import PROFILE
from controller.policies.registry import make
from controller.simulator.workload import Workload
from controller.startup import StartupTimes


def test_a_fixed_number_of_every_pool(decide, pool_of):
    """Or of each by name; without one, what is there."""
    assert decide(make("static", replicas=7), pool_of(3))[0] == 7
    assert decide(make("static", replicas={"a": 5}), pool_of(3))[0] == 5
    assert decide(make("static", replicas={"b": 5}), pool_of(3))[0] == 3
    assert decide(make("static"), pool_of(3))[0] == 3


def step_at_500():
    """2 requests/s for 500 s, then 8."""
    at = np.concatenate([np.arange(0, 500, 0.5), np.arange(500, 1000, 0.125)])
    return Workload.of(at, np.full(len(at), 1000), np.full(len(at), 200))


EACH = requests_per_second(PROFILE, Objective(), 1000, 200)


@pytest.mark.parametrize(
    ("at", "rate"),
    [(100.0, 2.0), (400.0, 2.0), (440.0, 8.0), (700.0, 8.0), (5000.0, 0.0)],
)
def test_it_asks_for_what_comes_before_a_replica_could_be_ready(decide, pool_of, at, rate):
    """60 s of start-up and its period of 15 s before the step."""
    pool = pool_of(3, startup=StartupTimes.about(60.0, 0.0), limits=(0, 50))
    target, _ = decide(make("clairvoyant", workload=step_at_500()), pool, at)
    assert target == pytest.approx(rate / EACH, abs=1.1)
    assert target >= rate / EACH - 1e-6


def test_a_margin_is_on_the_need(decide, pool_of):
    """Twice as many."""
    work = step_at_500()
    pool = pool_of(3, limits=(0, 50))
    once = decide(make("clairvoyant", workload=work), pool, 700.0)[0]
    twice = decide(make("clairvoyant", workload=work, margin=2.0), pool, 700.0)[0]
    assert 2 * once - 1 <= twice <= 2 * once


def test_without_a_profile_or_requests_it_holds(decide, pool_of):
    """There is nothing to divide by."""
    empty = Workload.of([], [], [])
    assert decide(make("clairvoyant", workload=empty), pool_of(3))[0] == 3
    assert decide(make("clairvoyant", workload=step_at_500()), pool_of(3, profile=None))[0] == 3
