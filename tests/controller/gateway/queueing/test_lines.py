"""Lines: the contract over all of them, and what each is for."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.gateway.ask import SloClass
from controller.gateway.queueing import counters, registry
from controller.gateway.queueing.base import Line, Room
from controller.gateway.queueing.check import all_fit, ask, check_line
from controller.gateway.queueing.counter_line import CounterLine
from controller.gateway.queueing.ranking import Ranking
from store.errors import ControllerError


def order(line: Line, count: int, now: float = 100.0, tokens: int = 0) -> list[str]:
    """Tenants in the order they go; each is served at once."""
    found = []
    for _ in range(count):
        one = line.take(all_fit(), now)
        if one is None:
            break
        found.append(one.tenant)
        one.output_tokens = tokens
        line.served(one, tokens, is_over=False, now=now)
        line.served(one, 0, is_over=True, now=now)
    return found


@pytest.mark.parametrize("name", registry.LINES)
def test_every_line_keeps_the_contract(name: str) -> None:
    """Nobody is lost or goes twice; ties, priorities, models, floods, strangers."""
    check_line(lambda: registry.make(name))


@pytest.mark.parametrize("name", registry.LINES)
def test_defaults_are_what_the_spec_tells(name: str) -> None:
    """What people read of a line is what it does."""
    line = registry.make(name)
    assert line.spec.name == name
    assert dict(line.spec.parameters) == registry.defaults(name)


@pytest.mark.parametrize(
    ("name", "parameters", "said"),
    [
        ("vtcc", {}, "no line 'vtcc'"),
        ("vtc", {"inputs": 1.0}, "no parameter 'inputs'"),
        ("fcfs", {"any": 1}, "no parameter 'any'"),
        ("vtc", {"input_weight": "much"}, "must be a number"),
        ("vtc", {"input_weight": -1.0}, "0 or more"),
        ("vtc", {"output_weight": math.inf}, "0 or more"),
        ("mlfq", {"levels": 2.5}, "a whole number"),
        ("mlfq", {"levels": 0}, "levels"),
        ("mlfq", {"starve_seconds": math.nan}, "starve_seconds"),
        ("vtc-deadline", {"slack_service": -1.0}, "slack_service"),
        ("rpm", {"requests_per_minute": 0.0}, "above 0"),
        ("dlpm", {"quantum": 0.0}, "quantum"),
        ("shortest-first", {"every": 0}, "every"),
        ("program-aware", {"half_life_seconds": 0.0}, "half_life_seconds"),
        ("program-aware", {"service_share": 1.5}, "service_share"),
    ],
)
def test_what_cannot_be_is_one_clear_line(
    name: str, parameters: dict[str, object], said: str
) -> None:
    """Unknown names and values out of range say so."""
    with pytest.raises(ControllerError, match=said):
        registry.make(name, **parameters)


def test_vtc_gives_the_next_place_to_whoever_had_least() -> None:
    """A tenant with large prompts has fewer of them."""
    line = registry.make("vtc")
    for number in range(60):
        heavy = number % 2
        line.put(
            ask(number, "heavy" if heavy else "light", input_tokens=400 if heavy else 100), 0.0
        )
    assert order(line, 25).count("heavy") == 5


def test_weights_share_in_proportion() -> None:
    """Three times the weight has three times as much."""
    line = registry.make("vtc-predicted")
    for number in range(80):
        line.put(ask(number, "ab"[number % 2], weight=(1.0, 3.0)[number % 2]), 0.0)
    assert order(line, 40, tokens=50).count("b") == 30


@pytest.mark.parametrize(("name", "runs"), [("vtc", 1), ("lcf", 20)])
def test_who_was_away_has_nothing_saved_up_but_in_lcf(name: str, runs: int) -> None:
    """Twenty requests later a newcomer has its turn, not all the turns."""
    line = registry.make(name)
    for number in range(60):
        line.put(ask(number, "old"), 0.0)
    assert order(line, 20, tokens=50) == ["old"] * 20
    for number in range(100, 140):
        line.put(ask(number, "new"), 50.0)
    found = order(line, 30, tokens=50)
    longest, run = 0, 0
    for tenant in found:
        run = run + 1 if tenant == "new" else 0
        longest = max(longest, run)
    assert longest == runs


def test_vtc_lifts_to_the_last_that_left_when_nobody_waits() -> None:
    """Who comes to an empty queue starts where the last tenant is."""
    line = registry.make("vtc")
    assert isinstance(line, CounterLine)
    line.put(ask(1, "old", input_tokens=1000), 0.0)
    assert order(line, 1) == ["old"]
    line.put(ask(2, "new"), 1.0)
    assert line.counters("new") == 1000.0


@settings(max_examples=60, deadline=None)
@given(
    expected=st.floats(1, 300),
    tokens=st.lists(st.integers(1, 80), max_size=8),
    weight=st.sampled_from([0.5, 1.0, 3.0]),
)
def test_predicted_lengths_are_corrected_to_what_came(
    expected: float, tokens: list[int], weight: float
) -> None:
    """However wrong the prediction, in the end both charge the same."""
    totals = []
    for name in ("vtc", "vtc-predicted"):
        line = registry.make(name)
        assert isinstance(line, CounterLine)
        one = ask(1, expected_output_tokens=expected, weight=weight)
        line.put(one, 0.0)
        assert line.take(all_fit(), 0.0) is one
        for count in tokens:
            one.output_tokens += count
            line.served(one, count, is_over=False, now=1.0)
        line.served(one, 0, is_over=True, now=2.0)
        totals.append(line.counters("a"))
    assert totals[0] == pytest.approx(totals[1])
    assert totals[0] == pytest.approx((100 + 2 * sum(tokens)) / weight)


def test_counters_stay_small_however_many_names_there_were(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Thousands of names of one request each are not kept."""
    monkeypatch.setattr(counters, "MOST_IDLE", 200)
    line = registry.make("vtc-predicted")
    assert isinstance(line, CounterLine)
    for number in range(2_000):
        line.put(ask(number, f"t{number}", 0.0), 0.0)
        order(line, 1, tokens=50)
    assert len(line.counters) <= 201


