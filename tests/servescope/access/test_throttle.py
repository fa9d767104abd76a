"""Whatever comes when, no more gets through than the bucket holds and what flowed in."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from servescope.access import throttle
from servescope.access.throttle import Throttle
from store.clock import VirtualClock

NOW = datetime(2026, 1, 31, tzinfo=UTC)


@given(st.lists(st.tuples(st.floats(0, 30), st.integers(1, 20)), max_size=30),
       st.integers(1, 10), st.floats(1, 120))  # fmt: skip
def test_no_window_lets_more_through_than_burst_and_rate_allow(arrivals, burst, per_minute):
    """For every two moments of the same name."""
    clock = VirtualClock(NOW)
    pace, taken = Throttle(clock, burst=burst, per_minute=per_minute), []
    for pause, count in arrivals:
        clock.advance(pause)
        taken += [clock.monotonic() for _ in range(count) if pace.take("a") == 0]
    for first, start in enumerate(taken):
        for last in range(first, len(taken)):
            allowed = burst + (taken[last] - start) * per_minute / 60
            assert last - first + 1 <= allowed + 1e-6


@given(st.integers(1, 5), st.floats(1, 120))
def test_who_waits_as_long_as_told_gets_through(burst, per_minute):
    """And a moment sooner does not."""
    clock = VirtualClock(NOW)
    pace = Throttle(clock, burst=burst, per_minute=per_minute)
    for _ in range(burst):
        assert pace.take("a") == 0
    wait = pace.take("a")
    assert wait > 0
    assert pace.take("b") == 0
    clock.advance(wait * 1.000001)
    assert pace.take("a") == 0


def test_many_names_do_not_fill_the_memory(monkeypatch):
    """The one unused for longest is forgotten."""
    monkeypatch.setattr(throttle, "MOST_NAMES", 3)
    pace = Throttle(VirtualClock(NOW), burst=1, per_minute=1)
    for name in "abcd":
        assert pace.take(name) == 0
    assert len(pace._buckets) == 3
    assert pace.take("d") > 0
    assert pace.take("a") == 0
