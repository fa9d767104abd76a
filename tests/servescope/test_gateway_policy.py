"""What gateways decide by: checked before it counts, only added to, told to whoever asks."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import polars as pl
import pytest
from starlette.testclient import TestClient

from controller.observation import Limits, PoolView, ReplicaView
from controller.startup import StartupTimes
from servescope.cli import gateway_talk
from servescope.gateway import policy
from servescope.gateway.settings import GatewaySettings
from servescope.server import create_app
from store.errors import InputError

API = "/api/v1"
NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
POLICY = {"line": "vtc", "rules": ["has-replica", {"name": "queue-depth"}], "most_waiting": 50}


@pytest.fixture
def door(runtime):
    with TestClient(create_app(runtime), base_url="http://127.0.0.1:8787") as client:
        yield client


def put(client, document, **more):
    return client.put(f"{API}/gateway/policy", json={"policy": document, **more})


def beat(client, name="edge", **more):
    told = {
        "identity": "a1", "node": "n", "url": "http://n:8300", "version": "0.1.0",
        "started_at": NOW.timestamp() - 100, "heartbeat_seconds": 2.0, "policy_version": None,
        "waiting_rows": 0, "dropped_rows": 0, "details": {"waiting": 3}, **more,
    }  # fmt: skip
    return client.post(f"{API}/gateways/{name}/heartbeat", json=told)


def test_a_policy_is_put_in_force_and_remembered(door, runtime):
    """Who, when and why; the same again changes nothing; the old ones stay to be read."""
    assert door.get(f"{API}/gateway/policy").json() == {"version": None, "policy": None}
    assert put(door, POLICY, by="ana", comment="chats starve").json() == {"version": 1}
    assert put(door, POLICY, by="bob").json() == {"version": 1}
    assert put(door, {"line": "fcfs"}, by="bob").json() == {"version": 2}
    now = door.get(f"{API}/gateway/policy").json()
    assert (now["version"], now["changed_by"], now["policy"]) == (2, "bob", {"line": "fcfs"})
    told = door.get(f"{API}/gateway/policy/history").json()["versions"]
    assert [(one["version"], one["reason"]) for one in told] == [(2, None), (1, "chats starve")]
    audit = runtime.database.reader.frame("SELECT actor, action, comment FROM audit ORDER BY ALL")
    assert audit.rows() == [
        ("ana", "gateway.policy", "chats starve"), ("bob", "gateway.policy", None),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("bad", "word"),
    [
        ({"line": "vtcc"}, "did you mean vtc"),
        ({"lines": "vtc"}, "did you mean line"),
        ({"line": {"name": "vtc", "weight": 1}}, "no parameter 'weight'"),
        ({"rules": "always"}, "must be a list"),
        ({"rules": [{"depth": 1}]}, "each is a name"),
        ({"way": {"name": "round-robin", "x": 1}}, "no parameter 'x'"),
        ({"places": ["kv-limits"]}, "did you mean kv-limit"),
        ({"most_waiting": 0}, "must be at least 1"),
        ({"most_waiting": "many"}, "whole number"),
    ],
)
def test_what_cannot_be_is_refused_before_it_counts(door, bad, word):
    """One line that says what and where; the policy in force stays."""
    answer = put(door, bad)
    assert answer.status_code == 400, answer.text
    assert word in answer.json()["detail"] + str(answer.json().get("hint"))
    assert door.get(f"{API}/gateway/policy").json()["version"] is None


def test_a_policy_replaces_only_what_it_names():
    """The rest stays as the gateway's own settings have it; limits of tenants are added."""
    settings = GatewaySettings(way="round-robin", rules=("always",))
    mixed = policy.with_policy(settings, POLICY)
    made = policy.policies(mixed, {"token-bucket": {"requests_per_minute": 5}})
    assert (made.line.spec.name, made.way.spec.name) == ("vtc", "round-robin")
    assert [rule.spec.name for rule in made.rules] == ["has-replica", "queue-depth", "token-bucket"]
    assert policy.limits(mixed).most_waiting == 50
    with pytest.raises(InputError, match="a policy is an object"):
        policy.check([])


