"""SkyServe by hand."""

from __future__ import annotations

from controller.policies.registry import make


def rate(value):
    return {"requests_per_second": value}


def test_it_grows_at_the_fifteenth_tick_in_a_row(follow, pool_of):
    """300 s over 20 s; 7.2 requests/s, one each: eight."""
    course = follow(make("skyserve"), lambda at, n: pool_of(n, signals=rate(7.2)), 16)
    assert course == [4] * 14 + [8] * 2


def test_it_shrinks_at_the_sixtieth(follow, pool_of):
    """1,200 s over 20 s."""
    course = follow(make("skyserve"), lambda at, n: pool_of(n, signals=rate(1.5)), 61)
    assert course == [4] * 59 + [2] * 2


def test_a_single_contrary_tick_starts_again(follow, pool_of):
    """Spikes with pauses of a minute never make it grow."""

    def spiky(at, n):
        return pool_of(n, signals=rate(0.0 if at % 280 < 80 else 30.0))

    assert set(follow(make("skyserve"), spiky, 100)) == {4}


def test_from_nothing_it_goes_at_once(decide, pool_of):
    """Without a count."""
    asleep = pool_of(0, loads=[], signals=rate(2.5), limits=(0, 9))
    assert decide(make("skyserve"), asleep)[0] == 3


def test_the_rate_is_a_mean_over_a_minute(decide, pool_of):
    """Three readings of 2 and one of 6: 3."""
    policy, memory = make("skyserve", up_seconds=0), {}
    for at in (0.0, 20.0, 40.0):
        _, memory = decide(policy, pool_of(2, signals=rate(2.0)), at, memory)
    assert decide(policy, pool_of(2, signals=rate(6.0)), 60.0, memory)[0] == 3


def test_without_a_rate_it_keeps_its_counts(decide, pool_of):
    """A missed reading is no contrary one."""
    policy = make("skyserve")
    _, memory = decide(policy, pool_of(4, signals=rate(9.0)), 0.0)
    target, memory = decide(policy, pool_of(4), 200.0, memory)
    assert (target, memory["a"]["ups"]) == (4, 1)
