"""Numbers as people read them."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.measure import Measure
from dashboard.row_counts import rows_told
from dashboard.text import heading, interval_text, number_text, shown, split_unit, when, zone_of
from store.errors import InputError

UTC = ZoneInfo("UTC")


@pytest.mark.parametrize(
    ("drawn", "held", "total", "said"),
    [
        (3, 3, None, ""),
        (3, 3, 3, ""),
        (25, 300, None, "25 of 300 rows; the CSV has all."),
        (25, 300, 300, "25 of 300 rows; the CSV has all."),
        (25, 1000, 41_233,
         "25 of 41,233 rows; the CSV has the first 1,000, a shorter range shows the others."),
        (60, 60, 75, "60 of 75 rows; so has the CSV, a shorter range shows the others."),
    ],
)  # fmt: skip
def test_the_csv_is_said_to_have_all_only_where_it_has(drawn, held, total, said):
    """A view may hold the first rows only: then so does its CSV."""
    assert rows_told(drawn, held, total) == said


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (5.53, "5.53"),
        (67.0, "67"),
        (28_185, "28.2k"),
        (1_429_737, "1.43M"),
        (9120, "9,120"),
        (None, "unknown"),
    ],
)
def test_numbers_are_short(value, text):
    """Tiles show three digits and short thousands."""
    assert number_text(value) == text


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        (0.2, 0.4, "200 \u2013 400 ms"),
        (None, 0.3, "\u2264 300 ms"),
        (60.0, None, "\u2265 60 s"),
        (0.2, 0.2, "200 ms"),
    ],
)
def test_bucket_quantiles_are_intervals(low, high, text):
    """A quantile from buckets is shown as the interval it is."""
    assert interval_text(low, high, "s") == text


def test_unknown_is_said_with_its_reason_and_never_as_zero():
    """No data is words, not a number."""
    said = shown(Measure(None, "requests/s", why="no counter for it"))
    assert (said.text, said.note, said.certainty) == ("unknown", "no counter for it", "unknown")
    assert "0" not in shown(None).text


def test_a_percentage_of_few_events_carries_its_count_and_interval():
    """Twelve events do not make a bare percentage."""
    said = shown(Measure(0.833, "ratio", 0.552, 0.953, 12))
    assert said.certainty == "few"
    assert "n = 12" in said.note
    assert "55.2 \u2013 95.3 %" in said.note


@pytest.mark.parametrize(("n", "has"), [(9_999, True), (10_000, False)])
def test_the_wilson_interval_is_shown_below_ten_thousand_events(n, has):
    """With many events the interval would only be noise."""
    assert ("interval" in shown(Measure(0.9, "ratio", 0.89, 0.91, n)).note) is has


@given(st.floats(allow_nan=False, allow_infinity=False, min_value=0, max_value=1e12))
def test_no_number_breaks_a_tile(value):
    """Every finite number splits into a figure and a unit that together say the same."""
    text = shown(Measure(value, "tokens/s")).text
    number, unit = split_unit(text)
    assert unit == "tokens/s"
    assert f"{number} {unit}" == text


def test_times_carry_their_zone():
    """One formatter for tables and figures; the zone is always said."""
    at = datetime(2023, 11, 16, 18, 17, 3)
    assert when(at, UTC) == "16 Nov 2023 18:17:03 UTC"
    assert when(at, ZoneInfo("Asia/Shanghai")) == "17 Nov 2023 02:17:03 Asia/Shanghai"


def test_a_trace_without_dates_counts_days():
    """Relative clocks have no calendar, whatever zone is chosen."""
    assert (
        when(datetime(1970, 1, 3, 4, 5, 6), ZoneInfo("Asia/Shanghai"), "relative")
        == "day 3 04:05:06"
    )


@pytest.mark.parametrize("name", ["Mars/Olympus", "../../etc/passwd", "\0"])
def test_an_unknown_zone_is_one_clear_line(name):
    """A bad zone in a shared link says what to write instead."""
    with pytest.raises(InputError) as caught:
        zone_of({"tz": name})
    assert "Europe/Berlin" in caught.value.hint


def test_heads_are_words():
    """Column names become heads people know."""
    assert heading("ttft_p95_seconds") == "TTFT p95"
    assert heading("requests_per_second") == "Requests/s"
    assert heading("at") == "At"
