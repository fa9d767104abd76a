"""Candidates become the policy that decides, and go again; what a restart does about it."""

import asyncio
from dataclasses import dataclass, field

import pytest

from controller import adoptions, ledger
from controller.adopting import CandidateOrders
from controller.orders import Orders
from controller.policy import PolicySpec, Proposal, Reason
from controller.refusals import Conflict, Missing, NotAllowed, Who
from store.errors import ControllerError

ANA = Who("ana", "cli", "fewer cards, the same attainment")


@dataclass(frozen=True)
class Other:
    """Wants a number; remembers how often it was asked."""

    want: int = 6
    gate: str = ""
    spec: PolicySpec = field(default=PolicySpec("other", "Other", 15.0, "test"))

    def check_gate(self):
        if self.gate:
            raise ControllerError(self.gate)

    def decide(self, observation, memory):
        count = memory.get("count", 0) + 1
        targets = {pool.name: self.want for pool in observation.pools}
        reasons = tuple(Reason(name, "other", f"step {count}") for name in targets)
        return Proposal(targets, reasons), {"count": count}


def choosing(w):
    return CandidateOrders(w.loop, Orders(w.loop, w.settings), w.settings)


async def restarted(w):
    w.restart()
    await adoptions.resume(w.loop)


@pytest.fixture
def watched(world, wish):
    """A fleet of four, and a candidate that was asked twice and would have six."""

    async def make(other=None, **settings):
        settings = {"mode": "active", "rehearse_hours": 0, **settings}
        w = world(wish(), **settings).watching(other or Other())
        w.propose()
        await w.watch(2)
        return w

    return make


async def test_an_adopted_candidate_decides_from_the_next_step_on(watched):
    """In the mode that the pool has, with what it remembered, and the record says from where."""
    w = await watched()
    told = await choosing(w).adopt(1, ANA)
    assert (told["state"], told["text"]) == ("adopted", ANA.comment)
    await w.watch(1)
    row = w.last()
    assert (row["policy"], row["mode"], row["final_replicas"]) == ("other", "active", 6)
    assert row["reason"] == "step 3"
    assert w.actuator.wanted["a"] == 6
    state = w.book.states["a"]
    assert state.adopted.text() == "adopted from candidate 1 over the configured wish"
    assert (state.adopted.by, state.adopted.comment) == ("ana", ANA.comment)
    assert w.loop.shadows.watched == {}
    audit = w.database.reader.frame("SELECT * FROM audit").to_dicts()
    assert [(one["action"], one["actor"]) for one in audit] == [("controller.adopt", "ana")]


async def test_it_outlives_restarts_and_its_memory_does(watched):
    """At once, before its first step, and later."""
    w = await watched(mode="dry-run")
    await choosing(w).adopt(1, ANA)
    await restarted(w)
    await w.watch(2)
    await restarted(w)
    await w.watch(1)
    own = [row for row in w.rows("decision") if row["policy"] == "other"]
    assert [row["reason"] for row in own] == ["step 3", "step 4", "step 5"]
    wishes = {"wish": w.policy, "other": Other()}
    found = ledger.verified(w.database.reader, lambda name, p: wishes[name], 100)
    assert {one.verdict for one in found} == {"same"}


async def test_the_configured_policy_comes_back_when_somebody_says_so(watched):
    """With who and why; the candidate has ended, and may be proposed again."""
    w = await watched()
    await choosing(w).adopt(1, ANA)
    await w.watch(1)
    with pytest.raises(ControllerError, match="say why"):
        await choosing(w).restore(["a"], Who("ben", "api"))
    (state,) = await choosing(w).restore(["a"], Who("ben", "api", "too eager"))
    assert state.adopted is None
    await w.watch(1)
    assert w.last()["policy"] == "wish"
    told = w.candidate(1)
    assert (told["state"], told["text"], told["changed_by"]) == ("ended", "too eager", "ben")
    await restarted(w)
    await w.watch(1)
    assert w.last()["policy"] == "wish"
    with pytest.raises(NotAllowed, match="decides already"):
        await choosing(w).restore(["a"], Who("ben", "api", "again"))


async def test_a_configuration_that_names_another_policy_ends_it(watched, wish, world):
    """The newer word holds, and says so in the state, the record and the candidate."""
    w = await watched(mode="dry-run")
    await choosing(w).adopt(1, ANA)
    third = type(w.policy)(spec=PolicySpec("third", "Third", 15.0, "test"))
    w.fleets = tuple(type(f)(f.name, third, "{}", f.pools, f.rules) for f in w.fleets)
    await restarted(w)
    await w.watch(1)
    assert w.last()["policy"] == "third"
    state = w.book.states["a"]
    assert state.adopted is None
    assert state.adoption_note == (
        "candidate 1: ended by configuration: the configuration names third now, where it named"
        " wish when this was adopted"
    )
    assert w.candidate(1)["state"] == "ended"


