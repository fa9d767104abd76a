"""The bound of fair lines, watched while they serve: what is shown, and when it warns."""

from __future__ import annotations

import dataclasses
import json
import logging
import random
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.gateway.ask import Ask, SloClass
from controller.gateway.doubles.engine import Engine, running
from controller.gateway.fairness_watch import FairnessWatch
from controller.gateway.fleet import Instance
from controller.gateway.gate import Gate, Policies
from controller.gateway.queueing import registry
from controller.gateway.queueing.base import Line
from controller.gateway.queueing.fcfs import Fcfs
from controller.gateway.routing.least_outstanding import LeastOutstanding
from controller.gateway.tenant_book import TenantBook
from controller.gateway.trial.requests import Requests, predicted
from controller.gateway.trial.trial import ReplicaPlan, trial
from controller.profile import Profile, StepTimes
from servescope.gateway.settings import GatewaySettings
from servescope.gateway.steering import Steering
from store.clock import VirtualClock

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
SEATS = 4
PROFILE = Profile("test", StepTimes(0.01, 1e-4, 0.0, 1e-3), sequences=SEATS, cache_tokens=4_000)
BOUNDED = [name for name in registry.LINES if registry.make(name).spec.is_bounded]


class Liar:
    """First come, first served, and says that it is fair."""

    def __init__(self) -> None:
        self.inside = Fcfs()
        self.put, self.take = self.inside.put, self.inside.take
        self.drop, self.served = self.inside.drop, self.inside.served

    @property
    def spec(self):
        return dataclasses.replace(self.inside.spec, name="liar", is_bounded=True)


class Place:
    """A gate of one replica whose line is watched."""

    def __init__(self, line: Line, seats: int = 1) -> None:
        self.clock = VirtualClock(NOW)
        self.watch = FairnessWatch(self.clock)
        self.gate = Gate(self.watch.over(Policies(line, LeastOutstanding())))
        self.watch.attach(self.gate)
        self.gate.join(Instance("one", "http://one", seats=seats))
        self.number = 0

    @property
    def state(self):
        return self.watch.state()

    def comes(self, tenant, tokens=100, **more):
        self.number += 1
        sizes = {
            "input_tokens": tokens, "expected_output_tokens": 1.0, "likely_output_tokens": 1.0
        }  # fmt: skip
        ask = Ask(self.number, self.clock.monotonic(), tenant, **{"model": "m", **sizes, **more})
        assert self.gate.arrive(ask, self.clock.monotonic()) is None
        return ask

    def serves(self, output_tokens=0):
        """Whoever is next, from its start to its end."""
        now = self.clock.monotonic()
        for ask, _ in self.gate.starts(now):
            if output_tokens:
                self.gate.produced(ask, output_tokens, now)
            self.gate.ended(ask, now)
        self.clock.advance(1.0)

    def is_unfair(self):
        """All of a before b: beyond any bound."""
        for tenant in ("a",) * 30 + ("b",) * 30:
            self.comes(tenant)
        for _ in range(40):
            self.serves()


def test_a_broken_promise_is_counted_shown_and_logged(caplog):
    """An alarm while it is so; after it the count and how long ago; no name in the state."""
    place = Place(Liar())
    for tenant in ("a",) * 30 + ("b",) * 30:
        place.comes(tenant)
    with caplog.at_level(logging.WARNING):
        for _ in range(25):
            place.serves()
            place.watch.tend()
    during = place.state
    assert during["is_broken"]
    assert during["breaches"] == 1
    assert during["apart_service"] > during["bound_service"] == 2 * 2 * 101
    (record,) = [one for one in caplog.records if one.message == "fairness_bound_broken"]
    assert record.between == ("a", "b")
    for _ in range(35):
        place.serves()
    after = place.state
    assert not after["is_broken"]
    assert after["breaches"] == 1
    assert 30 <= after["broken_seconds_ago"] <= 36
    assert '"a"' not in json.dumps(after)


@pytest.mark.parametrize("name", BOUNDED)
def test_a_kept_promise_is_no_alarm(name):
    """The gap is told beside the bound."""
    place = Place(registry.make(name))
    place.is_unfair()
    assert place.state["breaches"] == 0
    assert 0 < place.state["greatest_gap_service"] <= place.state["bound_service"]


