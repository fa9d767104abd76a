"""Lengths from text and metadata: the contract, bad input, and what a user would notice."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest

from predictors.base import CENSORED, OUTCOME
from predictors.check import check_prediction, check_predictor
from predictors.length.histogram import HistogramSettings, LengthHistogram
from predictors.length.metadata import MetadataLength
from predictors.length.network import Recipe
from predictors.length.spec import METADATA_SPEC, PROMPT, TEXT_SPEC
from predictors.length.text import TextLength, TextSettings
from predictors.scoring import score
from store.errors import PredictorError

START = datetime(2026, 1, 1)
SMALL = TextSettings(
    recipe=Recipe(networks=1, width=32, least_steps=120), least_prompts=100, trees=10
)
TOPICS = ("rivers", "engines", "poems", "taxes", "birds", "novels", "bridges", "clouds", "games")


def small_text() -> TextLength:
    return TextLength(SMALL)


def text_rows(prompts: int = 320, seed: int = 0) -> pl.DataFrame:
    """Prompts that ask for a story (long) or for one word (short); a model twice as talkative."""
    random = np.random.default_rng(seed)
    rows = []
    for number in range(prompts):
        is_story = bool(random.integers(2))
        one, other = random.choice(TOPICS, 2)
        ask = "Write a long story about" if is_story else "Answer in one word. Is it true of"
        for model, factor in (("terse", 1.0), ("chatty", 2.0)):
            length = (600 if is_story else 8) * factor * random.lognormal(0, 0.2)
            rows.append(
                {
                    PROMPT: f"{ask} {one} and {other} number {number}?",
                    "input_tokens": 12.0,
                    "model": model,
                    "route": "chat",
                    "max_tokens": None,
                    OUTCOME: float(round(length)),
                }
            )
    return pl.DataFrame(rows).with_columns(pl.col("max_tokens").cast(pl.Float64))


def metadata_rows(n: int = 400, seed: int = 0) -> pl.DataFrame:
    """Two applications, told apart by the size of their prompts."""
    random = np.random.default_rng(seed)
    is_long = random.integers(0, 2, n).astype(bool)
    size = np.where(is_long, 2000, 200) + random.integers(0, 50, n)
    length = np.where(is_long, 300, 20) * random.lognormal(0, 0.1, n)
    return pl.DataFrame(
        {
            "at": [START + timedelta(seconds=i) for i in range(n)],
            "input_tokens": size.astype(float),
            "model": "m",
            "route": "r",
            OUTCOME: np.round(length),
        }
    )


@pytest.fixture(scope="module")
def fitted() -> TextLength:
    """A small text predictor that has learnt."""
    model = small_text()
    model.fit(text_rows())
    return model


def test_text_keeps_the_contract():
    """Tier 1 keeps every promise of the contract, with a network behind it."""
    check_predictor(small_text, text_rows(140))


def test_histogram_keeps_the_contract():
    """Tier 0 keeps every promise of the contract."""
    check_predictor(LengthHistogram, text_rows(60))


def test_metadata_keeps_the_contract():
    """Metadata alone keeps every promise of the contract."""
    check_predictor(MetadataLength, metadata_rows())


def test_words_of_an_unseen_prompt_tell_long_from_short(fitted):
    """A prompt never seen is told by its words, and the talkative model is expected to say more."""
    judged = text_rows(60, seed=9)
    ours = score(fitted.predict(judged).quantiles, judged[OUTCOME].to_numpy())
    history = LengthHistogram()
    history.fit(text_rows())
    rival = score(history.predict(judged).quantiles, judged[OUTCOME].to_numpy())
    assert ours.pinball < 0.5 * rival.pinball
    story = judged.filter(pl.col(PROMPT).str.contains("story"))
    middle = fitted.predict(story).quantiles.at(0.5)
    chatty = (story["model"] == "chatty").to_numpy()
    assert np.median(middle[chatty]) > 1.4 * np.median(middle[~chatty])


def test_a_new_model_gets_the_answer_of_any_model(fitted):
    """An unknown model is answered from what all models do, not refused."""
    rows = text_rows(1).head(1).with_columns(pl.lit("brand new").alias("model"))
    made = fitted.predict(rows)
    check_prediction(TEXT_SPEC, made, rows)


@pytest.mark.parametrize(
    "prompt", [None, "", " ", "\x00\ud800"[:1], "word " * 200_000, "é世界" * 50_000]
)
def test_odd_prompts_are_answered(fitted, prompt):
    """Prompts of nothing, of 200 000 tokens or of odd bytes get a distribution."""
    rows = text_rows(1).head(1).with_columns(pl.lit(prompt, pl.String).alias(PROMPT))
    check_prediction(TEXT_SPEC, fitted.predict(rows), rows)


def test_limits_cut_the_answer(fitted):
    """No quantile is above the request's own limit, and at the limit every answer has ended."""
    rows = text_rows(4).with_columns(pl.lit(50.0).alias("max_tokens"))
    lengths = fitted.lengths(rows)
    assert fitted.predict(rows).quantiles.values.max() <= 50
    assert (lengths.probability_within(50) == 1).all()


