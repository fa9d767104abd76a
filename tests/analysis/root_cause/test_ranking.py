"""Suspects are ranked by what a person would call evidence, and nothing is named without it."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.root_cause.ranking import rank
from analysis.root_cause.rivals import RIVALS
from analysis.root_cause.table import Case, Signal

ROWS, ONSET = 400, 370
SLOW = Signal("gpu-1", "tpot_seconds", "tpot", "outcome")
CPU = Signal("gpu-1", "host.cpu_ratio", "cpu")
DISK = Signal("gpu-1", "host.disk_busy_ratio", "disk")
CLOCK = Signal("gpu-1", "clock_hertz", "clock", "limit", harm=-1)


def a_case(*more: Signal, seed: int = 0, onset: int = ONSET) -> Case:
    """Noise around 10 in every signal; nothing happens yet."""
    signals = (SLOW, *more)
    values = 10 + np.random.default_rng(seed).normal(0, 0.5, (ROWS, len(signals)))
    return Case(signals, np.arange(ROWS) * 10.0, values, 0, onset)


def step(case: Case, signal: Signal, by: float, at: int = ONSET) -> None:
    case.values[at:, case.signals.index(signal)] += by


def names(case: Case) -> list[str]:
    return [suspect.signal.name for suspect in rank(case).suspects]


def test_what_changed_with_the_target_comes_first() -> None:
    case = a_case(CPU, DISK)
    step(case, SLOW, 8)
    step(case, DISK, 8)
    found = rank(case)
    first = found.suspects[0]
    assert (first.signal, found.why_unknown) == (DISK, None)
    assert first.before == pytest.approx(10, abs=0.3)
    assert first.during == pytest.approx(18, abs=0.3)
    assert first.together == pytest.approx(0.95, abs=0.1)


def test_a_change_that_the_signal_often_makes_is_no_evidence() -> None:
    case = a_case(CPU, DISK)
    step(case, SLOW, 8)
    step(case, CPU, 4)
    step(case, DISK, 8)
    # The disk is busy every now and then, with no harm to anybody.
    for start in range(20, 340, 40):
        case.values[start : start + 20, 2] += 8
    assert names(case)[0] == "host.cpu_ratio"


def test_a_falling_clock_hurts_and_a_rising_one_does_not() -> None:
    fallen, risen = a_case(CLOCK), a_case(CLOCK)
    for case, by in ((fallen, -6), (risen, 6)):
        step(case, SLOW, 8)
        step(case, CLOCK, by)
    assert names(fallen) == ["clock_hertz"]
    assert rank(fallen).suspects[0].during == pytest.approx(4, abs=0.3)
    assert rank(risen).why_unknown == "no other signal changed enough with it"


def test_a_signal_whose_good_direction_is_unknown_may_go_either_way() -> None:
    either = replace(CPU, harm=0)
    case = a_case(either)
    step(case, SLOW, 8)
    step(case, either, -6)
    assert names(case) == ["host.cpu_ratio"]


def test_what_follows_the_target_ranks_below_what_leads_it() -> None:
    rng = np.random.default_rng(3)
    case = a_case(CPU, DISK)
    pulse = rng.normal(0, 6, ROWS + 4) + 6
    part = slice(340, ROWS)
    case.values[part, 0] += pulse[342 : ROWS + 2]
    case.values[part, 1] += pulse[344 : ROWS + 4]  # two steps ahead of the target
    case.values[part, 2] += 2 * pulse[340:ROWS]  # twice as much, two steps behind it
    case = replace(case, onset=350)
    found = rank(case).suspects
    assert [one.signal for one in found] == [CPU, DISK]
    assert found[0].lead_seconds == 20


def test_a_stock_that_fills_explains_the_use_that_follows() -> None:
    memory = Signal("gpu-1", "memory_bytes", "memory", "stock")
    case = a_case(memory, CPU)
    for signal, by in ((SLOW, 8), (memory, 20), (CPU, 30)):
        step(case, signal, by)
    assert names(case)[0] == "memory_bytes"
    elsewhere = replace(memory, place="gpu-2")
    case = replace(case, signals=(SLOW, elsewhere, CPU))
    assert names(case)[0] == "host.cpu_ratio"


def test_few_requests_cannot_carry_what_many_suffered() -> None:
    def service(place: str) -> tuple[Signal, Signal]:
        count = Signal(place, "requests", "requests", "load")
        mean = Signal(place, "mean", "latency:mean", "outcome", counted_by="requests",
                      is_additive=True)  # fmt: skip
        return count, mean

    counts = {"shop": 100.0, "search": 90.0, "probe": 3.0}
    signals = tuple(signal for place in counts for signal in service(place))
    values = 10 + np.random.default_rng(1).normal(0, 0.2, (ROWS, 6))
    values[:, [0, 2, 4]] = list(counts.values())
    values[ONSET:, [1, 3]] += 5
    values[ONSET:, 5] += 50
    case = Case(signals, np.arange(ROWS) * 1.0, values, 1, ONSET)
    first, second = rank(case).suspects[:2]
    assert (first.signal.place, second.signal.place) == ("search", "probe")
    assert first.carried == pytest.approx(0.9, abs=0.05)


def test_availability_counts_from_its_ceiling() -> None:
    failing = Signal("a", "availability", "availability", "outcome", harm=-1, ceiling=100.0)
    case = a_case(failing)
    case.values[:, 1] = 100.0
    step(case, SLOW, 8)
    step(case, failing, -4)
    first = rank(case).suspects[0]
    assert (first.signal, first.before, first.during) == (failing, 100.0, 96.0)


def test_more_load_elsewhere_is_no_cause_unless_more_arrives_here() -> None:
    here, there = (Signal(place, "asked", "asked", "load") for place in ("gpu-1", "gpu-9"))
    case = a_case(here, there)
    step(case, SLOW, 8)
    step(case, there, 20)
    assert rank(case).why_unknown is not None
    step(case, here, 20)
    assert rank(case).suspects[0].signal.name == "asked"


@pytest.mark.parametrize(
    ("onset", "words"), [(5, "5 samples before"), (ROWS - 1, "1 since are too few")]
)
def test_too_few_samples_name_nothing(onset: int, words: str) -> None:
    case = a_case(CPU, onset=onset)
    case.values[onset:] += 9
    assert words in (rank(case).why_unknown or "")


def test_without_a_change_of_the_target_nothing_is_named() -> None:
    case = a_case(CPU)
    step(case, CPU, 9)
    assert "times its usual change" in (rank(case).why_unknown or "")


def test_levels_before_a_gap_are_trusted_less() -> None:
    near, far = a_case(CPU), a_case(CPU)
    for case in (near, far):
        step(case, SLOW, 8)
        step(case, CPU, 1.5)
    far.times[ONSET:] += 86_400
    assert rank(near).suspects[0].multiple > rank(far).suspects[0].multiple


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_any_table_gives_scores_between_0_and_1_and_never_the_target(data: st.DataObject) -> None:
    rows = data.draw(st.integers(2, 60))
    number = st.one_of(st.just(np.nan), st.floats(-1e9, 1e9), st.just(0.0))
    roles = st.sampled_from(["limit", "stock", "flow", "load", "outcome"])
    signals = [
        Signal("p", str(i), data.draw(st.sampled_from("ab")), data.draw(roles),
               harm=data.draw(st.sampled_from([-1, 0, 1])))
        for i in range(data.draw(st.integers(1, 4)))
    ]  # fmt: skip
    drawn = data.draw(st.lists(number, min_size=rows * len(signals), max_size=rows * len(signals)))
    values = np.array(drawn).reshape(rows, len(signals))
    onset = data.draw(st.integers(1, rows - 1))
    found = rank(Case(signals, np.arange(rows) * 1.0, values, 0, onset))
    scores = [one.score for one in found.suspects]
    assert all(0 < score <= 1 for score in scores)
    assert scores == sorted(scores, reverse=True)
    assert all(one.signal is not signals[0] for one in found.suspects)


@pytest.mark.parametrize("name", RIVALS)
def test_each_rival_finds_the_plain_case(name: str) -> None:
    case = a_case(CPU, DISK)
    step(case, SLOW, 8)
    step(case, DISK, 8)
    scores = RIVALS[name](case)
    assert scores[2] > scores[1]
