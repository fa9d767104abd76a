"""Drift: the world moves and it is noticed; it does not move and nothing is said."""

from __future__ import annotations

import numpy as np
import pytest

from predictors.distribution import LEVELS, Quantiles
from predictors.drift import LEAST_ROWS, SLACK, THRESHOLD, Drift, PageHinkley, ranks_of


def alarms(values):
    test = PageHinkley()
    return [number for number, value in enumerate(values) if test.moved(value)]


def test_even_ranks_raise_no_alarm():
    """Two hundred thousand of them, from twenty seeds."""
    for seed in range(20):
        assert alarms(np.random.default_rng(seed).uniform(size=10_000)) == []


@pytest.mark.parametrize("low", [0.4, 0.0])
def test_a_move_of_the_mean_is_found_soon(low):
    """By 0.2, up or down, after a thousand quiet rows: within two hundred."""
    for seed in range(10):
        random = np.random.default_rng(seed)
        moved = low + 0.6 * random.uniform(size=500)
        found = alarms(np.concatenate([random.uniform(size=1000), moved]))
        assert found
        assert 1000 < found[0] < 1200


def test_it_agrees_with_the_library():
    """The same alarms as river's, give or take a few rows."""
    drift = pytest.importorskip("river.drift")
    random = np.random.default_rng(3)
    values = np.concatenate(
        [random.uniform(size=800), 0.5 + 0.5 * random.uniform(size=400), random.uniform(size=800)]
    )
    theirs = []
    other = drift.PageHinkley(
        min_instances=LEAST_ROWS, delta=SLACK, threshold=THRESHOLD, mode="both", alpha=1.0
    )
    for number, value in enumerate(values):
        other.update(value)
        if other.drift_detected:
            theirs.append(number)
    ours = alarms(values)
    assert len(ours) == len(theirs) > 0
    assert np.abs(np.array(ours) - np.array(theirs)).max() <= 20


def test_ranks_of_outcomes_are_even_under_the_true_distribution():
    """Below all levels near 0, above all near 1, in the mean a half."""
    random = np.random.default_rng(0)
    values = np.tile(np.array(LEVELS), (5000, 1))
    made = Quantiles.of(LEVELS, values)
    ranks = ranks_of(made, random.uniform(size=5000))
    assert ranks.mean() == pytest.approx(0.5, abs=0.02)
    assert ranks_of(made.take([0, 0]), np.array([-1.0, 2.0])).tolist() == pytest.approx(
        [0.025, 0.995]
    )


def test_outcomes_that_are_unknown_say_nothing():
    """Rows that have not ended, or failed, raise no alarm and count as none."""
    drift = Drift()
    made = Quantiles.of(LEVELS, np.tile(np.arange(8.0), (300, 1)))
    assert not drift.watch(made, np.full(300, np.nan))
    assert not drift.watch(made, np.full(300, 100.0))
    assert not drift.watch(made, np.full(300, 100.0))
    assert drift.watch(made, np.full(300, -1.0))


def test_a_young_predictor_may_find_its_feet():
    """What its first outcomes show is no drift: a history of twenty rows changes by itself."""
    drift = Drift()
    made = Quantiles.of(LEVELS, np.tile(np.arange(8.0), (100, 1)))
    assert not any(drift.watch(made, np.full(100, value)) for value in (100.0, -1.0, 100.0))
