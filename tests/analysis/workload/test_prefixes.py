"""Prefix reuse against a cache that is really simulated."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.workload import prefixes

SCHEMA = {"source_id": pl.Int16, "input_tokens": pl.Int32, "block_hashes": pl.List(pl.UInt64)}
# Chains over a small alphabet, so that beginnings are shared and caches overflow.
REQUESTS = st.lists(
    st.lists(st.integers(0, 12), min_size=1, max_size=6, unique=True), min_size=1, max_size=30
)


def _rows(requests, block_tokens=16, last_tokens=None):
    tokens = [len(r) * block_tokens if last_tokens is None else last_tokens for r in requests]
    rows = [(2, t, r) for t, r in zip(tokens, requests, strict=True)]
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def _simulate(requests, capacity):
    """Hits of an LRU cache that counts only the unbroken beginning of each request."""
    cache: OrderedDict[int, None] = OrderedDict()
    hits = 0
    for request in requests:
        unbroken = True
        for block in request:
            unbroken = unbroken and block in cache
            hits += unbroken
            cache.pop(block, None)
            cache[block] = None
            if len(cache) > capacity:
                cache.popitem(last=False)
    return hits


@given(REQUESTS)
def test_the_curve_is_that_of_a_simulated_cache(requests):
    """At every size of the curve, hits equal those of a real LRU cache of that size."""
    reuse = prefixes.measure(_rows(requests), 16)
    total = sum(len(r) for r in requests)
    for cache, _, blocks, _ in prefixes.lru_frame(reuse, 16).rows():
        assert blocks * total == pytest.approx(_simulate(requests, cache))
    infinite, _ = prefixes.hit_ratios(reuse)
    assert infinite * total == pytest.approx(_simulate(requests, 10**6))


@given(st.lists(st.integers(0, 20), max_size=120))
def test_stack_distance_counts_distinct_blocks_since_last_use(codes):
    """The vectorised count equals the definition."""
    found = prefixes.stack_distances(np.asarray(codes, dtype=np.int64))
    for place, code in enumerate(codes):
        earlier = [i for i in range(place) if codes[i] == code]
        expected = len(set(codes[earlier[-1] + 1 : place])) if earlier else -1
        assert found[place] == expected


@given(st.permutations(range(37)))
def test_earlier_smaller_values_are_counted(ranks):
    """For each place of a permutation, how many before it are smaller."""
    found = prefixes.earlier_smaller(np.asarray(ranks, dtype=np.int64))
    assert found.tolist() == [sum(v < r for v in ranks[:i]) for i, r in enumerate(ranks)]


def test_the_last_block_counts_with_its_real_tokens():
    """Two prompts of 20 tokens in blocks of 16: the repeat serves 20 of 40."""
    reuse = prefixes.measure(_rows([[1, 2], [1, 2]], last_tokens=20), 16)
    assert prefixes.hit_ratios(reuse) == (0.5, 0.5)
    reuse = prefixes.measure(_rows([[1, 2], [1, 3]], last_tokens=20), 16)
    assert prefixes.hit_ratios(reuse) == (0.25, 16 / 40)


def test_a_broken_beginning_stops_the_hits():
    """A known block behind an unknown one is of no use."""
    reuse = prefixes.measure(_rows([[1, 2], [3, 2]]), 16)
    assert prefixes.hit_ratios(reuse)[0] == 0


def test_sources_do_not_share_blocks():
    """The same hash in two sources names two blocks."""
    rows = pl.DataFrame([(2, 16, [1]), (3, 16, [1])], schema=SCHEMA, orient="row")
    reuse = prefixes.measure(rows, 16)
    assert (reuse.unique_blocks, prefixes.hit_ratios(reuse)[0]) == (2, 0)


def test_without_a_block_size_tokens_are_unknown():
    """Blocks can be counted, tokens cannot."""
    reuse = prefixes.measure(_rows([[1], [1]]), None)
    assert prefixes.hit_ratios(reuse) == (0.5, None)
    assert prefixes.lru_frame(reuse, None)["cache_tokens"].null_count() == 1


def test_no_hashes_give_an_empty_curve():
    """Empty in, empty out."""
    reuse = prefixes.measure(_rows([]), 16)
    assert prefixes.hit_ratios(reuse) == (None, None)
    assert prefixes.lru_frame(reuse, 16).schema == prefixes.LRU_SCHEMA
