"""Lengths: exact quantiles, bins, fits."""

from __future__ import annotations

from collections import Counter

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.workload import length_fits, lengths
from analysis.workload.length_tally import tally
from analysis.workload.lengths import Lengths

SAMPLES = st.lists(st.integers(0, 100_000), min_size=1, max_size=200)


def _of(values):
    found, counts = np.unique(np.asarray(values, dtype=np.int64), return_counts=True)
    return Lengths(found, counts)


@given(SAMPLES, st.floats(0, 1))
def test_quantiles_are_those_of_the_raw_values(values, ratio):
    """Counting distinct values changes no quantile."""
    assert lengths.quantile(_of(values), ratio) == pytest.approx(np.quantile(values, ratio))


@given(SAMPLES)
def test_bins_hold_every_request_once_and_end_at_one(values):
    """The histogram loses nothing, and its curve is exact at every edge."""
    frame = lengths.histogram(_of(values))
    assert frame["requests"].sum() == len(values)
    assert frame["cdf_ratio"][-1] == pytest.approx(1)
    for high, ratio in frame.select("high_tokens", "cdf_ratio").rows():
        assert ratio == pytest.approx(np.mean(np.asarray(values) < high))


@given(SAMPLES)
def test_moments_are_those_of_the_raw_values(values):
    """Mean and variation agree with numpy's."""
    found = _of(values)
    assert lengths.mean(found) == pytest.approx(np.mean(values))
    if np.mean(values) > 0:
        assert lengths.variation(found) == pytest.approx(np.std(values) / np.mean(values))


def test_nothing_in_gives_nothing_out():
    """No request: unknown numbers and an empty frame with its columns."""
    none = _of([])
    assert lengths.mean(none) is None
    assert lengths.quantile(none, 0.5) is None
    assert lengths.variation(none) is None
    assert lengths.share_near_largest(none) is None
    assert lengths.histogram(none).columns == ["low_tokens", "high_tokens", "requests", "cdf_ratio"]
    assert all(fit.ks_distance is None for fit in length_fits.fit_lengths(none))


def test_joint_octaves_become_token_edges():
    """Octave 3 is 8 up to 16 tokens; octave -1 is zero tokens."""
    octaves = pl.DataFrame({"input_octave": [3], "output_octave": [-1], "requests": [5]})
    assert lengths.joint_frame(octaves).row(0) == (8, 16, 0, 1, 5)


def test_pooling_adds_sources_up():
    """The same length from two sources is one distinct value."""
    pooled = lengths.pooled([_of([5, 7, 7]), _of([5, 5, 5]), _of([])])
    assert pooled.values.tolist() == [5, 7]
    assert pooled.counts.tolist() == [4, 2]


TOKENS = st.one_of(st.just(-1), st.integers(0, 300), st.integers(65_500, 65_600), st.just(1 << 30))


@given(st.lists(st.lists(st.tuples(TOKENS, TOKENS), min_size=1, max_size=40), max_size=4))
def test_counting_piece_by_piece_loses_nothing(pieces):
    """Lengths of any size, known or not, are counted as if they were all looked at together."""
    arrays = [np.asarray(piece, dtype=np.int32) for piece in pieces]
    found = tally((piece[:, 0], piece[:, 1]) for piece in arrays)
    rows = [row for piece in pieces for row in piece]
    known = [row for row in rows if min(row) >= 0]
    for one, place in ((found.input, 0), (found.output, 1)):
        assert dict(zip(one.values.tolist(), one.counts.tolist(), strict=True)) == Counter(
            row[place] for row in rows if row[place] >= 0
        )
    assert (found.requests, found.input_tokens, found.output_tokens) == (
        len(known), sum(row[0] for row in known), sum(row[1] for row in known)
    )  # fmt: skip
    octaves = Counter(tuple(int(tokens).bit_length() - 1 for tokens in row) for row in known)
    assert {(a, b): n for a, b, n in found.octaves().rows()} == octaves


def _fits(values):
    return {fit.family: fit for fit in length_fits.fit_lengths(_of(values))}


def test_lognormal_lengths_are_recognised(random):
    """A lognormal sample is accepted as one, and the exponential is not."""
    fits = _fits(np.rint(random.lognormal(6, 0.4, 20_000)))
    assert fits["lognormal"].accepted
    assert fits["lognormal"].parameters.startswith("mu=6")
    assert not fits["exponential"].accepted
    assert "KS distance" in fits["exponential"].why


def test_a_power_law_tail_is_found_and_says_which_part_it_describes(random):
    """Exponent 2.5 above a thousand tokens comes back, with the count it is about."""
    body = random.integers(1, 1000, 20_000)
    tail = 1000 * (1 - random.random(5000)) ** (-1 / 1.5)
    fit = _fits(np.rint(np.concatenate((body, tail))))["pareto_tail"]
    exponent = float(fit.parameters.split()[0].removeprefix("exponent="))
    assert fit.accepted
    assert exponent == pytest.approx(2.5, rel=0.1)
    assert "tokens and more only" in fit.why


def test_zipf_lengths_are_recognised(random):
    """A sample of P(x) ~ 1/x on 1..1000 is accepted with exponent near 1."""
    weights = 1 / np.arange(1, 1001)
    values = random.choice(np.arange(1, 1001), 20_000, p=weights / weights.sum())
    fit = _fits(values)["zipf"]
    assert fit.accepted
    assert float(fit.parameters.split()[0].removeprefix("exponent=")) == pytest.approx(1, abs=0.03)


def test_equal_lengths_are_not_fitted():
    """A benchmark's constant length has no spread to fit."""
    assert all("equal" in fit.why for fit in length_fits.fit_lengths(_of([128] * 100)))


def test_a_pile_at_the_largest_value_is_measured():
    """Ten of a hundred requests at the cap are a share of 0.1."""
    assert lengths.share_near_largest(_of([*range(90), *[8192] * 10])) == pytest.approx(0.1)