def test_a_line_without_a_promise_has_no_bound():
    """The gap is measured all the same, and it is said why there is no bound."""
    place = Place(Fcfs())
    place.is_unfair()
    assert place.state["bound_service"] is None
    assert place.state["why_no_bound"] == "the line fcfs promises none"
    assert place.state["greatest_gap_service"] >= 2_900
    assert place.state["breaches"] == 0


@pytest.mark.parametrize("other", [{"model": "n"}, {"slo": SloClass(priority=1)}])
def test_no_bound_holds_among_models_and_priorities(other):
    """They pass each other by right: that is no alarm."""
    place = Place(Liar())
    place.comes("a")
    assert place.state["bound_service"] is not None
    place.comes("b", **other)
    place.is_unfair()
    assert place.state["bound_service"] is None
    assert "several models or priorities" in place.state["why_no_bound"]
    assert place.state["breaches"] == 0


def test_before_the_first_request_nothing_is_known():
    """No bound, no gap: unknown, not 0."""
    state = Place(registry.make("vtc")).state
    assert (state["bound_service"], state["apart_service"]) == (None, None)
    assert state["why_no_bound"] == "no request was seen yet"


def test_the_bound_follows_the_fleet_sizes_and_weights():
    """As 2 max(L, 2 M) over the smallest weight has it."""
    place = Place(registry.make("vtc"), seats=2)
    place.comes("a", 99)
    assert place.state["bound_service"] == 2 * 2 * (2 * 100)
    place.comes("a", 199)
    assert place.state["bound_service"] == 2 * 2 * (2 * 200)
    place.comes("b", weight=0.5)
    assert place.state["bound_service"] == 2 * 2 * (2 * 200) / 0.5
    place.gate.join(Instance("two", "http://two", seats=100, cache_tokens=1_000))
    place.watch.tend()
    assert place.state["bound_service"] == 2 * 2 * (400 + 1_000) / 0.5
    one, _ = place.gate.starts(0.0)[0]
    place.gate.produced(one, 300, 0.0)
    place.gate.ended(one, 0.0)
    assert place.state["bound_service"] == 2 * 2 * (2 * 399 + 1_000) / 0.5


def test_what_the_engine_counts_is_in_the_bound():
    """A prompt that was estimated too small, and a cache that holds more than it seems."""
    place = Place(registry.make("vtc"))
    ask = place.comes("a", 100)
    ((one, _),) = place.gate.starts(0.0)
    place.gate.produced(one, 1, 0.0)
    ask.told_input_tokens = 900
    place.gate.ended(one, 0.0)
    assert place.state["bound_service"] == 2 * 2 * 901
    place.gate.instances["one"].cache_tokens = 500
    place.watch.tend()
    assert place.state["bound_service"] == 2 * 2 * 500
    ask = place.comes("a", 800)
    ((one, _),) = place.gate.starts(1.0)
    place.gate.produced(one, 100, 1.0)
    ask.told_input_tokens = 500
    place.gate.ended(one, 1.0)
    assert place.state["bound_service"] == 2 * 2 * (500 * 900 / 600)


def test_weights_that_are_no_more_count_no_more():
    """A new file of tenants is enough; whoever is here is looked at again."""
    place = Place(registry.make("vtc"))
    steering = Steering(GatewaySettings(), place.clock)
    steering.attach(place.gate, lambda: None, place.watch)
    place.comes("a", weight=0.5)
    place.serves()
    place.comes("b", weight=2.0)

    steering.use_book(TenantBook())
    assert place.state["smallest_weight"] == 2.0


