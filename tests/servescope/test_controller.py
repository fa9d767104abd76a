"""The controller through API and command line: seen, asked why, told to stop."""

import asyncio
import json
from dataclasses import dataclass, field

import pytest

from controller.policies import registry
from controller.policy import PolicySpec
from controller.refusals import Conflict
from servescope.cli.controlling import pool_lines, seconds_of
from servescope.cli.explaining import explain_lines
from servescope.cli.main import main
from servescope.config import load
from servescope.controlling import assembly
from servescope.controlling.desk import Desk
from store.database import Database
from store.errors import ConfigError, InputError

API = "/api/v1/controller"


def test_status_says_how_each_pool_stands(rig):
    """Before the first step nothing is known of it; then everything."""
    (pool,) = rig.get("/status")["pools"]
    assert (pool["mode"], pool["doubt"]) == ("dry-run", "nothing was seen of it yet")
    rig.tick(2)
    told = rig.get("/status")
    (pool,) = told["pools"]
    assert told["running"]
    assert (pool["wanted"], pool["desired"], pool["doubt"]) == (3, 7, "")
    # Nobody follows what is only rehearsed.
    assert rig.get("/desired") == {"pools": {}}
    text = rig.client.get("/metrics").text
    assert "servescope_desired_replicas{" not in text
    assert 'servescope_control_target_replicas{pool="chat"} 7.0' in text
    assert 'servescope_control_steps_total{fleet="chat"} 2.0' in text


def test_a_decision_is_explained(rig):
    """Inputs with grade and age, what would flip it, and that it comes out the same again."""
    rig.tick(2)
    row = rig.get("/decisions")["rows"][0]
    told = rig.get(f"/decisions/{row['decision_id']}")
    assert told["decision"]["kind"] == "up"
    inputs = {one["signal"]: one for one in told["inputs"]}
    assert inputs["requests_waiting"]["value"] == 60
    assert inputs["requests_waiting"]["grade"] == "fresh"
    flip = next(one for one in told["flips"] if one["signal"] == "requests_waiting")
    assert flip["kind"] in ("hold", "down")
    assert flip["text"].startswith("would ")
    assert "requests waiting <=" in flip["text"]
    assert told["replays"]
    lines = dict(explain_lines(told))
    assert "pool chat  3 -> 7   DRY-RUN" in lines[f"#{row['decision_id']}"]
    assert lines["done"] == "not applied (dry-run)"
    assert lines["again"].endswith("the same to the byte")
    assert rig.get("/decisions/77", 404)["code"] == "not_found"


def test_decisions_come_as_tables_too(rig):
    """Steps that say the same again are one row."""
    rig.tick(4)
    answer = rig.client.get(f"{API}/decisions?format=csv")
    assert answer.text.startswith("decision_id,decided_at,pool")
    row = rig.get("/decisions", pool="chat")["rows"][0]
    assert row["ticks"] >= 3
    assert row["final_replicas"] == 7
    assert rig.get("/decisions", pool="other")["rows"] == []


def test_a_pool_is_set_to_act_and_stopped(rig):
    """Refused at first, as /modes said beforehand; then with a rehearsal, or the pool's name."""
    beforehand = rig.get("/modes")["refused"]["chat"]["active"]
    told = rig.post("/mode", 403, mode="active")
    assert "h are asked for" in told["detail"]
    assert (beforehand["why"], beforehand["hint"]) == (told["detail"], told["hint"])
    assert beforehand["may_override"]
    rig.tick(3)
    assert rig.get("/modes") == {"refused": {"chat": {}}}
    (state,) = rig.post("/mode", mode="active", by="ana", comment="go")["pools"]
    assert (state["mode"], state["mode_by"]) == ("active", "ana")
    rig.tick()
    (pool,) = rig.get("/status")["pools"]
    assert pool["wanted"] == 3
    assert rig.get("/desired") == {"pools": {"chat": {"desired_replicas": 7}}}
    assert 'servescope_desired_replicas{pool="chat"} 7.0' in rig.client.get("/metrics").text
    newest = rig.get("/decisions")["rows"][0]
    assert newest["action_outcome"] == "applied"
    (state,) = rig.post("/freeze", seconds=600, by="ana")["pools"]
    assert state["is_frozen"]
    told = rig.post(f"/decisions/{newest['decision_id']}/rollback", by="ana")
    assert (told["to_replicas"], told["outcome"]) == (3, "applied")
    rig.post("/resume", 422)
    (state,) = rig.post("/resume", comment="done")["pools"]
    assert not state["is_frozen"]


def test_who_has_not_seen_the_newest_state_gets_it(rig):
    """409 with how it stands now."""
    rig.post("/freeze", by="ana")
    told = rig.post("/mode", 409, mode="off", expected_version=0)
    assert told["state"]["chat"]["frozen_by"] == "ana"
    assert told["code"] == "conflict"
    rig.post("/mode", mode="off", expected_version=1)


