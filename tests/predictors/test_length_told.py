"""What single words tell: rare words count, and learnt prompts do not tell themselves."""

from __future__ import annotations

import numpy as np
import pytest

from predictors.length.bins import COUNT, softened
from predictors.length.features import TextFeatures, fit_features
from predictors.length.network import Examples
from predictors.length.pairs import numbers_of
from predictors.length.told import taught

WORDS = ("river", "engine", "poem", "tax", "bird", "novel", "bridge", "cloud", "game", "stone")


def prompts_and_lengths(n: int, seed: int) -> tuple[list[str], np.ndarray]:
    """Prompts of random words; one in six asks to be terse and gets an answer of a few words."""
    random = np.random.default_rng(seed)
    terse = random.random(n) < 1 / 6
    texts = [
        f"{' '.join(random.choice(WORDS, 12))} {number} {'tersely' if short else ''}"
        for number, short in enumerate(terse)
    ]
    return texts, np.where(terse, 5.0, 400.0) * random.lognormal(0, 0.3, n)


def fitted(texts: list[str], lengths: np.ndarray) -> tuple[TextFeatures, np.ndarray]:
    """Features that tell, and what they told of the learnt prompts."""
    n = len(texts)
    sizes = np.full(n, np.nan)
    features = fit_features(texts, sizes, [], seed=0)
    ended = softened(lengths)
    examples = Examples(
        inputs=features.of(texts, sizes),
        prompt=np.arange(n),
        model=numbers_of(["m"] * n, {"m": 1}),
        route=np.zeros(n, np.int64),
        ended=ended,
        cut=np.zeros((n, COUNT), np.float32),
        weight=np.ones(n, np.float32),
    )
    return taught(features, texts, examples)


def test_a_word_that_decides_is_told():
    """Of prompts never seen, those with the telling word are told to be short."""
    features, told = fitted(*prompts_and_lengths(400, 0))
    texts, lengths = prompts_and_lengths(100, 1)
    width = told.shape[1]
    heard = features.of(texts, np.full(100, np.nan))[:, -width]
    assert heard[lengths < 50].max() < heard[lengths >= 50].min()


def test_prompts_do_not_tell_themselves():
    """Where words say nothing, what is told of learnt prompts says nothing of their lengths."""
    texts, lengths = prompts_and_lengths(400, 2)
    shuffled = np.random.default_rng(3).permutation(lengths)
    _, told = fitted(texts, shuffled)
    assert abs(np.corrcoef(told[:, 0], np.log(shuffled))[0, 1]) < 0.2


def test_answers_of_one_length_teach_nothing():
    """Lengths that are all the same give numbers, none of them large."""
    texts, _ = prompts_and_lengths(200, 4)
    features, told = fitted(texts, np.full(200, 64.0))
    assert np.abs(told).max() < 1e-3
    assert np.abs(features.of(texts[:5], np.full(5, np.nan))[:, -told.shape[1] :]).max() < 1e-3


def test_kept_features_tell_the_same():
    """What was kept and read again tells exactly the same."""
    features, _ = fitted(*prompts_and_lengths(300, 5))
    texts, _ = prompts_and_lengths(20, 6)
    again = TextFeatures.from_arrays(features.arrays())
    sizes = np.full(20, np.nan)
    assert again.of(texts, sizes) == pytest.approx(features.of(texts, sizes), abs=1e-6)


def test_features_of_before_can_still_be_read():
    """A model that was kept before terms told anything is read as one that tells nothing."""
    features, told = fitted(*prompts_and_lengths(300, 5))
    width = told.shape[1]
    arrays = {name: one for name, one in features.arrays().items() if not name.endswith("told")}
    for name in [name for name in arrays if name.endswith(".table") and name != "words.table"]:
        arrays[name] = arrays[name][:, :-width]
    assert TextFeatures.from_arrays(arrays).width == features.width - width
