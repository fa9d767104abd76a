"""Calendar periods: what people write is what they get, whatever clocks do."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.reports import periods
from store.errors import InputError

ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", periods.TRACE_TIME)


@pytest.mark.parametrize(
    ("week", "hours"), [("2026-W13", 167), ("2026-W43", 169), ("2026-W30", 168)]
)
def test_weeks_in_which_clocks_change_are_as_long_as_they_are(week, hours):
    assert periods.read("weekly", week, "Europe/Berlin").seconds == hours * 3600


def test_a_week_begins_on_monday_at_local_midnight():
    period = periods.read("weekly", "2026-W46", "America/New_York")
    assert period.start == datetime(2026, 11, 9, 5, tzinfo=UTC)
    assert period.end == datetime(2026, 11, 16, 5, tzinfo=UTC)
    assert period.words == "week 46 of 2026, 9 Nov to 15 Nov 2026"


def test_the_last_complete_period_is_over_and_the_next_is_not():
    now = datetime(2026, 11, 16, 4, 30, tzinfo=UTC)  # still Sunday in New York, Monday in UTC
    assert periods.last_complete("weekly", now, "America/New_York").key == "2026-W45"
    assert periods.last_complete("weekly", now, "UTC").key == "2026-W46"
    assert periods.last_complete("monthly", now, "UTC").key == "2026-10"
    assert periods.last_complete("daily", now, "UTC").key == "2026-11-15"


def test_a_day_names_the_week_and_the_month_that_hold_it():
    assert periods.read("weekly", "2027-01-01", "UTC").key == "2026-W53"
    assert periods.read("monthly", "2026-02-11", "UTC").key == "2026-02"


@given(
    st.sampled_from(["daily", "weekly", "monthly"]),
    st.dates(date(1971, 1, 1), date(2100, 1, 1)),
    st.sampled_from(ZONES),
)
def test_a_key_names_its_period_and_periods_follow_each_other(kind, day, zone):
    period = periods.calendar(kind, day, zone)
    assert periods.read(kind, period.key, zone) == period
    assert periods.before(period).end == period.start
    place = periods.zone_named(zone)
    assert period.start <= datetime(day.year, day.month, day.day, 12, tzinfo=place) < period.end


def test_a_relative_trace_counts_from_its_zero():
    period = periods.calendar("weekly", date(1970, 1, 9), periods.TRACE_TIME)
    assert (period.key, period.words) == ("week-2", "week 2 of the trace")
    assert period.start == datetime(1970, 1, 8, tzinfo=UTC)
    assert period.end - period.start == timedelta(days=7)


def test_an_incident_is_compared_with_as_much_time_before():
    start = datetime(2026, 11, 20, 14, tzinfo=UTC)
    found = periods.incident(start, start + timedelta(minutes=90), "Europe/Berlin")
    assert found.words == "20 Nov 2026 15:00 to 16:30"
    assert found.key == "2026-11-20T1500_2026-11-20T1630"
    assert periods.before(found).start == start - timedelta(minutes=90)


@pytest.mark.parametrize(
    ("kind", "text"),
    [("weekly", "2026-46"), ("weekly", "2026-W60"), ("daily", "2026-02-30"), ("monthly", "2026-13"),
     ("daily", "yesterday"), ("incident", "2026-11-20"), ("daily", "2026-W46")],
)  # fmt: skip
def test_what_is_no_period_is_refused_with_an_example(kind, text):
    with pytest.raises(InputError) as caught:
        periods.read(kind, text, "UTC")
    assert "write" in caught.value.hint or "--from" in caught.value.hint


def test_a_zone_that_there_is_not_is_refused():
    with pytest.raises(InputError, match="no time zone is called 'Mars/Olympus'"):
        periods.read("daily", "2026-11-20", "Mars/Olympus")
