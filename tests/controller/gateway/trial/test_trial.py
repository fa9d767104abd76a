"""A trial: the same steps as the fine simulator, every request in one end, the same twice."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.gateway.admission.base import Refusal, RuleSpec
from controller.gateway.ask import Ask
from controller.gateway.fleet import Sight
from controller.gateway.gate import Gate, Policies
from controller.gateway.queueing.fcfs import Fcfs
from controller.gateway.routing.least_outstanding import LeastOutstanding
from controller.gateway.trial.requests import Requests, predicted
from controller.gateway.trial.trial import Clients, ReplicaPlan, trial
from controller.profile import Profile, StepTimes
from controller.simulator import fine
from controller.simulator.workload import Workload
from store.errors import ControllerError

PROFILE = Profile(
    "test", StepTimes(0.01, 1e-4, 0.0, 1e-3, 0.0, 1e-6, 0.005), sequences=8, cache_tokens=100_000
)


def first_come() -> Policies:
    """What has nothing to learn."""
    return Policies(Fcfs(), LeastOutstanding())


def some(n: int = 60, seconds: float = 20.0, seed: int = 1) -> Requests:
    """Requests of two tenants."""
    dice = np.random.default_rng(seed)
    return Requests.of(
        dice.uniform(0, seconds, n), [f"t{one % 2}" for one in range(n)],
        dice.integers(10, 400, n), dice.integers(1, 80, n),
    )  # fmt: skip


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 1000),
    is_chunked=st.booleans(),
    cache=st.sampled_from([1_000, 100_000]),
    growth=st.sampled_from([0.0, 1e-6]),
)
def test_steps_are_those_of_the_fine_simulator(
    seed: int, is_chunked: bool, cache: int, growth: float
) -> None:
    """Jumps over steps that are alike change no time, nor do full caches."""
    dice, n = np.random.default_rng(seed), 40
    at, prompt = np.sort(dice.uniform(0, 8, n)), dice.integers(10, 400, n)
    output = dice.integers(1, 80, n)
    step = replace(PROFILE.step, cached_token_seconds=growth)
    profile = replace(PROFILE, step=step, is_chunked=is_chunked, cache_tokens=cache)
    truth = fine.simulate(Workload.of(at, prompt, output), profile, 1)
    plan = ReplicaPlan("one", profile, seats=8)
    result = trial(Requests.of(at, ["a"] * n, prompt, output), first_come(), [plan])
    if cache == 100_000:
        np.testing.assert_allclose(result.ttft, truth.ttft, atol=1e-9)
        np.testing.assert_allclose(result.e2e, truth.e2e, atol=1e-9)
        np.testing.assert_allclose(result.longest_gap, truth.longest_gap, atol=1e-9)
    assert not np.isnan(result.end).any()


def test_the_gate_hears_of_every_token_and_every_end() -> None:
    """What it counted is what was asked for, and nothing is left in its books."""
    requests, gates = some(), []
    plans = [ReplicaPlan(name, PROFILE, 4) for name in ("one", "two")]
    result = trial(requests, first_come(), plans, watch=lambda gate, _: gates.append(gate))
    gate = gates[-1]
    assert gate.counted.ended == len(requests)
    for instance in gate.instances.values():
        assert (instance.held_tokens, instance.prompt_tokens_ahead, instance.running) == (0, 0, {})
    assert (result.first > result.started).all()
    assert (result.end >= result.first).all()


@pytest.mark.parametrize("every", [0.0, 0.5])
def test_the_same_arguments_give_the_same_result(every: float) -> None:
    """However often the gate is told of tokens, no time changes where the line does not mind."""
    plans = [ReplicaPlan(name, PROFILE, 3) for name in ("one", "two", "three")]
    one = trial(some(), first_come(), plans)
    two = trial(some(), first_come(), plans, told_every_seconds=every)
    np.testing.assert_array_equal(one.end, two.end)
    assert one.replica == two.replica


def test_replicas_come_and_go_as_planned() -> None:
    """Nothing is handed to one that is not there, and what one has it ends."""
    seen: list[tuple[float, int]] = []

    def watch(gate: Gate, now: float) -> None:
        seen.append((now, len(gate.starting)))

    plans = [
        ReplicaPlan("first", PROFILE, 2, leaves_at=5.0),
        ReplicaPlan("second", PROFILE, 2, announced_at=3.0, ready_at=9.0, said_ready_at=8.0),
    ]
    result = trial(some(), first_come(), plans, watch=watch)
    names = np.array(result.replica)
    assert (result.started[names == "first"] <= 5.0).all()
    assert (result.started[names == "second"] >= 9.0).all()
    assert result.is_served.all()
    assert {count for at, count in seen if 3.0 <= at < 9.0} == {1}
    assert {count for at, count in seen if not 3.0 <= at < 9.0} == {0}


class OneAtATime:
    """Lets one in at a time."""

    spec = RuleSpec("one", "One", "test")

    def judge(self, ask: Ask, sight: Sight) -> Refusal | None:
        busy = sum(len(one.running) for one in sight.instances) + sight.waiting
        return Refusal("busy", "busy") if busy else None

    def entered(self, ask: Ask, now: float) -> None:
        pass

    def ended(self, ask: Ask, now: float) -> None:
        pass


@pytest.mark.parametrize("told", [None, 2.0])
def test_refused_clients_come_again_when_they_are_told(told: float | None) -> None:
    """After what they were told, or after half a second and more; then they give up."""
    n = 6
    requests = Requests.of(np.zeros(n), ["a"] * n, [100] * n, [40] * n)
    policies = Policies(Fcfs(), LeastOutstanding(), rules=[OneAtATime()])
    result = trial(
        requests, policies, [ReplicaPlan("one", PROFILE)], clients=Clients(2),
        retry_after=lambda refusal, sight: told,
    )  # fmt: skip
    assert result.is_served.sum() + result.gave_up.sum() == n
    assert result.is_served.sum() == result.counted.ended
    assert sum(result.counted.refused.values()) == len(result.refused)
    assert result.tries.max() == 3
    for one in result.refused:
        assert (one.again_at is None) == (one.attempt == 3)
        if one.again_at is not None and told is not None:
            assert one.again_at == one.at + told
        if one.again_at is not None and told is None:
            assert 0.75 <= (one.again_at - one.at) / (0.5 * 2 ** (one.attempt - 1)) <= 1.0


def test_clients_without_patience_leave() -> None:
    """They are neither served nor lost."""
    requests = Requests.of(np.zeros(9), ["a"] * 9, [100] * 9, [80] * 9, patience_seconds=[0.5] * 9)
    result = trial(requests, first_come(), [ReplicaPlan("one", PROFILE, 2)])
    assert result.left.sum() == result.counted.left == 7
    assert result.is_served.sum() == 2


def test_service_is_spread_from_first_token_to_end() -> None:
    """Half of it in the middle, all of it after."""
    requests = Requests.of([0.0], ["a"], [100], [11])
    result = trial(requests, first_come(), [ReplicaPlan("one", PROFILE)])
    first, end = float(result.first[0]), float(result.end[0])
    course = result.course([0.0, (first + end) / 2, end + 1])
    np.testing.assert_allclose(course["a"], [0.0, 61.0, 122.0])


def test_nobody_waits_for_ever_without_a_word() -> None:
    """A fleet that left, or a request that fits no cache, is a clear error."""
    with pytest.raises(ControllerError, match="no replica is left"):
        trial(some(), first_come(), [ReplicaPlan("one", PROFILE, 1, leaves_at=2.0)])
    with pytest.raises(ControllerError, match="fits no cache"):
        trial(some(), first_come(), [ReplicaPlan("one", replace(PROFILE, cache_tokens=300))])
    with pytest.raises(ControllerError, match="not equally many"):
        Requests.of([0.0], ["a", "b"], [1], [1])


def test_predictions_are_off_by_no_more_than_said() -> None:
    """And the same for the same seed."""
    output = np.arange(1, 200)
    told = predicted(output, 0.5, 3)
    assert (np.abs(told / output - 1)[2:] <= 0.5).all()
    np.testing.assert_array_equal(told, predicted(output, 0.5, 3))


def test_a_conversation_begins_with_its_last_turn() -> None:
    """Turns share all of the prompt, others only what they share."""
    requests = Requests.of(
        [0.0, 1.0, 2.0, 3.0], ["a"] * 4, [640, 960, 640, 640], [8] * 4,
        session=["s", "s", "", ""], group=[1, 1, 2, 2], shared=[0, 640, 320, 320],
    )  # fmt: skip
    asks = [requests.ask(number, 0.0) for number in range(4)]
    assert asks[1].prefix[:10] == asks[0].prefix
    assert len(asks[2].prefix) == 5
    assert asks[2].prefix == asks[3].prefix
    assert math.isnan(asks[0].started)
