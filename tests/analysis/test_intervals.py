from hypothesis import given
from hypothesis import strategies as st

from analysis.intervals import wilson


@given(st.integers(1, 10**7).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_interval_lies_in_0_1_and_holds_the_observed_ratio(counts):
    """An interval never leaves what a ratio can be, and never misses what was seen."""
    hits, trials = counts
    low, high = wilson(hits, trials)
    assert 0 <= low <= hits / trials <= high <= 1
    assert low < high


@given(st.integers(1, 10**6), st.floats(0, 1))
def test_more_events_narrow_the_interval(trials, ratio):
    """Ten times the events never widen the interval."""
    hits = round(trials * ratio)
    low, high = wilson(hits, trials)
    narrow_low, narrow_high = wilson(hits * 10, trials * 10)
    assert narrow_high - narrow_low <= high - low + 1e-12


def test_a_known_value():
    """81 of 263 gives 25.5 % to 36.6 % (Newcombe 1998, table I)."""
    low, high = wilson(81, 263)
    assert (round(low, 4), round(high, 4)) == (0.2553, 0.3662)


def test_nothing_is_known_without_events():
    """No trials give no interval rather than 0 to 1."""
    assert wilson(0, 0) is None
