"""Ways: each keeps its contract, and does what its name says."""

from __future__ import annotations

from collections import Counter
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.gateway.ask import Ask, SloClass
from controller.gateway.estimates import finish_seconds, remaining
from controller.gateway.fleet import Instance, Pace
from controller.gateway.prefixes import Prefixes
from controller.gateway.routing.base import Choice, Way
from controller.gateway.routing.check import check_way
from controller.gateway.routing.least_outstanding import LeastOutstanding
from controller.gateway.routing.prefill_decode import PrefillDecode
from controller.gateway.routing.registry import WAYS, WRAPPERS, catalogue, make, wrapped
from controller.gateway.routing.ring import Ring
from store.errors import ControllerError

PACE = Pace(prompt_token_seconds=1e-4, step_seconds=0.02, sequence_seconds=1e-3)


def ask(number: int = 1, input_tokens: int = 640, expected: float = 50.0, **more: object) -> Ask:
    """A request."""
    return Ask(number, 0.0, "a", "m", input_tokens, expected, expected, **more)  # type: ignore[arg-type]


def fleet(count: int = 3, **more: object) -> list[Instance]:
    """Replicas a, b, c, …"""
    return [Instance(chr(97 + n), f"http://{n}", pace=PACE, **more) for n in range(count)]  # type: ignore[arg-type]


def busy(one: Instance, count: int, expected: float = 50.0) -> None:
    """Give it requests that decode."""
    for number in range(count):
        each = ask(10_000 + number, 10, expected)
        one.begins(each)
        one.produced(each, 1, 0.0)


def chosen(way: Way, each: Ask, free: list[Instance], now: float = 0.0, kept=None) -> str:
    """The name of what it chooses."""
    choice = Choice(free, free, now, kept or (lambda ask, name: 0))
    one = way.choose(each, choice)
    assert one is not None
    return one.name


@pytest.mark.parametrize("name", WAYS)
def test_every_way_keeps_the_contract(name: str) -> None:
    """Only what is offered, the same again, nobody starved, nothing kept of the gone."""
    check_way(partial(make, name), steps=250)


@pytest.mark.parametrize("name", WRAPPERS)
@pytest.mark.parametrize("inner", ["round-robin", "prefix-affinity"])
def test_every_wrapper_keeps_the_contract(name: str, inner: str) -> None:
    """Around any way, and around each other."""
    check_way(lambda: wrapped(make(inner), {name: {}}), steps=250)


def test_wrappers_go_around_each_other() -> None:
    """All of them at once keep the contract, and the name says what is around what."""
    around = {name: {} for name in WRAPPERS}
    way = wrapped(make("least-tokens"), around)
    assert way.spec.name == "sticky(degradation-aware(slow-start(least-tokens)))"
    assert way.spec.parameters["slow-start"]["seconds"] == 60.0
    check_way(lambda: wrapped(make("least-tokens"), around), steps=250)


def test_unknown_names_and_values_are_one_clear_line() -> None:
    """A near name is offered; parameters are named; values are checked."""
    with pytest.raises(ControllerError, match="no way 'round-robbin'") as caught:
        make("round-robbin")
    assert "did you mean round-robin?" in (caught.value.hint or "")
    with pytest.raises(ControllerError, match="no parameter 'blocks'"):
        make("prefix-affinity", blocks=3)
    with pytest.raises(ControllerError, match="out of range"):
        make("cache-aware", least_match_ratio=float("nan"))
    with pytest.raises(ControllerError, match="key_blocks must be a whole number, not 'many'"):
        make("prefix-affinity", key_blocks="many")
    with pytest.raises(ControllerError, match="no wrapper 'stick'"):
        wrapped(make("round-robin"), {"stick": {}})
    assert {spec.name for spec in catalogue()} == {*WAYS, *WRAPPERS}


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 6), min_size=1, max_size=5))
def test_round_robin_gives_by_seats(seats: list[int]) -> None:
    """After some full rounds everybody has had exactly its share, give or take one."""
    way, free = make("round-robin"), fleet(len(seats))
    for one, count in zip(free, seats, strict=True):
        one.seats = count
    got: Counter[str] = Counter()
    for number in range(20 * sum(seats)):
        name = chosen(way, ask(number), free)
        got[name] += 1
        way.sent(ask(number), next(one for one in free if one.name == name), 0.0)
    for one in free:
        assert abs(got[one.name] - 20 * one.seats) <= 1


