"""What others tell in numbers and times is within what a store holds, or refused."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.told import MOST_INT32, moment, whole


@given(st.integers())
def test_counts_are_within_the_column(count):
    """From 0 to the largest number of the column's type, and nothing else."""
    if 0 <= count <= MOST_INT32:
        assert whole(count, MOST_INT32) == count
    else:
        with pytest.raises(ValueError, match="outside"):
            whole(count, MOST_INT32)


@pytest.mark.parametrize(
    "told", ["2026-01-31T13:00:00+01:00", "2026-01-31T12:00:00", "2026-01-31T12:00:00Z"]
)
def test_times_are_utc(told):
    """An offset is undone; without one it is UTC."""
    assert moment(told) == datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.mark.parametrize("told", ["", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00", 7])
def test_times_outside_of_time_are_refused(told):
    """Such a time is well written, and cannot be brought to UTC."""
    with pytest.raises(ValueError, match=r"outside|Invalid"):
        moment(told)