def test_rpm_lets_tenants_wait_for_their_minute() -> None:
    """Two a minute: the third goes a minute after the first; others are not held up."""
    line = registry.make("rpm", requests_per_minute=2.0)
    for number in range(5):
        line.put(ask(number, "busy"), 0.0)
    line.put(ask(9, "other"), 0.0)
    assert order(line, 9, now=0.0) == ["busy", "busy", "other"]
    assert order(line, 9, now=59.0) == []
    assert order(line, 9, now=60.0) == ["busy", "busy"]


def test_dlpm_prefers_what_is_cached_while_there_is_credit() -> None:
    """A match goes first, until its tenant has had its quantum."""
    line = registry.make("dlpm", quantum=500.0)
    for number in range(40):
        line.put(ask(number, "ab"[number % 2], prefix=(1,)), 0.0)
    found = []
    for _ in range(12):
        one = line.take(Room(lambda ask: True, lambda ask: 90 if ask.tenant == "b" else 0), 1.0)
        assert one is not None
        one.cached_tokens = 90 if one.tenant == "b" else 0
        one.output_tokens = 50
        line.served(one, 50, is_over=False, now=1.0)
        line.served(one, 0, is_over=True, now=1.0)
        found.append(one.tenant)
    assert found[:5] == ["b"] * 5
    assert "a" in found[5:8]


def test_d2lpm_has_credit_by_replica() -> None:
    """A tenant that used up one replica still goes to another."""
    line = registry.make("d2lpm", quantum=200.0)
    for number in range(30):
        line.put(ask(number, "ab"[number % 2]), 0.0)
    went = {"one": [], "two": []}  # type: dict[str, list[str]]
    for turn in range(20):
        name = ("one", "two")[turn % 2]
        where = Room(lambda ask: True, where=lambda ask, name=name: name)  # type: ignore[misc]
        taken = line.take(where, 1.0)
        assert taken is not None
        taken.output_tokens = 50
        line.served(taken, 50, is_over=False, now=1.0)
        line.served(taken, 0, is_over=True, now=1.0)
        went[name].append(taken.tenant)
    for tenants in went.values():
        assert abs(tenants.count("a") - tenants.count("b")) <= 2