def test_a_gateway_is_told_what_it_does_not_have(door, runtime):
    """The policy in force and how long answers are, each once."""
    put(door, POLICY)
    rows = pl.DataFrame({
        "request_id": [f"r{n}" for n in range(40)], "arrived_at": [NOW.replace(tzinfo=None)] * 40,
        "status": ["ok"] * 40, "tenant": ["a"] * 30 + ["b"] * 10, "model": ["m"] * 40,
        "input_tokens": [100] * 40, "output_tokens": [10] * 30 + [50] * 10,
    })  # fmt: skip
    runtime.database.writer.append("request", rows).result()
    told = beat(door).json()
    assert (told["policy_version"], told["policy"]) == (1, POLICY)
    # Ten requests of b are too few to tell of it.
    assert sorted(map(str, told["lengths"])) == sorted(map(str, [
        ["m", "a", 6, 10.0, 10.0], ["m", "a", None, 10.0, 10.0],
        ["m", None, 6, 20.0, 50.0], ["m", None, None, 20.0, 50.0],
    ]))  # fmt: skip
    again = beat(door, has={"policy": 1, "lengths": told["lengths_version"]}).json()
    assert "policy" not in again
    assert "lengths" not in again


def test_how_gateways_stand_is_seen(door, runtime, clock):
    """Late, behind, ill or well; and one that is gone can be left out."""
    put(door, POLICY)
    beat(door, "well", policy_version=1)
    beat(door, "behind")
    beat(door, "ill", policy_version=1, details={"problem": "the spool is full"})
    told = {one["name"]: one for one in door.get(f"{API}/gateways").json()["gateways"]}
    assert {name: one["state"] for name, one in told.items()} == {
        "well": "ok", "behind": "behind", "ill": "ill",
    }  # fmt: skip
    assert told["ill"]["why"] == "the spool is full"
    clock.advance(60)
    (late, *_) = door.get(f"{API}/gateways").json()["gateways"]
    assert (late["state"], late["age_seconds"]) == ("late", 60.0)
    assert door.delete(f"{API}/gateways/well").status_code == 200
    assert door.delete(f"{API}/gateways/well").status_code == 400


@pytest.mark.parametrize("bad", [{"identity": 7}, {"started_at": "x"}, {"waiting_rows": None}])
def test_a_damaged_heartbeat_is_refused(door, bad):
    """It says so, and nothing is kept."""
    assert beat(door, **bad).status_code == 400
    assert beat(door, "no name").status_code == 400
    assert door.get(f"{API}/gateways").json() == {"gateways": []}


def test_replicas_on_their_way_are_promised_by_what_is_left(door, runtime):
    """A start that has run for a while has less left; one that should be over is still awaited."""
    startup = StartupTimes((0.1, 0.5, 0.9), (40.0, 60.0, 100.0))
    ages = [0.0, 50.0, 99.0]
    view = PoolView(
        "llama", 4, 1, 3, 0, Limits(1, 8), startup=startup,
        replicas=tuple(ReplicaView(f"r{n}", "starting", age) for n, age in enumerate(ages)),
    )  # fmt: skip
    runtime.controlling.loop = SimpleNamespace(views={"llama": view})
    try:
        told = beat(door).json()["starting"]
    finally:
        runtime.controlling.loop = None
    ready = [one["ready_seconds"] for one in told]
    late = [one["late_seconds"] for one in told]
    assert ready[0] == 60.0
    assert ready == sorted(ready, reverse=True)
    assert all(0 <= soon <= last <= 100 for soon, last in zip(ready, late, strict=True))
    assert timedelta(seconds=late[1]) <= timedelta(seconds=50)


def test_the_command_shows_how_far_apart_tenants_are(monkeypatch, capsys, tmp_path):
    """Beside what is promised; a gateway that does not tell has dashes."""
    usual = {"state": "ok", "age_seconds": 1.0, "policy_version": None, "waiting_rows": 0,
             "dropped_rows": 0, "url": "http://n", "why": None}  # fmt: skip
    fair = {"apart_service": 1234.0, "bound_service": 40_000.0, "breaches": 2}
    told = {"gateways": [{**usual, "name": "edge", "details": {"fairness": fair}},
                         {**usual, "name": "old", "details": {}}]}  # fmt: skip
    server = SimpleNamespace(get=lambda path, params: told)
    monkeypatch.setattr(gateway_talk.access, "the_server", lambda config: server)
    gateway_talk.run_status(tmp_path / "s.duckdb", None, as_json=False)
    lines = capsys.readouterr().out.splitlines()
    assert any("edge" in line and "1,234 / 40,000" in line and " 2 " in line for line in lines)
    assert any("old" in line and "- / -" in line for line in lines)


@pytest.mark.parametrize(("text", "word"), [(None, "cannot be read"), ("{line", "neither JSON")])
def test_a_file_that_is_none_is_told_before_a_server_is_looked_for(tmp_path, text, word):
    """The name was wrong, whether or not a server runs here."""
    file = tmp_path / "policy.toml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(InputError, match=word):
        gateway_talk.run_policy(file, "", tmp_path / "s.duckdb", None, history=False, as_json=False)
