"""How gateways stand: what of their word is believed, when it is an alarm, and how old it is."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.fairness import fairness
from analysis.gateways import gateways, live_bound, view_of
from store import gateways as kept
from store.queries.scope import Scope
from store.queries.token_cost import Cost

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SCOPE = Scope((1,), NOW - timedelta(hours=1), NOW)
FAIR = {
    "line": "vtc", "apart_service": 900.0, "greatest_gap_service": 2_000.0,
    "bound_service": 4_000.0, "breaches": 0, "is_broken": False, "broken_seconds_ago": None,
    "input_weight": 1.0, "output_weight": 2.0, "cached_weight": 1.0,
}  # fmt: skip
BROKEN = {**FAIR, "is_broken": True, "apart_service": 6_543.0, "breaches": 3,
          "broken_seconds_ago": 0.5}  # fmt: skip


def gateway(name="edge", *, ago=1.0, details=None, started_hours_ago=5.0, **fair):
    """A row as the store gives it."""
    at = NOW - timedelta(seconds=ago)
    details = {"fairness": {**FAIR, **fair}} if details is None else details
    return {
        "name": name, "identity": "a", "node": "n", "url": "http://n", "version": "1",
        "last_seen_at": at.replace(tzinfo=None), "waiting_rows": 0, "dropped_rows": 0,
        "started_at": (NOW - timedelta(hours=started_hours_ago)).replace(tzinfo=None),
        "heartbeat_seconds": 2.0, "policy_version": None, "details": json.dumps(details),
    }  # fmt: skip


def seen(*rows):
    return view_of(rows, SCOPE, NOW, None)


def report(database, row):
    kept.report(database.writer, row | {"policy_seen_at": None}).result()


def test_a_broken_bound_is_an_alarm_with_its_numbers_and_age():
    """What is apart, what was promised, how often, and when that was heard."""
    (text,) = seen(gateway(), gateway("rear", **BROKEN)).sentences
    assert text == (
        "Gateway rear breaks its fairness bound: two tenants that wait are 6,543 apart in service,"
        " where its line vtc promises 4,000 at most (broken 3 times since it started)."
        " Heard 1 s ago."
    )


def test_an_alarm_of_a_gateway_that_is_not_heard_says_how_old_it_is():
    """It stays an alarm: nobody knows that it is over."""
    view = seen(gateway(ago=300.0, **BROKEN))
    assert view.sentences[0].endswith(
        " That is its last word, of 5 min ago: it was not heard of since."
    )
    assert view.frames["gateways"]["state"].to_list() == ["late"]


def test_a_breach_that_is_over_is_told_for_an_hour():
    """Then it is a number in the table alone."""
    over = {**BROKEN, "is_broken": False}
    (text,) = seen(gateway(**{**over, "broken_seconds_ago": 600.0})).sentences
    assert "broke its fairness bound 3 times since it started, last 10 min 1 s ago" in text
    later = seen(gateway(**{**over, "broken_seconds_ago": 3_700.0}))
    assert later.sentences == ()
    assert later.measures["breaches"].value == 3


def test_alarms_that_last_come_first():
    """As many as are broken now."""
    over = {**BROKEN, "is_broken": False}
    view = seen(gateway("a", **over), gateway("b", **BROKEN), gateway("c", **BROKEN))
    assert [text.split()[1] for text in view.sentences] == ["b", "c", "a"]
    assert view.measures["broken_now"].value == 2


def test_a_bound_that_grew_since_is_not_compared():
    """What is over was promised less."""
    (text,) = seen(gateway(**{**BROKEN, "bound_service": 9_000.0})).sentences
    assert "6,543 apart in service, more than its line promised" in text


def test_an_unfair_gateway_is_not_ok(database):
    """Its state says so, where nothing worse is wrong."""
    report(database, gateway(**BROKEN))
    report(database, gateway("rear"))
    frame = gateways(database.reader, SCOPE, now=NOW).frames["gateways"]
    assert dict(zip(frame["name"], frame["state"], strict=True)) == {"edge": "unfair", "rear": "ok"}


JUNK = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()


@given(st.dictionaries(st.sampled_from([*FAIR, "why_no_bound"]), JUNK), JUNK)
def test_whatever_a_gateway_tells_is_no_fault(fair, waiting):
    """What is no number is unknown."""
    view = seen(gateway(details={"fairness": fair, "waiting": waiting}))
    assert view.frames["gateways"].height == 1


@pytest.mark.parametrize("details", [{}, [], "x", {"fairness": None}, {"fairness": [1]}])
def test_a_gateway_of_another_version_tells_nothing_of_fairness(details):
    """Unknown, not 0."""
    row = seen(gateway(details=details)).frames["gateways"].row(0, named=True)
    assert row["breaches"] is None
    assert row["bound_service"] is None


def bound(*rows, cost=None):
    return live_bound(rows, SCOPE, cost or Cost())


def test_the_bound_of_a_range_is_that_of_the_gateways_that_served_in_it():
    """Bounds of several add up; who was gone before, or came after, has none in it."""
    assert bound(gateway()) == (4_000.0, "the line vtc of gateway edge")
    assert bound(gateway(), gateway("rear", bound_service=500.0)) == (
        4_500.0, "fair queueing in 2 gateways",
    )  # fmt: skip
    assert bound(gateway(), gateway("gone", ago=4_000.0, bound_service=500.0))[0] == 4_000.0
    assert bound(gateway(), gateway("new", started_hours_ago=-1.0, bound_service=5.0))[0] == 4_000.0
    assert bound() is None


def test_no_bound_is_better_than_a_wrong_one():
    """One line promises nothing, or service is counted by other weights."""
    assert bound(gateway(), gateway("rear", bound_service=None)) is None
    assert bound(gateway(), cost=Cost(output_weight=3.0)) is None
    assert bound(gateway(cached_weight=0.0)) is None
    assert bound(gateway(details={})) is None


def test_the_view_takes_the_bound_of_the_gateway(database, add_requests, live_scope):
    """Beside what was measured; with another batch or other weights it is supposed, as before."""
    places = range(200)
    add_requests([1000.0 - 4 * k for k in places], tenant=["calm", "busy"] * 100, input_tokens=100,
                 output_tokens=50, ttft_seconds=60.0, e2e_seconds=64.0)  # fmt: skip
    report(database, gateway())

    view = fairness(database.reader, live_scope)
    supposed = fairness(database.reader, live_scope, batch_tokens="500")
    weighed = fairness(database.reader, live_scope, weights="busy:2")

    assert view.measures["gap_bound_tokens"].value == 4_000
    assert any(
        "4,000 that the line vtc of gateway edge promises" in text for text in view.sentences
    )
    assert view.frames["gap"]["bound_tokens"].drop_nulls().unique().to_list() == [4_000.0]
    assert supposed.measures["gap_bound_tokens"].value == 2_000
    assert weighed.measures["gap_bound_tokens"].value is None
    assert isinstance(view.frames["gap"], pl.DataFrame)


def test_a_gap_beyond_the_bound_is_not_called_fair(database, add_requests, live_scope):
    """Shares may be even in the end: the first sentence says what was not."""
    places = range(200)
    add_requests([1000.0 - 4 * k for k in places], tenant=["calm", "busy"] * 100, input_tokens=100,
                 output_tokens=50, ttft_seconds=60.0, e2e_seconds=64.0)  # fmt: skip
    report(database, gateway(bound_service=10.0))

    first, second, *_ = fairness(database.reader, live_scope).sentences

    assert first.startswith("Two tenants that waited came farther apart than the bound")
    assert "beyond the 10 that the line vtc of gateway edge promises, for" in second
