"""Candidates beside the policy that decides: asked the same, written down, never in the way."""

import asyncio
import json
import threading
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller import shadowing
from controller.codec import Given
from controller.guards import FleetRules, PoolRules, Standing
from controller.observation import Limits, Observation, PoolView, Reading
from controller.policies.registry import catalogue, make
from controller.policy import PolicySpec, Proposal, Reason
from controller.shadowing import Own
from store import decisions
from store.errors import StoreError


@dataclass(frozen=True)
class Other:
    """A candidate that wants a number of every pool, and remembers how often it was asked."""

    want: object = 6
    fault: object = None
    spec: PolicySpec = field(default=PolicySpec("other", "Other", 15.0, "test"))

    def decide(self, observation, memory):
        if self.fault is not None:
            self.fault(observation)
        count = memory.get("count", 0) + 1
        want = self.want(count) if callable(self.want) else self.want
        targets = {pool.name: want for pool in observation.pools}
        return Proposal(targets, tuple(Reason(n, "other", f"step {count}") for n in targets)), {
            "count": count
        }


def boom(observation):
    raise RuntimeError("out of ideas")


def verdicts(w):
    return [one.verdict for one in shadowing.verified(w.database.reader, w.making, 1000)]


async def test_a_candidate_is_taken_up_while_the_controller_runs_and_does_nothing(world, wish):
    """Proposed between two steps it is asked from the next on; the fleet stays as it is decided."""
    w = world(wish({"a": 4})).watching(Other())
    await w.watch(2)
    number = w.propose(replay=None)
    assert w.candidate(number)["state"] == "proposed"
    await w.watch(3)
    told = w.candidate(number)
    assert (told["state"], told["steps"], told["failures"]) == ("shadow", 3, 0)
    assert told["text"] == "beside wish, on a"
    rows = w.shadow_rows(number)
    assert [(row["live_replicas"], row["shadow_replicas"]) for row in rows] == [(4, 6)] * 3
    assert w.actuator.changes == []
    assert {row["policy"] for row in w.rows("decision")} == {"wish"}
    assert len(w.rows("decision")) == 5


async def test_it_goes_at_the_pace_that_the_guards_would_have_let_it(world, wish):
    """One fewer at a time and a cooldown, counted from its own changes, not from the fleet's."""
    w = world(wish({"a": 8}), most_down=1, down_cooldown_seconds=30).watching(Other(2))
    w.actuator.wanted["a"] = 8
    w.propose()
    await w.watch(7)
    assert [row["shadow_replicas"] for row in w.shadow_rows()] == [7, 7, 6, 6, 5, 5, 4]
    assert w.shadow_rows()[1]["reason"] == "changed 15 s ago; 30 s must lie between"


async def test_in_dry_run_the_policy_that_decides_is_counted_as_if_it_had_its_way(world, wish):
    """Nothing is applied there, so both are laid beside each other on the same terms."""
    w = world(wish({"a": 2}), mode="dry-run", most_down=1).watching(Other(2))
    w.propose()
    await w.watch(4)
    rows = w.shadow_rows()
    assert [row["live_replicas"] for row in rows] == [3, 2, 2, 2]
    assert [row["shadow_replicas"] for row in rows] == [3, 2, 2, 2]
    assert [row["there_replicas"] for row in rows] == [4] * 4


@pytest.mark.parametrize(
    ("policy", "word"),
    [
        (Other(fault=boom), "RuntimeError: out of ideas"),
        (Other(float("nan")), "wants nan replicas"),
        (Other(-3), "wants -3 replicas"),
    ],
)
async def test_one_that_raises_or_wants_nonsense_is_recorded_and_held(world, wish, policy, word):
    """On the candidate alone; the fleet is scaled as before."""
    w = world(wish({"a": 5})).watching(policy)
    number = w.propose()
    await w.watch(3)
    told = w.candidate(number)
    assert (told["state"], told["steps"], told["failures"]) == ("shadow", 3, 3)
    assert word in told["last_failure"]
    assert {row["shadow_replicas"] for row in w.shadow_rows()} == {4}
    assert [change[1] for change in w.actuator.changes] == [5]
    assert w.loop.counts.failures == {}
    assert set(verdicts(w)) == {"same"}


