"""`histogram_quantile` equals Prometheus': against a second reading of its rules, one by one."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.prometheus_quantile import histogram_quantile

INF = math.inf


def by_the_rules(q, edges, counts):  # noqa: C901 - one rule after the other
    """The rules written down one after the other, as slowly as they read."""
    if q != q:
        return math.nan
    if q < 0:
        return -INF
    if q > 1:
        return INF
    uppers = sorted(set(edges))
    if not uppers or uppers[-1] != INF or len(uppers) < 2:
        return math.nan
    have = [sum(c for e, c in zip(edges, counts, strict=True) if e == upper) for upper in uppers]
    for i in range(1, len(have)):
        last, now = have[i - 1], have[i]
        scale = abs(last) + abs(now)
        if now < last or (last > 0 and now > 0 and abs(now - last) / scale < 1e-12):
            have[i] = last
    total = have[-1]
    if total == 0:
        return math.nan
    rank = q * total
    b = 0
    while b < len(have) - 1 and not have[b] >= rank:
        b += 1
    if b == len(have) - 1:
        return uppers[-2]
    if b == 0:
        if uppers[0] <= 0:
            return uppers[0]
        return uppers[0] * (rank / have[0]) if have[0] else math.nan
    inside = have[b] - have[b - 1]
    return uppers[b - 1] + (uppers[b] - uppers[b - 1]) * ((rank - have[b - 1]) / inside)


COUNTS = st.one_of(st.integers(0, 1000).map(float), st.floats(0, 1e6))
BUCKETS = st.lists(
    st.tuples(st.one_of(st.sampled_from([-1.0, 0.0, 0.3, 1.0, INF]), st.floats(-5, 100)), COUNTS),
    max_size=15,
)


@settings(max_examples=400)
@given(
    st.one_of(st.floats(0, 1), st.sampled_from([0.0, 0.5, 0.95, 0.99, 1.0, -1.0, 2.0, math.nan])),
    BUCKETS,
    st.booleans(),
)
def test_it_follows_the_rules(q, buckets, cumulative):
    """Sorted or not, with or without +Inf, growing or shrinking, empty or full."""
    edges, counts = [edge for edge, _ in buckets], [count for _, count in buckets]
    if cumulative:
        edges, counts = sorted(edges), sorted(counts)
    ours, theirs = histogram_quantile(q, edges, counts), by_the_rules(q, edges, counts)
    assert ours == pytest.approx(theirs, rel=1e-12, nan_ok=True)


@pytest.mark.parametrize(
    ("q", "edges", "counts", "expected"),
    [
        (0.5, (), (), math.nan),  # nothing
        (0.5, (INF,), (5,), math.nan),  # fewer than two buckets
        (0.5, (1, 2), (5, 6), math.nan),  # no +Inf
        (0.5, (1, INF), (0, 0), math.nan),  # no observation
        (0.99, (1, 2, INF), (1, 2, 100), 2.0),  # beyond the last edge: the second highest
        (0.5, (1, 2, INF), (10, 10, 10), 0.5),  # lowest bucket: the line starts at 0
        (0.5, (0, 1, INF), (10, 10, 10), 0.0),  # lowest edge 0 (SGLang queue, Dynamo): the edge
        (0.5, (-1, 1, INF), (10, 10, 10), -1.0),  # and below
        (0.75, (1, 2, 4, INF), (5, 3, 10, 10), 3.0),  # a bucket that shrinks is lifted
        (1.0, (1, 2, 4, INF), (8, 8 + 1e-12, 8 + 2e-12, 8 + 2e-12), 1.0),  # rounding is no step
        (-0.1, (1, INF), (1, 1), -INF),
        (1.1, (1, INF), (1, 1), INF),
    ],
)
def test_each_rule(q, edges, counts, expected):
    """Each rule by itself, with the answer that Prometheus gives."""
    found = histogram_quantile(q, edges, counts)
    assert found == pytest.approx(expected, rel=1e-9, nan_ok=True)
