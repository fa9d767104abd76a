"""P is what the same work took alone over what it took now, over any stretch of time."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from servescope.lab.labels import ideal, loss, overall

NAN = math.nan


def events(durations, start=0.0, gap=0.0, piece=0, first=NAN):
    """Pieces one after the other."""
    rows, now = [], start
    for duration in durations:
        rows.append((piece, now, now + duration, now + first, 1.0))
        now += duration + gap
    return np.array(rows).reshape(-1, 5)


def test_twice_as_slow_is_one_half():
    """A victim that gets half a core has P 0.5."""
    alone = ideal([events([0.1] * 10)], 1)
    assert overall(events([0.2] * 5), alone, 0.0, 1.0).ratio[0] == pytest.approx(0.5)


def test_pauses_do_not_count():
    """A victim that rests is not a victim that suffers."""
    alone = ideal([events([0.1] * 10)], 1)
    told = overall(events([0.1] * 5, gap=0.1), alone, 0.0, 1.0)
    assert told.ratio[0] == pytest.approx(1.0)
    assert told.busy_seconds[0] == pytest.approx(0.5)


def test_pieces_are_compared_with_their_own_kind():
    """Fewer long pieces in a stretch is no loss."""
    short, long = events([0.1] * 4), events([0.4] * 4, piece=1)
    alone = ideal([short, long], 2)
    assert overall(events([0.4], piece=1), alone, 0.0, 1.0).ratio[0] == pytest.approx(1.0)


def test_a_kind_never_seen_alone_says_nothing():
    """No ideal: no P, rather than a wrong one."""
    alone = ideal([events([0.1])], 2)
    assert math.isnan(overall(events([0.1], piece=1), alone, 0.0, 1.0).ratio[0])


def test_time_to_the_first_part_is_judged_by_itself():
    """Prefill can suffer while the rest does not."""
    alone = ideal([events([1.0] * 3, first=0.1)], 1)
    told = overall(events([1.0] * 3, first=0.4), alone, 0.0, 3.0)
    assert told.first_ratio[0] == pytest.approx(0.25)
    assert told.ratio[0] == pytest.approx(1.0)


@given(
    st.lists(st.floats(0.01, 3.0), min_size=1, max_size=20),
    st.lists(st.floats(0.1, 5.0), min_size=1, max_size=10),
)
def test_seconds_add_up_to_the_whole(durations, widths):
    """P of a stretch is the mean of its seconds, weighted by the time something was under way."""
    run, alone = events(durations), ideal([events([0.5, 0.7])], 1)
    edges = np.concatenate([[0.0], np.cumsum(widths)])
    parts = loss(run, alone, edges[:-1], edges[1:])
    whole = overall(run, alone, 0.0, edges[-1])
    known = parts.busy_seconds > 0
    total = (parts.ratio[known] * parts.busy_seconds[known]).sum()
    assert parts.busy_seconds.sum() == pytest.approx(whole.busy_seconds[0])
    assert total == pytest.approx(whole.ratio[0] * whole.busy_seconds[0])


def test_nothing_under_way_is_unknown():
    """A second without work has no P."""
    alone = ideal([events([0.1])], 1)
    told = loss(events([0.1]), alone, np.array([0.0, 5.0]), np.array([1.0, 6.0]))
    assert math.isnan(told.ratio[1])
    assert told.busy_seconds[1] == 0.0
