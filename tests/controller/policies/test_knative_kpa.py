"""The KPA by hand."""

from __future__ import annotations

import pytest

from controller.observation import Grade, Reading
from controller.policies.registry import make


def load(running, waiting=0.0):
    return {"requests_running": running, "requests_waiting": waiting}


def test_concurrency_over_the_target_rounded_up(decide, pool_of):
    """101 at the same time, ten each: eleven; it may thousandfold at once."""
    policy = make("knative-kpa", target=10)
    assert decide(policy, pool_of(1, signals=load(100.0, 1.0)))[0] == 11


def test_the_stable_window_is_a_mean_over_a_minute(decide, pool_of):
    """Half a minute of 20 and half of 60: 40; four at ten each."""
    policy, memory = make("knative-kpa", target=10), {}
    for tick in range(30):
        running = 20.0 if tick < 15 else 60.0
        _, memory = decide(policy, pool_of(4, signals=load(running)), tick * 2.0, memory)
    target, memory = decide(policy, pool_of(4, signals=load(60.0)), 60.0, memory)
    # It began in panic and has panicked of six: the mark stays.
    assert target == 6
    assert memory["a"]["panic_high"] == 6


def test_it_panics_at_twice_the_ready_ones_and_never_shrinks_then(decide, pool_of):
    """A spike of 40 on one replica; then nothing for a minute."""
    policy, memory, course = make("knative-kpa", target=10), {}, []
    target = 1
    for tick in range(40):
        running = 40.0 if tick == 5 else 5.0
        target, memory = decide(policy, pool_of(target, signals=load(running)), tick * 2.0, memory)
        course.append(target)
    assert course[4] == 1
    assert course[5] == 2  # (5 + 5 + 5 + 40) / 4 over 6 s: 13.75
    assert max(course) == 2
    assert course[-1] == 1


def test_panic_ends_a_stable_window_after_the_last_time(decide, pool_of):
    """Strictly after 60 s."""
    policy = make("knative-kpa", target=10)
    _, memory = decide(policy, pool_of(1, signals=load(40.0)), 0.0)
    assert memory["a"]["panic_at"] == 0.0
    for at in (30.0, 60.0):
        target, memory = decide(policy, pool_of(4, signals=load(10.0)), at, memory)
        assert target == 4
    target, memory = decide(policy, pool_of(4, signals=load(10.0)), 62.0, memory)
    assert memory["a"]["panic_at"] is None
    assert target == 2  # at least the half of those ready


def test_after_a_restart_with_several_it_begins_in_panic(decide, pool_of):
    """An empty window must not shrink it for a minute."""
    policy, memory = make("knative-kpa", target=10), {}
    for at in (0.0, 30.0, 60.0):
        target, memory = decide(policy, pool_of(8, signals=load(1.0)), at, memory)
        assert target == 8
    assert decide(policy, pool_of(8, signals=load(1.0)), 61.0, memory)[0] == 4


def test_a_single_one_does_not_begin_in_panic(decide, pool_of):
    """Nothing can be lost."""
    _, memory = decide(make("knative-kpa"), pool_of(1, signals=load(1.0)))
    assert memory["a"]["panic_at"] is None


def test_without_data_nothing_changes(decide, pool_of):
    """And the clock of the first panic runs."""
    policy = make("knative-kpa", target=10)
    target, memory = decide(policy, pool_of(8), 0.0)
    assert target == 8
    target, memory = decide(policy, pool_of(8, signals={"requests_running": 1.0}), 30.0, memory)
    assert target == 8
    assert memory["a"]["panic_at"] == 0.0


def test_a_delay_takes_the_highest_of_its_window(decide, pool_of):
    """Shrinking waits 120 s."""
    policy, memory = make("knative-kpa", target=10, down_delay_seconds=120), {}
    course = []
    for at, running in ((0.0, 10.0), (70.0, 30.0), (140.0, 5.0), (189.0, 5.0), (191.0, 5.0)):
        target, memory = decide(policy, pool_of(1, signals=load(running)), at, memory)
        course.append(target)
    assert course == [1, 3, 3, 3, 1]


@pytest.mark.parametrize(("scale", "wanted"), [(1, 1), (3, 3)])
def test_an_activation_scale_counts_once_there_is_load(decide, pool_of, scale, wanted):
    """Not before."""
    policy = make("knative-kpa", target=10, activation_scale=scale)
    assert decide(policy, pool_of(1, signals=load(1.0)))[0] == wanted
    assert decide(policy, pool_of(1, signals=load(0.0)))[0] == 1


def test_it_goes_to_zero_after_an_idle_window_and_the_grace(decide, pool_of):
    """And comes back for one request that is held."""
    policy, memory = make("knative-kpa", target=10), {}
    _, memory = decide(policy, pool_of(1, signals=load(3.0), limits=(0, 9)), 0.0)
    for at, wanted in ((59.0, 1), (61.0, 1), (91.0, 0)):
        target, memory = decide(policy, pool_of(1, signals=load(0.0), limits=(0, 9)), at, memory)
        assert target == wanted
    asleep = pool_of(0, loads=[], signals=load(0.0), limits=(0, 9))
    target, memory = decide(policy, asleep, 93.0, memory)
    assert target == 0
    held = pool_of(0, loads=[], signals={**load(0.0), "requests_held": 1.0}, limits=(0, 9))
    assert decide(policy, held, 95.0, memory)[0] == 1


def test_pods_that_were_not_scraped_are_taken_for_average_ones(decide, pool_of):
    """Half of them told 50: 100 in all."""
    pool = pool_of(1, signals=load(0.0))
    pool.signals["requests_running"] = Reading(50.0, Grade.PARTIAL, 0.0, 0.5)
    assert decide(make("knative-kpa", target=10), pool)[0] == 10
