"""Length distributions: quantiles, what remains, memory peaks, tiers and words."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from predictors.length.bins import COUNT, EDGES, Lengths, softened
from predictors.length.memory import admits, peak_of, peak_tokens
from predictors.length.spec import PROMPT
from predictors.length.tiers import Tiers, TierSettings
from predictors.length.tokens import cut, hash_of, words


def lognormal(median: float, n: int = 1) -> Lengths:
    random = np.random.default_rng(0)
    values = random.lognormal(np.log(median), 0.6, 4000)
    return Lengths.of(np.tile(softened(values).sum(axis=0), (n, 1)))


@given(st.lists(st.floats(0, 1e6), min_size=COUNT, max_size=COUNT), st.floats(0, 2e5))
@settings(max_examples=60, deadline=None)
def test_any_weights_make_a_distribution(weights, given_tokens):
    """Quantiles rise, probabilities lie in 0 to 1, and what remains is never negative."""
    lengths = Lengths.of(np.array([weights]) + 1e-6)
    assert (np.diff(lengths.quantiles().values) >= 0).all()
    assert (lengths.remaining(given_tokens).values >= 0).all()
    chance = lengths.ends_within(given_tokens, [128.0])
    assert 0 <= chance[0] <= 1


def test_quantiles_and_probabilities_agree():
    """The probability within a quantile is its level."""
    lengths = lognormal(200)
    for level, value in zip(*(lengths.quantiles((0.1, 0.5, 0.9)).levels, [0, 1, 2]), strict=True):
        limit = lengths.quantiles((0.1, 0.5, 0.9)).values[0, value]
        assert lengths.probability_within(limit)[0] == pytest.approx(level, abs=1e-6)


def test_what_remains_is_calibrated_while_decoding():
    """Of answers still running after g tokens, nine in ten end within the 0.9 quantile."""
    random = np.random.default_rng(1)
    real = random.lognormal(np.log(200), 0.6, 20_000)
    lengths = lognormal(200)
    for out in (0, 64, 256, 512):
        running = real[real > out] - out
        promised = lengths.remaining(out, (0.9,)).values[0, 0]
        assert (running <= promised).mean() == pytest.approx(0.9, abs=0.03)


def test_past_every_prediction_the_answer_should_have_ended():
    """Beyond the longest length known nothing remains, and it ends at once."""
    lengths = Lengths.of(np.eye(COUNT)[[10]])
    assert lengths.remaining(EDGES[20]).values.max() == 0
    assert lengths.ends_within(EDGES[20], 1)[0] == 1


def test_a_temperature_spreads_what_was_too_sure():
    """Above 1 the outer quantiles move apart, and the median stays about where it was."""
    plain, flat = lognormal(200), lognormal(200).tempered(1.3)
    assert flat.quantiles().at(0.9)[0] > 1.05 * plain.quantiles().at(0.9)[0]
    assert flat.quantiles().at(0.1)[0] < 0.95 * plain.quantiles().at(0.1)[0]
    assert flat.quantiles().at(0.5)[0] == pytest.approx(plain.quantiles().at(0.5)[0], rel=0.05)


def test_shorter_requests_rank_first():
    """The rank score orders requests like their medians where these are far apart."""
    ranks = [lognormal(median).rank()[0] for median in (20, 200, 2000)]
    assert ranks == sorted(ranks)
    assert ranks[1] == pytest.approx(200, rel=0.15)


def test_peak_is_the_published_formula():
    """With remainders 3 and 1 the peak is before the short one ends, or at the end of the long."""
    assert peak_tokens([3, 1], [10, 20]) == 32
    assert peak_tokens([50, 1], [10, 20]) == 60
    assert peak_tokens([], []) == 0


def test_peak_by_simulation():
    """The formula equals the highest need of a batch that is decoded step by step."""
    random = np.random.default_rng(2)
    for _ in range(50):
        left, held = random.integers(1, 30, 6), random.integers(1, 40, 6)
        steps = range(int(left.max()) + 1)
        needs = [int((held + step)[left >= step].sum()) for step in steps]
        assert peak_tokens(left, held) == max(needs)


def test_a_batch_is_admitted_when_its_peak_fits():
    """A batch is let in when the cache holds its peak with the asked probability."""
    lengths = lognormal(200, n=20)
    peak = peak_of(lengths, np.full(20, 100.0), np.zeros(20))
    assert 20 * 100 < peak.at(0.5) < 20 * 100 + 20 * 400
    assert admits(peak, peak.at(0.99) + 1)
    assert not admits(peak, 2000)


class _Fixed:
    """A tier that answers one distribution and counts its calls."""

    def __init__(self, median, clock=None, seconds=0.0):
        self.median, self.rows, self.clock, self.seconds = median, 0, clock, seconds

    def lengths(self, rows):
        self.rows += rows.height
        if self.clock is not None:
            self.clock[0] += self.seconds * rows.height
        return lognormal(self.median, rows.height)


def asked(*prompts):
    return pl.DataFrame({PROMPT: list(prompts), "model": "m", "route": "r"})


def test_the_dear_tier_runs_only_where_the_cheap_one_is_unsure():
    """A sure answer of the cheap tier is kept; an unsure one is asked again, and only once."""
    dear = _Fixed(300)
    sure = Tiers(_Fixed(2000), dear, lambda: 0.0)
    assert sure.lengths(asked("a", "b")).tier.tolist() == [1, 1]
    assert dear.rows == 0
    unsure = Tiers(_Fixed(128), dear, lambda: 0.0)
    assert unsure.lengths(asked("a", "b")).tier.tolist() == [2, 2]
    unsure.lengths(asked("a", "b"))
    assert dear.rows == 2


def test_a_slow_tier_is_not_waited_for():
    """When the dear tier would miss the deadline the cheap one answers; cached prompts stay."""
    now = [0.0]
    dear = _Fixed(300, now, seconds=1.0)
    tiers = Tiers(_Fixed(128), dear, lambda: now[0], TierSettings(deadline_seconds=0.02))
    assert tiers.lengths(asked("first")).tier.tolist() == [2]
    assert tiers.lengths(asked("second")).tier.tolist() == [1]
    assert tiers.lengths(asked("first")).tier.tolist() == [2]


def test_without_an_encoder_the_cheap_tier_answers():
    """Tier 2 is off by default."""
    assert Tiers(_Fixed(128), None, lambda: 0.0).lengths(asked("a")).tier.tolist() == [1]


def test_words_are_the_same_wherever_they_stand():
    """A word has one hash in every text, place and letter case; marks are words."""
    found = words(["Hello world!", "", "oh, HELLO"])
    assert found.sizes.tolist() == [3, 0, 3]
    assert found.hashes[0] == found.hashes[5] == hash_of("hello")
    assert found.hashes[2] == hash_of("!")
    assert found.place.tolist() == [0, 1, 2, 0, 1, 2]


def test_hashes_do_not_change():
    """Saved models look words up by their hash, so it is the same in every release."""
    assert hex(int(hash_of("hello"))) == "0xedec552de1d76cb3"


@given(st.text(max_size=60))
@settings(max_examples=80, deadline=None)
def test_texts_alone_and_together_have_the_same_words(text):
    """Whatever a text holds, its words do not depend on its neighbours."""
    alone = words([cut(text)])
    together = words(["before it", cut(text), "after"])
    assert alone.hashes.tolist() == together.hashes[together.text == 1].tolist()


def test_runs_do_not_cross_texts():
    """Pairs of words are made inside one text only."""
    one, text = words(["a b", "c"]).grams(2)
    assert len(one) == 4
    assert sorted(text.tolist()) == [0, 0, 0, 1]
