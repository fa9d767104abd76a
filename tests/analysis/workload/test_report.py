"""The whole workload as JSON and as text."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

from analysis.findings import FACTS
from analysis.measure import Measure
from analysis.workload import report


@pytest.fixture
def trace(add_trace, random):
    return add_trace(
        "demo",
        np.cumsum(random.gamma(0.3, 3.0, 2000)),
        input_tokens=pl.Series(random.integers(10, 5000, 2000), dtype=pl.Int32),
        output_tokens=pl.Series(random.integers(1, 50, 2000), dtype=pl.Int32),
    )


def test_the_document_is_plain_json_with_every_view(database, trace, whole):
    """It survives a round trip, names its schema and holds findings and views."""
    document = report.characterise(database.reader, whole(trace))
    again = json.loads(json.dumps(document, allow_nan=False))
    assert again["schema"] == "servescope.analyze/1"
    assert again["scope"]["sources"] == ["demo"]
    assert set(again["views"]) == {*FACTS, "workload_findings"}
    assert again["views"]["workload_arrivals"]["measures"]["requests"]["value"] == 2000
    assert [row["rank"] for row in again["findings"]] == list(range(1, len(again["findings"]) + 1))


def test_text_and_json_say_the_same_findings(database, trace, whole):
    """The first lines of the text are the findings of the document."""
    document = report.characterise(database.reader, whole(trace))
    text = "\n".join(report.text_report(database.reader, whole(trace)))
    assert document["findings"][0]["sentence"] in text
    assert "None of the 2,000 requests names its session." in text


def test_a_comparison_is_added_when_asked_for(database, trace, add_trace, whole):
    """With another source named, the document and the text have its section."""
    add_trace("other", [0, 1, 2, 3])
    document = report.characterise(database.reader, whole(trace), "other")
    assert document["views"]["workload_compare"]["frames"]["differences"]
    assert "Comparison" in report.text_report(database.reader, whole(trace), "other")


def test_an_empty_store_is_one_clear_line(database, whole):
    """No findings, no sections of zeros."""
    lines = report.text_report(database.reader, whole(1))
    assert lines.count("  No source yet.") == 8


@pytest.mark.parametrize(
    ("measure", "text"),
    [
        (Measure(0.0136, ""), "0.0136"),
        (Measure(1154.7, "tokens"), "1,155 tokens"),
        (Measure(0.25, "ratio"), "25.0 %"),
        (Measure(0.001, "s"), "1 ms"),
        (Measure(None, "s", why="fewer than two arrivals"), "unknown (fewer than two arrivals)"),
    ],
)
def test_measures_in_words(measure, text):
    """A value with its unit, or unknown with the reason; never zero for unknown."""
    assert report.measure_text(measure) == text
