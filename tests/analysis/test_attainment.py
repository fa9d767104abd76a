"""Attainment from histograms: the truth is always inside, and the interval is no wider than due."""

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from analysis.attainment import attainment, joint_attainment
from analysis.histograms import make, quantile_interval, quantile_interval_over

EDGES = st.lists(
    st.floats(0.001, 100).map(lambda x: round(x, 3)), min_size=1, max_size=12, unique=True
).map(sorted)
VALUES = st.lists(st.floats(0, 200), min_size=1, max_size=100)
REPLICAS = st.lists(st.tuples(VALUES, EDGES), min_size=1, max_size=4)


def of(values, edges):
    return make(edges, [sum(v <= e for v in values) for e in edges], len(values), sum(values))


@example([([100.0], [100.0])], 99.99999999999999)
@given(REPLICAS, st.floats(0, 250))
def test_the_truth_lies_inside_whatever_the_layouts(replicas, limit):
    """Replicas with different buckets still bound the share of all requests.

    A limit as good as an edge is that edge, so the truth is told from just above and below it.
    """
    found = attainment([of(values, edges) for values, edges in replicas], limit)
    everything = [value for values, _ in replicas for value in values]
    most, least = (
        sum(value <= limit * near for value in everything) / len(everything)
        for near in (1 + 2e-9, 1 - 2e-9)
    )
    assert found.low - 1e-12 <= most
    assert least <= found.high + 1e-12
    assert found.count == len(everything)


@given(VALUES, EDGES, st.floats(0, 250))
def test_no_wider_than_the_two_edges_demand(values, edges, limit):
    """The ends are the shares at the edges below and above; at an edge they are one."""
    assume(all(edge == limit or abs(edge - limit) > 2e-9 * limit for edge in edges))
    found = attainment([of(values, edges)], limit)
    below = [edge for edge in edges if edge <= limit]
    above = [edge for edge in edges if edge >= limit]
    least = sum(v <= below[-1] for v in values) / len(values) if below else 0.0
    most = sum(v <= above[0] for v in values) / len(values) if above else 1.0
    assert (found.low, found.high) == pytest.approx((least, most))
    exact = attainment([of(values, edges)], edges[0])
    assert exact.low == exact.high
    assert exact.warning is None


def test_a_limit_that_is_no_edge_is_said():
    """The sentence names the limit, the nearest edges, what is known and what to do."""
    found = attainment([of([0.1] * 50 + [1.7] * 40 + [3.0] * 10, [0.5, 1.0, 2.5])], 2.0)
    assert (found.low, found.high) == (0.5, 0.9)
    for word in ("2 s is no bucket edge", "1 s and 2.5 s", "50.0 % to 90.0 %", "record requests"):
        assert word in found.warning


def test_an_edge_in_other_units_is_an_edge():
    """700 milliseconds times 0.001 is 0.7000000000000001, which people call 0.7."""
    found = attainment([of([0.6, 0.8], [0.7])], 700 * 0.001)
    assert (found.low, found.high, found.warning) == (0.5, 0.5, None)


def test_without_observations_there_is_no_attainment():
    """An idle engine met nothing and missed nothing."""
    assert attainment([of([], [1.0])], 1.0) is None
    assert joint_attainment([]) is None


@given(st.lists(st.tuples(st.floats(0, 5), st.floats(0, 5)), min_size=1, max_size=80))
def test_a_joint_objective_is_bounded_by_its_parts(pairs):
    """Two histograms say only that max(0, a + b - 1) <= joint <= min(a, b)."""
    edges = [0.5, 1.0, 2.5]
    parts = [attainment([of([p[i] for p in pairs], edges)], limit) for i, limit in ((0, 1), (1, 2))]
    found = joint_attainment(parts)
    truth = sum(a <= 1 and b <= 2 for a, b in pairs) / len(pairs)
    assert found.low - 1e-12 <= truth <= found.high + 1e-12
    assert "joint objective" in found.warning


@given(REPLICAS, st.floats(0.01, 1))
def test_a_quantile_over_layouts_holds_the_truth_and_is_never_wider(replicas, q):
    """All edges of all replicas count; merging on shared edges alone would throw some away."""
    parts = [of(values, edges) for values, edges in replicas]
    low, high = quantile_interval_over(parts, q)
    everything = [value for values, _ in replicas for value in values]
    truth = float(np.quantile(everything, q, method="inverted_cdf"))
    assert low is None or truth > low
    assert high is None or truth <= high


@given(VALUES, EDGES, st.floats(0.01, 1))
def test_of_one_layout_both_ways_agree(values, edges, q):
    """Of one histogram the wider function says what the plain one says."""
    part = of(values, edges)
    assert quantile_interval_over([part, part], q) == quantile_interval(part, q)