async def test_one_that_hangs_never_holds_up_the_fleet(world, wish):
    """Its first step is over at the limit; after that it is not asked until it comes back."""
    gate = threading.Event()
    hung = Other(fault=lambda observation: gate.wait(30))
    w = world(wish({"a": 5}), policy_limit_seconds=0.05).watching(hung)
    number = w.propose()
    try:
        await asyncio.wait_for(w.loop.tick(w.fleets[0]), 2.0)
        assert [change[1] for change in w.actuator.changes] == [5]
        await w.loop.shadows.settled()
        w.clock.advance(15)
        await w.watch(1)
    finally:
        gate.set()
    told = w.candidate(number)
    assert told["failures"] == 2
    first, second = (row["reason"] for row in w.shadow_rows())
    assert first == "candidate 1 (other) took longer than 0.05 s"
    assert second == "candidate 1 (other) has not come back from an earlier call"
    assert set(verdicts(w)) == {"same"}


async def test_what_cannot_be_written_of_it_stops_nothing(world, wish, monkeypatch):
    """A store that refuses a candidate's rows still takes decisions."""
    w = world(wish({"a": 5})).watching(Other())
    w.propose()
    await w.watch(1)
    keep = decisions.keep

    def refusing(writer, rows, audits=()):
        if any("shadow" in type(row).__name__.lower() for row in rows):
            raise StoreError("no room")
        return keep(writer, rows, audits)

    monkeypatch.setattr(decisions, "keep", refusing)
    await w.watch(2)
    assert len(w.rows("decision")) == 3
    assert w.loop.counts.failures == {}
    assert w.loop.shadows.failures == {"candidate 1": 2}


async def test_memory_and_place_survive_a_restart(world, wish):
    """It goes on counting, from the number of replicas where it was."""
    w = world(wish({"a": 9}), most_down=1, snapshot_steps=3).watching(Other(2))
    w.actuator.wanted["a"] = 9
    number = w.propose()
    await w.watch(4)
    w.restart()
    await w.watch(2)
    rows = w.shadow_rows(number)
    assert [row["reason"] for row in rows] == [f"step {n}" for n in range(1, 7)]
    assert [row["shadow_replicas"] for row in rows] == [8, 7, 6, 5, 4, 3]
    assert verdicts(w) == ["same"] * 6


@pytest.mark.parametrize(
    ("asked", "word"),
    [
        ({"policy": "nobody"}, "there is no policy 'nobody'"),
        ({"wants": 3}, "cannot be made"),
        ({"pool": "b"}, "there is no pool 'b': a"),
        ({"policy": "wish"}, "decides a already"),
        ({"policy": "oracle"}, "looks at the future"),
    ],
)
async def test_what_cannot_be_watched_says_why(world, wish, asked, word):
    """One line, no crash, and the others go on."""
    oracle = Other(spec=PolicySpec("oracle", "Oracle", 15.0, "test", needs_future=True))
    w = world(wish({"a": 4})).watching(Other(), oracle, wish({"a": 4}))
    number, fine = w.propose(**asked), w.propose(want=7)
    await w.watch(2)
    told = w.candidate(number)
    assert told["state"] == "refused"
    assert word in told["text"]
    assert "\n" not in told["text"]
    assert w.candidate(fine)["state"] == "shadow"
    assert w.loop.counts.failures == {}


async def test_only_so_many_are_watched(world, wish):
    """The next is refused with what to do; so is the same again."""
    w = world(wish({"a": 4}), most_shadows=2).watching(Other())
    numbers = [w.propose(want=n) for n in (5, 6, 7)]
    await w.watch(1)
    assert [w.candidate(n)["state"] for n in numbers] == ["shadow", "shadow", "refused"]
    assert "at most 2: withdraw one" in w.candidate(numbers[2])["text"]
    w.settings = type(w.settings)(pool=w.settings.pool, most_shadows=3)
    w.restart()
    again = w.propose(want=6)
    await w.watch(1)
    assert w.candidate(again)["text"] == "candidate 2 is the same and is watched already"


async def test_one_of_another_pace_is_asked_at_its_own(world, wish):
    """Between two questions it stays where it is, and that is no step."""
    slow = Other(lambda count: 4 + count, spec=PolicySpec("other", "Other", 60.0, "test"))
    w = world(wish({"a": 4})).watching(slow)
    number = w.propose()
    await w.watch(9)
    rows = w.shadow_rows(number)
    assert [row["shadow_replicas"] for row in rows] == [5, 5, 5, 5, 6, 6, 6, 6, 7]
    assert [row["step_id"] is None for row in rows] == [False, True, True, True] * 2 + [False]
    assert w.candidate(number)["steps"] == 3
    assert verdicts(w) == ["same"] * 3


