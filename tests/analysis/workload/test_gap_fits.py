"""Fits of gaps: shapes recovered, distances right, refusals given."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from analysis.workload.arrivals import ClockCheck
from analysis.workload.gap_fits import FAMILIES, fit_gaps, fits_frame, ks_distance

FINE = ClockCheck(1e-6, 100, 0.0, 1.0, quantised=False)


def _fits(gaps):
    return {fit.family: fit for fit in fit_gaps(gaps, FINE)}


@pytest.mark.parametrize("shape", [0.2, 0.9, 4.0])
def test_a_gamma_sample_gives_its_shape_back(random, shape):
    """Shape and scale agree with the truth, and with scipy's own fit."""
    gaps = random.gamma(shape, 3.0, 20_000)
    fit = _fits(gaps)["gamma"]
    assert fit.shape == pytest.approx(shape, rel=0.05)
    assert fit.accepted
    theirs, _, scale = stats.gamma.fit(gaps, floc=0)
    assert (fit.shape, fit.scale_seconds) == pytest.approx((theirs, scale), rel=1e-3)
    assert fit.log_likelihood == pytest.approx(
        stats.gamma.logpdf(gaps, fit.shape, 0, fit.scale_seconds).sum(), rel=1e-9
    )


@pytest.mark.parametrize("shape", [0.4, 1.0, 2.5])
def test_a_weibull_sample_gives_its_shape_back(random, shape):
    """Shape and scale agree with the truth, and with scipy's own fit."""
    gaps = 0.5 * random.weibull(shape, 20_000)
    fit = _fits(gaps)["weibull"]
    assert fit.shape == pytest.approx(shape, rel=0.05)
    theirs, _, scale = stats.weibull_min.fit(gaps, floc=0)
    assert (fit.shape, fit.scale_seconds) == pytest.approx((theirs, scale), rel=1e-3)
    assert fit.log_likelihood == pytest.approx(
        stats.weibull_min.logpdf(gaps, fit.shape, 0, fit.scale_seconds).sum(), rel=1e-9
    )


def test_the_distance_is_that_of_scipy(random):
    """Bounded Kolmogorov-Smirnov equals the plain one."""
    gaps = random.exponential(2.0, 3000)
    fit = _fits(gaps)["exponential"]
    assert fit.ks_distance == pytest.approx(stats.kstest(gaps, "expon", (0, gaps.mean())).statistic)


@pytest.mark.parametrize("size", [1, 2, 32, 33, 1000])
def test_the_distance_is_that_of_every_value(random, size):
    """Stretches that are left out never hold the largest distance."""
    ordered = np.sort(random.random(size))
    # A model with steps of its own, which is apart from the sample in a few places only.
    model = np.round(ordered, 1) * 0.9 + ordered * 0.1
    place = np.arange(size)
    expected = max(np.max(model - place / size), np.max((place + 1) / size - model))
    found = ks_distance(ordered, lambda x: np.round(x, 1) * 0.9 + x * 0.1)
    assert found == pytest.approx(expected)


def test_a_family_that_does_not_fit_is_refused_with_the_number(random):
    """Two lumps of gaps fit nothing; the reason says by how much."""
    gaps = np.concatenate((random.normal(1, 0.01, 500), random.normal(100, 0.1, 500)))
    for fit in fit_gaps(gaps, FINE):
        assert not fit.accepted
        assert f"{fit.ks_distance:.3f}" in fit.why


def test_a_quantised_clock_refuses_every_fit(random):
    """Nothing is fitted, and every family says why."""
    clock = ClockCheck(
        3.0, 100, 0.9, 3.0, quantised=True, lumped=True, why="the clock is quantised"
    )
    fits = fit_gaps(random.exponential(1, 1000), clock)
    assert [fit.family for fit in fits] == list(FAMILIES)
    assert all(fit.shape is None and not fit.accepted for fit in fits)
    assert {fit.why for fit in fits} == {"the clock is quantised"}


def test_zero_gaps_are_left_out_and_counted(random):
    """Under a fine clock a few zeros do not stop the fit, and are not hidden."""
    gaps = np.concatenate((random.gamma(2, 1, 5000), np.zeros(7)))
    fit = _fits(gaps)["gamma"]
    assert fit.accepted
    assert "7 gaps of zero" in fit.why


@pytest.mark.parametrize("gaps", [np.empty(0), np.ones(5), np.full(1000, 2.0)])
def test_too_few_or_equal_gaps_are_not_fitted(gaps):
    """No fit without a sample that has a spread."""
    fits = fit_gaps(gaps, FINE)
    assert all(fit.ks_distance is None and fit.why for fit in fits)
    assert fits_frame(fits).height == len(FAMILIES)
