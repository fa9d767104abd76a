"""The control loop: what is written down, what is done, and what is not when something is wrong."""

import asyncio
import threading
from dataclasses import replace
from datetime import timedelta

import pytest

from controller import ledger
from controller.leases.file import FileLeases
from controller.outcomes import Outcomes
from controller.policy import Proposal
from store import decisions
from store.errors import StoreError


def wanting(**targets):
    return lambda observation: targets


async def test_a_decision_is_written_down_and_then_done(world, wish):
    """The row is there before the platform is asked, with the reason and what was seen."""
    w = world(wish({"a": 6}))
    seen = []
    apply = w.actuator.apply

    async def watching(*args, **more):
        seen.append([row["decision_id"] for row in w.rows("decision")])
        return await apply(*args, **more)

    w.actuator = type("Watching", (), {
        "name": "w", "read": w.actuator.read, "apply": staticmethod(watching),
        "aclose": w.actuator.aclose,
    })()  # fmt: skip
    w.restart()
    await w.tick()
    assert seen == [[1]]
    row = w.last()
    assert (row["kind"], row["before_replicas"], row["final_replicas"]) == ("up", 4, 6)
    assert row["reason"] == "wants 6"
    (action,) = w.rows("action")
    assert (action["decision_id"], action["outcome"]) == (1, "applied")


async def test_nothing_is_done_that_could_not_be_written_down(world, wish, database):
    """A full disk or a closed store holds the fleet."""
    w = world(wish({"a": 6}))
    database.writer.close()
    with pytest.raises(StoreError):
        await w.tick()
    assert w.actuator.changes == []


@pytest.mark.parametrize("mode", ["off", "dry-run", "approve"])
async def test_only_an_active_pool_is_scaled(world, wish, mode):
    """The others are decided upon (but for off), and left alone."""
    w = world(wish({"a": 6}), mode=mode)
    await w.ticks(2)
    assert w.actuator.changes == []
    assert len(w.rows("decision")) == (0 if mode == "off" else 2)


@pytest.mark.parametrize(
    "want",
    [
        {"a": float("nan")}, {"a": -3}, {"a": 2.5}, {"b": 3}, {"a": "many"}, {"a": 10**9},
        Proposal(None), 7, lambda o: 1 / 0,
    ],
)  # fmt: skip
async def test_a_policy_that_gives_garbage_holds_the_fleet(world, wish, want):
    """It is recorded and explained, and what it remembered stays."""
    policy = wish()
    w = world(policy)
    await w.tick()
    policy.want = want
    await w.tick()
    row = w.last()
    assert row["kind"] == "hold"
    assert row["code"] == "policy_failed"
    assert "Error" in row["reason"]
    assert w.actuator.changes == []
    policy.want = {"a": 5}
    await w.tick()
    assert w.actuator.wanted == {"a": 5}
    assert all(one.verdict == "same" for one in verified(w, wish, {2: want}))


def verified(w, wish, wants):
    """Made again with what was wanted then."""
    made = {number: wish(want) for number, want in wants.items()}

    class Then:
        spec = wish().spec
        calls = 0

        def decide(self, observation, memory):
            Then.calls += 1
            return made.get(Then.calls, wish({"a": 5} if Then.calls > 2 else None)).decide(
                observation, memory
            )

    return list(ledger.verified(w.database.reader, lambda name, parameters: Then(), 10))


async def test_a_policy_that_hangs_is_not_called_again_until_it_comes_back(world, wish):
    """The loop goes on and holds; the late answer is not heard."""
    free, came = threading.Event(), threading.Event()
    calls = []

    def hang(observation):
        calls.append(1)
        if len(calls) == 1:
            came.set()
            free.wait(20)
        return {"a": 9}

    w = world(wish(hang), policy_limit_seconds=0.2)
    await w.ticks(2)
    assert came.is_set()
    assert len(calls) == 1
    assert [row["code"] for row in w.rows("decision")] == ["policy_failed"] * 2
    assert "longer than" in w.rows("decision")[0]["reason"]
    assert "has not come back" in w.rows("decision")[1]["reason"]
    free.set()
    while w.loop._policies["a"].is_busy:  # noqa: ASYNC110 - another thread says so
        await asyncio.sleep(0)  # noqa: TID251 - no time passes
    await w.tick()
    assert w.actuator.wanted == {"a": 9}


async def test_what_cannot_be_seen_holds_the_fleet(world, wish):
    """A store that cannot be read is no reason to scale."""
    w = world(wish({"a": 1}))
    w.eyes.rate = StoreError("the query was stopped")
    await w.tick()
    row = w.last()
    assert (row["kind"], row["binding"]) == ("hold", "trust")
    assert "nothing could be seen" in w.rows("observation", "observation_id")[0]["notes"][0]