def test_mlfq_lets_short_prompts_pass_but_not_for_ever() -> None:
    """A long prompt waits at most so long."""
    line = registry.make("mlfq", starve_seconds=10.0)
    line.put(ask(0, "long", 0.0, input_tokens=4000), 0.0)
    for number in range(1, 6):
        line.put(ask(number, "short", 1.0), 1.0)
    assert order(line, 2, now=5.0) == ["short", "short"]
    assert order(line, 1, now=10.0) == ["long"]


def test_shortest_first_gives_every_nth_place_to_who_waits_longest() -> None:
    """So one with k before it has its turn after n (k + 1) others."""
    line = registry.make("shortest-first", every=4, patience_seconds=0.0)
    line.put(ask(0, "long", 0.0, expected_output_tokens=900.0), 0.0)
    for number in range(1, 20):
        line.put(ask(number, "short", 1.0), 1.0)
    assert order(line, 5).index("long") == 3


def test_programs_that_had_little_lately_go_first() -> None:
    """And what they had is forgotten with time."""
    line = registry.make("program-aware", half_life_seconds=10.0)
    for number in range(8):
        line.put(ask(number, "a", 0.0, session="busy"), 0.0)
    assert order(line, 4, now=1.0, tokens=500) == ["a"] * 4
    line.put(ask(100, "a", 1.0, session="quiet"), 1.0)
    first = line.take(all_fit(), 2.0)
    assert first is not None
    assert first.session == "quiet"


def test_service_of_programs_is_finite_after_a_year() -> None:
    """Fading never overflows, and keeps the order."""
    line = registry.make("program-aware", half_life_seconds=1.0)
    for day in range(40):
        now = day * 86_400.0
        line.put(ask(2 * day, "a", now, session="x"), now)
        assert order(line, 1, now=now, tokens=100) == ["a"]
    now += 1.0
    line.put(ask(900, "a", now, session="x"), now)
    line.put(ask(901, "a", now, session="y"), now)
    second = line.take(all_fit(), now)
    assert second is not None
    assert second.session == "y"


def test_a_high_priority_that_does_not_fit_is_not_passed_in_its_model() -> None:
    """Or small ones would take the room that it waits for."""
    line = registry.make("vtc")
    line.put(ask(1, "a", slo=SloClass("high", priority=2), input_tokens=900), 0.0)
    line.put(ask(2, "b"), 0.0)
    assert line.take(all_fit(lambda one: one.input_tokens < 500), 1.0) is None


@settings(max_examples=60, deadline=None)
@given(
    changes=st.lists(
        st.tuples(st.sampled_from("abcdefgh"), st.integers(0, 9), st.booleans()), max_size=60
    )
)
def test_a_ranking_is_sorted_whatever_changes(changes: list[tuple[str, int, bool]]) -> None:
    """As if all were sorted anew."""
    values: dict[str, float] = {}
    ranking = Ranking(lambda name: (values[name],))
    for name, value, stays in changes:
        if not stays:
            ranking.discard(name)
            values.pop(name, None)
        elif name in values:
            values[name] = value
            ranking.touch(name)
        else:
            values[name] = value
            ranking.add(name)
        assert list(ranking) == sorted(values, key=lambda one: (values[one], one))


@pytest.mark.parametrize("name", ["vtc", "lcf", "vtc-predicted", "vtc-deadline"])
def test_prompts_that_were_estimated_too_short_are_paid_in_the_end(name: str) -> None:
    """A tenant whose prompts are four times what was thought goes a quarter as often."""
    line, went = registry.make(name), {"a": 0, "b": 0}
    for number in range(200):
        for tenant in "ab":
            line.put(ask(2 * number + (tenant == "b"), tenant, input_tokens=100), 0.0)
    for step in range(100):
        one = line.take(all_fit(), 1.0 + step)
        assert one is not None
        went[one.tenant] += 1
        one.told_input_tokens = 400 if one.tenant == "a" else 100
        line.served(one, 0, is_over=True, now=1.0 + step)
    assert went["b"] == pytest.approx(4 * went["a"], abs=4)
