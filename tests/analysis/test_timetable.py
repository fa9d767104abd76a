"""When something is due: every time that is written happens once, whatever clocks do."""

from datetime import UTC, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.timetable import LEAST_APART, timetable
from store.errors import InputError

# Zones whose clocks move by an hour, by half an hour, at midnight, over a whole day, and never.
BERLIN = "Europe/Berlin"
ZONES = (
    "UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Sao_Paulo",
    "Africa/Cairo", "Pacific/Apia", "Asia/Kolkata", "Pacific/Chatham",
)  # fmt: skip
zones = st.sampled_from(ZONES)
years = st.sampled_from((2011, 2018, 2024, 2026))
minutes = st.integers(0, 24 * 60 - 1)


def fired(found, start, end):
    """All times from start to end, walked as a server walks them."""
    at, times = start, []
    while (at := found.next_after(at)) < end:
        times.append(at)
    return times


def shown_first(day, clock, zone):
    """The first minute of UTC at which the clocks of a zone have reached a time of a day.

    Found by walking minutes: nothing of it is shared with the code under test.
    """
    wanted = datetime.combine(day, clock)
    at = wanted.replace(tzinfo=UTC) - timedelta(hours=15)
    # Clocks go back by an hour at most: what is not reached four hours from now is two hours away.
    while (at + timedelta(hours=4)).astimezone(zone).replace(tzinfo=None) < wanted:
        at += timedelta(hours=1)
    while at.astimezone(zone).replace(tzinfo=None) < wanted:
        at += timedelta(minutes=1)
    return at


@settings(max_examples=12, deadline=None)
@given(zones, years, minutes)
def test_a_daily_time_happens_once_a_day_at_the_first_minute_that_clocks_reach_it(name, year, at):
    """Over a whole year: no day without, none with two, a missing time at the next minute."""
    zone, clock = ZoneInfo(name), time(at // 60, at % 60)
    found = timetable(f"daily {clock:%H:%M}", name)
    start = datetime(year, 1, 2, tzinfo=UTC)
    times = fired(found, start, datetime(year, 12, 30, tzinfo=UTC))
    days = {one.astimezone(zone).date() for one in times}
    expected = {
        shown_first(start.date() + timedelta(days=number), clock, zone) for number in range(1, 361)
    }
    assert {one for one in expected if times[0] <= one <= times[-1]} <= set(times)
    assert set(times[2:-4]) <= expected
    skipped = 1 if (name, year) == ("Pacific/Apia", 2011) else 0  # 30 December was left out
    assert len(days) >= len(times) - skipped


@settings(max_examples=40, deadline=None)
@given(
    zones,
    st.sampled_from(["hourly", "weekly tue 02:30", "monthly 29 00:15", "*/20 1-3 * * *"]),
    st.datetimes(datetime(2011, 1, 1), datetime(2030, 1, 1)),
)
def test_looking_back_finds_what_looking_ahead_found(name, text, at):
    """The newest time until an instant is the last one that a walk forward passes."""
    found = timetable(text, name)
    at = at.replace(tzinfo=UTC)
    following = found.next_after(at)
    assert following > at
    assert found.newest_until(following) == following
    assert found.before(following) <= at
    assert found.next_after(found.before(following)) == following


@pytest.mark.parametrize(
    ("text", "zone", "at", "expected"),
    [
        # 02:30 does not exist on 29 March: 03:00 in summer time.
        ("daily 02:30", BERLIN, "2026-03-28T12:00", ["2026-03-29T01:00", "2026-03-30T00:30"]),
        # 02:30 is there twice on 25 October: the first one alone.
        ("daily 02:30", BERLIN, "2026-10-24T12:00", ["2026-10-25T00:30", "2026-10-26T01:30"]),
        # Several that are left out are one.
        ("*/30 2-3 * * *", BERLIN, "2026-03-28T12:00", ["2026-03-29T01:00", "2026-03-29T01:30"]),
        ("weekly mon 08:00", "Asia/Kolkata", "2026-11-15T00:00", ["2026-11-16T02:30"]),
        ("monthly 31 08:00", "UTC", "2026-03-31T08:00", ["2026-05-31T08:00"]),
        ("0 8 1 * mon", "UTC", "2026-11-28T00:00", ["2026-11-30T08:00", "2026-12-01T08:00"]),
    ],
)  # fmt: skip
def test_times_of_the_wall_become_instants(text, zone, at, expected):
    """What people write, and when that is in UTC."""
    found, now = timetable(text, zone), datetime.fromisoformat(f"{at}+00:00")
    times = []
    for _ in expected:
        now = found.next_after(now)
        times.append(f"{now:%Y-%m-%dT%H:%M}")
    assert times == expected


@pytest.mark.parametrize(
    "text",
    ["", "sometimes", "@daily", "* * * * *", "H 8 * * *", "0 8 30 2 *", "0 8 * * * *",
     "daily 25:00", "weekly xyz 08:00", "weekly 08:00", "0 8 * * 1 2026", "x" * 500],
)  # fmt: skip
def test_what_never_comes_or_comes_too_often_is_refused(text):
    """With a hint that shows how to write it."""
    with pytest.raises(InputError) as told:
        timetable(text, "UTC")
    assert told.value.hint


def test_a_zone_that_does_not_exist_is_refused():
    """Also one that would be a path."""
    for name in ("Mars/Olympus", "../etc/passwd", ""):
        with pytest.raises(InputError, match="time zone"):
            timetable("hourly", name)


def test_two_times_are_never_closer_than_is_allowed():
    """Every five minutes is as often as it gets."""
    found = timetable("*/5 * * * *", "UTC")
    times = fired(found, datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, 1, tzinfo=UTC))
    assert min(b - a for a, b in pairwise(times)) == LEAST_APART
