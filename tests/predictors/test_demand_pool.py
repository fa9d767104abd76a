"""The next window of indicators: a pool of experts, attention over indicators."""

from __future__ import annotations

import numpy as np
import pytest

from predictors.demand.attention import AttentionSettings, attended
from predictors.demand.pool import EXPERTS, SAMPLES, PoolSettings, answers, crps, past, pooled

LEARN = 700


def table_of(n=1000, seed=0):
    """An indicator that stands still, one that jumps without memory, one that follows the clock."""
    random = np.random.default_rng(seed)
    still = np.full(n, 0.25)
    jumps = random.choice([0.0, 1.0], n, p=[0.35, 0.65])
    daily = 0.5 + 0.4 * np.sin(2 * np.pi * np.arange(n) / 144) + random.normal(0, 0.02, n)
    return np.stack([still, jumps, daily], axis=1)


@pytest.fixture(scope="module")
def said():
    table = table_of()
    clock = np.arange(len(table)) * 600.0 % 86_400
    places = np.arange(LEARN, len(table))
    settings = PoolSettings(rounds=20)
    return [
        (answers(table, k, clock, LEARN, places, settings), table[places, k])
        for k in range(table.shape[1])
    ]


def test_crps_of_one_value_is_the_absolute_error():
    """A sample without spread is a point forecast; spread counts for what it is."""
    ones = np.ones((2, 1))
    assert crps(np.array([[1.0], [4.0]]), ones, np.array([3.0, 4.0])).tolist() == [2.0, 0.0]
    # Two equally likely values at 0 and 1: 1/2 - 1/4.
    assert crps(np.array([[0.0, 1.0]]), np.full((1, 2), 0.5), np.array([1.0]))[0] == 0.25


def test_the_past_holds_only_what_came_before():
    """The value that is asked about never enters its own forecast."""
    series = np.arange(100.0)
    made = past(series, np.array([10, 50]), 5)
    assert made.shape == (2, SAMPLES)
    assert (made[0].min(), made[0].max()) == (5, 9)
    assert (made[1].min(), made[1].max()) == (45, 49)


def test_answers_do_not_change_when_the_future_does():
    """What comes after the first asked window is unknown to its answer."""
    table = table_of()
    clock = np.arange(len(table)) * 600.0 % 86_400
    places = np.array([LEARN])
    settings = PoolSettings(rounds=10)
    before = answers(table, 2, clock, LEARN, places, settings)
    changed = table.copy()
    changed[LEARN:] = 99.0
    assert np.allclose(before, answers(changed, 2, clock, LEARN, places, settings))


def test_the_pool_is_nearly_as_good_as_its_best_expert(said):
    """Nobody told which indicator is of which kind."""
    for samples, real in said:
        made = pooled(samples, real, PoolSettings())
        equal = np.full((len(real), SAMPLES), 1 / SAMPLES)
        single = [crps(samples[:, e], equal, real).mean() for e in range(samples.shape[1])]
        assert made.crps(real).mean() <= min(single) * 1.1 + 1e-3


def test_trust_goes_to_the_expert_that_fits(said):
    """Jumps without memory belong to the level, never to the last value."""
    samples, real = said[1]
    trust = pooled(samples, real, PoolSettings()).trust[-1]
    by_change = [n for n, name in enumerate(EXPERTS) if "changes" in name]
    assert trust[by_change].sum() < 0.05
    assert trust.sum() == pytest.approx(1)


def test_the_mean_of_jumps_is_their_share(said):
    """Between two values the mean lies where the draws say, and quantiles are real values."""
    samples, real = said[1]
    made = pooled(samples, real, PoolSettings())
    assert made.mean()[-50:].mean() == pytest.approx(0.65, abs=0.1)
    assert made.quantiles(np.array([0.1, 0.9])).values[-1].tolist() == pytest.approx([0, 1])


def test_an_outcome_that_is_missing_teaches_nothing(said):
    """A gap in the record moves no weight."""
    samples, real = said[2]
    made = pooled(samples, np.full(len(real), np.nan), PoolSettings())
    assert np.allclose(made.trust, 1 / samples.shape[1])


def test_attention_learns_an_indicator_that_follows_another():
    """What one indicator showed a window ago is what the other shows now."""
    random = np.random.default_rng(1)
    leads = random.uniform(0, 1, 900)
    table = np.stack([leads, np.concatenate([[0.5], leads[:-1]])], axis=1)
    settings = AttentionSettings(look_back=12, width=24, heads=2, layers=1, epochs=25, drop_ratio=0)
    places = np.arange(700, 900)
    made = attended(table, 700, places, settings)
    assert made.shape == (200, 2, SAMPLES)
    error = np.abs(made[:, 1].mean(axis=1) - table[places, 1]).mean()
    assert error < 0.6 * np.abs(table[places, 1] - 0.5).mean()