def test_round_robin_does_not_flood_one_that_comes_back() -> None:
    """A replica that was full for long goes on in turn."""
    way, free = make("round-robin"), fleet(2)
    for number in range(100):
        way.sent(ask(number), free[0], 0.0)
    names = []
    for number in range(10):
        names.append(chosen(way, ask(number), free))
        way.sent(ask(number), free[ord(names[-1]) - 97], 0.0)
    assert Counter(names)["b"] <= 6


def test_least_tokens_counts_what_is_left_not_how_many() -> None:
    """Three short requests are less work than one long one."""
    free = fleet(2)
    busy(free[0], 1, expected=900.0)
    busy(free[1], 3, expected=10.0)
    assert chosen(make("least-outstanding"), ask(), free) == "a"
    assert chosen(make("least-tokens"), ask(), free) == "b"


def test_power_of_two_never_takes_the_worst_and_spreads() -> None:
    """The busiest of all is never the better of two; every other is."""
    free = fleet(4)
    busy(free[2], 5)
    names = {chosen(make("power-of-two"), ask(number), free) for number in range(200)}
    assert names == {"a", "b", "d"}
    first = [chosen(make("power-of-two", seed=1), ask(n), fleet(9)) for n in range(50)]
    other = [chosen(make("power-of-two", seed=2), ask(n), fleet(9)) for n in range(50)]
    assert first != other


def test_cache_aware_follows_the_cache_until_loads_drift_apart() -> None:
    """The longest match wins; with one replica far ahead the fewest requests do."""
    free, prefixes = fleet(3), Prefixes()
    long = ask(prefix=tuple(range(9)))
    prefixes.sent(long, "c")
    assert chosen(make("cache-aware"), long, free, kept=prefixes.cached_tokens) == "c"
    busy(free[2], 9)
    busy(free[0], 1)
    assert chosen(make("cache-aware"), long, free, kept=prefixes.cached_tokens) == "b"
    near = make("cache-aware", least_match_ratio=1.0, most_apart=100)
    assert chosen(near, long, free, kept=prefixes.cached_tokens) == "b"


def test_equal_beginnings_meet_and_the_slo_parts_them() -> None:
    """Prompts that begin alike go to two replicas of six, until these would be late."""
    way, free = make("prefix-affinity"), fleet(6, seats=200)
    alike = [ask(n, prefix=(1, 2, 3, 4, 100 + n), slo=SloClass(ttft_seconds=1.0)) for n in range(9)]
    homes = {chosen(way, each, free) for each in alike}
    assert len(homes) <= 2
    for one in free:
        if one.name in homes:
            one.prompt_tokens_ahead = 50_000
    assert chosen(way, alike[0], free) not in homes


def test_affinity_prefers_the_home_that_kept_the_prompt_to_the_idler_one() -> None:
    """Within the SLO the cache decides between the two homes."""
    way, free = make("prefix-affinity"), fleet(6, seats=200)
    one = ask(prefix=(1, 2, 3, 4, 5))
    first = chosen(way, one, free)
    by_name = {each.name: each for each in free}
    busy(by_name[first], 3)
    other = chosen(way, one, free)
    assert other != first  # nothing is cached anywhere: the idler home
    kept = {first: 320}
    assert chosen(way, one, free, kept=lambda ask, name: kept.get(name, 0)) == first


def test_a_system_prompt_of_everybody_does_not_make_two_hot_replicas() -> None:
    """A beginning that all share is told apart further on."""
    way, free = make("prefix-affinity"), fleet(6, seats=200)
    got: Counter[str] = Counter()
    by_name = {each.name: each for each in free}
    for number in range(600):
        each = ask(number, prefix=(*range(16), *(1000 * n + number % 40 for n in range(1, 6))))
        name = chosen(way, each, free)
        way.sent(each, by_name[name], 0.0)
        got[name] += number > 100
    assert len(got) == 6
    assert max(got.values()) < 250


