"""From a proposal to a shadow, to the policy that decides, and back: through every door."""

import asyncio
import json
from datetime import timedelta

import pytest

from controller.refusals import Conflict
from servescope.cli.main import main
from servescope.controlling.candidates import compare_document
from servescope.controlling.desk import Desk
from store import replays
from store.errors import InputError

WHY = "fewer cards in the replay"


def proposed(rig, policy="kubernetes-hpa", pool="chat", **parameters):
    runtime = rig.runtime
    wanted = replays.Candidate(pool, policy, parameters, None, "ana")
    return replays.propose(runtime.database.writer, runtime.clock.now(), wanted).result()


def test_from_proposed_to_live_and_back(rig):
    """Each step is seen where people look: candidates, status, decisions, audit."""
    rig.tick(2)
    number = proposed(rig, target_ongoing=8)
    (told,) = rig.get("/candidates")["candidates"]
    assert (told["state"], told["is_watched"]) == ("proposed", False)
    assert rig.get(f"/candidates/{number}")["empty"] == "it was not asked yet"
    rig.tick(3)
    (told,) = rig.get("/candidates")["candidates"]
    assert (told["state"], told["is_watched"], told["steps"]) == ("shadow", True, 3)
    assert told["policy_text"] == "kubernetes-hpa(target_ongoing=8)"
    (pool,) = rig.get("/status")["pools"]
    assert (pool["policy"], pool["shadows"]) == ("queue-length-hpa", [number])
    # Nobody takes what a candidate would do for a decision.
    assert {row["policy"] for row in rig.get("/decisions")["rows"]} == {"queue-length-hpa"}

    body = {"comment": WHY, "by": "ana", "expected_version": told["version"]}
    made = rig.post(f"/candidates/{number}/adopt", **body)
    assert (made["state"], made["changed_by"]) == ("adopted", "ana")
    rig.tick()
    (pool,) = rig.get("/status")["pools"]
    assert pool["policy"] == "kubernetes-hpa"
    assert pool["adopted"]["text"] == (
        f"adopted from candidate {number} over the configured queue-length-hpa"
    )
    assert pool["adopted"]["comment"] == WHY
    assert rig.get("/decisions", limit=1)["rows"][0]["policy"] == "kubernetes-hpa"
    stale = rig.post("/restore-policy", 409, comment="back", expected_version=0)
    assert stale["state"]["chat"]["version"] == pool["version"]
    (pool,) = rig.post("/restore-policy", pools=["chat"], comment="back")["pools"]
    assert pool["adopted"] is None
    assert rig.get("/candidates")["candidates"][0]["state"] == "ended"
    again = rig.post(f"/candidates/{number}/adopt", 409, comment=WHY)
    assert again["state"]["state"] == "ended"
    verified = rig.get("/verify")
    assert verified["same"] == verified["checked"] == 6
    assert verified["shadows"]["same"] == verified["shadows"]["checked"] == 3


def test_both_sides_over_the_same_time(rig):
    """Replica-hours of both, how often and by how much they differ, and why more is not known."""
    number = proposed(rig, "static", replicas=5)
    rig.tick(10)
    told = rig.get(f"/candidates/{number}")
    (pool,) = told["pools"]
    # As if applied: from three there to five at once.
    assert {row["shadow_replicas"] for row in told["course"]} == {5}
    assert pool["shadow"]["replica_hours"] == pytest.approx(5 * told["seconds"] / 3600)
    assert pool["live"]["replica_hours"] == pytest.approx(7 * told["seconds"] / 3600)
    assert pool["there"]["replica_hours"] == pytest.approx(3 * told["seconds"] / 3600)
    assert told["differing_ratio"] == 1.0
    assert told["largest_difference_replicas"] == -2
    assert pool["shadow"]["cost"] is None
    assert pool["shadow"]["predicted_attainment_ratio"] is None
    assert pool["why"] == "the pool has no profile"
    assert "(-29%)" in told["text"]
    assert told["latest"][0]["reason"]
    # The table that the page's CSV and Python lead to has the very points of the chart.
    course = rig.runtime.view("candidate_course", {}, {"candidate": str(number)}).frames["course"]
    assert course["shadow_replicas"].to_list() == [row["shadow_replicas"] for row in told["course"]]
    assert course["live_replicas"].to_list() == [row["live_replicas"] for row in told["course"]]
    for nobody in ("99", "9" * 18):
        assert rig.runtime.view("candidate_course", {}, {"candidate": nobody}).empty is not None
    with pytest.raises(InputError, match="no number of a candidate"):
        rig.runtime.view("candidate_course", {}, {"candidate": "keda"})
    with pytest.raises(InputError, match="no number of a candidate"):
        rig.runtime.view("candidate_course", {}, {"candidate": "9" * 40})
    rig.runtime.clock.advance(60)
    assert rig.get(f"/candidates/{number}", hours=0.01)["empty"] == "it was not asked in that time"
    rig.get("/candidates/99", 404)


def test_what_is_refused_says_why(rig):
    """No such candidate, no reason given, not watched any more."""
    number = proposed(rig, "queue-length-hpa", target_waitin=3)
    rig.tick()
    (told,) = rig.get("/candidates")["candidates"]
    assert told["state"] == "refused"
    assert "has no parameter 'target_waitin'" in told["text"]
    assert rig.post(f"/candidates/{number}/withdraw", 409)["title"]
    rig.post("/candidates/99/adopt", 404, comment=WHY)
    rig.post(f"/candidates/{number}/adopt", 422)
    fine = proposed(rig, "static")
    rig.tick()
    assert "say why" in json.dumps(rig.post(f"/candidates/{fine}/adopt", 400, comment=" "))
    rig.post("/restore-policy", 403, comment="x")