def test_without_words_the_histogram_answers_and_says_so():
    """With too few prompts the answer is history's, marked as a fallback, with a note why."""
    model = TextLength()
    report = model.fit(text_rows(20))
    made = model.predict(text_rows(3))
    assert made.was_fallback.all()
    assert "too few" in report.notes[0]


def test_constant_prompts_are_no_worse_than_history():
    """Where all prompts are alike the answer is close to history's."""
    rows = text_rows(300).with_columns(
        (pl.lit("same words here ") + pl.int_range(pl.len()).cast(pl.String)).alias(PROMPT)
    )
    model = small_text()
    model.fit(rows)
    history = LengthHistogram(TEXT_SPEC)
    history.fit(rows)
    real = rows[OUTCOME].to_numpy()
    ours, rival = (score(one.predict(rows).quantiles, real) for one in (model, history))
    assert ours.pinball < 1.1 * rival.pinball


def test_cut_answers_do_not_teach_that_answers_are_short():
    """Answers cut at 100 tokens count as at least 100: the rest of the answers decide."""
    random = np.random.default_rng(0)
    full = np.round(random.lognormal(5.5, 0.5, 2000))
    limit = np.where(random.random(2000) < 0.5, 100.0, 1e9)
    rows = pl.DataFrame(
        {"model": "m", "route": "r", OUTCOME: np.minimum(full, limit), CENSORED: full > limit}
    )
    honest, naive = LengthHistogram(), LengthHistogram()
    honest.fit(rows)
    naive.fit(rows.drop(CENSORED))
    middle = float(np.median(full))
    asked = rows.head(1)
    assert abs(honest.predict(asked).quantiles.at(0.5)[0] - middle) < 0.15 * middle
    assert naive.predict(asked).quantiles.at(0.5)[0] < 0.6 * middle


def test_cut_answers_are_censored_for_the_network_too():
    """The network of prompts that were half cut expects the real lengths, not the limit."""
    rows = text_rows(300)
    limit = pl.when(pl.int_range(pl.len()) % 4 < 2).then(100.0).otherwise(1e9)
    cut = rows.with_columns(
        (pl.col(OUTCOME) > limit).alias(CENSORED), pl.min_horizontal(OUTCOME, limit).alias(OUTCOME)
    )
    model = small_text()
    model.fit(cut)
    story = text_rows(40, seed=5).filter(pl.col(PROMPT).str.contains("story"))
    made = model.predict(story).quantiles.at(0.5)
    assert np.median(made) > 400


def test_a_new_key_leans_on_its_parent():
    """A route never seen is answered by its model, a model never seen by all."""
    history = LengthHistogram(settings=HistogramSettings(memory_rows=10**6))
    history.fit(text_rows(200))
    chatty = history.shares_of(("chatty", "new route"))
    assert np.allclose(chatty, history.shares_of(("chatty",)))
    assert np.allclose(history.shares_of(("new", "new")), history.shares_of(()))


def test_size_of_the_prompt_names_the_application():
    """Where sizes tell applications apart, the neighbours in size answer."""
    model = MetadataLength()
    report = model.fit(metadata_rows(1500))
    assert model.expert == "size"
    assert report.ours is not None
    assert report.rival is not None
    assert report.ours.mae < 0.4 * report.rival.mae


def test_next_turns_follow_their_conversation():
    """A request that goes on where an earlier one ended is expected to be answered alike."""
    random = np.random.default_rng(0)
    rows = []
    for talk in range(400):
        length = 30.0 if talk % 2 else 900.0
        blocks, size = [0, 10_000 + 100 * talk], 600.0
        for turn in range(4):
            at = START + timedelta(seconds=talk + 40 * turn)
            answer = float(round(length * random.lognormal(0, 0.1)))
            rows.append((at, size, list(blocks), answer))
            size += answer + 520
            blocks.append(10_000 + 100 * talk + turn + 1)
    names = ["at", "input_tokens", "prefix_blocks", OUTCOME]
    frame = pl.DataFrame(rows, schema=names, orient="row").sort("at")
    model = MetadataLength()
    report = model.fit(frame)
    assert model.expert == "prefix"
    assert report.ours.mae < 0.6 * report.rival.mae


def test_nothing_to_learn_leaves_the_histogram():
    """Where the size says nothing about the answer, history answers: no harm is done."""
    rows = metadata_rows(1200).with_columns(
        pl.Series(OUTCOME, np.round(np.random.default_rng(3).lognormal(3, 1, 1200)))
    )
    model = MetadataLength()
    model.fit(rows)
    assert model.expert == "histogram"


def test_clocks_that_jump_are_answered():
    """A clock that goes back a day or forward a year changes no answer into an error."""
    model = MetadataLength()
    rows = metadata_rows()
    model.fit(rows)
    for days in (-1, 365):
        moved = rows.with_columns(pl.col("at") + timedelta(days=days))
        check_prediction(METADATA_SPEC, model.predict(moved), moved)
        model.observe(moved)


def test_a_model_of_other_features_is_refused(tmp_path):
    """A text model is not loaded as a metadata model."""
    model = MetadataLength()
    model.fit(metadata_rows())
    model.save(tmp_path)
    with pytest.raises(PredictorError, match="length-metadata"):
        TextLength.load(tmp_path)