def test_a_ring_moves_only_the_share_of_who_left() -> None:
    """Keys of the others stay; shares are about equal."""
    ring, names = Ring(1), [f"r{n}" for n in range(10)]
    for name in names:
        ring.add(name)
    before = {key: ring.owner(key, names) for key in range(4000)}
    shares = Counter(before.values())
    assert max(shares.values()) < 2 * min(shares.values())
    ring.remove("r3")
    left = [name for name in names if name != "r3"]
    for key, owner in before.items():
        if owner != "r3":
            assert ring.owner(key, left) == owner
    assert Ring(1).owner(5, names) is None


def test_predicted_finish_weighs_cache_lengths_pace_and_degradation() -> None:
    """Each of them alone is enough to change the replica."""
    way = make("predicted-finish")
    free = fleet(2)
    assert chosen(way, ask(), free, kept=lambda ask, name: 600 * (name == "b")) == "b"
    busy(free[1], 2, expected=500.0)
    assert chosen(way, ask(), free) == "a"
    free = fleet(2)
    free[0].degradation_ratio = 0.5
    assert chosen(way, ask(), free) == "b"
    free = fleet(2)
    free[0].prompt_tokens_ahead = 5000
    assert chosen(way, ask(), free) == "b"
    free = [Instance("a", "", pace=Pace(1e-4, 0.05, 1e-3)), Instance("b", "")]
    assert chosen(way, ask(2), free) in "ab"


def test_the_estimate_is_the_sum_over_steps() -> None:
    """The closed form equals decoding step by step, sequences leaving as they end."""
    one = fleet(1)[0]
    busy(one, 2, expected=11.0)
    busy_long = ask(3, 10, 40.0)
    one.begins(busy_long)
    one.produced(busy_long, 5, 0.0)
    each = ask(9, 100, 20.0)
    left = [remaining(other) for other in one.running.values()]
    steps = sum(0.02 + 1e-3 * (1 + sum(value > step for value in left)) for step in range(20))
    first = 100 * 1e-4 + 0.02 + 1e-3 * 4
    assert finish_seconds(each, one, 0, PACE) == pytest.approx(first + steps)


def test_what_is_overdue_still_counts() -> None:
    """A request past its expectation has the quantile left, then a share, never nothing."""
    one = ask(1, 10, 50.0)
    one.likely_output_tokens = 80.0
    for produced, left in ((0, 50.0), (49, 1.0), (60, 20.0), (100, 20.0)):
        one.output_tokens = produced
        assert remaining(one) == left
    one.most_output_tokens = 100
    assert remaining(one) == 1.0


def test_prompts_and_outputs_go_to_their_own_replicas() -> None:
    """The prefill replica with the shortest queue; the decoding one with the most room."""
    way = PrefillDecode()
    all_of_them = fleet(4)
    for one, role in zip(all_of_them, ("prefill", "prefill", "decode", "decode"), strict=True):
        one.role = role  # type: ignore[assignment]
    all_of_them[0].prompt_tokens_ahead = 9000
    choice = Choice(all_of_them[:2], all_of_them, 0.0)
    first, second = ask(1), ask(2)
    assert way.choose(first, choice) is all_of_them[1]
    decoders = []
    for each in (first, second):
        decoders.append(way.decoder(each, all_of_them))
        way.sent(each, decoders[-1], 0.0)
    assert [one.name for one in decoders] == ["c", "d"]
    way.ended(first, all_of_them[1], 1.0, is_failed=False)
    way.ended(second, all_of_them[3], 1.0, is_failed=False)
    assert way.decoder(ask(3), all_of_them).name == "d"
    busy(all_of_them[3], all_of_them[3].seats)
    assert way.decoder(ask(3), all_of_them).name == "c"
    busy(all_of_them[2], all_of_them[2].seats)
    assert way.choose(ask(3), choice) is None
    assert way.decoder(ask(4), all_of_them[:2]) is None
    whole = fleet(2)
    assert way.choose(first, Choice(whole, whole, 0.0)) in whole