def test_a_policy_can_be_proposed_without_a_replay(rig):
    """It is watched at once, or refused with the reason at once."""
    made = rig.post("/candidates", pool="chat", policy="static(replicas=5)", by="ana")
    assert (made["state"], made["parameters"], made["replay_id"]) == (
        "shadow", {"replicas": 5}, None,
    )  # fmt: skip
    told = rig.post("/candidates", 400, pool="chat", policy="static(replica=5)")
    assert "has no parameter 'replica'" in told["detail"]
    told = rig.post("/candidates", 400, pool="chat", policy="queue-length-hpa")
    assert "decides chat already" in told["detail"]
    rig.post("/candidates", 404, pool="b", policy="static")
    audit = rig.runtime.database.reader.frame("SELECT actor, action FROM audit").rows()
    assert ("ana", "controller.propose") in audit


def test_the_desk_of_the_pages(rig):
    """The same through the callables that pages are handed."""
    desk = Desk(rig.runtime.controlling, rig.runtime.clock).candidates
    number, other = proposed(rig), proposed(rig, "static")
    rig.tick(2)
    first, second = desk.listed()["candidates"]
    assert [first["candidate_id"], second["candidate_id"]] == [other, number]
    assert desk.compared(number)["candidate"]["candidate_id"] == number
    assert desk.withdraw(other, "ana", "no use")["state"] == "withdrawn"
    with pytest.raises(Conflict):
        desk.adopt(number, "ana", WHY, expected=99)
    assert desk.adopt(number, "ana", WHY, expected=first["version"])["state"] == "adopted"
    (pool,) = desk.restore_policy([], "ana", "back")
    assert pool["adoption_note"] == f"candidate {number}: ended by ana: back"


def test_without_a_server_candidates_are_read_from_the_file(rig, capsys, tmp_path):
    """And what a candidate came to; nobody is asked there."""
    number = proposed(rig, "static", replicas=5)
    rig.tick(4)
    reader, clock = rig.runtime.database.reader, rig.runtime.clock
    told = compare_document(reader, clock, None, number)
    assert told["pools"][0]["observed_attainment_ratio"] is None
    assert told["candidate"]["is_watched"] is False
    clock.advance(timedelta(days=1).total_seconds())
    assert compare_document(reader, clock, None, number, 1.0)["empty"]


@pytest.fixture
def told_server(rig, monkeypatch):
    """The command line, speaking to the server without a socket."""
    from servescope.cli import access

    class Server(access.ServerAccess):
        def __init__(self):
            pass

        def get(self, path, params):
            return rig.get(path.removeprefix("/controller"), **params)

        def send(self, method, path, *, json=None):
            return rig.post(path.removeprefix("/controller"), **json)

    monkeypatch.setattr(access, "the_server", lambda config: Server())

    from contextlib import contextmanager

    @contextmanager
    def opened(config):
        yield Server()

    monkeypatch.setattr(access, "opened", opened)
    return rig


def test_commands(told_server, capsys):
    """What people type, and what they read."""
    rig = told_server

    def said(*words):
        code = main(["controller", *words])
        out = capsys.readouterr()
        assert not code, out.err
        return out.out

    assert "Nobody proposed a policy yet" in said("candidates")
    number = str(proposed(rig, "static", replicas=5))
    rig.tick(4)
    assert "static(replicas=5)" in said("candidates")
    text = said("compare", number, "--for", "1h")
    assert "would have had" in text
    assert "is not known: the pool has no profile" in text
    assert "decides chat from the next step" in said(
        "adopt", number, "--comment", WHY, "--by", "ana"
    )
    rig.tick()
    text = said("status")
    assert f"adopted from candidate {number} over the configured queue-length-hpa" in text
    assert "chat: dry-run" in said("restore-policy", "chat", "--comment", "back")
    assert "ended by" in said("status")
    assert "candidate 2: static(replicas=6) for chat, shadow" in said(
        "propose", "chat", "static(replicas=6)"
    )
    other = "2"
    rig.tick()
    assert "not asked any more" in said("withdraw", other)
    assert "steps of candidates as well" in said("verify")


def test_rows_of_candidates_are_let_go_with_the_rest(rig):
    """The job that deletes old steps takes theirs."""
    proposed(rig, "static", replicas=5)
    rig.tick(3)
    rig.runtime.clock.advance(31 * 86400.0)
    rig.runtime.controlling.forget()
    reader = rig.runtime.database.reader
    assert reader.scalar("SELECT count(*) FROM shadow_decision") == 0
    assert reader.scalar("SELECT count(*) FROM policy_candidate") == 1


def test_a_restart_goes_on_with_what_was_adopted(rig):
    """The next process reads it before its first step."""
    number = proposed(rig)
    rig.tick(2)
    rig.post(f"/candidates/{number}/adopt", comment=WHY)
    controlling = rig.runtime.controlling
    asyncio.run_coroutine_threadsafe(controlling.start(), controlling._events).result(60)
    (pool,) = rig.get("/status")["pools"]
    assert pool["policy"] == "kubernetes-hpa"
