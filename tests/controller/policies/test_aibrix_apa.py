"""AIBrix APA by hand."""

from __future__ import annotations

import pytest

from controller.policies.registry import make


def usage(value):
    return {"kv_cache_usage_ratio": value}


@pytest.mark.parametrize(
    ("ratio", "wanted"),
    [
        (1.05, 4),
        (1.1, 4),
        (1.2, 5),  # ceil(4.8)
        (1.9, 8),  # ceil(7.6)
        (3.0, 8),  # at most twice
        (0.95, 4),
        (0.6, 3),  # ceil(2.4)
        (0.1, 2),  # at least the half
    ],
)
def test_replicas_follow_the_ratio_within_its_rates(decide, pool_of, ratio, wanted):
    """Outside 10 % around 1."""
    policy = make("aibrix-apa", target=0.2, down_seconds=0)
    assert decide(policy, pool_of(4, signals=usage(0.2 * ratio)))[0] == wanted


def test_it_shrinks_when_nothing_else_was_wanted_for_300_seconds(follow, pool_of):
    """Four were wanted at 15 s for the last time."""

    def course(at, n):
        return pool_of(n, signals=usage(0.5 if at <= 15 else 0.0))

    made = follow(make("aibrix-apa", panic_ratio=1000), course, 30)
    first = next(n for n, target in enumerate(made) if target < 4)
    assert first * 15 == 15 + 300


def test_a_doubled_last_minute_counts_alone(decide, pool_of):
    """Two minutes of 0.1 and one of 1.0 make 0.5; the last minute is twice the target."""
    policy, memory = make("aibrix-apa", target=0.5), {}
    for at in range(0, 195, 15):
        value = 1.0 if at >= 120 else 0.1
        target, memory = decide(policy, pool_of(4, signals=usage(value)), float(at), memory)
    assert target == 8


def test_of_several_metrics_the_largest_counts(decide, pool_of):
    """Cache usage wants half, 16 ongoing of 8 a replica want twice."""
    policy = make("aibrix-apa", others={"ongoing": 8.0}, down_seconds=0)
    busy = {**usage(0.1), "requests_running": 64.0, "requests_waiting": 0.0}
    assert decide(policy, pool_of(4, signals=busy))[0] == 8


def test_a_metric_that_is_missing_holds_it_back_down(decide, pool_of):
    """Not up."""
    policy = make("aibrix-apa", others={"ongoing": 8.0}, down_seconds=0)
    assert decide(policy, pool_of(4, signals=usage(0.1)))[0] == 4
    assert decide(policy, pool_of(4, signals=usage(0.8)))[0] == 7
