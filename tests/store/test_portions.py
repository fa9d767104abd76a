"""Sizes of portions: as large as appends can wait for, and no more of them than help."""

from hypothesis import given
from hypothesis import strategies as st

from store.portions import PORTION_SECONDS, PortionSize


def sizes(most, least, fixed_seconds, seconds_each, portions=12):
    """What each portion of a backlog is given."""
    size, found = PortionSize(most, least), []
    for _ in range(portions):
        found.append(size.now)
        size.took(fixed_seconds + size.now * seconds_each)
    return found


def test_what_is_slow_for_its_rows_is_halved_until_it_is_quick():
    """Down to the least."""
    assert sizes(36, 6, 0.0, 0.08)[:4] == [36, 18, 9, 9]
    assert sizes(36, 6, 0.0, 1.0)[:4] == [36, 18, 9, 6]


def test_what_is_slow_whatever_is_in_it_stays_large():
    """A half that takes as long is tried once."""
    assert sizes(36, 6, 2.0, 0.001)[:4] == [36, 18, 36, 36]


@given(st.integers(6, 500), st.floats(0, 5), st.floats(0, 0.1))
def test_a_size_settles_between_the_bounds(most, fixed_seconds, seconds_each):
    """And is quick, the least, or one whose half would take nearly as long."""
    found = sizes(most, 6, fixed_seconds, seconds_each)
    assert all(6 <= size <= most for size in found)
    last = found[-1]
    assert found[-2] == last
    half = fixed_seconds + max(6, last // 2) * seconds_each
    seconds = fixed_seconds + last * seconds_each
    assert seconds <= PORTION_SECONDS or last == 6 or half > 0.7 * seconds
