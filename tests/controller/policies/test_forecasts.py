"""The load predictors of Dynamo's planner."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.policies.forecasts import PREDICTORS, expected, kalman


def ahead(name, values):
    return expected(name, values)[0]


def test_constant_is_the_last_value():
    """Leading zeros left out, zero without any."""
    assert ahead("constant", [0.0, 0.0, 3.0, 7.0]) == 7.0
    assert ahead("constant", [0.0, 0.0]) == 0.0
    assert ahead("constant", []) == 0.0


@pytest.mark.parametrize("name", PREDICTORS)
def test_under_five_points_it_is_the_last_value(name):
    """There is nothing to fit."""
    assert ahead(name, [1.0, 2.0, 3.0, 9.0]) == 9.0


@pytest.mark.parametrize("name", PREDICTORS)
def test_what_never_changes_stays(name):
    """Ten times the same."""
    assert ahead(name, [4.0] * 10) == pytest.approx(4.0, abs=1e-6)


@pytest.mark.parametrize("name", ["arima", "kalman"])
def test_a_ramp_goes_on(name):
    """10, 12, ... 28: 30."""
    assert ahead(name, [10.0 + 2 * n for n in range(10)]) == pytest.approx(30.0, rel=0.02)


def test_arima_learns_an_alternation():
    """High after low."""
    values = [10.0 + 4 * (-1) ** n for n in range(20)]
    assert ahead("arima", values) == pytest.approx(14.0, abs=0.1)


def test_arima_finds_an_autoregression():
    """x' = 0.8 x + 2 + noise, from 64 values."""
    random = np.random.default_rng(3)
    values = [10.0]
    for _ in range(63):
        values.append(0.8 * values[-1] + 2.0 + float(random.normal(0, 0.5)))
    assert ahead("arima", values) == pytest.approx(0.8 * values[-1] + 2.0, abs=0.6)


def test_the_order_of_arima_is_chosen_once():
    """And given back to be remembered."""
    values = [10.0 + 4 * (-1) ** n for n in range(9)]
    _, order = expected("arima", values)
    assert set(order) == {"p", "d", "log"}
    assert expected("arima", [*values, 50.0, 3.0, 8.0], order)[1] == order


def test_kalman_by_hand():
    """Two readings: prior variance 2001 of level, gain 2001 / 2011."""
    first, second = 4.0, 10.0
    gain, cross = 2001 / 2011, 1000 / 2011
    assert kalman([first]) == first
    assert kalman([first, second]) == pytest.approx(
        first + gain * (second - first) + cross * (second - first)
    )


@given(
    st.lists(st.floats(0, 1e9), max_size=64),
    st.sampled_from(PREDICTORS),
)
def test_whatever_came_the_next_is_a_number(values, name):
    """Finite, not below 0, the same twice."""
    made, order = expected(name, values)
    assert math.isfinite(made)
    assert made >= 0
    assert expected(name, values) == (made, order)
