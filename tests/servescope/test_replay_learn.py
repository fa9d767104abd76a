"""Learning from replays: what becomes a row, and what the back-test records."""

from __future__ import annotations

import math

import numpy as np
import pytest

from controller.observation import Limits, Objective
from controller.policies.check import PROFILE
from controller.policies.learned import Learned
from controller.policies.learned_features import FEATURES
from controller.policies.learned_network import read_network
from controller.replay import ReplaySettings
from controller.simulator.workload import Workload
from predictors.hindsight import Settings
from servescope.replaying.learn import (
    POOL,
    Course,
    gated,
    highest_rate,
    is_better,
    rows_of,
    rows_of_arrivals,
    train,
)


def course(name="steps", seed=0):
    """Ten minutes of 2 requests/s, ten of 6, ten of 2."""
    random = np.random.default_rng(seed)
    rates = np.repeat([2.0, 6.0, 2.0], 600)
    counts = random.poisson(rates)
    at = np.repeat(np.arange(1800.0), counts) + random.uniform(0, 1, counts.sum())
    work = Workload.of(at, np.full(len(at), 300), np.full(len(at), 40))
    settings = ReplaySettings(Objective(2.0, 0.2, 0.95), {POOL: Limits(1, 20)}, {POOL: 2})
    return Course(name, work, PROFILE, settings)


@pytest.fixture(scope="module")
def weights():
    return train([course()], [30.0, 120.0], Settings(epochs=60, batch=64, widths=(16,)))


def test_the_highest_rate_ahead_is_of_15_seconds():
    """One request a second, and 30 in the seconds 50 to 65."""
    at = np.concatenate([np.arange(0.0, 100.0), np.linspace(50, 65, 30, endpoint=False)])
    work = Workload.of(at, np.ones(len(at)), np.ones(len(at)))
    assert highest_rate(work, 0.0, 30.0) == pytest.approx(1.0, abs=0.1)
    assert highest_rate(work, 0.0, 70.0) == pytest.approx(3.0, abs=0.1)
    assert highest_rate(work, 500.0, 600.0) == 0.0


def test_rows_know_what_came_within_a_start():
    """Before the step, a long start needs three times the present rate; a short one does not."""
    rows = rows_of([course()], [30.0, 120.0])
    assert set(FEATURES) < set(rows.columns)
    assert rows["course"].n_unique() == 4
    before = rows.filter((rows["at"] > 480) & (rows["at"] < 540))
    long = before.filter(before["course"].str.contains("/120/clairvoyant"))["label"].mean()
    short = before.filter(before["course"].str.contains("/30/clairvoyant"))["label"].mean()
    assert long > math.log(2.5)
    assert short < math.log(2.2)


def test_arrivals_alone_tell_the_same_rates():
    """As a replay with more replicas than it needs."""
    quick = rows_of_arrivals([course()], [120.0])
    full = rows_of([course()], [120.0])
    full = full.filter(full["course"].str.contains("clairvoyant"))
    both = quick.join(full, on="at", suffix="_full")
    assert both.height > 80
    for name in ("log_rate", "mean_5m_ratio", "slope_1m", "log_startup"):
        assert (both[name] - both[f"{name}_full"]).abs().max() < 1e-6
    assert (both["label"] - both["label_full"]).abs().max() < 0.2


def test_training_says_what_it_learnt_from(weights):
    """Courses, start-up times, and how it was judged."""
    told = weights["trained"]
    assert told["courses"] == ["steps"]
    assert told["startups_seconds"] == [30.0, 120.0]
    assert told["rows"] > told["judged_rows"] > 50
    assert math.isfinite(told["loss"])


def test_the_back_test_is_recorded_with_the_weights(weights):
    """Against a fleet that is far too large, and one far too small."""
    made = gated(weights, [course("later", 7)], [60.0], rival="static")
    gate = made["gate"]
    assert gate["trace"] == "later"
    assert gate["default"] == "static"
    assert gate["seeds"] == [0]
    assert isinstance(gate["beats"], bool)
    assert math.isfinite(gate["regret_gpu_hours"])
    assert weights["gate"] is None
    Learned(network=read_network(made, "made"))


@pytest.mark.parametrize(
    ("mine", "other", "wanted"),
    [
        ((0.0, 50.0), (0.0, 60.0), True),
        ((0.0, 60.0), (0.0, 60.0), False),
        ((0.02, 60.0), (0.05, 60.0), True),
        ((0.02, 61.0), (0.05, 60.0), False),  # nearer, for more, and still short
        ((0.0, 70.0), (0.05, 60.0), True),  # keeps it, for no more than the peak
        ((0.0, 73.0), (0.05, 60.0), False),
        ((0.05, 10.0), (0.0, 60.0), False),
    ],
)
def test_what_counts_as_better(mine, other, wanted):
    """(shortfall, GPU-hours), and 72 for a fleet that serves the peak."""
    assert is_better(mine, other, 72.0) is wanted