def test_a_session_stays_until_its_replica_is_overloaded_full_or_forgotten() -> None:
    """And the tenant is part of it: two may use the same word."""
    way = wrapped(make("round-robin"), {"sticky": {"idle_seconds": 10.0}})
    free = fleet(3)
    way.sent(ask(1, session="s"), free[2], 0.0)
    assert [chosen(way, ask(n, session="s"), free, now=5.0) for n in range(4)] == ["c"] * 4
    assert chosen(way, ask(3, session="s"), free, now=11.0) != "c"
    busy(free[2], 2)
    assert chosen(way, ask(3, session="s"), free, now=5.0) != "c"
    assert chosen(way, ask(3, session="s"), free[:2], now=5.0) != "c"
    other = Ask(5, 0.0, "b", "m", 10, 5.0, 5.0, session="s")
    way.sent(other, free[0], 0.0)
    free[2].running.clear()
    assert chosen(way, ask(6, session="s"), free, now=5.0) == "c"


def test_a_new_replica_takes_up_slowly_and_never_blocks() -> None:
    """At first about a tenth, at the end all of its share; alone it takes everything."""
    way = wrapped(make("least-outstanding"), {"slow-start": {"seconds": 100.0}})
    free = fleet(4)
    for one in free[:3]:
        one.ready_since = -1e6
        busy(one, 4)
    early = [chosen(way, ask(n), free, now=1.0) for n in range(300)].count("d")
    assert 10 < early < 70
    busy(free[3], 1)
    assert "d" not in [chosen(way, ask(n), free, now=1.0) for n in range(50)]
    assert chosen(way, ask(1), free, now=200.0) == "d"
    assert chosen(way, ask(1), free[3:], now=1.0) == "d"
    for one in free:
        one.ready_since = 0.0
    assert chosen(way, ask(1), free, now=1.0) == "d"  # all are new: nobody is held back


def test_a_slower_replica_gets_less_but_some() -> None:
    """One that takes four times as long has a quarter of what its peers have."""
    way = wrapped(make("round-robin"), {"degradation-aware": {}})
    free = fleet(3)
    free[0].degradation_ratio = 3.0
    for one in free[1:]:
        busy(one, 7)
    assert "a" in {chosen(way, ask(n), free) for n in range(60)}
    busy(free[0], 2)
    assert "a" not in {chosen(way, ask(n), free) for n in range(60)}


@pytest.mark.parametrize("name", ["least-tokens", "predicted-finish"])
def test_a_large_fleet_is_used_evenly_and_the_best_is_still_found(name: str) -> None:
    """Only a few are looked at closely: by turns where all are alike, the promising ones else."""
    way, free = make(name), fleet(40)
    got = Counter(chosen(way, ask(number), free) for number in range(400))
    assert len(got) == 40
    for one in free:
        busy(one, 3, expected=100.0)
    free[33].running.clear()
    assert chosen(way, ask(5), free) == free[33].name


class Bad(LeastOutstanding):
    """Breaks one promise."""

    def __init__(self, how: str) -> None:
        self.how, self.kept = how, {}
        self.stranger = Instance("elsewhere", "")

    def choose(self, ask: Ask, choice: Choice) -> Instance | None:
        """Almost right."""
        if self.how == "not offered" and choice.fleet and ask.number % 50 == 9:
            return self.stranger
        if self.how == "answers otherwise":
            self.kept[len(self.kept)] = 1
            return choice.free[len(self.kept) % len(choice.free)] if choice.free else None
        if self.how == "got none" and choice.free:
            return min(choice.free, key=lambda one: one.name)
        if self.how == "never chose":
            return None
        return super().choose(ask, choice)

    def sent(self, ask: Ask, instance: Instance, now: float) -> None:
        """Remembers too much."""
        if self.how == "which left":
            self.kept[instance.name] = now


@pytest.mark.parametrize(
    "how", ["not offered", "answers otherwise", "got none", "never chose", "which left"]
)
def test_the_contract_finds_what_is_broken(how: str) -> None:
    """Each broken promise is named."""
    with pytest.raises(AssertionError, match=how):
        check_way(lambda: Bad(how), steps=200)
