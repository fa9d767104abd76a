from datetime import datetime

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.histograms import (
    Histogram,
    difference,
    is_edge,
    joint_bounds,
    make,
    merge,
    observed,
    quantile_interval,
    within_interval,
)

edges = st.lists(
    st.floats(0.001, 100).map(lambda x: round(x, 3)), min_size=1, max_size=12, unique=True
).map(sorted)
samples = st.lists(st.floats(0, 200), min_size=1, max_size=200)


def of(values, bounds):
    return make(bounds, [sum(v <= e for v in values) for e in bounds], len(values), sum(values))


@given(samples, edges, st.floats(0.01, 1))
def test_the_interval_holds_the_true_quantile(values, bounds, q):
    """Whatever lies inside the buckets, the true quantile is in the interval."""
    low, high = quantile_interval(of(values, bounds), q)
    true = float(np.quantile(values, q, method="inverted_cdf"))
    assert low is None or true > low
    assert high is None or true <= high


@given(samples, edges, st.floats(0, 250))
def test_the_bounds_hold_the_true_attainment(values, bounds, threshold):
    """The true number of good requests is never outside the bounds, and an edge is exact."""
    histogram = of(values, bounds)
    low, high = within_interval(histogram, threshold)
    true = sum(v <= threshold for v in values)
    assert low <= true <= high
    for edge in histogram.edges:
        low, high = within_interval(histogram, edge)
        assert low == high == sum(v <= edge for v in values)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=100))
def test_joint_bounds_hold_the_true_joint_share(pairs):
    """Two marginal shares bound the share that meets both, and never more than that is claimed."""
    n = len(pairs)
    a, b = (sum(p[i] for p in pairs) / n for i in (0, 1))
    low, high = joint_bounds([(a, a), (b, b)])
    assert low - 1e-12 <= sum(x and y for x, y in pairs) / n <= high + 1e-12


@given(samples, samples, edges)
def test_a_difference_is_what_came_between(first, second, bounds):
    """Cumulative states subtract to the observations between them."""
    found = difference(of(first + second, bounds), of(first, bounds))
    wanted = of(second, bounds)
    assert found.cumulative == wanted.cumulative
    assert found.count == wanted.count
    assert found.total == pytest.approx(wanted.total, abs=1e-6)


def test_a_restart_counts_from_zero():
    """After a drop, all that is shown was observed since."""
    after = Histogram((1.0,), (2.0,), 3.0, 4.0)
    assert difference(after, Histogram((1.0,), (10.0,), 20.0, 30.0)) == after


def test_a_bucket_that_falls_is_a_restart_even_when_the_count_grew():
    """A busy restart may pass the old count before the next scrape."""
    after = Histogram((1.0,), (2.0,), 30.0, 4.0)
    assert difference(after, Histogram((1.0,), (10.0,), 20.0, 30.0)) == after


def test_a_new_layout_is_a_new_histogram():
    """Counts of other edges are never subtracted from each other."""
    after = Histogram((2.0,), (20.0,), 30.0, 40.0)
    assert difference(after, Histogram((1.0,), (10.0,), 20.0, 30.0)) == after


def test_a_sum_that_falls_alone_is_unknown():
    """vLLM's queue sum can fall without a restart: the mean is then unknown, not negative."""
    found = difference(Histogram((1.0,), (12.0,), 22.0, 5.0), Histogram((1.0,), (10.0,), 20.0, 9.0))
    assert (found.count, found.total, found.mean) == (2.0, None, None)


def test_first_and_last_bucket_are_open():
    """In the first bucket only an upper bound is known, in the last only a lower one."""
    histogram = Histogram((0.3, 60.0), (90.0, 95.0), 100.0)
    assert quantile_interval(histogram, 0.5) == (None, 0.3)
    assert quantile_interval(histogram, 0.95) == (0.3, 60.0)
    assert quantile_interval(histogram, 0.99) == (60.0, None)


def test_without_observations_there_is_no_quantile():
    """An idle engine has no p95; it is not 0."""
    assert quantile_interval(Histogram((1.0,), (0.0,), 0.0), 0.95) is None


@given(samples, samples, edges, edges)
def test_merging_different_layouts_stays_true(first, second, one, other):
    """Two replicas with different buckets still bound the quantile of all requests."""
    whole = merge([of(first, one), of(second, other)])
    low, high = quantile_interval(whole, 0.95)
    true = float(np.quantile(first + second, 0.95, method="inverted_cdf"))
    assert low is None or true > low
    assert high is None or true <= high


def test_exposed_histograms_are_put_in_order():
    """Unsorted edges, +Inf and a bucket that shrinks are read without inventing anything."""
    histogram = make([float("inf"), 2.0, 1.0], [9.0, 4.0, 5.0], 9.0)
    assert histogram == Histogram((1.0, 2.0), (5.0, 5.0), 9.0)
    assert is_edge(histogram, 2.0)
    assert not is_edge(histogram, 1.5)


def test_the_first_point_of_a_series_says_nothing():
    """What an engine observed before the first scrape is not in any range."""
    points = pl.DataFrame(
        {
            "series_id": [1, 1, 2],
            "target_id": [1, 1, 1],
            "signal": ["ttft_seconds"] * 3,
            "model": ["m"] * 3,
            "at": [datetime(2026, 1, 1, 0, 0, s) for s in (0, 5, 5)],
            "bin": [1, 0, 0],
            "observation_count": [100.0, 104.0, 50.0],
            "observation_sum": [10.0, 11.0, 5.0],
            "edges": [[1.0]] * 3,
            "cumulative_counts": [[90.0], [93.0], [40.0]],
        }
    )
    (found,) = observed(points)
    assert (found.bin, found.histogram) == (0, Histogram((1.0,), (3.0,), 4.0, 1.0))


def frame(*rows, edges=(1.0,)):
    """Points of one series, five seconds apart: (observations, those <= the first edge, edges)."""
    return pl.DataFrame(
        {
            "series_id": [1] * len(rows),
            "target_id": [7] * len(rows),
            "signal": ["ttft_seconds"] * len(rows),
            "model": ["m"] * len(rows),
            "at": [datetime(2026, 1, 1, 0, 0, 5 * n) for n in range(len(rows))],
            "bin": list(range(len(rows), 0, -1)),
            "observation_count": [float(row[0]) for row in rows],
            "observation_sum": [float(row[0]) for row in rows],
            "edges": [list(row[2]) if len(row) > 2 else list(edges) for row in rows],
            "cumulative_counts": [[float(row[1])] for row in rows],
        }
    )


def test_a_restart_that_passed_the_old_counts_is_known_by_the_start_time():
    """Counts grew from 10 to 12, but of a new process: 12 were observed, not 2."""
    points = frame((10, 9), (12, 11))
    assert [item.histogram.count for item in observed(points)] == [2.0]
    moved = {7: [datetime(2026, 1, 1, 0, 0, 5)]}
    assert [item.histogram.count for item in observed(points, moved)] == [12.0]


def test_a_new_layout_of_a_process_that_went_on_says_nothing():
    """A rank left and took an edge with it: its lifetime was not observed just now."""
    points = frame((1000, 900), (1003, 950, (2.0,)), (1005, 951, (2.0,)))
    assert [item.histogram.count for item in observed(points)] == [1003.0, 2.0]
    assert [item.histogram.count for item in observed(points, {7: []})] == [2.0]
