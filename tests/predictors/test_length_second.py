"""The second opinion of trees: what it moves, what it leaves, and when there is none."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from predictors.length.bins import COUNT, Lengths, softened
from predictors.length.network import Examples
from predictors.length.second import fit_second, shifted


@given(st.floats(-3, 3), st.integers(0, 2**32 - 1))
def test_moved_shares_are_still_shares(far, seed):
    """However far a distribution is moved, its shares stay shares."""
    shares = np.random.default_rng(seed).dirichlet(np.full(COUNT, 0.3), 3)
    moved = shifted(shares, np.full(3, far))
    assert (moved >= 0).all()
    assert moved.sum(axis=1) == pytest.approx(1.0)


def test_the_middle_moves_as_far_as_told():
    """A distribution moved by a factor of two has twice the median and keeps its shape."""
    before = Lengths.of(softened(np.array([50.0, 300.0])))
    after = Lengths.of(shifted(before.shares, np.full(2, np.log(2.0))))
    ratio = after.quantiles((0.5,)).values / before.quantiles((0.5,)).values
    assert ratio == pytest.approx(2.0, rel=0.05)


def test_a_move_of_nothing_changes_nothing():
    """Where both agree, the networks' answer stays as it is."""
    shares = np.random.default_rng(0).dirichlet(np.ones(COUNT), 5)
    assert shifted(shares, np.zeros(5)) == pytest.approx(shares, abs=1e-12)


def test_trees_pull_towards_what_they_saw():
    """Where the networks do not tell two kinds of prompts apart, the trees move them apart."""
    random = np.random.default_rng(1)
    inputs = random.normal(size=(400, 3)).astype(np.float32)
    lengths = np.where(inputs[:, 0] > 0, 500.0, 50.0)
    second = fit_second(examples(inputs, lengths, is_cut=False), [0, 1], 2, 120, seed=0)
    assert second is not None
    same = np.repeat(softened([150.0]).astype(float), 400, axis=0)
    middle = Lengths.of(second.moved(same, inputs, np.ones(400, np.int64))).quantiles((0.5,))
    long, short = middle.values[lengths > 100], middle.values[lengths < 100]
    assert np.median(long) > 1.4 * np.median(short)


def test_answers_that_were_all_cut_teach_no_trees():
    """Nothing is known of the middle where every answer was cut."""
    inputs = np.zeros((50, 2), np.float32)
    assert (
        fit_second(examples(inputs, np.full(50, 64.0), is_cut=True), [0, 1], 2, 120, seed=0) is None
    )


def examples(inputs: np.ndarray, lengths: np.ndarray, is_cut: bool) -> Examples:
    """One answer a prompt, of one model."""
    n = len(inputs)
    seen, nothing = softened(lengths), np.zeros((n, COUNT), np.float32)
    return Examples(
        inputs=inputs,
        prompt=np.arange(n),
        model=np.ones(n, np.int64),
        route=np.zeros(n, np.int64),
        ended=nothing if is_cut else seen,
        cut=seen if is_cut else nothing,
        weight=np.ones(n, np.float32),
    )
