"""Paces learnt from what runs through the gate: of simulated replicas, and of whole answers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.gateway.ask import Ask
from controller.gateway.ejection import EjectionLimits, Ejector
from controller.gateway.fleet import Instance, Pace
from controller.gateway.gate import Gate, Policies
from controller.gateway.pace_book import PaceBook
from controller.gateway.paces import Measured
from controller.gateway.queueing.fcfs import Fcfs
from controller.gateway.routing.registry import make
from controller.gateway.trial.requests import Requests
from controller.gateway.trial.trial import ReplicaPlan, trial
from controller.profile import Profile, StepTimes

PROFILE = Profile(
    "plain", StepTimes(0.015, 1.2e-4, 0.0, 2e-4), token_budget=2048, cache_tokens=400_000
)
SLOW = replace(PROFILE, name="slow", step=StepTimes(0.03, 2.4e-4, 0.0, 4e-4))


def requests(n: int, rate: float, seed: int = 1) -> Requests:
    """Poisson, with prompts and outputs of all lengths."""
    dice = np.random.default_rng(seed)
    at = np.cumsum(dice.exponential(1 / rate, n))
    prompt = np.clip(dice.lognormal(6.3, 0.9, n), 32, 6_000).astype(int)
    output = np.clip(dice.lognormal(5.0, 0.8, n), 2, 1_500).astype(int)
    return Requests.of(at, ["t"] * n, prompt, output)


def learnt(profiles: dict[str, Profile], asked: Requests, way: str) -> tuple[dict, list[str]]:
    """Instances after a trial that was told no pace, and where requests went."""
    instances: dict[str, Instance] = {}
    result = trial(
        asked, Policies(Fcfs(), make(way)),
        [ReplicaPlan(name, one, 64, knows_pace=False) for name, one in profiles.items()],
        paces=PaceBook(), watch=lambda gate, now: instances.update(gate.instances),
    )  # fmt: skip
    return instances, list(result.replica)


@pytest.mark.parametrize("rate", [0.5, 3.0])
def test_the_pace_of_a_simulated_replica_is_found(rate: float) -> None:
    """After 120 requests, within 15 %: prompts, and steps at the load that there was."""
    instances, _ = learnt({"a": PROFILE}, requests(120, rate), "least-outstanding")
    pace = instances["a"].pace
    assert pace is not None
    assert instances["a"].is_pace_learnt
    assert pace.prompt_token_seconds == pytest.approx(1.2e-4, rel=0.15)
    for sequences in (1, 5):
        step = pace.step_seconds + sequences * pace.sequence_seconds
        assert step == pytest.approx(0.015 + sequences * 2e-4, rel=0.15)


def test_the_quick_one_of_two_gets_more_once_it_is_known_to_be() -> None:
    """With half the pace; `predicted-finish` took turns before."""
    _, went = learnt({"a": PROFILE, "b": SLOW}, requests(500, 2.0), "predicted-finish")
    early, late = went[:20].count("b") / 20, went[100:].count("b") / 400
    assert early > 0.3
    assert late < 0.2


def drive(
    gate: Gate,
    name: str,
    pace: Pace,
    count: int,
    now: float,
    *,
    is_stream: bool,
    seed: int = 0,
    prompts: tuple[int, int] = (50, 3_000),
) -> float:
    """Requests one after another at a replica that takes exactly its pace; gives the time."""
    dice, instance = np.random.default_rng(seed), gate.instances[name]
    for _ in range(count):
        prompt, output = int(dice.integers(*prompts)), int(dice.integers(2, 300))
        ask = Ask(int(now * 1e6), now, "t", "m", prompt, 100.0, 200.0, is_stream=is_stream)
        others = [one for one in gate.instances.values() if one is not instance]
        for one in others:
            one.seats = 0
        gate.arrive(ask, now)
        assert gate.starts(now)
        step = pace.step_seconds + pace.sequence_seconds
        now += prompt * pace.prompt_token_seconds + step + pace.request_seconds
        if is_stream:
            gate.produced(ask, 1, now)
        now += (output - 1) * step
        gate.produced(ask, output - is_stream, now)
        gate.ended(ask, now)
        for one in others:
            one.seats = 16
    return now


def gate_of(*names: str) -> Gate:
    """A gate that learns."""
    gate = Gate(Policies(Fcfs(), make("least-outstanding")), paces=PaceBook())
    for name in names:
        gate.join(Instance(name, "", frozenset({"m"})))
    return gate


def test_answers_that_are_no_streams_teach_by_their_whole_time() -> None:
    """Nobody sees their first token; prompts and steps are told apart by their lengths."""
    gate, pace = gate_of("a"), Pace(2e-4, 0.02, 3e-4)
    drive(gate, "a", pace, 60, 0.0, is_stream=False)
    found = gate.instances["a"].pace
    assert found is not None
    assert found.prompt_token_seconds == pytest.approx(2e-4, rel=0.15)
    assert found.step_seconds + found.sequence_seconds == pytest.approx(0.0203, rel=0.15)


def test_a_whole_answer_s_prompt_is_ahead_of_others_no_longer_than_expected() -> None:
    """Else a long answer would look like a long prompt to all who come later."""
    gate, pace = gate_of("a"), Pace(1e-3, 0.02, 0.0)
    gate.instances["a"].pace = pace
    gate.leave("a")
    gate.join(Instance("a", "", frozenset({"m"}), pace=pace))
    ask = Ask(1, 0.0, "t", "m", 1_000, 100.0, 200.0, is_stream=False)
    gate.arrive(ask, 0.0)
    gate.starts(0.0)
    ahead = [gate.instances["a"].prompt_tokens_ahead]
    for now in (0.9, 1.1):
        gate.starts(now)
        gate.paces.settle(now)
        ahead.append(gate.instances["a"].prompt_tokens_ahead)
    gate.produced(ask, 50, 3.0)
    gate.ended(ask, 3.0)
    assert ahead == [1_000, 1_000, 0]
    assert gate.instances["a"].prompt_tokens_ahead == gate.instances["a"].held_tokens == 0


def test_a_told_pace_is_not_learnt_over() -> None:
    """What somebody said counts."""
    gate, told = gate_of(), Pace(1.0, 1.0, 1.0)
    gate.join(Instance("a", "", frozenset({"m"}), pace=told))
    drive(gate, "a", Pace(1e-4, 0.02, 3e-4), 60, 0.0, is_stream=True)
    assert gate.instances["a"].pace is told
    assert not gate.instances["a"].is_pace_learnt


class Asking(PaceBook):
    """Keeps what each request was measured as."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[Measured] = []

    def ended(self, ask: Ask, now: float, *, is_failed: bool) -> None:
        self.found.append(self.measured(ask, now))
        super().ended(ask, now, is_failed=is_failed)


