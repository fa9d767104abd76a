from datetime import UTC, datetime
from itertools import pairwise

import polars as pl

from analysis import series


def stepped(values, seconds=5, series_id=1):
    """A counter that showed these values, one a bin."""
    return pl.DataFrame(
        {
            "series_id": [series_id] * len(values),
            "bin": list(range(len(values))),
            "increase": [None, *(float(b - a) for a, b in pairwise(values))][: len(values)],
            "seconds": [None, *[float(seconds)] * len(values)][: len(values)],
        },
        schema={
            "series_id": pl.Int64,
            "bin": pl.Int64,
            "increase": pl.Float64,
            "seconds": pl.Float64,
        },
    )


def test_a_rate_is_divided_by_the_time_it_covers():
    """Ten more every five seconds are two a second, however long the page's range is."""
    found = series.rates(stepped([0, 10, 20, 30]))
    assert found["rate_per_second"].to_list() == [2.0]
    assert found["increase"].to_list() == [30.0]


def test_instances_at_the_same_time_add_up():
    """Two instances at two a second are four a second, in each bin and over all."""
    both = pl.concat([stepped([0, 10, 20, 30]), stepped([0, 10, 20, 30], series_id=2)])
    assert series.rates(both)["rate_per_second"].to_list() == [4.0]
    assert series.rates(both, "bin")["rate_per_second"].to_list() == [4.0] * 3


def test_instances_that_follow_each_other_do_not_add_up():
    """A fleet whose one instance was replaced halfway served two a second, not four."""
    later = stepped([0, 10, 20, 30], series_id=2).with_columns(pl.col("bin") + 12)
    found = series.rates(pl.concat([stepped([0, 10, 20, 30]), later]))
    assert found["rate_per_second"].to_list() == [2.0]
    assert found["increase"].to_list() == [60.0]


def test_bins_without_a_row_are_null():
    """Alignment never invents a zero."""
    axis = series.bin_starts(datetime(2026, 1, 1, 1, tzinfo=UTC), 60, 3)
    found = series.on_bins(pl.DataFrame({"bin": [1], "x": [7.0]}), axis)
    assert found["x"].to_list() == [None, 7.0, None]
    assert found["at"].to_list() == [datetime(2026, 1, 1, 0, m) for m in (57, 58, 59)]


def test_empty_in_empty_out():
    """No points give no rates, with the columns still there."""
    found = series.rates(stepped([]), "bin")
    assert found.columns == ["bin", "increase", "rate_per_second"]
    assert found.is_empty()
