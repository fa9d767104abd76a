"""What people tell the controller, and what it refuses."""

import json

import pytest

from controller.orders import Orders
from controller.refusals import Conflict, Missing, NotAllowed, Who
from store.errors import ControllerError
from store.queries import decisions as queries

ANA = Who("ana", "cli", "maintenance rack 4")


def orders(w):
    return Orders(w.loop, w.settings)


async def test_a_freeze_holds_and_survives_a_restart(world, wish):
    """Decisions are still made and recorded; when its time is over the pool moves again."""
    w = world(wish({"a": 6}))
    (state,) = await orders(w).freeze([], 30, ANA)
    assert (state.frozen_by, state.frozen_comment) == ("ana", "maintenance rack 4")
    w.restart()
    await w.tick()
    row = w.last()
    assert (row["kind"], row["binding"], row["proposed_replicas"]) == ("hold", "freeze", 6)
    assert row["reason"] == "frozen for 30 s"
    await w.tick()
    assert w.actuator.changes == []
    await w.tick()
    assert w.actuator.wanted == {"a": 6}


async def test_a_freeze_in_the_middle_of_a_step_stops_it(world, wish):
    """Nobody waits for the step to end."""
    w = world(wish({"a": 6}))
    keep = w.loop.scribe.write

    async def meanwhile(*args):
        await keep(*args)
        await orders(w).freeze(["a"], None, ANA)

    w.loop.scribe.write = meanwhile
    await w.tick()
    assert w.actuator.changes == []


async def test_leaving_a_freeze_needs_a_comment(world, wish):
    """And accepts what others set meanwhile."""
    w = world(wish({"a": 6}))
    await w.tick()
    await orders(w).freeze([], None, ANA)
    w.actuator.meddle("a", 3)
    await w.tick()
    with pytest.raises(ControllerError, match="say why"):
        await orders(w).resume([], Who("ana", "cli"))
    await orders(w).resume([], ANA)
    await w.tick()
    assert w.actuator.wanted == {"a": 6}
    assert [row["action"] for row in w.rows("audit", "happened_at")] == [
        "controller.freeze",
        "controller.resume",
    ]


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), 1e9])
async def test_a_freeze_of_no_time_is_refused(world, seconds):
    """One clear line."""
    with pytest.raises(ControllerError, match="cannot be"):
        await orders(world()).freeze([], seconds, ANA)


async def test_acting_is_refused_without_rehearsal(world, wish):
    """Enough steps in dry-run, and telemetry that can be trusted; or the pool's name, typed."""
    w = world(wish({"a": 6}), mode="dry-run", rehearse_hours=0.1)
    await w.ticks(5)
    with pytest.raises(NotAllowed, match=r"0\.0 h in dry-run; 0\.1 h are asked for"):
        await orders(w).mode(["a"], "active", ANA)
    with pytest.raises(NotAllowed):
        await orders(w).mode(["a"], "active", ANA, override="yes")
    await orders(w).mode(["a"], "active", ANA, override="a")
    await orders(w).mode(["a"], "dry-run", ANA)
    await w.ticks(20)
    w.eyes.rate = None
    await w.tick()
    with pytest.raises(NotAllowed, match="cannot be trusted"):
        await orders(w).mode(["a"], "active", ANA)
    w.eyes.rate = 3.0
    await w.tick()
    (state,) = await orders(w).mode(["a"], "active", ANA)
    assert (state.mode, state.mode_by, state.baseline) == ("active", "ana", 4)
    await w.tick()
    assert w.actuator.wanted == {"a": 6}


async def test_two_people_at_once_get_the_newer_state(world):
    """The second one has not seen what the first one did."""
    w = world()
    (state,) = await orders(w).freeze(["a"], None, ANA, expected=0)
    with pytest.raises(Conflict) as caught:
        await orders(w).mode(["a"], "off", Who("bo", "api"), expected=0)
    assert caught.value.status == 409
    assert caught.value.state["a"]["frozen_by"] == "ana"
    await orders(w).mode(["a"], "off", Who("bo", "api"), expected=state.version)


async def test_unknown_names_are_refused(world):
    """Pools, modes, decisions."""
    w = world()
    with pytest.raises(Missing, match="no pool 'b'"):
        await orders(w).freeze(["b"], None, ANA)
    with pytest.raises(ControllerError, match="no mode 'on'"):
        await orders(w).mode(["a"], "on", ANA)
    for order in (orders(w).approve, orders(w).reject):
        with pytest.raises(Missing, match="no decision 7"):
            await order(7, ANA)
    with pytest.raises(Missing):
        await orders(w).rollback(7, ANA)


async def test_an_approved_decision_is_done(world, wish):
    """Once; what says the same again does not take its place."""
    w = world(wish({"a": 6}), mode="approve")
    await w.ticks(3)
    assert w.actuator.changes == []
    assert [row["repeats"] for row in w.rows("decision")] == [None, 1, 1]
    told = await orders(w).approve(1, ANA)
    assert told == {"decision_id": 1, "pool": "a", "outcome": "applied"}
    assert w.actuator.changes == [("a", 6, "1")]
    with pytest.raises(Conflict, match="was approved by ana"):
        await orders(w).approve(1, ANA)
    await w.ticks(2)
    assert w.actuator.changes == [("a", 6, "1")]


