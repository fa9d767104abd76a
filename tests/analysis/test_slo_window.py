"""Calendar windows of objectives: where they begin and end, and what their budget means."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis import slo_ahead, slo_frames
from analysis.alerts.rules_slo import judged
from analysis.burn import budget_left_ratio, default_alerts, exhausted_at
from analysis.slo import SloStatus, status_of
from analysis.slo_counts import Counted
from analysis.slo_model import NOMINAL_SECONDS, Calendar, Slo
from analysis.slo_views import slo_detail, slo_list
from analysis.slo_window import period_of, window_of
from store.queries.scope import Scope

DAY = 86_400.0
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe",
         "America/St_Johns", "Africa/Cairo", "America/Havana", "Pacific/Apia")  # fmt: skip
MOMENTS = st.datetimes(datetime(1990, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC))
CALENDARS = st.builds(Calendar, st.sampled_from(list(NOMINAL_SECONDS)), st.sampled_from(ZONES))
# 19 d 9 h of 30 d: 64.6 % of November are over.
NOW = datetime(2026, 11, 20, 9, tzinfo=UTC)


def monthly(unit="month", zone="UTC", **fields) -> Slo:
    usual = {"name": "a", "kind": "availability", "target_ratio": 0.99,
             "window_seconds": NOMINAL_SECONDS[unit], "calendar": Calendar(unit, zone),
             "alerts": default_alerts(NOMINAL_SECONDS[unit])}  # fmt: skip
    return Slo(**(usual | fields))


def counted(attempted, bad, *, end=NOW, recent_bad=0.0, recent=0.0, ago=2000) -> Counted:
    """So many requests a week (or `ago` bins) before the end, and so many in its last bin."""
    names = ("bin", "attempted", "good_low")
    rows = [(0, recent, recent - recent_bad), (ago, attempted, attempted - bad)]
    bins = pl.DataFrame(rows, schema=names, orient="row").select(
        "bin", "good_low", pl.col("good_low").alias("good_high"), "attempted",
        pl.lit(0.0).alias("undetermined"), pl.col("attempted").alias("measured"),
    )  # fmt: skip
    bins = bins.with_columns(pl.exclude("bin").cast(pl.Float64))
    return Counted(bins, 300, end, period=bins)


@given(CALENDARS, MOMENTS)
def test_every_moment_lies_in_one_period_and_periods_leave_no_gap(calendar, at):
    """Whatever the clocks of a place did, its periods are one after the other from midnight on."""
    start, end = period_of(calendar, at)
    assert start < at <= end
    assert period_of(calendar, start)[1] == start
    assert period_of(calendar, end + timedelta(microseconds=1))[0] == end
    assert period_of(calendar, end) == (start, end)
    zone = ZoneInfo(calendar.zone)
    # A midnight that a place left out is told as the hour that it put its clocks forward to.
    assert start.astimezone(zone).replace(tzinfo=None).time().hour <= 1
    limits = {"day": (23, 25), "week": (6 * 24 - 1, 7 * 24 + 1), "month": (27 * 24, 31 * 24 + 1),
              "quarter": (89 * 24, 92 * 24 + 1)}  # fmt: skip
    low, high = limits[calendar.unit]
    assert low <= (end - start).total_seconds() / 3600 <= high


@pytest.mark.parametrize(
    ("unit", "zone", "at", "start", "end", "hours"),
    [
        ("day", "Europe/Berlin", "2026-03-29T12:00", "2026-03-28T23:00", "2026-03-29T22:00", 23),
        ("day", "Europe/Berlin", "2026-10-25T12:00", "2026-10-24T22:00", "2026-10-25T23:00", 25),
        ("week", "Europe/Berlin", "2026-03-29T12:00", "2026-03-22T23:00", "2026-03-29T22:00", 167),
        ("month", "UTC", "2028-02-29T12:00", "2028-02-01T00:00", "2028-03-01T00:00", 29 * 24),
        ("month", "UTC", "2026-12-31T23:59", "2026-12-01T00:00", "2027-01-01T00:00", 31 * 24),
        ("month", "Asia/Kathmandu", "2026-03-01T12:00", "2026-02-28T18:15", "2026-03-31T18:15",
         31 * 24),
        ("quarter", "UTC", "2026-12-31T12:00", "2026-10-01T00:00", "2027-01-01T00:00", 92 * 24),
        # The end of a period is of the period that ends.
        ("month", "UTC", "2026-12-01T00:00", "2026-11-01T00:00", "2026-12-01T00:00", 30 * 24),
    ],
)  # fmt: skip
def test_periods_of_the_calendar(unit, zone, at, start, end, hours):
    """Lengths of months, leap days, and days in which clocks change."""
    moments = [datetime.fromisoformat(text).replace(tzinfo=UTC) for text in (at, start, end)]
    found = period_of(Calendar(unit, zone), moments[0])
    assert found == (moments[1], moments[2])
    assert (found[1] - found[0]) == timedelta(hours=hours)


@given(st.floats(1, 1e6), st.floats(0, 1), st.floats(0.5, 0.9999), st.floats(1e-6, 1))
def test_a_budget_is_the_same_at_the_end_and_never_lower_before(attempted, bad, target, elapsed):
    """The part of the period that is to come can only make room; at its end none is left."""
    whole = budget_left_ratio(bad * attempted, attempted, target)
    part = budget_left_ratio(bad * attempted, attempted, target, elapsed)
    assert part >= whole
    assert budget_left_ratio(bad * attempted, attempted, target, 1.0) == whole
    assert part == pytest.approx(1 - bad / (1 - target) * elapsed, abs=1e-9)


@given(st.floats(0.01, 1), st.floats(0.01, 50), st.floats(60, 20 * DAY))
def test_a_budget_is_gone_before_the_reset_or_lasts(left, burn, ahead):
    """Nothing is said to be gone after it was made whole; a slow burn empties it as well."""
    gone = exhausted_at(left, burn, 30 * DAY, NOW, NOW + timedelta(seconds=ahead))
    seconds = left * 30 * DAY / burn
    if seconds < ahead:
        assert (gone - NOW).total_seconds() == pytest.approx(seconds, abs=1e-3)
    else:
        assert gone is None
    assert exhausted_at(left, 0.0, 30 * DAY, NOW, NOW + timedelta(days=40)) is None


def test_one_bad_request_of_the_first_does_not_empty_a_month():
    """Ten minutes into the month one in fifty is bad: undecided, and the budget nearly whole."""
    early = datetime(2026, 11, 1, 0, 10, tzinfo=UTC)
    told = status_of(monthly(), counted(0, 0, end=early, recent=50, recent_bad=1))
    assert told.budget_left_ratio == pytest.approx(1 - 2 * 10 / (30 * 24 * 60))
    assert (told.status, told.met) == ("too few events", None)
    rolling = status_of(monthly(calendar=None), counted(0, 0, end=early, recent=50, recent_bad=1))
    assert rolling.budget_left_ratio == pytest.approx(-1)


def test_a_month_is_judged_against_its_whole_budget_and_says_what_is_left_of_it():
    """Target missed so far, budget not gone: to be watched, with the time it must last."""
    told = status_of(monthly(), counted(64_600, 800))
    share = window_of(monthly(), NOW).elapsed_ratio
    assert share == pytest.approx(19.375 / 30)
    assert told.budget_left_ratio == pytest.approx(1 - 800 / 646 * share)
    assert (told.status, told.met) == ("watch", False)
    assert told.why == (
        "it goes faster than its period allows; 20 % of the month's budget is left, 10.6 d before"
        " it is whole again"
    )
    assert told.expected == pytest.approx(64_600 / share)
    gone = status_of(monthly(), counted(64_600, 1_200))
    assert gone.status == "exhausted"
    assert gone.why == ("120 % of the month's budget is spent, 10.6 d before it is whole again")
    assert gone.exhausted_at == NOW - timedelta(seconds=2000 * 300)
    calm = status_of(monthly(), counted(64_600, 100))
    assert (calm.status, calm.met) == ("healthy", True)


def projection(told: SloStatus):
    course = pl.DataFrame({"at": [NOW.replace(tzinfo=None)], "budget_left_ratio": [0.5]})
    return slo_ahead.projected(course, told, NOW)["projected_ratio"].to_list()


def test_the_projection_ends_at_the_reset_with_what_is_left_over():
    """A burn of one for the 35.4 % of the month to come takes as much of its budget."""
    slow = status_of(monthly(), counted(60_000, 100, recent=1000, recent_bad=10))
    assert slow.exhausted_at is None
    assert slow.pace == pytest.approx(1.0)
    left = slow.budget_left_ratio - slow.pace * (1 - 19.375 / 30)
    assert projection(slow) == [slow.budget_left_ratio, pytest.approx(left)]
    fast = status_of(monthly(), counted(60_000, 100, recent=1000, recent_bad=400))
    assert NOW < fast.exhausted_at < window_of(monthly(), NOW).resets_at
    assert projection(fast) == [fast.budget_left_ratio, 0.0]
    assert projection(status_of(monthly(), counted(0, 0, recent=1000))) == [None]


def test_the_course_begins_with_the_period_and_ends_with_what_is_left():
    """The last point is the number of the tile; the first bin may be a part of one."""
    slo = monthly("day", "Asia/Kathmandu")
    made = counted(500, 10, recent=500, recent_bad=5, ago=20)
    course = slo_frames.budget(slo, made)
    told = status_of(slo, made)
    assert course["budget_left_ratio"][-1] == pytest.approx(told.budget_left_ratio)
    start = window_of(slo, NOW).start.replace(tzinfo=None)
    assert start < course["at"][0] <= start + timedelta(seconds=2 * 300)


def test_alerts_of_a_calendar_objective_look_back_over_sliding_time():
    """A minute after the reset the last hour is as bad as it was: the page goes on."""
    reset = datetime(2026, 12, 1, 0, 1, tzinfo=UTC)
    made = counted(1000, 500, end=reset, recent=1000, recent_bad=500, ago=6)
    empty = made.period.clear()
    now = Counted(made.bins, 300, reset, period=empty)
    told = judged(monthly(), now, "page")
    assert told.active
    assert "the whole budget of a calendar month lasts" in told.summary
    assert status_of(monthly(), now).why == "no request in the month so far"


def test_a_range_that_is_a_month_is_judged_as_that_month(database, add_requests):
    """List and detail of a calendar day that is over are those of its 24 hours, rolling."""
    midnight = datetime(2026, 3, 1, tzinfo=UTC)
    # Some after it, some in the day before.
    add_requests(
        [max(1.0, 700.0 * i - 16_800) for i in range(300)], status=["ok"] * 270 + ["failed"] * 30
    )
    scope = Scope((1,), midnight - timedelta(hours=2), midnight)
    slos = (monthly("day", name="calendar"), monthly("day", name="rolling", calendar=None))
    listed = slo_list(database.reader, scope, slos=slos).frames["slos"]
    by_name = {row["name"]: row for row in listed.iter_rows(named=True)}
    same = ("attempted", "bad", "budget_left_ratio", "attainment_ratio", "burn_6h", "status")
    assert [by_name["calendar"][key] for key in same] == [by_name["rolling"][key] for key in same]
    row = by_name["calendar"]
    assert row["window"] == "the calendar day (UTC)"
    assert (row["window_start_at"], row["resets_at"]) == (
        datetime(2026, 2, 28),
        datetime(2026, 3, 1),
    )
    assert row["expected"] == row["attempted"] > 0
    assert (by_name["rolling"]["resets_at"], by_name["rolling"]["expected"]) == (None, None)
    told = slo_detail(database.reader, scope, slos=slos, slo="calendar").sentences
    assert "28 Feb 2026 00:00 UTC to 1 Mar 2026 00:00 UTC, which is over" in " ".join(told)