@pytest.mark.parametrize(
    ("fault", "outcome", "text"),
    [
        ("hang", "failed", "no answer within 0.05 s"),
        ("raise", "failed", "RuntimeError: the client broke"),
        ("lie", "failed", "it says applied, but 4 replicas are wanted there"),
        ("fail", "failed", "as told to"),
        ("refuse", "refused", "as told to"),
    ],
)
async def test_a_platform_that_fails_is_asked_again_for_the_same_decision(
    world, wish, fault, outcome, text
):
    """Every attempt is recorded; once it works nothing is done twice."""
    w = world(wish({"a": 6}), actuator_limit_seconds=0.05)
    w.actuator.fault = fault
    await w.tick()
    (action,) = w.rows("action")
    assert (action["outcome"], action["text"]) == (outcome, text)
    w.actuator.fault = ""
    await w.ticks(4)
    assert w.actuator.changes == [("a", 6, "1")]
    assert {call[2] for call in w.actuator.calls} == {"1"}
    assert w.rows("decision")[1]["repeats"] == 1
    assert [row["outcome"] for row in w.rows("action", "attempt")][-1] == "applied"


async def test_a_platform_that_fails_is_asked_more_and_more_seldom(world, wish):
    """Not at every step."""
    w = world(wish({"a": 6}))
    w.actuator.fault = "fail"
    await w.ticks(40)
    assert 4 <= len(w.actuator.calls) <= 8


async def test_an_action_that_came_through_without_an_answer_is_found(world, wish):
    """It is not taken for somebody else's change, and not done twice."""
    w = world(wish({"a": 6}), actuator_limit_seconds=0.05)
    w.actuator.fault = "half"
    await w.tick()
    w.actuator.fault = ""
    await w.ticks(3)
    assert w.actuator.changes == [("a", 6, "1")]
    assert w.book.states["a"].foreign is None
    assert [row["outcome"] for row in w.rows("action", "attempt")] == ["failed", "applied"]


async def test_what_somebody_else_set_is_not_fought(world, wish):
    """It is held until somebody resumes."""
    w = world(wish({"a": 6}))
    await w.tick()
    w.actuator.meddle("a", 2)
    await w.ticks(3)
    assert w.actuator.wanted == {"a": 2}
    row = w.last()
    assert (row["kind"], row["binding"]) == ("hold", "ownership")
    assert row["reason"] == "somebody else set 2; held until resumed"
    await w.book.change([w.book.row("a", "resume", "ana", replicas=2)])
    await w.tick()
    assert w.actuator.wanted == {"a": 6}


async def test_a_change_by_others_outlives_a_restart(world, wish):
    """And one made while nobody looked is seen."""
    w = world(wish({"a": 6}))
    await w.tick()
    w.actuator.meddle("a", 2)
    w.restart()
    await w.tick()
    assert w.book.states["a"].foreign == 2
    w.restart()
    assert w.book.states["a"].foreign == 2


async def test_a_restart_in_the_middle_of_an_action_does_it_at_most_once(world, wish):
    """Written down, then killed: before or after the platform was asked."""
    w = world(wish({"a": 6}), actuator_limit_seconds=0.05)
    w.actuator.fault = "half"

    async def killed(*args, **more):
        raise KeyboardInterrupt

    w.hands._note = killed
    with pytest.raises(KeyboardInterrupt):
        await w.tick()
    w.actuator.fault = ""
    w.restart()
    assert w.book.open["a"].decision_id == 1
    await w.ticks(3)
    assert w.actuator.changes == [("a", 6, "1")]
    assert w.book.states["a"].foreign is None
    (action,) = w.rows("action")
    assert action["outcome"] == "applied"


async def test_a_decision_that_was_never_sent_is_decided_anew(world, wish):
    """What was right before the restart need not be right now."""
    w = world(wish({"a": 6}))

    async def killed(*args):
        raise KeyboardInterrupt

    w.hands.act = killed
    with pytest.raises(KeyboardInterrupt):
        await w.tick()
    w.restart()
    w.policy.want = {"a": 5}
    await w.ticks(2)
    assert w.actuator.changes == [("a", 5, "2")]
    assert [row["outcome"] for row in w.rows("action")] == ["abandoned", "applied"]


async def test_two_controllers_never_act_on_one_pool(world, wish, tmp_path, other_database):
    """The second one records what it would do; it takes over when the first is gone."""
    one = world(wish({"a": 6}), leases=FileLeases(tmp_path, "one"))
    two = world(wish({"a": 2}), leases=FileLeases(tmp_path, "two"))
    two.actuator, two.database = one.actuator, other_database
    two.restart()
    await one.tick()
    await two.tick()
    assert one.actuator.changes == [("a", 6, "1")]
    assert two.book.states["a"].foreign is None
    row = two.last()
    assert (row["kind"], row["reason"]) == ("hold", "another controller holds the lease")
    await one.loop.aclose()
    await two.tick()
    assert one.actuator.wanted == {"a": 2}


async def test_a_lost_lease_stops_the_hand(world, wish, tmp_path):
    """Somebody removed the file, and another controller took the pool in the middle of a step."""
    leases, other = FileLeases(tmp_path, "one"), FileLeases(tmp_path, "two")
    w = world(wish({"a": 6}), leases=leases)
    decide = w.loop._decide

    async def meanwhile(*args):
        (tmp_path / "a.lease").unlink()
        assert other.take("a")
        return await decide(*args)

    w.loop._decide = meanwhile
    await w.tick()
    assert w.actuator.changes == []
    assert "held by two" in w.rows("action")[0]["text"]


