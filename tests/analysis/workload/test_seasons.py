"""The day and the week."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.workload import seasons
from analysis.workload.arrivals import MICROSECONDS

HOUR = 3600 * MICROSECONDS


def _waves(days, amplitude, peak_hour):
    """Requests at a rate of one in ten seconds that swings once a day."""
    seconds = np.arange(0, days * 86_400, 10.0)
    angle = 2 * np.pi * (seconds / 3600 - peak_hour - 0.5) / 24
    repeats = np.rint(10 * (1 + amplitude * np.cos(angle))).astype(int)
    return np.sort((np.repeat(seconds, repeats) * MICROSECONDS).astype(np.int64))


def test_a_daily_swing_is_measured():
    """Amplitude 0.8 with its peak at 14 h comes back, and explains nearly everything."""
    stamps = _waves(4, 0.8, 14)
    rhythm = seasons.daily_rhythm(seasons.hourly(stamps))
    assert rhythm.peak_hour == 14
    assert rhythm.peak_to_mean_ratio == pytest.approx(1.8, abs=0.05)
    assert rhythm.explained_ratio > 0.95


def test_less_than_two_days_gives_no_rhythm():
    """One swing is not yet a rhythm."""
    stamps = _waves(1, 0.8, 14)
    assert seasons.daily_rhythm(seasons.hourly(stamps)) is None


def test_hours_without_a_request_are_zero_not_missing():
    """A silent hour inside the record counts in the mean of its hour of day."""
    rates = seasons.hourly(np.array([0, HOUR // 2, 3 * HOUR]))
    assert rates.requests.tolist() == [2, 0, 0, 1]


def test_weekdays_need_a_calendar():
    """1970-01-01 was a Thursday; for a relative clock it is day 0 of the trace."""
    rates = seasons.hourly(np.arange(0, 3 * HOUR, MICROSECONDS))
    assert set(seasons.weekly_frame(rates, calendar=True)["weekday"]) == {3}
    assert set(seasons.weekly_frame(rates, calendar=False)["weekday"]) == {0}


def test_hours_are_divided_by_what_the_record_covers():
    """A record of an hour and a half at one request a second reads 1 in both hours."""
    rates = seasons.hourly(np.arange(0, 90 * 60 * MICROSECONDS, MICROSECONDS))
    assert seasons.diurnal_frame(rates)["requests_per_second"].to_list() == [
        pytest.approx(1, abs=0.01),
        pytest.approx(1, abs=0.01),
    ]


def test_nothing_in_gives_nothing_out():
    """No arrivals: empty frames with their columns."""
    rates = seasons.hourly(np.empty(0, dtype=np.int64))
    assert seasons.weekly_frame(rates, calendar=True).schema == seasons.WEEKLY_SCHEMA
    assert seasons.diurnal_frame(rates).schema == seasons.DIURNAL_SCHEMA
