"""How much of a period there are records of, and what may be asked of a trace."""

from datetime import UTC, datetime

from analysis.reports import coverage, periods
from analysis.reports.asking import Asking

WEEK = periods.read("weekly", "2026-W04", "UTC")


def source(first, last, kind="trace"):
    return {"name": "a", "kind": kind, "first_at": first, "last_at": last}


def asking(*sources):
    return Asking(lambda *_: {}, WEEK, periods.before(WEEK), {"model": "m"}, sources, frozenset())


def test_sources_are_cut_at_the_ends_of_the_period():
    first, last = coverage.within(
        [source("2026-01-01T00:00:00Z", "2026-01-20T00:00:00Z"), source(None, None)], WEEK
    )
    assert (first, last) == (WEEK.start, datetime(2026, 1, 20, tzinfo=UTC))


def test_a_whole_period_needs_no_words():
    assert coverage.words(WEEK.start, WEEK.end, WEEK) is None
    assert coverage.words(None, None, WEEK) is None
    assert "of this period (14.3 %)" in coverage.words(
        WEEK.start, datetime(2026, 1, 20, tzinfo=UTC), WEEK
    )


def test_of_a_trace_the_part_with_records_is_asked_for_and_of_a_fleet_the_whole_period():
    told = ("2026-01-20T10:00:00Z", "2026-01-20T11:00:00Z")
    assert asking(source(*told)).range_of(WEEK) == {
        "from": "2026-01-20T10:00:00Z", "to": "2026-01-20T11:00:00.000001Z",
    }  # fmt: skip
    assert asking(source(*told, "live")).range_of(WEEK) == {
        "from": "2026-01-19T00:00:00Z", "to": "2026-01-26T00:00:00Z",
    }  # fmt: skip


def test_nothing_is_compared_with_a_period_that_is_hardly_known():
    hardly = asking(source("2026-01-17T00:00:00Z", "2026-01-26T00:00:00Z"))
    assert not hardly.has_before
    assert hardly.prior("fleet") is None
    assert "only 28.6 % of the period before" in hardly.why_no_before
    mostly = asking(source("2026-01-13T00:00:00Z", "2026-01-26T00:00:00Z"))
    assert mostly.has_before
    assert mostly.prior("fleet") == {}