async def test_a_decision_that_was_replaced_cannot_be_approved(world, wish):
    """The newer one is named."""
    w = world(wish({"a": 10}), mode="approve")
    await w.tick()
    w.policy.want = {"a": 9}
    await w.tick(360)
    with pytest.raises(Conflict) as caught:
        await orders(w).approve(1, ANA)
    assert str(caught.value.message) == (
        "decision 1 is 6 min old and decision 2 (4 -> 9) replaced it"
    )
    assert caught.value.state["decision_id"] == 2
    w.policy.want = {"a": 4}
    await w.tick()
    with pytest.raises(Conflict, match="is not wanted any more"):
        await orders(w).approve(2, ANA)


async def test_a_decision_waits_only_so_long(world, wish):
    """Then it is expired, and made anew."""
    w = world(wish({"a": 6}), mode="approve", approve_seconds=20)
    await w.ticks(2)
    with pytest.raises(Conflict, match="expired"):
        await orders(w).approve(1, ANA)
    await w.tick()
    with pytest.raises(Conflict, match="decision 3"):
        await orders(w).approve(1, ANA)
    assert w.rows("verdict")[0]["verdict"] == "expired"
    w.restart()
    assert (await orders(w).approve(3, ANA))["outcome"] == "applied"


async def test_what_a_restart_made_void_waits_for_nobody(world, wish):
    """Its time ran out while nobody was there: it is superseded, and made anew."""
    w = world(wish({"a": 6}), mode="approve", approve_seconds=20)
    await w.ticks(2)
    w.clock.advance(60)
    w.restart()
    (row,) = w.rows("verdict")
    assert (row["decision_id"], row["verdict"], row["given_by"]) == (1, "superseded", "controller")
    assert row["comment"] == "the controller was started again, and its time had run out"
    with pytest.raises(Conflict, match=r"decision 1 .* was superseded"):
        await orders(w).approve(1, ANA)
    await w.tick()
    assert (await orders(w).approve(3, ANA))["outcome"] == "applied"


async def test_what_still_waits_outlives_a_restart_under_its_own_number(world, wish):
    """Rows that only say it again are not asked about; what was answered is answered for all."""
    w = world(wish({"a": 6}), mode="approve")
    await w.ticks(3)
    w.restart()
    assert [row.decision_id for row in w.book.pending.values()] == [1]
    assert w.rows("verdict") == []
    await orders(w).approve(1, ANA)
    (row,) = queries.listed(w.database.reader).to_dicts()
    assert (row["decision_id"], row["verdict"], row["ticks"]) == (1, "approved", 3)
    assert queries.pending(w.database.reader, w.book.now()).is_empty()


async def test_a_rejected_decision_is_not_done(world, wish):
    """It is made anew at the next step, as a new decision."""
    w = world(wish({"a": 6}), mode="approve")
    await w.tick()
    await orders(w).reject(1, ANA)
    await w.tick()
    assert w.actuator.changes == []
    assert w.rows("verdict")[0]["given_by"] == "ana"
    assert w.last()["repeats"] is None


async def test_approval_does_not_overrule_others(world, wish):
    """The platform is not as it was decided upon; or it is frozen."""
    w = world(wish({"a": 6}), mode="approve")
    await w.tick()
    w.actuator.meddle("a", 5)
    with pytest.raises(Conflict, match="5 are wanted now"):
        await orders(w).approve(1, ANA)
    w.actuator.meddle("a", 4)
    await orders(w).freeze([], None, ANA)
    with pytest.raises(NotAllowed, match="frozen"):
        await orders(w).approve(1, ANA)


async def test_a_rollback_returns_and_freezes(world, wish):
    """To what was there before the decision; it is a decision of its own in the ledger."""
    w = world(wish({"a": 6}))
    await w.tick()
    assert orders(w).rollback_of(1)["to_replicas"] == 4
    told = await orders(w).rollback(1, ANA)
    assert (told["to_replicas"], told["outcome"], told["by_decision"]) == (4, "applied", 2)
    await w.ticks(3)
    assert w.actuator.wanted == {"a": 4}
    assert w.last()["binding"] == "freeze"
    await w.tick(900)
    await w.tick()
    assert w.actuator.wanted == {"a": 6}
    audited = [json.loads(row["after"]) for row in w.rows("audit", "happened_at")]
    assert {"replicas": 4} in audited


async def test_a_pool_that_nobody_acts_on_is_not_rolled_back(world, wish):
    """In dry-run there is nothing to return."""
    w = world(wish({"a": 6}), mode="dry-run")
    await w.tick()
    with pytest.raises(NotAllowed, match="nothing is done to it"):
        await orders(w).rollback(1, ANA)
