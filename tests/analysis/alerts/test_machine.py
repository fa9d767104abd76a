"""Alerts come, stay and go as their conditions do, and unknown is neither."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.alerts.machine import FORGOTTEN, GONE, OFF, OVER, step
from analysis.alerts.model import Asked, Reading, fingerprint

START = datetime(2026, 3, 1, tzinfo=UTC)
STEP = timedelta(seconds=15)
ALLOWED = {
    None: {"pending", "firing"},
    "pending": {"firing", "inactive"},
    "firing": {"resolved"},
}


def asked(active, *, hold=60.0, keep=30.0, is_whole=True, named="a"):
    reading = Reading({"model": named}, active, f"says {active}", 1.0)
    return {"outage": Asked("page", hold, keep, (reading,), is_whole)}


def walk(words, held=None, start=START, **more):
    """Steps of 15 s; gives what is held and (seconds, state, why) of every change."""
    held, told = held or {}, []
    for number, word in enumerate(words):
        now = start + number * STEP
        held, changes = step(held, asked(word, **more), now)
        told += [((now - START).total_seconds(), one.state, one.why) for one in changes]
    return held, told


def test_an_alert_waits_fires_and_is_resolved_with_patience():
    """Four steps of a minute's patience, then two of half a minute's calm."""
    _, told = walk([True] * 6 + [False] * 3)
    assert told == [(0.0, "pending", ""), (60.0, "firing", ""), (120.0, "resolved", OVER)]


def test_what_is_over_before_it_fires_was_nothing():
    """A pending alert ends as inactive."""
    held, told = walk([True, True, False])
    assert told == [(0.0, "pending", ""), (30.0, "inactive", OVER)]
    assert held == {}


def test_a_flapping_condition_does_not_resolve():
    """One good answer among bad ones is no end."""
    held, told = walk([True] * 5 + [False, True, False, True, False, True])
    assert [state for _, state, _ in told] == ["pending", "firing"]
    assert len(held) == 1


def test_unknown_resolves_nothing_and_fires_nothing():
    """Hours of silence leave a firing alert firing and a pending one pending."""
    held, told = walk([True] * 5 + [None] * 1000)
    assert [state for _, state, _ in told] == ["pending", "firing"]
    assert next(iter(held.values())).blind_at is not None
    held, told = walk([True] * 2 + [None] * 1000)
    assert [state for _, state, _ in told] == ["pending"]
    # And the silent time does not count afterwards: it still takes its minute.
    _, more = walk([True] * 5, held, START + 1002 * STEP)
    assert [state for _, state, _ in more] == ["firing"]
    assert more[0][0] == pytest.approx(1002 * 15 + 30, abs=15)


def test_time_in_which_nothing_is_known_is_no_calm():
    """Good, then silence, then good: the calm is only what was seen."""
    _, told = walk([True] * 5 + [False] + [None] * 100 + [False])
    assert [state for _, state, _ in told] == ["pending", "firing"]


def test_a_rule_that_cannot_be_asked_leaves_its_alerts_alone():
    """Its answer is None for everything."""
    held, _ = walk([True] * 5)
    broken = {"outage": Asked("page", 60, 30, None)}
    after, changes = step(held, broken, START + timedelta(hours=2))
    assert not changes
    assert after.keys() == held.keys()


@pytest.mark.parametrize(("answer", "why"), [({}, OFF), ("whole", GONE)])
def test_what_a_rule_is_not_about_any_more_ends(answer, why):
    """A rule switched off, or a thing that is gone, resolves and says why."""
    held, _ = walk([True] * 5)
    given_ = {"outage": Asked("page", 60, 30, ())} if answer == "whole" else {}
    after, changes = step(held, given_, START + timedelta(hours=2))
    assert after == {}
    assert [(one.state, one.why) for one in changes] == [("resolved", why)]


def test_a_thing_that_is_not_mentioned_is_given_up_after_a_day():
    """Where a rule only mentions what it sees, missing is unknown, for a day."""
    held, _ = walk([True] * 5)
    silent = {"outage": Asked("page", 60, 30, (), is_whole=False)}
    held, changes = step(held, silent, START + timedelta(hours=1))
    assert not changes
    _, changes = step(held, silent, START + timedelta(hours=26))
    assert [one.why for one in changes] == [FORGOTTEN]


def test_no_patience_fires_at_once():
    """for 0 s: there is no pending."""
    _, told = walk([True, False, False, False], hold=0.0)
    assert [state for _, state, _ in told] == ["firing", "resolved"]


def test_the_same_thing_twice_is_one_alert():
    """Readings with the same labels: the first counts."""
    one = Reading({"model": "a"}, True, "x")
    both = {"outage": Asked("page", 0, 0, (one, replace(one, active=False)))}
    _, changes = step({}, both, START)
    assert [change.state for change in changes] == ["firing"]


WORDS = st.lists(st.sampled_from([True, False, None]), max_size=60)


@given(WORDS, st.sampled_from([0.0, 15.0, 60.0, 200.0]), st.sampled_from([0.0, 30.0, 300.0]))
def test_whatever_is_said_the_states_follow_each_other(words, hold, keep):
    """Only allowed changes; nothing fires without its patience in bad answers that were seen."""
    _, told = walk(words, hold=hold, keep=keep)
    state = None
    for _, became, _ in told:
        assert became in ALLOWED[state]
        state = None if became in ("inactive", "resolved") else became
    firings = sum(became == "firing" for _, became, _ in told)
    assert firings <= sum(word is True for word in words)
    if hold >= 15 * len(words) and hold > 0:
        assert firings == 0


@given(WORDS)
def test_unknown_alone_changes_nothing(words):
    """Taking a step in which nothing is known changes no state, wherever it is put."""
    held, _ = walk(words)
    after, changes = step(held, asked(None), START + len(words) * STEP)
    assert not changes
    assert {one.state for one in after.values()} == {one.state for one in held.values()}


@given(WORDS, WORDS)
def test_two_things_do_not_touch_each_other(first, second):
    """An alert's life is the same alone and beside another."""
    alone = walk(first)[1]
    held, told = {}, []
    for number, word in enumerate(first):
        other = second[number] if number < len(second) else None
        both = (
            Reading({"model": "a"}, word, "x"),
            Reading({"model": "b"}, other, "y"),
        )
        now = START + number * STEP
        held, changes = step(held, {"outage": Asked("page", 60.0, 30.0, both)}, now)
        told += [
            ((now - START).total_seconds(), one.state, one.why)
            for one in changes
            if one.labels["model"] == "a"
        ]
    assert told == alone


def test_fingerprints_are_those_of_prometheus():
    """FNV-1a over names and values with 0xff between; the empty set is the offset basis."""
    assert fingerprint({}) == "cbf29ce484222325"
    assert fingerprint({"a": "b", "c": "d"}) == fingerprint({"c": "d", "a": "b"})
    assert fingerprint({"a": "bc"}) != fingerprint({"ab": "c"})
