"""Gaps, dispersion, peaks and rates of streams with known answers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.workload import arrivals, gaps
from analysis.workload.dispersion import count_seconds, dispersions
from analysis.workload.rate_bins import rate_bins, second_cells

SECOND = arrivals.MICROSECONDS


def _stamps(seconds):
    return np.rint(np.asarray(seconds) * SECOND).astype(np.int64)


def _poisson(random, rate, size):
    return _stamps(np.cumsum(random.exponential(1 / rate, size)))


def _dispersion(stamps, window):
    return dispersions(count_seconds(stamps), (window,))[window]


def _rate(stamps, bin_seconds):
    return rate_bins(second_cells(count_seconds(stamps, origin_us=0)), bin_seconds)


def _clock(stamps):
    return gaps.check_clock(gaps.measure(stamps), stamps)


def test_poisson_arrivals_have_variation_and_dispersion_near_one(random):
    """A Poisson stream reads as 1 on both scales, at every window length."""
    stamps = _poisson(random, 20, 100_000)
    assert gaps.measure(stamps).variation == pytest.approx(1, abs=0.02)
    for window in (1, 10):
        assert _dispersion(stamps, window).index == pytest.approx(1, abs=0.1)


def test_a_steady_beat_has_no_variation():
    """Arrivals every half second vary by nothing and fill every window alike."""
    stamps = _stamps(np.arange(0, 100, 0.5))
    assert gaps.measure(stamps).variation == pytest.approx(0)
    counted = _dispersion(stamps, 10)
    assert counted.index == pytest.approx(0)
    assert (counted.windows, counted.peak_requests, counted.peak_to_mean_ratio) == (9, 20, 1)


def test_dispersion_drops_the_part_filled_last_window():
    """Counts 2 and 4 in two full windows; the single request after them is left out."""
    stamps = _stamps([0, 5, 10, 11, 12, 13, 20.5])
    assert _dispersion(stamps, 10).index == pytest.approx(2 / 3)
    assert _dispersion(stamps, 10).index_with_last_window == pytest.approx(
        np.var([2, 4, 1]) / np.mean([2, 4, 1])
    )


def test_empty_windows_count():
    """A silence in the middle is windows of zero, not missing windows."""
    stamps = _stamps([0, 0.1, 30.05])
    counted = _dispersion(stamps, 10)
    assert counted.windows == 3
    assert counted.index == pytest.approx(np.var([2, 0, 0], ddof=1) / np.mean([2, 0, 0]))


@given(st.lists(st.integers(0, 200_000_000), min_size=2, max_size=80), st.sampled_from([1, 7, 60]))
def test_dispersion_equals_counting_every_window(stamps, window):
    """The index over occupied windows is that of a plain histogram of all full windows."""
    ordered = np.sort(np.asarray(stamps, dtype=np.int64))
    full = (int(ordered[-1]) - int(ordered[0])) // (window * SECOND)
    counts = np.bincount((ordered - ordered[0]) // (window * SECOND), minlength=full)[:full]
    found = _dispersion(ordered, window)
    assert found.windows == full
    if full >= 2:
        assert found.index == pytest.approx(counts.var(ddof=1) / counts.mean())
        assert found.peak_requests == counts.max()


@given(st.lists(st.integers(0, 200_000_000), min_size=2, max_size=80), st.sampled_from([1, 7, 60]))
def test_windows_of_the_clock_are_counted_between_first_and_last_arrival(stamps, window):
    """A window that begins before the first arrival is left out, like one that ends after all."""
    ordered = np.sort(np.asarray(stamps, dtype=np.int64))
    width = window * SECOND
    low, high = -(-int(ordered[0]) // width), int(ordered[-1]) // width
    places = ordered // width
    counts = np.bincount(
        places[(places >= low) & (places < high)] - low, minlength=max(0, high - low)
    )
    found = dispersions(count_seconds(ordered, origin_us=0), (window,))[window]
    assert found.windows == counts.size
    assert found.peak_requests == (counts.max() if counts.sum() else None)
    if counts.size >= 2 and counts.sum():
        assert found.index == pytest.approx(counts.var(ddof=1) / counts.mean())


@pytest.mark.parametrize("size", [0, 1])
def test_too_few_arrivals_are_unknown_not_zero(size):
    """Nothing can be said of gaps that are not there."""
    stamps = _stamps(np.arange(size))
    assert gaps.measure(stamps).variation is None
    assert _dispersion(stamps, 1).index is None
    assert _dispersion(stamps, 1).index_with_last_window is None
    assert arrivals.interarrival_ecdf(arrivals.gaps_seconds(stamps)).is_empty()
    assert not _clock(stamps).quantised


def test_a_fine_clock_is_trusted(random):
    """Microsecond stamps of a Poisson stream are not called quantised."""
    clock = _clock(_poisson(random, 5, 5000))
    assert not clock.quantised
    assert clock.resolution_seconds == pytest.approx(1e-6)


def test_lumps_are_seen_as_a_quantised_clock(random):
    """Requests gathered every three seconds have zero gaps and a measured grid."""
    stamps = np.sort(random.integers(0, 500, 5000)) * 3 * SECOND
    clock = _clock(stamps)
    assert clock.quantised
    assert clock.lumped
    assert clock.resolution_seconds == 3
    assert clock.lump_seconds == 3
    assert "grid" in clock.why


def test_whole_seconds_against_short_gaps_are_quantised(random):
    """A 1-s grid says nothing of gaps with a mean of two seconds, even without a single zero."""
    stamps = np.cumsum(random.integers(1, 4, 3000)) * SECOND
    clock = _clock(stamps)
    assert clock.zero_gap_ratio == 0
    assert clock.quantised
    assert not clock.lumped
    assert clock.lump_seconds == 1


def test_whole_seconds_against_long_gaps_are_fine(random):
    """The same grid is fine where requests come once in five minutes."""
    stamps = np.cumsum(np.rint(random.exponential(300, 2000)).astype(np.int64) + 1) * SECOND
    assert not _clock(stamps).quantised


def test_a_steady_beat_is_not_a_coarse_clock():
    """Equal gaps are what a load generator sends; their variation is known to be zero."""
    clock = _clock(_stamps(np.arange(0, 100, 0.5)))
    assert not clock.quantised
    assert clock.resolution_seconds == 0.5


def test_one_stamp_for_all_is_quantised():
    """A trace whose requests carry the same time has no gaps to speak of."""
    clock = _clock(_stamps([5, 5, 5]))
    assert clock.quantised
    assert clock.resolution_seconds is None


def test_the_curve_of_gaps_is_exact_at_each_point(random):
    """Every point of the empirical curve is the true share of gaps up to it."""
    gaps = random.gamma(0.5, 2, 5000)
    frame = arrivals.interarrival_ecdf(gaps)
    assert frame.height <= 200
    for gap, ratio in frame.select("gap_seconds", "cdf_ratio").rows()[::20]:
        assert ratio == pytest.approx(np.mean(gaps <= gap))
    assert frame["cdf_ratio"][-1] == 1


def test_rates_divide_the_edges_by_what_the_record_covers():
    """A record that starts in the middle of a bin is not shown as half its rate."""
    stamps = _stamps(np.arange(5, 25, 0.5))
    frame = _rate(stamps, 10)
    assert frame["requests_per_second"].to_list()[:2] == [pytest.approx(2), pytest.approx(2)]
    assert frame["low_per_second"].to_list() == [2, 2, 2]
    assert frame["high_per_second"].to_list() == [2, 2, 2]


def test_a_silent_bin_is_zero_and_its_band_too():
    """Between two arrivals a bin without requests had none, which is known."""
    frame = _rate(_stamps([0, 1, 2, 35, 36]), 10)
    assert frame["requests_per_second"].to_list()[1:3] == [0, 0]
    assert frame["high_per_second"].to_list()[1] == 0
    assert frame["low_per_second"][0] == 0


def test_unsorted_stamps_are_sorted_and_sorted_ones_left_alone():
    """Order in the file does not matter."""
    stamps = _stamps([3, 1, 2])
    assert arrivals.sorted_stamps(stamps).tolist() == _stamps([1, 2, 3]).tolist()
    ordered = _stamps([1, 2, 3])
    assert arrivals.sorted_stamps(ordered) is ordered


def test_thinning_keeps_the_distribution_and_says_its_step(random):
    """Every fourth of 25 gaps for at most ten; all of them when there are few."""
    stamps = _poisson(random, 5, 26)
    every = arrivals.gaps_seconds(stamps)
    thin = gaps.measure(stamps, most=10)
    assert (thin.step, thin.sample.tolist()) == (4, sorted(every[3::4].tolist()))
    assert gaps.measure(stamps).sample.tolist() == sorted(every.tolist())
    assert gaps.measure(_stamps([])).sample.size == 0


def test_long_streams_are_measured_as_if_in_one_piece(random):
    """What is looked at a stretch at a time loses no gap and no second at the seams."""
    stamps = _poisson(random, 300, 2 * arrivals.STRETCH + 17)
    every = np.diff(stamps)
    found = gaps.measure(stamps)
    assert found.variation == pytest.approx(every.std() / every.mean())
    assert found.largest_seconds == pytest.approx(every.max() / SECOND)
    assert found.largest_after_us == stamps[every.argmax()]
    assert found.distinct_stamps == np.unique(stamps).size
    for origin in (0, int(stamps[0])):
        seconds, counts = np.unique((stamps - origin) // SECOND, return_counts=True)
        counted = count_seconds(stamps, origin_us=origin)
        assert np.array_equal(counted.seconds, seconds)
        assert np.array_equal(counted.counts, counts)