async def test_one_that_cannot_be_made_any_more_ends_too(watched):
    """Another release without it: what the configuration names decides, and it is said."""
    w = await watched(mode="dry-run")
    await choosing(w).adopt(1, ANA)
    w.watching()
    await adoptions.resume(w.loop)
    await w.watch(1)
    assert w.last()["policy"] == "wish"
    assert "other cannot be made any more" in w.book.states["a"].adoption_note


@pytest.mark.parametrize("mode", ["dry-run", "approve", "active"])
async def test_what_may_not_decide_live_stays_refused(watched, mode):
    """A learned policy without a back-test that it won may be watched, not adopted."""
    w = await watched(Other(gate="it did not beat the default"), mode=mode)
    with pytest.raises(ControllerError, match="did not beat the default"):
        await choosing(w).adopt(1, ANA, override="a")
    assert choosing(w).refusal(1)[1] == ""
    await w.watch(1)
    assert w.last()["policy"] == "wish"
    assert w.candidate(1)["state"] == "shadow"


async def test_an_active_pool_is_not_handed_to_one_that_was_hardly_watched(watched):
    """Unless its name is typed; a pool in dry-run may be."""
    w = await watched(rehearse_hours=1.0)
    with pytest.raises(NotAllowed, match=r"watched for 0.0 h and a is active; 1 h are asked for"):
        await choosing(w).adopt(1, ANA)
    error, name = choosing(w).refusal(1)
    assert ("a is active" in error.message, name) == (True, "a")
    await choosing(w).adopt(1, ANA, override="a")
    assert w.loop.fleet("a").policy.spec.name == "other"


async def test_whoever_has_not_seen_the_newest_state_is_refused(watched):
    """As with every other act; and without a reason nothing is adopted."""
    w = await watched()
    await Orders(w.loop, w.settings).freeze([], 60, ANA)
    with pytest.raises(Conflict):
        await choosing(w).adopt(1, ANA, expected=0)
    with pytest.raises(ControllerError, match="say why"):
        await choosing(w).adopt(1, Who("ana", "cli"))
    with pytest.raises(Missing):
        await choosing(w).adopt(7, ANA)
    await choosing(w).adopt(1, ANA, expected=w.book.states["a"].version)
    with pytest.raises(Conflict, match="candidate 1 is adopted"):
        await choosing(w).adopt(1, ANA)


async def test_only_one_of_two_at_once_wins(watched):
    """Both saw the same; the second is told what the first did."""
    w = await watched()
    version = w.book.states["a"].version
    orders = choosing(w)
    done = await asyncio.gather(
        orders.adopt(1, ANA, version), orders.withdraw(1, ANA, version), return_exceptions=True
    )
    assert done[0]["state"] == "adopted"
    assert isinstance(done[1], NotAllowed)


async def test_a_withdrawn_one_is_not_asked_any_more(watched):
    """What it would have done is kept; it cannot be withdrawn twice."""
    w = await watched()
    told = await choosing(w).withdraw(1, ANA)
    assert (told["state"], told["steps"]) == ("withdrawn", 2)
    await w.watch(2)
    await restarted(w)
    await w.watch(1)
    assert w.candidate(1)["steps"] == 2
    with pytest.raises(Conflict, match="is withdrawn"):
        await choosing(w).withdraw(1, ANA)


async def test_pools_that_are_decided_together_are_handed_over_together(world, wish):
    """And return together."""
    w = world(wish(), pools=("a", "b"), mode="dry-run").watching(Other())
    w.propose(pool="b")
    await w.watch(1)
    await choosing(w).adopt(1, ANA)
    await w.watch(1)
    assert [row["policy"] for row in w.rows("decision")[-2:]] == ["other", "other"]
    states = await choosing(w).restore(["a"], ANA)
    assert [state.pool for state in states] == ["a", "b"]
    await restarted(w)
    assert w.loop.fleet("a+b").policy.spec.name == "wish"


async def test_the_next_one_takes_the_place_of_an_adopted_one(watched):
    """The first has ended; the configuration's policy is still what it goes back to."""
    w = await watched(mode="dry-run")
    await choosing(w).adopt(1, ANA)
    w.propose(want=8)
    await w.watch(1)
    await choosing(w).adopt(2, ANA)
    assert (w.candidate(1)["state"], w.candidate(1)["text"]) == (
        "ended", "candidate 2 took its place",
    )  # fmt: skip
    assert w.book.states["a"].adopted.configured_policy == "wish"
    await choosing(w).restore([], ANA)
    await w.watch(1)
    assert w.last()["policy"] == "wish"


async def test_adopting_waits_for_the_step_that_is_under_way(world, wish):
    """What the old policy remembers of that step does not become the new one's memory."""
    w = world(wish(), mode="dry-run").watching(Other())
    w.propose()
    await w.watch(1)
    await asyncio.gather(w.loop.tick(w.fleets[0]), choosing(w).adopt(1, ANA))
    assert w.last()["policy"] == "wish"
    await w.watch(1)
    assert w.last()["reason"] in ("step 2", "step 3")
    assert w.last()["policy"] == "other"