def test_requests_are_measured_in_multiples_once_all_of_a_group_are_known() -> None:
    """In seconds before; a newcomer is then compared with what the others take."""
    gate = gate_of()
    gate.paces = book = Asking()
    for name in "ab":
        gate.join(Instance(name, "", frozenset({"m"})))
    usual, slow = Pace(1e-4, 0.02, 3e-4), Pace(3e-4, 0.06, 9e-4)
    now = drive(gate, "a", usual, 40, 0.0, is_stream=True)
    now = drive(gate, "b", usual, 40, now, is_stream=True, seed=1)
    seconds = [each.is_multiple for each in book.found]
    book.found.clear()
    gate.join(Instance("c", "", frozenset({"m"})))
    drive(gate, "c", slow, 5, now, is_stream=True, seed=2)
    assert not any(seconds[:40])
    assert seconds[-1]
    assert all(each.is_multiple for each in book.found)
    assert [each.first for each in book.found] == pytest.approx([3.0] * 5, rel=0.2)
    assert [each.gap for each in book.found] == pytest.approx([3.0] * 5, rel=0.1)


def test_what_the_engine_kept_of_a_prompt_is_not_counted_as_computed() -> None:
    """It tells so at the end; else prompts that are cached would make tokens look quick."""
    gate, now = gate_of("a"), 0.0
    dice = np.random.default_rng(7)
    for number in range(80):
        prompt = int(dice.integers(500, 3_000))
        kept = int(prompt * dice.choice([0.0, 0.9]))
        ask = Ask(number, now, "t", "m", prompt, 10.0, 20.0)
        gate.arrive(ask, now)
        gate.starts(now)
        now += (prompt - kept) * 1e-3 + 0.02
        gate.produced(ask, 1, now)
        now += 9 * 0.02
        gate.produced(ask, 9, now)
        # Its tokenizer counts half as many.
        ask.told_input_tokens, ask.cached_tokens = prompt // 2, kept // 2
        gate.ended(ask, now)
    pace = gate.instances["a"].pace
    assert pace is not None
    assert pace.prompt_token_seconds == pytest.approx(1e-3, rel=0.05)


