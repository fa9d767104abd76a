"""Ray Serve by hand."""

from __future__ import annotations

import pytest

from controller.policies.registry import make


def load(running):
    return {"requests_running": running, "requests_waiting": 0.0}


def ticks(decide, pool_of, policy, running, seconds, target=4, memory=None, start=0):
    """(second at which it changed first, to what, memory)."""
    memory = memory or {}
    for at in range(start, start + seconds):
        made, memory = decide(policy, pool_of(target, signals=load(running)), float(at), memory)
        if made != target:
            return at, made, memory
    return None, target, memory


def test_more_must_be_wanted_for_30_seconds(decide, pool_of):
    """20 ongoing, two each: ten."""
    assert ticks(decide, pool_of, make("ray-serve"), 20.0, 100)[:2] == (30, 10)


def test_less_must_be_wanted_for_600_seconds(decide, pool_of):
    """3 ongoing, two each: two."""
    assert ticks(decide, pool_of, make("ray-serve"), 3.0, 700)[:2] == (600, 2)


def test_a_contrary_second_starts_again(decide, pool_of):
    """29 s of more, then nothing of it, then more."""
    policy = make("ray-serve", look_back_seconds=0.5)
    _, _, memory = ticks(decide, pool_of, policy, 20.0, 29)
    _, _, memory = ticks(decide, pool_of, policy, 8.0, 1, memory=memory, start=29)
    assert ticks(decide, pool_of, policy, 20.0, 99, memory=memory, start=30)[:2] == (60, 10)


@pytest.mark.parametrize(("factor", "wanted"), [(1.0, 10), (0.5, 7), (2.0, 16)])
def test_a_factor_scales_the_step_up(decide, pool_of, factor, wanted):
    """From 4 to 10 is a step of 6."""
    policy = make("ray-serve", up_factor=factor, up_seconds=0)
    assert decide(policy, pool_of(4, signals=load(20.0)))[0] == wanted


def test_a_small_factor_down_is_not_stuck(decide, pool_of):
    """4 to 2 with a factor of 0.1: ceil(3.8) is 4; it takes one."""
    policy = make("ray-serve", down_factor=0.1, down_seconds=0)
    assert decide(policy, pool_of(4, signals=load(4.0)))[0] == 3


def test_the_first_one_comes_without_a_delay(decide, pool_of):
    """None runs, and one request waits."""
    asleep = pool_of(0, loads=[], signals={"requests_held": 1.0}, limits=(0, 9))
    assert decide(make("ray-serve"), asleep)[0] == 1
    calm = pool_of(0, loads=[], signals=load(0.0), limits=(0, 9))
    assert decide(make("ray-serve"), calm)[0] == 0


def test_the_last_one_goes_on_its_own(decide, pool_of):
    """From three it goes to one first, and then after its own delay."""
    policy = make("ray-serve", down_seconds=0, zero_seconds=60)
    idle = pool_of(3, signals=load(0.0), limits=(0, 9))
    target, memory = decide(policy, idle)
    assert target == 1
    one = pool_of(1, signals=load(0.0), limits=(0, 9))
    for at, wanted in ((1.0, 1), (60.0, 1), (61.0, 0)):
        target, memory = decide(policy, one, at, memory)
        assert target == wanted


def test_ongoing_requests_are_averaged_over_30_seconds(decide, pool_of):
    """40 now, and nothing in the 30 s before."""
    policy, memory = make("ray-serve", up_seconds=0), {}
    for at in range(30):
        _, memory = decide(policy, pool_of(4, signals=load(8.0)), float(at), memory)
    # (30 * 8 + 39) / 31 = 9
    assert decide(policy, pool_of(4, signals=load(39.0)), 30.0, memory)[0] == 5