async def test_what_a_policy_remembers_outlives_a_restart(world, wish):
    """It is made again from the last snapshot, not kept at every step."""
    w = world(wish(), snapshot_steps=4)
    await w.ticks(7)
    kept = [row["memory"] for row in w.rows("observation", "observation_id")]
    assert [one is not None for one in kept] == [True, False, False, False, True, False, False]
    w.restart()
    assert w.book.threads["a"].memory == '{"count":7}'
    await w.tick()
    found = list(ledger.verified(w.database.reader, lambda name, parameters: wish(), 100))
    assert [one.verdict for one in found] == ["same"] * 8


async def test_a_decision_that_was_tampered_with_is_found(world, wish):
    """Made again it comes out otherwise."""
    w = world(wish({"a": 6}), mode="dry-run")
    await w.ticks(3)
    w.database.writer.run(
        lambda con: con.execute(
            "UPDATE observation SET result = replace(result, '\"a\":6', '\"a\":7')"
            " WHERE observation_id = 2"
        )
    ).result()
    found = list(ledger.verified(w.database.reader, lambda name, parameters: wish({"a": 6}), 100))
    assert [one.verdict for one in found] == ["same", "differs", "same"]
    assert "proposal" in found[1].text


async def test_a_budget_is_shared_by_pools_that_are_decided_apart(world, wish):
    """Growth that nobody can pay for is cut, and nothing is scaled down for it."""
    w = world(wish({"a": 9}), pools=("a", "b"), most_gpus=10)
    w.policy.want = {"a": 9, "b": 4}
    await w.tick()
    assert w.actuator.wanted == {"a": 6, "b": 4}
    assert w.last("a")["binding"] == "budget"


async def test_an_unreadable_platform_holds_its_pool(world, wish):
    """And says so."""
    w = world(wish({"a": 6}))
    w.actuator.fault = "unreadable"
    await w.tick()
    row = w.last()
    assert row["kind"] == "hold"
    assert row["reason"] == "memory: the platform cannot be read"


async def test_pools_of_other_policies_count_in_the_budget(world, wish):
    """What is decided apart is paid for from one purse."""
    w = world(wish({"a": 9}), pools=("a", "b"), most_gpus=10)
    apart = replace(w.fleets[0], name="b", pools=w.fleets[0].pools[1:], policy=wish({"b": 9}))
    w.fleets = (replace(w.fleets[0], name="a", pools=w.fleets[0].pools[:1]), apart)
    w.restart()
    await w.ticks(3)
    assert sum(w.actuator.wanted.values()) == 10


async def test_what_came_true_is_written_beside_what_was_expected(world, wish):
    """After the settling time: attainment, load, replicas; once."""
    w = world(wish({"a": 6}), settle_seconds=60)

    class Realised:
        def realised(self, pool, start, end):
            return 100, 0.952, 43.0

    w.loop._outcomes = Outcomes(w.book, Realised(), 60)
    await w.ticks(9)
    rows = {row["quantity"]: row for row in w.rows("outcome", "quantity")}
    assert set(rows) == {"attainment_ratio", "peak_requests_per_second", "replica_hours", "cost"}
    assert rows["attainment_ratio"]["observed"] == 0.952
    assert rows["peak_requests_per_second"]["predicted"] == 5.0
    assert rows["replica_hours"]["predicted"] == pytest.approx(6 / 60)
    assert rows["cost"]["observed"] is None


async def test_a_change_is_an_event_on_all_charts(world, wish):
    """With the number of its decision."""
    w = world(wish({"a": 6}))
    await w.tick()
    w.database.writer.flush()
    (event,) = w.rows("event", "event_id")
    assert (event["kind"], event["text"]) == ("scale", "a: 4 -> 6 replicas (decision 1)")


async def test_a_loop_that_is_stopped_leaves_the_writer_alive(world, wish):
    """Whoever waits for a row may be cancelled; the row is written all the same."""
    w = world(wish({"a": 6}))
    task = asyncio.create_task(w.tick())
    for _ in range(200):
        await asyncio.sleep(0)  # noqa: TID251 - no time passes
        if w.book._decision_id:
            break
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await w.loop.aclose()
    w.database.writer.flush()
    w.restart()
    await w.ticks(2)
    assert w.actuator.wanted == {"a": 6}


async def test_old_steps_are_deleted_and_numbers_go_on(world, wish):
    """The newest step stays, whatever its age."""
    w = world(wish(), mode="dry-run")
    await w.ticks(3)
    gone = decisions.delete_old(w.database.writer, w.book.now() + timedelta(days=1)).result()
    assert gone == 2
    w.restart()
    await w.tick()
    assert [row["decision_id"] for row in w.rows("decision")] == [3, 4]
    found = list(ledger.verified(w.database.reader, lambda name, parameters: wish(), 10))
    assert [one.verdict for one in found] == ["same", "not there"]