def test_long_prompts_alone_make_no_replica_look_slow() -> None:
    """Ten times the work takes ten times as long: in seconds it would be left out, so it is not."""
    gate, limits = gate_of(), EjectionLimits(window_seconds=1e9)
    gate.paces = book = Asking()
    usual, now = Pace(2e-4, 0.02, 3e-4, 0.01), 0.0
    by_seconds, by_multiples = Ejector(limits), Ejector(limits)
    for name in "abcd":
        gate.join(Instance(name, "", frozenset({"m"})))
        now = drive(gate, name, usual, 40, now, is_stream=True)
    for name in "abcd":
        prompts = (20_000, 30_000) if name == "d" else (2_000, 3_000)
        book.found.clear()
        now = drive(gate, name, usual, 30, now, is_stream=True, prompts=prompts)
        for each in book.found:
            tokens = prompts[0] * usual.prompt_token_seconds
            by_seconds.saw(name, now, is_failed=False, first=tokens)
            by_multiples.saw(name, now, is_failed=False, first=each.first, gap=each.gap,
                             is_multiple=each.is_multiple)  # fmt: skip
    group = dict.fromkeys("abcd", "m")
    assert [each.name for each in by_seconds.judge(now, group)] == ["d"]
    assert by_multiples.judge(now, group) == []
    assert by_multiples.degradation_ratio("d") == pytest.approx(0.0, abs=0.1)


def happens(gate: Gate, what: int, which: int, now: float, *, is_so: bool, number: int) -> None:
    """One of the things that may happen to a request that runs, or to a replica."""
    here = [ask for one in gate.instances.values() for ask in one.running.values()]
    if what == 0:
        ask = Ask(number, now, "t", "m", 50 + which, 9.0, 19.0, is_stream=is_so)
        gate.arrive(ask, now)
    elif what == 1 and len(gate.instances) > 1:
        gate.leave(next(iter(gate.instances)))
    elif what == 2 and len(gate.instances) < 2:
        gate.join(Instance("b" if "a" in gate.instances else "a", "", frozenset({"m"})))
    elif here:
        touched(gate, here[which % len(here)], what, which, now, is_failed=is_so)


def touched(gate: Gate, ask: Ask, what: int, which: int, now: float, *, is_failed: bool) -> None:
    """Of a request that runs."""
    if what == 3:
        gate.produced(ask, 1 + which, now)
    elif what == 4:
        gate.ended(ask, now, is_failed=is_failed)
    elif what == 5:
        gate.put_back(ask, now)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 30), st.booleans()), max_size=120))
def test_nothing_is_left_of_what_is_over(steps: list[tuple[int, int, bool]]) -> None:
    """Whatever happens to requests and replicas, in any order: books are even at the end."""
    gate, now = gate_of("a", "b"), 0.0
    for number, (what, which, is_so) in enumerate(steps):
        now += 0.05 * which
        happens(gate, what, which, now, is_so=is_so, number=number)
        gate.starts(now)
    while here := [ask for one in gate.instances.values() for ask in one.running.values()]:
        for ask in here:
            gate.ended(ask, now + 1e6)
        gate.starts(now)
    for one in gate.instances.values():
        assert one.prompt_tokens_ahead == one.held_tokens == 0
    assert isinstance(gate.paces, PaceBook)
    gate.paces.settle(now + 1e9)
    assert gate.paces.is_even
