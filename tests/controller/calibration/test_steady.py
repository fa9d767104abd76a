"""Profiles from tables of measurements, and the shipped ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from controller import profiles
from controller.calibration.start import NAMES
from controller.calibration.steady import Point, fitted, profile_of, told
from controller.profile import Profile, StepTimes
from store.errors import ControllerError

LIKE = Profile("like", StepTimes(1.0), token_budget=4096, sequences=64)
TRUE = np.array([0.0, 0.01, 1e-4, 2e-9, 2e-4, 3e-6, 2e-8, 0.015])


def points(burst=1.0, noise=0.0):
    random = np.random.default_rng(0)
    made = []
    for prompt in (128, 512, 2048, 8192):
        for output in (128, 1024):
            for batch in (1, 4, 16, 64):
                point = Point(prompt, output, batch, 1.0, 1.0, burst)
                ttft, tpot = told(TRUE, point, LIKE)
                one, other = random.lognormal(0, noise, 2)
                made.append(replace(point, ttft_seconds=ttft * one, tpot_seconds=tpot * other))
    return made


@pytest.mark.parametrize("burst", [1.0, 0.1])
def test_measurements_without_noise_give_the_step_back(burst):
    """Whether all began together or one followed the other."""
    values = fitted(points(burst), LIKE)
    for point in points(burst):
        assert told(values, point, LIKE) == pytest.approx(told(TRUE, point, LIKE), rel=0.02)


def test_odd_measurements_do_not_decide():
    """One of 32 a hundred times too small."""
    odd = points(noise=0.02)
    odd[20] = replace(odd[20], ttft_seconds=odd[20].ttft_seconds / 100)
    made = profile_of(odd, LIKE, "a test")
    assert made.error.median_ratio < 0.05
    assert made.error.is_validated
    assert made.error.rival_median_ratio > made.error.median_ratio
    assert all(value >= 0 for value in made.step.row())


def test_the_error_is_of_points_that_were_left_out():
    """Each level of each size once."""
    error = profile_of(points(noise=0.05), LIKE, "a test").error
    assert error.rows > len(points())
    assert 0 < error.median_ratio < 0.2
    assert "left out" in error.source


def test_few_points_are_refused():
    """Eight numbers are not found from four."""
    with pytest.raises(ControllerError, match="4 measurements are too few"):
        profile_of(points()[:4], LIKE, "a test")


def test_every_shipped_profile_says_where_it_is_from_and_how_far_off():
    """And can be simulated."""
    shipped = profiles.shipped()
    assert len(shipped) >= 8
    for name, profile in shipped.items():
        assert name == profiles.slug(profile.name)
        assert profile.source
        assert profile.licence
        assert profile.error is not None
        assert profile.error.rows >= 15
        assert profile.gpus >= 1
        assert profile.gpu_type
        assert profile.step.seconds(0, 1, 500) < 0.2
    assert {"MIT", "Apache-2.0"} <= {one.licence.split(",")[0] for one in shipped.values()}


def test_a_profile_is_found_by_name_or_file(tmp_path):
    """One's own before a shipped one."""
    mine = replace(LIKE, name="Llama2-70B, 4 x h100")
    mine.save(tmp_path / "llama2-70b-4-x-h100.json")
    assert profiles.find("llama2-70b, 4 x h100").gpus == 4
    assert profiles.find("llama2-70b-4-x-h100", tmp_path) == mine
    assert profiles.find(str(tmp_path / "llama2-70b-4-x-h100.json")) == mine
    with pytest.raises(ControllerError, match="no profile 'nobody'") as failure:
        profiles.find("nobody")
    assert "llama2-70b-4-x-h100" in failure.value.hint


def test_a_file_that_is_no_profile_is_refused(tmp_path):
    """In one line."""
    (tmp_path / "odd.json").write_text("{}", "utf-8")
    with pytest.raises(ControllerError, match="is no profile"):
        profiles.read(tmp_path)


def test_parameters_are_in_one_order():
    """The vector of a fit and the step of a profile."""
    assert set(NAMES) == {"request_seconds", *StepTimes.__dataclass_fields__}
