from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis import series

START = datetime(2026, 1, 1)


def points(values, seconds=5, series_id=1):
    return pl.DataFrame(
        {
            "series_id": [series_id] * len(values),
            "at": [START + timedelta(seconds=i * seconds) for i in range(len(values))],
            "bin": list(range(len(values))),
            "value": [float(v) for v in values],
        },
        schema={
            "series_id": pl.Int64,
            "at": pl.Datetime("us"),
            "bin": pl.Int64,
            "value": pl.Float64,
        },
    )


@given(st.lists(st.tuples(st.integers(1, 1000), st.booleans()), min_size=2, max_size=60))
def test_the_increase_across_restarts_is_the_true_one(steps):
    """A process that restarts before a scrape loses nothing that was counted since."""
    shown, held = [], 0
    for grown, restarted in steps:
        # What was counted after a restart must be less than what was shown, or it cannot be seen.
        held = grown if restarted and held > grown else held + grown
        shown.append(held)
    true = sum(grown for grown, _ in steps[1:])
    assert series.increase(np.array(shown, dtype=float)) == true
    assert series.steps(points(shown))["increase"].sum() == true


def test_one_point_gives_no_rate():
    """A single scrape says nothing about a rate; it is not 0."""
    assert series.increase(np.array([5.0])) is None
    assert series.rates(series.steps(points([5]))).is_empty()


def test_a_rate_is_divided_by_the_time_it_covers():
    """Ten more every five seconds are two a second, however long the page's range is."""
    found = series.rates(series.steps(points([0, 10, 20, 30])))
    assert found["rate_per_second"].to_list() == [2.0]
    assert found["increase"].to_list() == [30.0]


def test_instances_at_the_same_time_add_up():
    """Two instances at two a second are four a second, in each bin and over all."""
    both = pl.concat([points([0, 10, 20, 30]), points([0, 10, 20, 30], series_id=2)])
    stepped = series.steps(both)
    assert series.rates(stepped)["rate_per_second"].to_list() == [4.0]
    assert series.rates(stepped, "bin")["rate_per_second"].to_list() == [4.0] * 3


def test_instances_that_follow_each_other_do_not_add_up():
    """A fleet whose one instance was replaced halfway served two a second, not four."""
    later = points([0, 10, 20, 30], series_id=2).with_columns(
        pl.col("at") + timedelta(minutes=1), pl.col("bin") + 12
    )
    found = series.rates(series.steps(pl.concat([points([0, 10, 20, 30]), later])))
    assert found["rate_per_second"].to_list() == [2.0]
    assert found["increase"].to_list() == [60.0]


def test_a_gap_is_unknown_not_a_slow_rate():
    """After a hole in the record the step is null, and the next one counts again."""
    holed = points([0, 10, 20]).with_columns(
        at=pl.Series([START, START + timedelta(hours=1), START + timedelta(hours=1, seconds=5)])
    )
    found = series.steps(holed, longest_step_seconds=15)
    assert found["increase"].to_list() == [None, None, 10.0]


def test_bins_without_a_row_are_null():
    """Alignment never invents a zero."""
    axis = series.bin_starts(datetime(2026, 1, 1, 1, tzinfo=UTC), 60, 3)
    found = series.on_bins(pl.DataFrame({"bin": [1], "x": [7.0]}), axis)
    assert found["x"].to_list() == [None, 7.0, None]
    assert found["at"].to_list() == [datetime(2026, 1, 1, 0, m) for m in (57, 58, 59)]


def test_empty_in_empty_out():
    """No points give no rates, with the columns still there."""
    found = series.rates(series.steps(points([])), "bin")
    assert found.columns == ["bin", "increase", "rate_per_second"]
    assert found.is_empty()


@given(st.lists(st.floats(0, 1e9), min_size=2, max_size=50))
def test_increases_are_never_negative(values):
    """Whatever an engine shows, a counter's increase is not negative."""
    assert (series.increases(np.array(values)) >= 0).all()
    assert series.increase(np.array(values)) == pytest.approx(
        series.increases(np.array(values)).sum()
    )
