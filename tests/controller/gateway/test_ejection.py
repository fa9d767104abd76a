"""Outlier ejection: who answers badly is left out, never too many, and comes back by probes."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import given, settings
from hypothesis import strategies as st

from controller.gateway.ejection import EjectionLimits, Ejector

FOUR = dict.fromkeys("abcd", "m")


def fed(seconds: dict[str, float], count: int = 25, now: float = 0.0) -> Ejector:
    """An ejector that saw requests of so many seconds to the first token."""
    one = Ejector()
    feed(one, seconds, count, now)
    return one


def feed(one: Ejector, seconds: dict[str, float], count: int = 25, now: float = 0.0) -> None:
    """Requests of each, one after the other."""
    for number in range(count):
        for name, ttft in seconds.items():
            one.saw(name, now + number * 0.1, is_failed=False, first=ttft * (1 + number % 3))


def names(found: Iterable[object]) -> list[str]:
    """Of those that are left out."""
    return [each.name for each in found]  # type: ignore[attr-defined]


def test_failures_in_a_row_leave_it_out_and_one_success_between_does_not() -> None:
    """Five in a row; the sentence says so."""
    one = Ejector()
    for number in range(9):
        one.saw("a", 0.0, is_failed=True)
        one.saw("b", 0.0, is_failed=number != 4)
    found = one.judge(1.0, FOUR)
    assert names(found) == ["a"]
    assert found[0].text == "a 9 requests in a row failed: left out for 30 s"
    assert one.is_out("a")
    assert one.judge(1.5, FOUR) == []


def test_one_that_was_away_and_is_back_is_let_in_once() -> None:
    """A restart breaks many requests at once; who dies again and again waits its time."""
    one = Ejector()
    for life in (1, 2):
        for _ in range(8):
            one.saw("a", float(life), is_failed=True)
        assert names(one.judge(life + 0.5, FOUR)) == ["a"]
        assert one.returned("a") is (life == 1)
    assert one.is_out("a")
    one.saw("b", 3.0, is_failed=True)
    assert one.returned("b")
    for _ in range(4):
        one.saw("b", 4.0, is_failed=True)
    assert one.judge(5.0, FOUR) == []


def test_a_replica_much_slower_than_its_peers_is_left_out() -> None:
    """And one that is a little slower gets a ratio, but stays."""
    one = fed({"a": 0.2, "b": 0.21, "c": 0.19, "d": 0.6})
    found = one.judge(3.0, FOUR)
    assert (names(found), found[0].cause) == (["d"], "slow")
    mild = fed({"a": 0.2, "b": 0.21, "c": 0.19, "d": 0.26})
    assert mild.judge(3.0, FOUR) == []
    ratio = mild.degradation_ratio("d")
    assert ratio is not None
    assert 0.25 < ratio < 0.35
    assert mild.degradation_ratio("c") == 0.0


def test_the_time_between_tokens_counts_as_well() -> None:
    """A replica may answer at once and then be slow."""
    one = Ejector()
    for number in range(30):
        for name in "abcd":
            slow = 0.3 if name == "b" else 0.03
            one.saw(name, number * 0.1, is_failed=False, first=0.2, gap=slow)
    assert names(one.judge(3.0, FOUR)) == ["b"]


def test_too_little_is_known_to_call_anybody_slow() -> None:
    """Few requests, few peers, other groups, or old requests: unknown, not healthy."""
    seconds = {"a": 0.2, "b": 0.2, "c": 0.2, "d": 2.0}
    few = fed(seconds, count=19)
    assert few.judge(3.0, FOUR) == []
    assert few.degradation_ratio("d") is None
    assert fed({"a": 0.2, "d": 2.0}).judge(3.0, FOUR) == []
    assert fed(seconds).judge(3.0, {**FOUR, "d": "another model"}) == []
    assert fed(seconds).judge(100.0, FOUR) == []


def test_never_more_than_the_share_and_never_the_last() -> None:
    """Where all fail, most stay: then it is not the replicas."""
    one = Ejector()
    for name in "abcd":
        for _ in range(5):
            one.saw(name, 0.0, is_failed=True)
    assert len(one.judge(1.0, FOUR)) == 1
    assert one.spared == 3
    alone = Ejector()
    for _ in range(9):
        alone.saw("a", 0.0, is_failed=True)
    assert alone.judge(1.0, {"a": "m"}) == []


def test_it_comes_back_by_good_probes_and_stays_out_longer_each_time() -> None:
    """30 s, then 60 s; a bad probe starts the time again; long good behaviour is remembered."""
    one = Ejector()

    def fails(now: float) -> float:
        for _ in range(5):
            one.saw("a", now, is_failed=True)
        (found,) = one.judge(now, FOUR)
        return found.until - now

    assert fails(0.0) == 30.0
    assert one.due(29.0) == []
    assert one.due(30.0) == ["a"]
    assert not one.probed("a", 30.0, is_good=True)
    assert not one.probed("a", 31.0, is_good=False)
    assert one.due(32.0) == []
    assert not one.probed("a", 61.0, is_good=True)
    assert one.probed("a", 62.0, is_good=True)
    assert not one.is_out("a")
    assert fails(63.0) == 60.0
    one.probed("a", 130.0, is_good=True)
    assert one.probed("a", 130.0, is_good=True)
    one.saw("a", 500.0, is_failed=False)
    one.judge(500.0, FOUR)
    assert fails(501.0) == 60.0
    one.gone("a")
    assert not one.is_out("a")


STEPS = st.lists(
    st.tuples(st.sampled_from("sfjpqg"), st.sampled_from("abcd"), st.floats(0.001, 5)), max_size=80
)


@settings(max_examples=80, deadline=None)
@given(STEPS, st.floats(0, 1))
def test_whatever_happens_the_share_holds(steps: list, share: float) -> None:
    """Outages, probes and departures in any order."""
    one = Ejector(EjectionLimits(failures_in_a_row=1, least_requests=2, most_share=share))
    now = 0.0
    for what, name, number in steps:
        now += number
        if what in "sf":
            one.saw(name, now, is_failed=what == "f", first=number, gap=None)
        elif what == "j":
            one.judge(now, FOUR)
        elif what in "pq":
            one.probed(name, now, is_good=what == "p")
        else:
            one.gone(name)
        assert sum(one.is_out(each) for each in FOUR) <= min(max(int(share * 4), 1), 3)


def test_seconds_and_multiples_are_never_compared() -> None:
    """When what is measured changes, what was seen before counts no more."""
    one = Ejector()
    feed(one, {"a": 0.2, "b": 0.2, "c": 0.2})
    for number in range(25):
        one.saw("d", 3.0 + number * 0.1, is_failed=False, first=1.0, is_multiple=True)
    assert one.judge(6.0, FOUR) == []
    assert one.degradation_ratio("d") is None
    for number in range(25):
        for name, times in {"a": 1.0, "b": 1.1, "c": 0.9, "d": 3.0}.items():
            one.saw(name, 6.0 + number * 0.1, is_failed=False, first=times, is_multiple=True)
        if number == 15:
            one.judge(8.0, FOUR)
            assert one.degradation_ratio("a") is None
    assert names(one.judge(9.0, FOUR)) == ["d"]
    assert one.degradation_ratio("a") == 0.0
