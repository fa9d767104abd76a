"""The HPA by hand, after the Kubernetes documents."""

from __future__ import annotations

import pytest

from controller.observation import Grade, Reading
from controller.policies.registry import make


def hpa(**parameters):
    return make("kubernetes-hpa", **parameters)


@pytest.mark.parametrize(
    ("each", "wanted"),
    [
        (20.0, 5),  # ratio 1.25, ceil(5.0)
        (16.0, 4),
        (17.5, 4),  # 1.09 is within the tolerance
        (17.7, 5),  # 1.106 is not: ceil(4.43)
        (14.5, 4),  # 0.906 is within
        (12.0, 3),  # 0.75: 3
        (12.1, 4),  # 0.756: ceil(3.025)
        (0.0, 1),  # ceil(0) is kept at one
    ],
)
def test_replicas_are_the_ratio_rounded_up(decide, pool_of, each, wanted):
    """current * metric / target, unless it is within 10 % of 1."""
    target, _ = decide(hpa(down_seconds=0.0), pool_of(4, loads=[each] * 4))
    assert target == wanted


def test_each_direction_has_a_tolerance(decide, pool_of):
    """0.94 shrinks with a tolerance of 5 % down; 1.06 does not grow with 10 % up."""
    policy = hpa(tolerance_up=0.1, tolerance_down=0.05, down_seconds=0.0)
    assert decide(policy, pool_of(20, loads=[0.94 * 16] * 20))[0] == 19
    assert decide(policy, pool_of(20, loads=[1.06 * 16] * 20))[0] == 20


def test_an_average_value_is_the_total_over_the_target(decide, pool_of):
    """60 waiting, 5 each: 12; but at most four or twice as many in 15 s."""
    policy = make("queue-length-hpa")
    target, memory = decide(policy, pool_of(4, signals={"requests_waiting": 60.0}))
    assert target == 8
    target, _ = decide(policy, pool_of(8, signals={"requests_waiting": 60.0}), 15.0, memory)
    assert target == 12


def test_an_empty_queue_asks_for_none(decide, pool_of):
    """The trap of that signal: nothing waits while everything is busy."""
    target, memory = decide(make("queue-length-hpa"), pool_of(4, signals={"requests_waiting": 0.0}))
    assert target == 4
    pool = pool_of(4, signals={"requests_waiting": 0.0})
    assert decide(make("queue-length-hpa"), pool, 301.0, memory)[0] == 1


def test_it_grows_by_four_or_twofold_every_15_seconds(follow, pool_of):
    """From one: 5, 10, 20, 40, 50."""
    course = follow(hpa(), lambda at, n: pool_of(n, loads=[1e4] * n, limits=(1, 50)), 5, target=1)
    assert course == [5, 10, 20, 40, 50]


def test_a_second_decision_within_the_period_does_not_grow_again(decide, pool_of):
    """The rate is of a period, not of a decision."""
    _, memory = decide(hpa(), pool_of(4, loads=[1e4] * 4), 0.0)
    assert decide(hpa(), pool_of(8, loads=[1e4] * 8), 5.0, memory)[0] == 8
    assert decide(hpa(), pool_of(8, loads=[1e4] * 8), 15.0, memory)[0] == 16


def test_it_shrinks_when_every_recommendation_of_five_minutes_is_lower(follow, pool_of):
    """The peak at 30 s holds until it is 300 s old."""
    loads = {0.0: 16.0, 15.0: 16.0, 30.0: 32.0}
    course = follow(hpa(), lambda at, n: pool_of(n, loads=[loads.get(at, 4.0)] * n), 24)
    assert course[2] == 8
    assert course[3:22] == [8] * 19  # at 315 s the peak is 285 s old
    assert course[22] < 8  # at 330 s it is 300 s old


def test_a_new_one_begins_with_what_is_there(decide, pool_of):
    """It does not shrink at its first look."""
    target, memory = decide(hpa(), pool_of(10, loads=[1.0] * 10))
    assert target == 10
    assert decide(hpa(), pool_of(10, loads=[1.0] * 10), 300.0, memory)[0] == 1


@pytest.mark.parametrize(
    ("loads", "wanted"),
    [
        ([20.0, 20.0, None, None], 4),  # up: missing count 0: 0.625, the direction turned
        ([80.0, 80.0, None, None], 8),  # 5.0, with missing ones 2.5: ten, at most eight at once
        ([8.0, 8.0, None, None], 3),  # down: missing count as the target: 0.75
        ([15.0, 15.0, None, None], 4),  # 0.97
        ([16.0, 16.0, None, None], 4),  # exactly 1
        ([None] * 4, 4),
    ],
)
def test_missing_pods_speak_against_the_change(decide, pool_of, loads, wanted):
    """100 % of the target when it shrinks, nothing when it grows."""
    policy = hpa(down_seconds=0.0)
    assert decide(policy, pool_of(4, loads=loads))[0] == wanted


def test_pods_that_start_count_as_idle_when_it_grows(decide, pool_of):
    """Two at twice the target and two that start: enough is on its way."""
    assert decide(hpa(), pool_of(4, ready=2, loads=[32.0, 32.0]))[0] == 4
    assert decide(hpa(), pool_of(4, ready=2, loads=[64.0, 64.0]))[0] == 8


def test_of_several_metrics_the_largest_counts(decide, pool_of):
    """12 ongoing of 16 want 3, cache usage 0.12 of 0.04 wants 12, at most 8 at once."""
    policy = hpa(target_kv_cache_usage_ratio=0.04)
    assert decide(policy, pool_of(4, loads=[12.0] * 4))[0] == 8


@pytest.mark.parametrize(("each", "wanted"), [(1.0, 4), (32.0, 8)])
def test_a_metric_that_cannot_be_read_holds_it_back_only_down(decide, pool_of, each, wanted):
    """The rest may let it grow."""
    policy = hpa(target_requests_per_second=2.0, down_seconds=0.0)
    assert decide(policy, pool_of(4, loads=[each] * 4))[0] == wanted


def test_a_value_of_five_minutes_ago_is_missing(decide, pool_of):
    """Prometheus has forgotten it."""
    policy = make("queue-length-hpa")
    pool = pool_of(4)
    for age, wanted in ((299.0, 8), (301.0, 4)):
        pool.signals["requests_waiting"] = Reading(60.0, Grade.STALE, age)
        assert decide(policy, pool)[0] == wanted


def test_at_zero_it_is_off(decide, pool_of):
    """Whatever the metrics say."""
    assert decide(hpa(), pool_of(0, loads=[], limits=(0, 5)))[0] == 0


def test_outside_the_limits_it_comes_back_at_once(decide, pool_of):
    """Without a look at the metrics."""
    assert decide(hpa(), pool_of(12, loads=[16.0] * 12, limits=(2, 8)))[0] == 8
    assert decide(hpa(), pool_of(1, loads=[16.0], limits=(2, 8)))[0] == 2