def test_a_waiting_decision_is_approved_or_rejected(rig):
    """By its number, once."""
    rig.tick()
    rig.post("/mode", mode="approve", override="chat")
    rig.tick()
    (waiting,) = rig.get("/status")["pending"]
    number = waiting["decision_id"]
    assert rig.post(f"/decisions/{number}/approve")["outcome"] == "applied"
    assert rig.post(f"/decisions/{number}/approve", 409)["code"] == "conflict"
    assert rig.post("/decisions/999/reject", 404)["code"] == "not_found"


def test_nothing_is_done_by_a_get(rig):
    """Looking at a rollback changes nothing."""
    rig.tick()
    assert rig.get("/rollback/1")["to_replicas"] == 3
    for path in ("/mode", "/freeze", "/resume", "/decisions/1/approve", "/decisions/1/rollback"):
        assert rig.client.get(f"{API}{path}").status_code in (404, 405, 422)
    assert rig.get("/status")["version"] == 0


def test_steps_are_verified(rig):
    """All of them come out the same."""
    rig.tick(3)
    assert rig.get("/verify")["same"] == 3


def test_pages_have_a_desk(rig):
    """The same as the API, from any thread."""
    desk = Desk(rig.runtime.controlling, rig.runtime.clock)
    rig.tick(2)
    (state,) = desk.freeze([], 600, "ana", "rack 4")
    assert state["is_frozen"]
    with pytest.raises(Conflict) as caught:
        desk.mode(["chat"], "off", "bo", "", expected=0)
    assert caught.value.state["chat"]["frozen_by"] == "ana"
    (state,) = desk.resume([], "ana", "done", expected=state["version"])
    desk.mode(["chat"], "approve", "ana", "", override="chat")
    rig.tick()
    (waiting,) = desk.status()["pending"]
    assert desk.approve(waiting["decision_id"], "ana")["outcome"] == "applied"
    assert desk.explain(waiting["decision_id"])["decision"]["verdict"] == "approved"
    assert desk.rollback_of(waiting["decision_id"])["to_replicas"] == 3
    assert desk.rollback(waiting["decision_id"], "ana", "too many")["outcome"] == "applied"


def test_a_server_without_pools_says_so(client):
    """Status is empty; orders are refused."""
    assert client.get(f"{API}/status").json()["pools"] == []
    answer = client.post(f"{API}/freeze", json={})
    assert answer.status_code == 403
    assert "controller.pool" in answer.json()["hint"]


def test_the_commands_read_a_store_that_nobody_serves(rig, tmp_path, capsys):
    """What was decided can be looked at, explained and verified offline."""
    rig.tick(2)
    rig.runtime.database.close()
    store = ["--store", str(tmp_path / "store.duckdb"), "--json"]

    def said(*words):
        assert main(["controller", *words, *store]) == 0
        return json.loads(capsys.readouterr().out)["data"]

    told = said("status")
    assert (told["running"], told["pools"][0]["desired"]) == (False, 7)
    assert said("decisions")["decisions"][0]["kind"] == "up"
    explained = said("explain", "2")
    assert explained["replays"]
    assert said("explain", "latest")["decision"] == explained["decision"]
    assert said("explain", "latest", "--pool", "chat")["decision"] == explained["decision"]
    for words, hint in (
        (["latest", "--pool", "other"], "nothing was decided for other yet"),
        (["newest"], "write its number, or `latest`"),
        (["0"], "write its number, or `latest`"),
        (["2", "--pool", "chat"], "--pool is of `latest`"),
    ):
        assert main(["controller", "explain", *words, *store]) == 2
        assert hint in capsys.readouterr().out
    assert said("verify")["same"] == 2
    assert main(["controller", "freeze", *store]) == 4
    assert "servescope up" in capsys.readouterr().out + capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("30m", 1800), ("1.5h", 5400), ("", None)]
)
def test_durations(text, seconds):
    """As people write them."""
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["30", "soon", "-5m"])
def test_bad_durations(text):
    """One clear line."""
    with pytest.raises(InputError, match="no duration"):
        seconds_of(text)


POOL = '[[controller.pool]]\nname = "a"\nmatch = {model = "m"}\n'


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[controller]\nmode = "on"', "controller.mode must be one of off, dry-run"),
        (POOL + "leest = 3", "no setting 'leest'; did you mean least"),
        (POOL + "least = 5\nmost = 3", "least 5 and most 3 contradict each other"),
        (POOL + 'most = "many"', "most must be a whole number, not 'many'"),
        (POOL + POOL, "two pools are called 'a'"),
        ('[[controller.pool]]\nname = "A b"\nmatch = {model = "m"}', "name must be lower-case"),
        ('[[controller.pool]]\nname = "a"', "match is missing"),
        (POOL + 'startup = "soon"', 'startup must be seconds, or "learned"'),
        (POOL + 'profile = "/nowhere.json"', "there is no profile /nowhere.json"),
        (POOL + 'role = "both"', "role must be one of whole, prefill, decode"),
        ("[controller]\nmost_gpus = 2\n" + POOL + "least = 3", "but the pools must have 3"),
    ],
)
def test_settings_that_cannot_work(tmp_path, text, told):
    """One clear line, with the pool."""
    file = tmp_path / "servescope.toml"
    file.write_text(text, "utf-8")
    with pytest.raises(ConfigError) as caught:
        load(file, {}, {})
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ('policy = "risky"', "there is no policy 'risky'"),
        ('policy = "clairvoyant"', "needs the future"),
        ('policy = "static"\nparameters = {replica = 3}', "no parameter 'replica'"),
        ('actuator = {kind = "magic"}', "there is no actuator 'magic'"),
        ('actuator = {kind = "memory", speed = 3}', "speed: unknown"),
        ('slo = "chat"', "there is no objective 'chat'"),
    ],
)
def test_pools_that_cannot_work(tmp_path, clock, more, told):
    """Found before anything starts."""
    file = tmp_path / "servescope.toml"
    text = more if "actuator" in more else f'{more}\nactuator = {{kind = "memory"}}'
    file.write_text(POOL + text, "utf-8")
    with pytest.raises(ConfigError) as caught:
        assembly.plan(load(file, {}, {}).controller, (), clock)
    assert told in str(caught.value)
    assert "pool a" in str(caught.value)


