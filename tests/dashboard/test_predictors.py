"""The Predictors page: what it says, what it hides, and that it never praises too early."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path

import polars as pl
import pytest

from analysis.measure import Empty, Measure, View
from dashboard.acting import answered
from dashboard.figures import predictors as figures
from dashboard.figures.base import Look, Picture
from dashboard.pages.predictors import _shown
from dashboard.pages.predictors_skill import skill_cell, verdict_cell

HERE = Path(__file__).parent


def pages():
    """The helpers of the tests of pages, loaded by their path."""
    name = "servescope_dashboard_test_pages"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, HERE / "test_pages.py")
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


def drawn(fake, search=""):
    """The page as text."""
    return pages().drawn(fake, "/ui/predictors", search)


def test_the_page_says_who_wins_who_loses_and_who_answers(fake):
    """Skill with its interval, the fallback, drift, forecasts, instances and models are there."""
    text = drawn(fake)
    for words in (
        "Which predictions earn their place?",
        "▼ worse",
        "▲ better",
        "Answered by the rival",
        "Did the world change?",
        "was the demand foreseen",
        "Which instance is slowed down by its neighbours?",
        "▼ slowed",
        "★ champion",
        "○ challenger",
        "Learnt until",
    ):
        assert words in text, words


def test_the_address_chooses_the_quantity(fake):
    """Each quantity has its own link, and an unknown one falls back instead of failing."""
    assert "TTFT: do the intervals hold what they promise?" in drawn(fake, "?quantity=ttft_seconds")
    assert "do the intervals hold what they promise?" in drawn(fake, "?quantity=nonsense")


def test_drift_is_marked_where_it_was(fake):
    """The line of a drift stands on the charts of its quantity, the event in the table of all."""
    assert drawn(fake, "?quantity=e2e_seconds").count('"yref": "paper", "y0": 0') == 2
    other = drawn(fake, "?quantity=output_tokens")
    assert other.count('"yref": "paper", "y0": 0') == 0
    assert "outcomes lie lower than before" in other


def test_a_miss_leads_to_its_request(fake):
    """The ten worst have an address on the latency page."""
    assert "/ui/latency?request=1:" in drawn(fake)


@pytest.mark.parametrize("kind", ["metric_absent", "outside_range", "no_traffic"])
def test_every_part_says_why_it_is_empty(fake, kind):
    """Predictions, forecasts and instances each give their reason."""
    fake.empty = Empty(kind, "The reason in words.", fake.now)
    assert drawn(fake).count("The reason in words.") == 3


def test_nothing_connected_is_said_once(fake):
    """Four boxes that ask for a source would be three too many."""
    fake.empty = Empty("nothing_connected", "No source yet.", None)
    assert drawn(fake).count('"No source yet."') <= 2


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"skill_ratio": None}, "\N{EN DASH}"),
        ({"skill_ratio": 0.12, "skill_low": None}, "+12 %"),
    ],
)
def test_skill_is_never_invented(row, words):
    """Unknown is a dash."""
    assert skill_cell(row) == words


def test_a_verdict_has_a_word_and_a_sign():
    """Colour is not the only signal."""
    assert verdict_cell({"verdict": "worse"}).children == "▼ worse"


def test_equal_sizes_lie_on_the_line():
    """Predicted and true share one axis, so that the diagonal means what it says."""
    frame = pl.DataFrame(
        {"predicted_half_octave": [4, 9], "real_half_octave": [4, 2], "requests": [30, 10]}
    )
    made = figures.pairs(frame, "tokens")
    assert isinstance(made, Picture)
    heat = made.figure["data"][0]
    assert heat["x"] == heat["y"] == list(range(2, 10))
    assert "75 % of the requests" in made.summary


def test_skill_without_enough_outcomes_is_no_line():
    """Bins that are too small are gaps; only gaps is a reason, not a chart."""
    frame = pl.DataFrame(
        {"at": [None], "skill_ratio": [None], "outcomes": [3]},
        schema={"at": pl.Datetime("us"), "skill_ratio": pl.Float64, "outcomes": pl.Int64},
    )
    assert isinstance(figures.skill(frame, pl.DataFrame(), Look()), str)


@pytest.mark.parametrize(("left_out", "is_said"), [(0.0, False), (370.0, True)])
def test_what_was_left_out_is_said_where_something_was(left_out, is_said):
    """Nothing left out needs no tile."""
    view = View("predictors", None, {"left_out": Measure(left_out, "")}, {}, (), None)
    assert (("Left out to bound the work", "left_out") in _shown(view)) == is_said


def test_a_challenger_can_be_made_champion_with_a_reason(fake):
    """Each challenger has a button that is held; the champion has none."""
    text = drawn(fake)
    assert "Make champion" in text
    wish = {"act": "promote", "model": "b", "seen": "a", "fields": {"reason": "better", "by": "al"}}
    told = answered(fake.services(), wish)
    assert told.is_done
    assert told.text == "b answers from now on in place of a."
    assert fake.models.promoted == [("b", "a", "al", "better")]


def test_what_may_not_answer_is_disabled_beforehand(fake):
    """With why; the button can be reached and does nothing."""
    text = drawn(fake)
    assert '"aria-disabled": "true"' not in text
    challenger = re.findall(r"Make (\S+) champion", text)[0]
    fake.models.gone = {challenger: "the files were deleted; train it again"}
    text = drawn(fake)
    assert text.count('"aria-disabled": "true"') == 1
    assert text.count("the files were deleted; train it again") == 2


def test_without_a_reason_nobody_becomes_champion(fake):
    """The record of changes needs it."""
    told = answered(fake.services(), {"act": "promote", "model": "b", "seen": "a", "fields": {}})
    assert not told.is_done
    assert "say why" in told.text.lower()
    assert fake.models.promoted == []


def test_where_nothing_can_be_told_there_is_no_button(fake):
    """A page over a store of somebody else shows models and changes none."""
    fake.models = None
    assert "Make champion" not in drawn(fake)


def test_intervals_are_shown_beside_skill_and_coverage_of_forecasts(fake):
    """No share without its interval."""
    text = drawn(fake)
    for words in ("Inside 50 %", "Inside 90 %", "from thirty runs of neighbours in time"):
        assert words in text, words


def test_requests_are_compared_with_those_that_were_learnt_from(fake):
    """The distance of inputs, beside what chance alone makes."""
    assert "Do requests look as they did when it learnt?" in drawn(fake)
