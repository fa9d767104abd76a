"""The weekly report of the built-in trace: it says how little of the week it knows."""

import pytest

from servescope import importing
from servescope.cli.access import FileAccess
from servescope.config import load
from servescope.reporting.asked import Asked
from servescope.reporting.making import asked_document
from servescope.runtime import Runtime, SloBook
from store.clock import WallClock
from store.database import Database
from store.settings import StoreSettings


@pytest.fixture(scope="module")
def weekly(tmp_path_factory):
    path = tmp_path_factory.mktemp("trace") / "store.duckdb"
    clock = WallClock()
    with Database.open(path, StoreSettings(), clock, allow_files=True) as database:
        loads = importing.planned(importing.Options(tuple(importing.example_files())))
        importing.load_files(database, loads, lambda share: None)
        runtime = Runtime(load(None, {}, {}), database, clock, SloBook(None, clock))
        return asked_document(Asked("weekly"), FileAccess(runtime), clock, lambda share, what: None)


def test_it_is_of_the_week_of_its_last_record_and_says_what_it_covers(weekly):
    assert weekly.covered.key == "2023-W46"
    assert weekly.notes == (
        "The records cover 58 min 33 s of the 7 d of this period (0.6 %), from 16 Nov 2023 18:15"
        " UTC to 16 Nov 2023 19:14 UTC: rates are those of the time covered.",
    )


def test_its_first_screen_is_true_useful_and_short(weekly):
    assert weekly.verdict == (
        "28,185 requests came, 8.02 a second. Whether objectives were met is not known:"
        " no objective is defined."
    )
    assert len(weekly.findings) == 3
    assert "a Poisson capacity plan would fail" in weekly.findings[0]
    # What the first tells of both is not told again of each: the silence is news.
    assert "azure-2023-code is silent for 217 s" in weekly.findings[1]
    assert not any(" is bursty" in text or "-heavy (" in text for text in weekly.findings[1:])
    assert "Try replicas or queues of their own for code and conv" in weekly.advice[0]
    assert any("servescope replay azure-2023-conv" in text for text in weekly.advice)


def test_what_a_trace_cannot_tell_is_said_section_by_section(weekly):
    silent = {section.key for section in weekly.sections if section.empty is not None}
    assert silent == {
        "slo", "alerts", "latency", "shift", "fairness", "cold_starts", "degradation",
        "controller", "forecast", "capacity", "cost",
    }  # fmt: skip
    assert not any(section.problem for section in weekly.sections)


def test_why_nothing_is_said_takes_a_sentence(weekly):
    told = {section.key: section.empty for section in weekly.sections if section.empty}
    assert told["fairness"] == "No request names its tenant."
    assert [text for text in told.values() if text.count(". ")] == []


def test_the_next_week_is_not_told_from_an_hour(weekly):
    (ahead,) = (section for section in weekly.sections if section.key == "forecast")
    assert "too little to say anything about the next" in ahead.empty
