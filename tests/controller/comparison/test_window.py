"""The model judged on the window that is replayed."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from controller.calibration.recorded import Recorded, Times
from controller.calibration.simulated import simulate
from controller.comparison import handing, window
from controller.comparison.protocol import Case, Comparison, Segment
from controller.profile import Profile, StepTimes
from controller.simulator.state import NOBODY
from controller.simulator.workload import Workload
from store.errors import ControllerError

PROFILE = Profile("small", StepTimes(0.02, 0.0001, 0.0, 0.001), sequences=16)


def recorded(profile=PROFILE, n=300):
    """What the simulator itself would have measured on two instances."""
    random = np.random.default_rng(1)
    at = np.sort(random.uniform(0, 200, n))
    workload = Workload.of(at, random.integers(50, 400, n), random.integers(2, 60, n))
    who = (np.arange(n) % 2).astype(np.int32)
    nothing = Times(*(np.full(n, np.nan) for _ in range(3)))
    first = datetime(2026, 1, 1, tzinfo=UTC)
    empty = Recorded(workload, nothing, who, ("a", "b"), first)
    return replace(empty, times=simulate(empty, profile))


def judged(profile):
    comparison = Comparison(("risk",), profile, seeds=(0, 1))
    rows = window.window_rows(recorded(), comparison, "t")
    return rows, window.error_of(rows)


def test_a_model_that_is_right_is_validated_by_the_window_itself():
    """Both rows tell the same."""
    rows, error = judged(PROFILE)
    assert error.is_validated
    assert error.median_ratio == pytest.approx(0, abs=1e-9)
    assert rows[0]["ttft_p99_seconds"] == pytest.approx(rows[1]["ttft_p99_seconds"])
    assert "this very window of t" in error.sentence()


def test_a_model_of_other_replicas_is_not():
    """Twice as slow is a hundred percent off."""
    _, error = judged(replace(PROFILE, step=StepTimes(0.04, 0.0002, 0.0, 0.002)))
    assert not error.is_validated
    assert error.median_ratio > 0.5
    assert error.tpot_median_ratio > 0.5


def test_what_never_ends_in_the_simulation_is_as_wrong_as_can_be():
    """And still a number that JSON can hold."""
    real = recorded()
    gone = replace(real, times=Times(real.times.ttft, real.times.tpot, np.full(300, np.nan)))
    comparison = Comparison(("risk",), PROFILE, seeds=(0, 1))
    with pytest.raises(ControllerError, match="no end-to-end"):
        window.window_rows(gone, comparison, "t")


def test_without_knowing_who_served_whom_nothing_is_judged():
    """Neither is a fleet that is too large for a pool each."""
    real = recorded()
    assert window.can_be_judged(real)
    assert not window.can_be_judged(replace(real, replica=np.full(300, NOBODY, np.int32)))
    assert not window.can_be_judged(replace(real, instances=tuple(map(str, range(1000)))))
    assert window.error_of([]) is None


def test_a_window_survives_being_handed_to_another_process(tmp_path):
    """Times and places come back as they were."""
    real = recorded()
    comparison = Comparison(("risk",), PROFILE, seeds=(0, 1))
    handing.save(tmp_path, comparison, [Case("t", (Segment(real.workload),))], real)
    found = handing.load_window(tmp_path)
    np.testing.assert_array_equal(found.times.e2e, real.times.e2e)
    np.testing.assert_array_equal(found.replica, real.replica)
    assert len(found.instances) == 2
    (tmp_path / handing.WINDOW).unlink()
    assert handing.load_window(tmp_path) is None
