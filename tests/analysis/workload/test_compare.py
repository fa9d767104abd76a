"""Two bodies of requests beside each other."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.workload import compare
from store.errors import InputError
from store.queries.scope import Scope

FOREVER = (datetime(1970, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))
SAMPLES = st.lists(st.integers(0, 50), min_size=1, max_size=60)


def _plain_distance(a, b):
    return max(abs(np.mean(np.array(a) <= x) - np.mean(np.array(b) <= x)) for x in [*a, *b])


@given(SAMPLES, SAMPLES)
def test_the_distance_is_that_of_the_definition(a, b):
    """Counting distinct values changes nothing of the two-sample distance."""
    pairs = [np.unique(x, return_counts=True) for x in (a, b)]
    found = compare.two_sample_ks(*[(v.astype(float), c.astype(float)) for v, c in pairs])
    assert found == pytest.approx(_plain_distance(a, b))


@pytest.fixture
def pair(add_trace):
    """B has the same rhythm as A and ten times its input."""
    return [
        add_trace(
            name,
            np.arange(0, 120, 0.5),
            input_tokens=pl.Series([size] * 240, dtype=pl.Int32),
            output_tokens=pl.Series([20] * 240, dtype=pl.Int32),
        )
        for name, size in (("a", 100), ("b", 1000))
    ]


def test_what_differs_most_comes_first(database, pair, whole):
    """Input and the mix differ tenfold, the rate not at all."""
    found = compare.workload_compare(database.reader, whole(pair[0]), against="b")
    rows = {row["quantity"]: row for row in found.frames["differences"].iter_rows(named=True)}
    first = set(found.frames["differences"]["quantity"].head(2))
    assert first == {"input_tokens", "output_to_input_ratio"}
    assert rows["input_tokens"]["ratio"] == pytest.approx(0.1)
    assert rows["input_tokens"]["ks_distance"] == 1
    assert rows["requests_per_second"]["ratio"] == pytest.approx(1)
    assert "100 in a against 1,000 in b" in rows["input_tokens"]["sentence"]


def test_the_first_sentence_says_what_the_two_are_to_each_other(database, pair, whole):
    """Ten times the input for the same output: said in words before the table."""
    found = compare.workload_compare(database.reader, whole(pair[0]), against="b")
    assert found.sentences[0].startswith("a is 10x more decode-heavy (output/input 0.2 vs 0.02)")


def test_the_overlay_has_a_curve_for_each(database, pair, whole):
    """Both series end at one."""
    overlay = compare.workload_compare(database.reader, whole(pair[0]), against="b").frames[
        "overlay"
    ]
    ends = overlay.group_by("quantity", "series").agg(pl.col("cdf_ratio").max())
    assert ends.height == 6
    assert ends["cdf_ratio"].to_list() == [pytest.approx(1)] * 6


def test_the_previous_period_of_the_same_source(database, pair, whole):
    """The second minute against the first: same input, named as before."""
    start = whole(pair[0]).start.fromtimestamp(1_700_000_060, tz=whole(pair[0]).start.tzinfo)
    scope = replace(whole(pair[0]), start=start, end=start + timedelta(seconds=60))
    found = compare.workload_compare(database.reader, scope, against="previous")
    rows = {row["quantity"]: row for row in found.frames["differences"].iter_rows(named=True)}
    assert rows["input_tokens"]["ratio"] == pytest.approx(1)
    assert "in a before" in rows["input_tokens"]["sentence"]


@pytest.mark.parametrize("against", ["", "nobody", "b,nobody"])
def test_an_unknown_other_side_is_refused_with_the_names_there_are(database, pair, whole, against):
    """One line, and what could have been named."""
    with pytest.raises(InputError, match="there are: live, a, b"):
        compare.workload_compare(database.reader, whole(pair[0]), against=against)


def test_an_empty_side_is_said(database, pair, whole):
    """Nothing before the first record: empty, with the reason."""
    start = whole(pair[0]).start.fromtimestamp(1_700_000_000, tz=whole(pair[0]).start.tzinfo)
    scope = replace(whole(pair[0]), start=start, end=start + timedelta(seconds=60))
    found = compare.workload_compare(database.reader, scope, against="previous")
    assert found.empty.kind == "outside_range"
    assert found.empty.text.startswith("Nothing to compare with, a before: ")
    assert found.frames["differences"].is_empty()


def test_a_source_of_rates_is_set_beside_requests_without_its_gaps(database, pair, add_trace):
    """What is known as rates per client has a rate to compare, and no single arrivals."""
    rated = add_trace("rated")

    def insert(connection):
        connection.execute(
            "INSERT INTO client_rate SELECT ?, 'a', TIMESTAMP '2026-01-01' + to_seconds(600 * w),"
            " 600, 2.0, 2.0, 'Gamma', 0.25, 1.0 FROM range(10) AS t(w)",
            [rated],
        )

    database.writer.run(insert).result()
    scope = Scope((rated,), *FOREVER)
    found = compare.workload_compare(database.reader, scope, against="a")
    assert found.empty is None or found.empty.text
