"""Boosted quantiles beside physics: in where they help in blocks never seen, else left out."""

from __future__ import annotations

import numpy as np
import pytest

from predictors.distribution import LEVELS
from predictors.latency.learned import Learned, learned


def made(n, drift):
    """(design, real, told): a hidden driver that physics does not see, if `drift`."""
    random = np.random.default_rng(0)
    driver = random.uniform(0, 1, n)
    real = np.exp(drift * driver + random.normal(0, 0.1, n))
    # What is right without a driver; with one it is about the middle, and too sure of itself.
    normal = np.array([-1.645, -1.282, -0.674, 0.0, 0.674, 1.282, 1.645, 2.326])
    told = np.exp(drift / 2 + 0.1 * np.tile(normal, (n, 1)))
    return np.column_stack([driver, random.uniform(0, 1, n)]), real, told


def test_what_physics_cannot_see_is_learnt():
    """The trees take over, and their intervals hold what they promise on new rows."""
    trees, unseen = learned(*made(1200, drift=2.0), seed=0)
    assert trees is not None
    assert trees.share >= 0.75
    design, real, told = made(1200, drift=2.0)
    miss = np.abs(real - unseen[:, LEVELS.index(0.5)]).mean()
    assert miss < 0.4 * np.abs(real - told[:, LEVELS.index(0.5)]).mean()
    covered = (real <= unseen[:, LEVELS.index(0.9)]).mean()
    assert covered == pytest.approx(0.9, abs=0.03)
    assert (np.diff(trees.mixed(design, told), axis=1) >= 0).all()


def test_where_physics_knows_all_trees_are_left_out():
    """They would only add noise."""
    trees, unseen = learned(*made(1200, drift=0.0), seed=0)
    assert trees is None
    assert np.array_equal(unseen, made(1200, drift=0.0)[2])


def test_too_few_rows_leave_physics_alone():
    """Less than a hundred rows beside a block are learnt by heart."""
    design, real, told = made(100, drift=2.0)
    trees, unseen = learned(design, real, told, seed=0)
    assert trees is None
    assert np.array_equal(unseen, told)


def test_saved_and_read_back_they_answer_the_same():
    """Arrays alone, no pickles."""
    design, real, told = made(600, drift=2.0)
    trees, _ = learned(design, real, told, seed=0)
    assert trees is not None
    again = Learned.from_arrays(trees.arrays())
    assert again is not None
    assert np.array_equal(again.mixed(design, told), trees.mixed(design, told))
    assert Learned.from_arrays({}) is None