def test_no_pool_begins_to_act_by_a_file(tmp_path, clock):
    """Acting is for people to begin, after a rehearsal."""
    file = tmp_path / "servescope.toml"
    file.write_text('[controller]\nmode = "active"\n' + POOL, "utf-8")
    with pytest.raises(ConfigError, match="no pool begins in 'active'"):
        assembly.plan(load(file, {}, {}).controller, (), clock)


def test_pools_of_one_platform_share_an_actuator(tmp_path, clock):
    """And each keeps its own settings."""
    file = tmp_path / "servescope.toml"
    file.write_text(
        POOL + 'actuator = {kind = "memory", replicas = 2}\n'
        '[[controller.pool]]\nname = "b"\nmatch = {model = "n"}\n'
        'actuator = {kind = "memory", replicas = 5}',
        "utf-8",
    )
    planned = assembly.plan(load(file, {}, {}).controller, (), clock)
    assert planned.actuators["a"] is planned.actuators["b"]
    scales = [asyncio.run(planned.actuators[name].read(name)).wanted for name in "ab"]
    assert scales == [2, 5]


def test_labels_of_the_gauge_are_those_of_the_actuator(tmp_path, clock):
    """An adapter that looks for a namespace finds it."""
    file = tmp_path / "servescope.toml"
    file.write_text(
        POOL + 'actuator = {kind = "desired", labels = {namespace = "llm"}}\npolicy = "static"',
        "utf-8",
    )
    config = load(file, {}, {})
    planned = assembly.plan(config.controller, (), clock)
    with Database.open(None, config.store, clock) as database:
        loop = assembly.loop_of(planned, database, clock, 5.0)
        assert loop.hands.labels("a") == {"pool": "a", "namespace": "llm"}


@dataclass(frozen=True)
class Boom:
    """A policy without an answer."""

    spec: PolicySpec = field(default=PolicySpec("boom", "Boom", 15.0, "test"))

    def decide(self, observation, memory):
        raise ZeroDivisionError("queue / 0 replicas")


def test_a_policy_that_gives_no_answer_is_told_in_words(rig, monkeypatch):
    """Where people look first, and where they ask why."""
    monkeypatch.setitem(registry.POLICIES, "boom", Boom)
    controlling = rig.runtime.controlling
    handed = controlling.loop.decide_by("chat", Boom(), "{}", "{}")
    asyncio.run_coroutine_threadsafe(handed, controlling._events).result(60)
    rig.tick(2)
    (pool,) = rig.get("/status")["pools"]
    assert list(pool_lines(pool)) == [
        "chat: held as it is, its policy gives no answer: ZeroDivisionError: queue / 0 replicas"
    ]
    told = rig.get(f"/decisions/{rig.get('/decisions')['rows'][0]['decision_id']}")
    lines = dict(explain_lines(told))
    assert lines["why"] == "ZeroDivisionError: queue / 0 replicas   [code: policy_failed]"
    assert lines["flip"].startswith("the policy gave no answer: the pool is held as it is")
    assert lines["again"] == "made again it comes out the same to the byte"


def test_a_platform_that_does_not_do_it_is_told_in_words(rig):
    """What it said, and when it is tried again; not once nobody wants it any more."""
    rig.tick(4)
    rig.post("/mode", mode="active", pools=["chat"])
    rig.runtime.controlling.actuators["chat"].platform.refuses = True
    rig.tick(2)
    (pool,) = rig.get("/status")["pools"]
    (line,) = pool_lines(pool)
    assert line.startswith(f"chat: decision {pool['open']['decision_id']} is not done yet after")
    assert "the next at 12:0" in line
    (row, *_) = rig.get("/decisions")["rows"]
    assert (row["kind"], row["ticks"], row["action_outcome"]) == ("up", 2, "refused")
    lines = dict(explain_lines(rig.get(f"/decisions/{row['decision_id']}")))
    assert "refused by memory" in lines["done"]
    assert list(pool_lines({**pool, "open": {**pool["open"], "is_wanted": False}})) == []