def test_a_change_of_policy_keeps_the_meter_and_begins_pairs_anew():
    """What was served and broken stays; the new line is judged by its own time alone."""
    place = Place(Liar())
    steering = Steering(GatewaySettings(), place.clock)
    steering.attach(place.gate, lambda: None, place.watch)
    for tenant in ("a",) * 40 + ("b",) * 60:
        place.comes(tenant)
    for _ in range(25):
        place.serves()
    before = place.watch.meter.read(0.0).service
    steering.use_policy({"line": "vtc"})
    assert place.state["line"] == "vtc"
    assert place.state["breaches"] == 1
    assert not place.state["is_broken"]
    for _ in range(20):
        place.serves()
    assert place.state["breaches"] == 1
    assert 0 < place.state["greatest_gap_service"] <= place.state["bound_service"]
    assert place.watch.meter.read(0.0).service["a"] > before["a"] == 2_500


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 1_000), name=st.sampled_from(BOUNDED),
    leaves=st.floats(3.0, 20.0), comes=st.floats(1.0, 20.0),
)  # fmt: skip
def test_a_line_that_keeps_its_promise_never_raises_an_alarm(seed, name, leaves, comes):
    """Whatever comes and goes of the fleet, and however wrong predictions are."""
    dice, n = np.random.default_rng(seed), 200
    output = dice.integers(1, 100, n)
    weights = {"a": 2.0, "b": 0.5}
    requests = Requests.of(
        dice.uniform(0, 20, n), dice.choice(["a", "b", "c"], n, p=[0.6, 0.25, 0.15]),
        dice.integers(1, 100, n), output, expected=predicted(output, 0.5, seed), weights=weights,
    )  # fmt: skip
    clock = VirtualClock(NOW)
    watch = FairnessWatch(clock)
    zero = clock.monotonic()

    def look(gate, at):
        watch.attach(gate)
        clock.advance(max(zero + at - clock.monotonic(), 0.0))
        watch.tend()

    plans = [ReplicaPlan("one", PROFILE), ReplicaPlan("two", PROFILE, leaves_at=leaves),
             ReplicaPlan("three", PROFILE, ready_at=comes)]  # fmt: skip
    policies = watch.over(Policies(registry.make(name), LeastOutstanding()))
    trial(requests, policies, plans, watch=look)
    shown = watch.state()
    assert shown["breaches"] == 0
    # With three replicas nearly all the time nobody may have waited beside another.
    gap = shown["greatest_gap_service"]
    assert gap is None or gap > 0


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), name=st.sampled_from(BOUNDED), seats=st.integers(1, 8))
def test_wrong_estimates_raise_no_alarm(seed, name, seats):
    """Each tenant's prompts are estimated wrongly in its own way; all wait all the time."""
    dice = random.Random(seed)  # noqa: S311
    place = Place(registry.make(name), seats=seats)
    wrong = {tenant: dice.choice([0.2, 0.5, 1.0, 2.0, 5.0]) for tenant in "abc"}
    left: dict[int, int] = {}
    for step in range(400):
        for tenant in "abc":
            while place.gate.sight("m", 0.0).waiting_of[tenant] < 2:
                place.comes(tenant, dice.randint(1, 200), weight=1.0 if tenant == "a" else 0.5,
                            expected_output_tokens=float(dice.randint(1, 200)))  # fmt: skip
        now = float(step)
        for ask, _ in place.gate.starts(now):
            left[ask.number] = dice.randint(1, 100)
        for ask in tuple(place.gate.instances["one"].running.values()):
            tokens = min(dice.randint(1, 30), left[ask.number])
            place.gate.produced(ask, tokens, now)
            left[ask.number] -= tokens
            if not left[ask.number]:
                ask.told_input_tokens = max(round(ask.input_tokens * wrong[ask.tenant]), 1)
                place.gate.ended(ask, now)
        place.watch.tend()
    assert place.state["breaches"] == 0
    assert place.state["greatest_gap_service"] > 0


async def test_the_gateway_tells_of_it_without_names(gateway):
    """Status, metrics and the word to the server."""
    async with running(Engine()) as engine, gateway(engine, line={"name": "vtc"}) as one:
        client = await one.talk()
        client.post({"model": "tiny", "messages": [], "user": "secret-name"})
        assert (await client.answer()).status == 200
        client.get("/gateway/status")
        status = (await client.answer()).body.decode()
        client.get("/metrics")
        metrics = (await client.answer()).body.decode()
        details = one.made.beside.standing()["details"]
    told = json.loads(status)["fairness"]
    assert told["line"] == "vtc"
    assert told["bound_service"] > 0
    assert f"servescope_gateway_fairness_bound_service {told['bound_service']}" in metrics
    assert "servescope_gateway_fairness_breaches_total 0.0" in metrics
    # Nobody waited beside another: the gap is not known, which is no sample of 0.
    assert "\nservescope_gateway_fairness_gap_service " not in metrics
    assert details["fairness"]["bound_service"] == told["bound_service"]
    assert "secret-name" not in status + metrics + json.dumps(details)
