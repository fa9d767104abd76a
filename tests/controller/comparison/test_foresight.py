"""Forecasts inside a replay: nothing of the future, as live."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from controller.comparison.foresight import foreseen
from controller.comparison.protocol import Comparison, split
from controller.comparison.runs import Run, row_of
from controller.profile import Profile, StepTimes
from controller.simulator.workload import Workload


def arrivals(rates, seconds=600.0, seed=0):
    random = np.random.default_rng(seed)
    at = np.concatenate(
        [
            np.sort(random.uniform(n * seconds, (n + 1) * seconds, round(rate * seconds)))
            for n, rate in enumerate(rates)
        ]
    )
    return Workload.of(at, np.full(len(at), 100), np.full(len(at), 10))


def test_what_comes_later_changes_no_forecast_made_before():
    """To the digit: the first two hours are the same, what follows is not."""
    calm = [1.0, 2.0, 1.5, 1.0, 2.5, 1.0] * 2
    one, other = (foreseen(arrivals(calm + end), (), 15.0) for end in ([1.0] * 3, [9.0] * 3))
    end = 600.0 * len(calm) - 15.0
    both = one.made <= end
    assert both.sum() > 10
    np.testing.assert_array_equal(one.values[both[: len(one.made)]], other.values[: both.sum()])
    assert not np.array_equal(one.values[-1], other.values[-1])


def test_forecasts_are_of_the_next_hour_and_age_between_two():
    """Every five minutes, six windows of ten; the rates of before count from the start."""
    made = foreseen(arrivals([2.0] * 6), (2.0,) * 240, 15.0)
    assert made.made[0] == 0.0
    views = made(None, "pool", 430.0)
    assert [view.horizon_seconds for view in views] == [600.0 * n for n in range(1, 7)]
    assert views[0].age_seconds == pytest.approx(130.0)
    assert all(np.diff(view.values).min() >= 0 for view in views)
    middle = views[0].values[views[0].levels.index(0.5)]
    assert middle == pytest.approx(2.0, rel=0.05)
    assert foreseen(arrivals([2.0]), (), 15.0)(None, "pool", 300.0) == ()


def test_their_skill_is_against_all_rates_that_were_seen():
    """A load that wanders slowly is foreseen by its last value."""
    rates = 4 + np.repeat(np.linspace(0, 6, 24), 1)
    made = foreseen(arrivals(rates), (), 15.0)
    assert 0.2 < made.skill < 1
    assert made.told()["count"] == len(made.made)
    nothing = foreseen(arrivals([1.0]), (), 15.0)
    assert nothing.told()["skill"] is None


def test_every_policy_is_handed_the_same_and_the_row_tells_how_good_they_were():
    """Off unless asked for."""
    profile = Profile("small", StepTimes(0.02, 0.0001, 0.0, 0.001), sequences=16)
    workload = arrivals([1.0, 1.5, 1.0, 1.5, 1.0, 2.0])
    case = split("t", workload, 0.0, 600.0)
    segment = case.tests[0]
    told = replace(segment, forecasts=foreseen(segment.workload, segment.past, 15.0))
    made = Comparison(("risk",), profile, seeds=(0, 1), most=6)
    run = Run(0, "test", "risk", "default", 30.0)
    without = row_of(run, made, [case])
    having = row_of(run, made, [replace(case, tests=(told,))])
    assert "forecasts" not in without
    assert "skill" in having["forecasts"]