async def test_pools_that_are_decided_together_are_watched_together(world, wish):
    """A candidate for one of them is asked about all."""
    w = world(wish(), pools=("a", "b")).watching(Other())
    assert len(w.fleets) == 1
    w.propose(pool="b")
    await w.watch(2)
    assert {row["pool"] for row in w.shadow_rows()} == {"a", "b"}
    assert len(w.shadow_rows()) == 4


async def test_a_freeze_holds_it_as_it_would_have_held_it(world, wish):
    """What holds the pool holds the candidate where it stands."""
    from controller.orders import Orders
    from controller.refusals import Who

    w = world(wish({"a": 4})).watching(Other(6))
    await Orders(w.loop, w.settings).freeze([], 20, Who("ana", "cli", "x"))
    w.propose()
    await w.watch(3)
    rows = w.shadow_rows()
    assert [row["shadow_replicas"] for row in rows] == [4, 4, 6]
    assert [row["binding"] for row in rows] == ["freeze", "freeze", ""]


async def test_it_is_deleted_with_the_decisions_it_was_beside(world, wish):
    """Retention takes both, and `verify` says what is gone."""
    w = world(wish({"a": 4})).watching(Other())
    w.propose()
    await w.watch(6)
    before = w.clock.now().replace(tzinfo=None)
    await w.watch(2)
    decisions.delete_old(w.database.writer, before).result()
    assert len(w.shadow_rows()) == 2
    assert len(w.rows("shadow_step", "step_id")) == 2
    assert verdicts(w) == ["not there", "not there"]


async def test_a_new_one_is_told_what_was_before_once(world, wish):
    """As the policy that decides is when it begins; the decision that it is beside is not."""
    told = []
    w = world(wish({"a": 4})).watching(
        Other(fault=lambda observation: told.append(observation.pools[0].history))
    )
    await w.watch(1)
    observe = w.eyes.observe

    def with_history(fleet, scales, *, is_first=False):
        seen = observe(fleet, scales)
        if not is_first:
            return seen
        from dataclasses import replace

        pools = tuple(replace(view, history=(1.0, 2.0)) for view in seen.observation.pools)
        return replace(seen, observation=replace(seen.observation, pools=pools))

    w.eyes.observe = with_history
    w.propose()
    await w.watch(2)
    assert told == [(1.0, 2.0), ()]
    assert set(verdicts(w)) == {"same"}


LIVE = [spec.name for spec in catalogue() if not spec.needs_future]


async def test_every_policy_can_be_a_candidate_and_comes_out_the_same(world, wish):
    """As far as they can be made: their steps are made again to the byte."""
    w = world(wish({"a": 4}), most_shadows=20)
    w.making = lambda name, parameters: make(name, **parameters)
    w.restart()
    numbers = {w.propose(name): name for name in LIVE}
    await w.watch(4)
    for number, name in numbers.items():
        assert w.candidate(number)["state"] == "shadow", name
        assert w.candidate(number)["steps"] >= 1, name
    found = verdicts(w)
    assert set(found) == {"same"}
    assert len(found) == sum(w.candidate(number)["steps"] for number in numbers)


RULES = FleetRules({"a": PoolRules(least=1, most=20, most_up=3, most_down=2,
                                   down_cooldown_seconds=30.0)})  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(-2, 40), min_size=1, max_size=20), st.integers(1, 20))
def test_its_place_obeys_the_limits_whatever_it_wants(wants, there):
    """Between least and most, no faster than allowed, and told again from the record alone."""
    own, memory = Own(), "{}"
    for at, want in enumerate(wants):
        view = PoolView("a", there, there, 0, 0, Limits(1, 20), {
            "requests_per_second": Reading(3.0), "requests_running": Reading(3.0)})  # fmt: skip
        told = Given(Observation(at * 15.0, (view,)), RULES, Standing())
        own = own.beside(told)
        before = own.targets["a"]
        step = shadowing.asked(Other(want), told, own, memory)
        text = shadowing.given_text(own, "")
        assert shadowing.given_of(text) == (own, "")
        own, memory = own.after(step, at * 15.0), step.memory
        assert 1 <= own.targets["a"] <= 20
        assert before - 2 <= own.targets["a"] <= before + 3
        assert json.loads(text)["own"]["targets"]["a"] == before
