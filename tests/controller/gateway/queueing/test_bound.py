"""The bound, the meter that watches it, and that lines keep it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.gateway.fleet import Instance
from controller.gateway.gate import Gate, Policies
from controller.gateway.queueing import registry
from controller.gateway.queueing.bound import Capacity, bound, least_possible
from controller.gateway.queueing.check import all_fit, ask, check_line
from controller.gateway.queueing.fcfs import Fcfs
from controller.gateway.queueing.meter import FairnessMeter, Metered
from controller.gateway.routing.least_outstanding import LeastOutstanding
from controller.gateway.trial.measures import Served, accumulated, windowed
from controller.gateway.trial.requests import Requests, predicted
from controller.gateway.trial.trial import ReplicaPlan, trial
from controller.profile import Profile, StepTimes

SEATS, LONGEST = 6, 200
PROFILE = Profile("test", StepTimes(0.01, 1e-4, 0.0, 1e-3), sequences=SEATS, cache_tokens=4_000)


def overload(seed: int, weights: dict[str, float] | None = None) -> Requests:
    """Three tenants that ask for more than there is, one of them for much more."""
    dice, n = np.random.default_rng(seed), 240
    output = dice.integers(1, 100, n)
    return Requests.of(
        dice.uniform(0, 30, n), dice.choice(["a", "b", "c"], n, p=[0.6, 0.25, 0.15]),
        dice.integers(1, 100, n), output, expected=predicted(output, 0.5, seed), weights=weights,
    )  # fmt: skip


@pytest.mark.parametrize(
    "name", [name for name in registry.LINES if registry.make(name).spec.is_bounded]
)
@pytest.mark.parametrize("weights", [None, {"a": 2.0, "b": 0.5}])
def test_lines_that_promise_a_bound_keep_it(name: str, weights: dict[str, float] | None) -> None:
    """Measured between all that wait, over every part of the time; first come breaks it."""
    for seed in range(2):
        meter = FairnessMeter(every_seconds=0.0)
        line = registry.make(name, quantum=300.0) if "dlpm" in name else registry.make(name)
        meter.limit = bound(
            line, Capacity(100, SEATS * LONGEST, min((weights or {"": 1}).values()))
        )
        policies = Policies(Metered(line, meter), LeastOutstanding())
        result = trial(overload(seed, weights), policies, [ReplicaPlan("one", PROFILE)])
        shown = meter.read(result.seconds)
        assert meter.limit is not None
        assert shown.greatest is not None
        assert 0 < shown.greatest <= meter.limit
        assert shown.breaches == 0


def test_first_come_first_served_breaks_it_and_the_meter_says_so() -> None:
    """An alarm while it is so, and a count that stays."""
    meter = FairnessMeter(limit=800.0, every_seconds=0.0)
    alarms: list[bool] = []

    def watch(gate: Gate, now: float) -> None:
        alarms.append(meter.read(now).is_broken)

    policies = Policies(Metered(Fcfs(), meter), LeastOutstanding())
    result = trial(overload(1), policies, [ReplicaPlan("one", PROFILE)], watch=watch)
    shown = meter.read(result.seconds)
    assert any(alarms)
    assert not shown.is_broken
    assert shown.breaches >= 1
    assert shown.waiting_since == {}
    assert sum(shown.service.values()) == pytest.approx(
        float((result.requests.prompt + 2 * result.requests.output).sum())
    )


@settings(max_examples=40, deadline=None)
@given(
    events=st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from(["waits", "left", "serves"])), max_size=40
    )
)
def test_the_meter_shows_the_greatest_difference_over_any_part_of_the_time(
    events: list[tuple[str, str]],
) -> None:
    """As all parts of the time, looked at one by one, say."""
    meter = FairnessMeter(every_seconds=0.0)
    waiting = dict.fromkeys("abc", 0)
    served = dict.fromkeys("abc", 0.0)
    since: dict[tuple[str, str], list[float]] = {}
    for now, (tenant, what) in enumerate(events):
        if what == "left" and not waiting[tenant]:
            continue
        if what == "serves":
            served[tenant] += now + 1
            meter.serves(tenant, now + 1, float(now))
        else:
            waiting[tenant] += 1 if what == "waits" else -1
            _ = meter.waits(tenant, float(now)) if what == "waits" else meter.left(tenant)
        for pair in (("a", "b"), ("a", "c"), ("b", "c")):
            if waiting[pair[0]] and waiting[pair[1]]:
                since.setdefault(pair, []).append(served[pair[0]] - served[pair[1]])
            else:
                since.pop(pair, None)
        ranges = [max(course) - min(course) for course in since.values()]
        assert meter.read(float(now)).apart == (max(ranges) if ranges else None)


@pytest.mark.parametrize("first", [1_000.0, None])
def test_a_pair_is_judged_by_what_was_promised_while_it_waited(first: float | None) -> None:
    """A fleet that shrinks breaks no promise of before; who comes later is promised less."""
    meter = FairnessMeter(limit=first, every_seconds=0.0)
    for tenant in "ab":
        meter.waits(tenant, 0.0)
    meter.promise(100.0)
    meter.serves("a", 600.0, 1.0)
    assert meter.read(1.0).breaches == 0
    meter.waits("c", 2.0)
    meter.serves("a", 150.0, 3.0)
    shown = meter.read(3.0)
    assert (shown.breaches, shown.is_broken, shown.broken_at) == (1, True, 3.0)
    meter.left("c")
    assert not meter.read(4.0).is_broken


def test_the_meter_stays_small() -> None:
    """Many tenants: some are not compared, and it says so; those that are gone are forgotten."""
    meter = FairnessMeter(most_compared=4)
    for number in range(10):
        meter.waits(f"t{number}", 0.0)
    assert meter.read(0.0).not_compared == 6
    meter.left("t0")
    assert meter.read(0.0).not_compared == 5
    for number in range(30_000):
        meter.waits(f"x{number}", 1.0)
        meter.serves(f"x{number}", 1.0, 1.0)
        meter.left(f"x{number}")
    assert len(meter.read(2.0).service) < 12_000


def test_the_bound_is_of_caches_or_of_seats() -> None:
    """Whichever holds less; lines without promise have none."""
    fleet = [Instance("a", "", seats=4, cache_tokens=1_000), Instance("b", "", seats=4)]
    capacity = Capacity.of_fleet(fleet, 300, 500, 0.5)
    assert capacity.held_tokens == 1_000 + 2_000
    assert bound(registry.make("vtc"), capacity) == 2 * 2 * 3_000 / 0.5
    assert bound(registry.make("vtc", output_weight=0.01), capacity) == 2 * 300 / 0.5
    assert bound(registry.make("dlpm", quantum=77.0), capacity) == 2 * 2 * 3_000 / 0.5 + 77
    assert bound(registry.make("fcfs"), capacity) is None
    assert least_possible(capacity) == 2 * 3_000


def test_a_metered_line_decides_as_the_one_inside() -> None:
    """And keeps the contract."""
    check_line(lambda: Metered(registry.make("vtc"), FairnessMeter()), steps=400)


def test_ours_lets_short_ones_of_a_tenant_pass_for_a_bounded_time() -> None:
    """By deadlines that grow with the cost; one that comes later than that waits behind."""
    line = registry.make("vtc-deadline", times_own=100.0)
    for number in range(40):
        line.put(ask(1000 + number, "other", float(number)), float(number))
        one = line.take(all_fit(), float(number))
        assert one is not None
        one.output_tokens = 50
        line.served(one, 50, is_over=False, now=float(number))
        line.served(one, 0, is_over=True, now=float(number))
    # About 200 of service a second: a cost of 1,100 is passed for a minute, capped at 0.05 x 1,100.
    line.put(ask(1, "a", 100.0, expected_output_tokens=500.0), 100.0)
    line.put(ask(2, "a", 110.0), 110.0)
    line.put(ask(3, "a", 190.0), 190.0)
    taken = [line.take(all_fit(), 200.0) for _ in range(3)]
    assert [one.number for one in taken if one is not None] == [2, 1, 3]


def test_ours_fills_room_that_the_next_does_not_fit_but_within_its_slack() -> None:
    """A little unfair for a moment, never more."""
    line = registry.make("vtc-deadline", slack_service=150.0)
    small = all_fit(lambda one: one.input_tokens < 300)
    line.put(ask(1, "large", 0.0, input_tokens=400), 0.0)
    for number in range(2, 12):
        line.put(ask(number, "small", 1.0), 1.0)
    passed = 0
    while line.take(small, 2.0) is not None:
        passed += 1
    assert passed == 1


def test_measures_are_those_of_the_artifact() -> None:
    """Worked by hand: two clients, one of which gets all."""
    long = np.array([0.0, 0.0])
    served = Served(
        np.array([0, 1]), np.ones(2), long, np.array([0.0, 400.0]), np.array([400.0, 401.0]),
        np.array([4000.0, 4000.0]),
    )  # fmt: skip
    assert accumulated(served, 130.0) == pytest.approx(1000.0)
    # In the first window demand of both is 0 after the start: served for nothing they asked then.
    np.testing.assert_allclose(windowed(served, 130.0), [0.0, 0.0])
    asked = Served(
        np.array([0, 1]), np.ones(2), np.array([40.0, 40.0]), np.array([40.0, 400.0]),
        np.array([80.0, 401.0]), np.array([600.0, 600.0]),
    )  # fmt: skip
    np.testing.assert_allclose(windowed(asked, 90.0), [10.0])
