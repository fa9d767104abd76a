"""Replays from the command line and over the API: checked, run in processes, kept, ended."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from threading import Event

import numpy as np
import polars as pl
import pytest
from starlette.testclient import TestClient

from controller import profiles
from servescope.cli.main import main
from servescope.server import create_app
from store.queries import replays as queries

DATA = Path(__file__).parents[1] / "data"
MEASURED = DATA / "calibration" / "two_llama_servers.parquet"
MANY = ["ray-serve", "keda", "skyserve", "wva", "knative-kpa"]
NAMES = "ray-serve,static(replicas=1)"
SMALL = ("--policies", NAMES, "--seeds", "2", "--startup", "30", "--most", "4")


@pytest.fixture
def run(capsys, tmp_path, monkeypatch):
    """Run a command in a home of its own."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        code = main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return code, out, err

    return call


@pytest.fixture
def unjudged(tmp_path):
    """A profile that was never compared with anything."""
    path = tmp_path / "unjudged.json"
    replace(profiles.find("llama2-70b-4-x-h100"), error=None, price_per_hour=10.0).save(path)
    return path


@pytest.fixture
def trace(tmp_path):
    """Ten minutes in the form of the Azure traces."""
    random = np.random.default_rng(0)
    lines = ["TIMESTAMP,ContextTokens,GeneratedTokens"]
    for at in np.sort(random.uniform(0, 600, 400)):
        stamp = f"2023-11-16 18:{int(at // 60):02d}:{at % 60:010.7f}"
        lines.append(f"{stamp},{random.integers(10, 900)},{random.integers(1, 90)}")
    path = tmp_path / "small.csv"
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--policies", "kubernets-hpa"), "did you mean kubernetes-hpa"),
        (("--policies", "no.module:Policy"), "no policy can be loaded"),
        (("--most", "0"), "zero replicas"),
        (("--least", "5", "--most", "2"), "contradict"),
        (("--gpus", "3"), "fewer than the 4"),
        (("--seeds", "1"), "seeds: 1 is outside 2"),
        (("--startup", "a"), "cannot be read"),
        (("--startup", "-5"), "start-up times"),
        (("--scale", "0"), "scale"),
        (("--objective", "ttft=2,speed=3"), "'speed=3' is no part"),
        (("--objective", "tpot=0.0001"), "cannot serve"),
        (("--objective", "attainment=0.9"), "bound above 0"),
        (("--profile", "nothing"), "there is no profile 'nothing'"),
        (("--out", "/nowhere/at/all.json"), "no such folder"),
        (("--fleet", "/nowhere/at/all.toml"), "no fleet can be read"),
        (("--pools", "all"), "no pools are configured"),
        (("--most-per-hour", "3"), "no price"),
    ],
)
def test_a_mistake_ends_in_one_line_before_anything_is_run(run, trace, more, words):
    """It says what is wrong and what to do."""
    code, out, err = run("replay", trace, *more)
    assert code == 2
    assert words in err
    assert out == ""
    assert "Traceback" not in err


FLEET = """
[[pool]]
name = "first"
role = "prefill"
profile = "llama2-70b-4-x-h100"
initial = 2
[[pool]]
name = "second"
role = "decode"
profile = "{profile}"
startup = 20
"""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("pool = 3", "there is no [[pool]]"),
        ("[[pools]]\nname = 'a'", "'pools' is nothing a fleet has"),
        ("[[pool]]\nrole = 'whole'", "pool 1 of the fleet has no name"),
        ("[[pool]]\nname = 'a'\nprice_hour = 3", "did you mean price_per_hour"),
        ("[[pool]]\nname = 'a'\nmost = 'many'", "pool a: most must be a whole number"),
        ("[[pool]]\nname = 'a'\nprofile = 'nothing'", "there is no profile 'nothing'"),
        ("[[pool]]\nname = 'a'\nrole = 'decode'", "do not pair up"),
        ("most_gpus = 3\n[[pool]]\nname = 'a'", "3 GPUs are fewer than the 4"),
        ("[[pool]]\nname = 'a'\nprofile = {name = 'x'}", "that is no profile"),
    ],
)
def test_a_fleet_that_is_none_ends_in_one_line(run, trace, tmp_path, text, words):
    """What, where, what to do."""
    file = tmp_path / "fleet.toml"
    file.write_text(text, "utf-8")
    code, out, err = run("replay", trace, "--fleet", file)
    assert code == 2
    assert words in err
    assert out == ""


def test_a_fleet_is_replayed_from_a_file_with_forecasts_and_guards(run, trace, unjudged, tmp_path):
    """It says who decides pools alone, what guards held, and how good the forecasts were."""
    file, store = tmp_path / "fleet.toml", tmp_path / "s.duckdb"
    file.write_text(FLEET.format(profile=unjudged), "utf-8")
    file.write_text(
        file.read_text("utf-8").replace("initial = 2\n", "initial = 2\nprice_per_hour = 9\n")
    )
    names = "kubernetes-hpa(target_ongoing=1),static(first=2,second=3)"
    code, out, err = run(
        "replay", trace, "--fleet", file, "--policies", names, "--seeds", "2", "--guards",
        "--forecasts", "--store", store, "--out", tmp_path / "told.json",
    )  # fmt: skip
    assert code == 0, err
    assert "of its 2 profiles" in out or "Not validated" in out
    assert "decided alone" in err
    assert "guards stand behind every policy" in err
    assert "as given: first=2, second=3" in out
    assert "forecasts: " in out
    told = json.loads((tmp_path / "told.json").read_text("utf-8"))
    assert [pool["name"] for pool in told["fleet"]["pools"]] == ["first", "second"]
    code, out, err = run("query", "SELECT fleet, asked FROM replay_run", "--store", store, "--json")
    assert code == 0, err
    assert "kubernetes-hpa" in out


def test_configured_pools_are_replayed_with_their_guards(run, trace, unjudged, tmp_path):
    """Least, most, objective, policy and guards are what they are live."""
    (tmp_path / "servescope.toml").write_text(
        f"""
[controller]
attainment_ratio = 0.9
[[controller.pool]]
name = "chat"
match = {{ model = "llama" }}
policy = "ray-serve"
parameters = {{ target_ongoing = 3 }}
profile = "{unjudged}"
least = 1
most = 3
""",
        "utf-8",
    )
    code, out, err = run("replay", trace, "--pools", "chat", "--seeds", "2", "--json")
    assert code == 0, err
    told = json.loads(out)["data"]
    assert told["fleet"]["has_guards"] is True
    assert told["objective"]["attainment_ratio"] == 0.9
    assert any(row["policy"] == "ray-serve(target_ongoing=3)" for row in told["results"])
    assert "learned live" in err
    code, _, err = run("replay", trace, "--pools", "chta")
    assert code == 2
    assert "did you mean chat" in err


def test_a_trace_that_is_not_there_is_told_with_those_that_are(run):
    """The packaged ones are always there."""
    code, _, err = run("replay", "nothing")
    assert code == 2
    assert "azure-2023-conv" in err


def test_a_trace_without_tokens_cannot_be_replayed(run, tmp_path):
    """Times alone do not say how long a request takes."""
    path = tmp_path / "times.csv"
    path.write_text("ts\n" + "\n".join(f"{n}.0" for n in range(50)) + "\n", "utf-8")
    store = tmp_path / "s.duckdb"
    code, _, err = run("import", path, "--map", "arrived_at=ts:s", "--store", store)
    assert code == 0, err
    code, _, err = run("replay", "times", "--store", store)
    assert code == 2
    assert "times: none of 50 requests has a prompt and an output size" in err
    assert "tokens of its prompt or its output" in err
    code, _, err = run("replay", path)
    assert code == 2
    assert "servescope import times.csv --map" in err


def test_rates_of_clients_are_no_requests_to_replay(run):
    """It is told what the source has, not that its range is empty."""
    path = next((DATA / "traces" / "m-small").glob("*trace*"))
    code, _, err = run("replay", path)
    assert code == 2
    assert "rates of clients and no requests" in err


def test_a_file_without_sizes_is_named(run, tmp_path):
    """Columns that are there and say nothing are as good as none."""
    path = tmp_path / "empty.csv"
    rows = "\n".join(f"2023-11-16 18:15:{n:02d}.0000000,," for n in range(9))
    path.write_text(f"TIMESTAMP,ContextTokens,GeneratedTokens\n{rows}\n", "utf-8")
    code, out, err = run("replay", path)
    assert (code, out) == (2, "")
    assert "empty.csv: none of 9 requests" in err


def test_the_error_of_the_model_comes_first_and_the_result_is_kept(run, trace, unjudged, tmp_path):
    """Text, JSON, file and store tell the same."""
    store, told = tmp_path / "s.duckdb", tmp_path / "told.json"
    more = ("--profile", unjudged, "--store", store, "--out", told)
    code, out, err = run("replay", trace, *SMALL, *more)
    assert code == 0, err
    assert out.startswith("Not validated: the profile")
    assert "[not validated]" in out
    assert "Ray Serve" in out
    assert "fixed for the peak" in out
    assert "cost" in out
    assert "as given: replicas=1" in out
    document = json.loads(told.read_text("utf-8"))
    assert document["validity"]["mark"] == "not validated"
    assert document["replay_id"] in out
    assert len([row for row in document["outcomes"] if row["policy"] == "ray-serve"]) == 2
    code, out, _ = run(
        "query", "SELECT replay_id, is_validated FROM replay_run", "--store", store, "--json"
    )
    assert code == 0
    (kept,) = json.loads(out)["data"]["rows"]
    assert kept == {"replay_id": document["replay_id"], "is_validated": False}


def test_rows_with_latencies_judge_the_model_on_that_very_window(run, tmp_path):
    """However good the profile is elsewhere: these rows come from other replicas."""
    store, told = tmp_path / "s.duckdb", tmp_path / "told.json"
    more = ("--objective", "ttft=2,tpot=0.2,attainment=0.9", "--store", store, "--out", told)
    code, out, err = run("replay", MEASURED, *SMALL, *more)
    assert code == 0, err
    assert out.startswith("Not validated: median E2E error")
    assert "on 1,406 rows of this very window" in out
    document = json.loads(told.read_text("utf-8"))
    window = {row["quantity"]: row for row in document["window"]}
    assert window["attainment_ratio"]["observed"] == 1.0
    assert window["tpot_p50_seconds"]["observed"] < window["tpot_p50_seconds"]["simulated"]
    assert not any(row["policy"] == "recorded" for row in document["results"])
    sql = (
        "SELECT is_validated, fit_error_rows, profile->>'$.error.source' AS source FROM replay_run"
    )
    code, out, _ = run("query", sql, "--store", store, "--json")
    (kept,) = json.loads(out)["data"]["rows"]
    assert kept["is_validated"] is False
    assert kept["fit_error_rows"] == 1406
    assert "this very window" in kept["source"]


def live_requests(runtime, count=300):
    start = runtime.clock.now().replace(tzinfo=None) - timedelta(seconds=count + 1)
    frame = pl.DataFrame(
        {
            "source_id": [1] * count,
            "arrived_at": [start + timedelta(seconds=second) for second in range(count)],
            "status": ["ok"] * count,
            "model": ["llama"] * count,
            "input_tokens": [200] * count,
            "output_tokens": [20] * count,
        }
    )
    runtime.database.writer.append("request", frame).result()


@pytest.fixture
def served(runtime):
    live_requests(runtime)
    with TestClient(create_app(runtime), base_url="http://127.0.0.1:8787") as client:
        yield client
    runtime.replaying.close()


BODY = {
    "source": "live", "from": "now-10m", "policies": ["ray-serve"], "startups": [30], "seeds": 2,
    "most": 4, "history": 30,
}  # fmt: skip


def ended(runtime, client, replay_id, wait=Event()):  # noqa: B008 - it is never set
    for _ in range(1200):
        told = client.get(f"/api/v1/replays/{replay_id}").json()
        if told["state"] not in ("queued", "running"):
            return told
        wait.wait(0.1)
    raise AssertionError("it never ended")


def test_a_replay_over_the_api_runs_beside_the_server_and_keeps_its_address(runtime, served):
    """Results, tables, view, candidate."""
    answer = served.post("/api/v1/replays", json=BODY)
    assert answer.status_code == 202, answer.text
    replay_id = answer.json()["replay_id"]
    assert answer.json()["validity"].startswith("validated: median E2E error")
    told = ended(runtime, served, replay_id)
    assert told["state"] == "done", told
    assert told["progress"]["share"] == 1.0
    rows = {row["policy"] for row in told["results"]}
    assert rows == {"ray-serve", "static", "clairvoyant"}
    csv = served.get(f"/api/v1/replays/{replay_id}/results?format=csv")
    assert csv.headers["content-type"].startswith("text/csv")
    assert "ray-serve" in csv.text
    view = served.get(f"/api/v1/views/replay?replay={replay_id}&b=ray-serve").json()
    assert next(iter(view["frames"])) == "validity"
    assert view["measures"]["is_validated"]["value"] == 1.0
    assert view["measures"]["ttft_error_median_ratio"]["value"] > 0
    assert view["measures"]["attainment_error_points"]["why"] == "this was not compared"
    assert view["frames"]["lanes"]["row_count"] > 0
    both = {row["number"]: row for row in view["frames"]["beside"]["rows"]}
    assert both["gpu_hours"]["a_low"] <= both["gpu_hours"]["a"] <= both["gpu_hours"]["a_high"]
    assert both["gpu_hours"]["b"] > 0
    other = served.get(f"/api/v1/views/replay?replay={replay_id}&against={replay_id}&b=clairvoyant")
    sides = other.json()["frames"]["chosen"]["rows"]
    assert [one["policy"] for one in sides] == ["static", "clairvoyant"]
    assert served.get("/api/v1/replays").json()["replays"][0]["replay_id"] == replay_id
    made = served.post(
        f"/api/v1/replays/{replay_id}/candidate", json={"policy": "ray-serve", "pool": "chat"}
    )
    assert made.status_code == 200, made.text
    (row,) = queries.candidates(runtime.database.reader).to_dicts()
    assert (row["policy"], row["pool"], row["state"]) == ("ray-serve", "chat", "proposed")
    refused = served.post(
        f"/api/v1/replays/{replay_id}/candidate", json={"policy": "clairvoyant", "pool": "chat"}
    )
    assert refused.status_code == 400
    nowhere = served.post(f"/api/v1/replays/{replay_id}/candidate", json={"policy": "ray-serve"})
    assert "for a pool" in nowhere.text


def test_a_fleet_over_the_api_tells_its_pools_and_makes_candidates_that_run_live(runtime, served):
    """Pools by name, money in front, and the settings that the policy was replayed with."""
    fleet = [
        {"name": "big", "profile": "llama2-70b-8-x-h100", "price_per_hour": 32, "most": 3},
        {"name": "small", "profile": "llama2-70b-4-x-a100", "price_per_hour": 8, "most": 6},
    ]
    names = ["risk", "static(big=1,small=2)"]
    body = {**BODY, "policies": names, "fleet": fleet, "most": None, "guards": True}
    answer = served.post("/api/v1/replays", json=body)
    assert answer.status_code == 202, answer.text
    replay_id = answer.json()["replay_id"]
    told = ended(runtime, served, replay_id)
    assert told["state"] == "done", told
    assert told["fleet"]["ranks_by_cost"] is True
    assert told["fleet"]["decided"]["risk"] == "together"
    view = served.get(f"/api/v1/views/replay?replay={replay_id}").json()
    assert [row["name"] for row in view["frames"]["fleet"]["rows"]] == ["big", "small"]
    pools = view["frames"]["pools"]["rows"]
    fixed = {row["pool"]: row for row in pools if row["policy"] == names[1]}
    assert fixed["small"]["cost"] == pytest.approx(fixed["small"]["gpu_hours"] / 4 * 8, rel=1e-3)
    assert view["measures"]["ranks_by_cost"]["value"] == 1.0
    assert any("in cost" in text for text in view["sentences"])
    made = [
        served.post(
            f"/api/v1/replays/{replay_id}/candidate", json={"policy": name, "pool": "big"}
        ).json()["parameters"]
        for name in names
    ]
    assert made == [{"together": "fleet"}, {"replicas": {"big": 1, "small": 2}}]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"policies": ["os:system"]}, "no policy"),
        ({"polices": ["risk"]}, "did you mean policies"),
        ({"profile": "/etc/passwd"}, "is a file"),
        ({"profile": "nothing"}, "no profile"),
        ({"seeds": 1000}, "seeds"),
        ({"scale": 1e9}, "scale"),
        ({"source": "nothing"}, "nothing"),
        ({"from": "now-1s"}, "no request"),
        ({"least": 9}, "contradict"),
        ({"fleet": [{"name": "a", "profile": "/etc/passwd"}]}, "is a file"),
        ({"fleet": {"name": "a"}}, "a list of pools"),
        ({"fleet": [{"name": "a", "role": "decode"}]}, "pair up"),
        ({"pools": "all"}, "no pools are configured"),
        ({"guards": "yes"}, "guards must be true or false"),
        ({"seeds": 50, "curve": 50, "startups": list(range(10)), "policies": MANY}, "replays"),
    ],
)
def test_what_cannot_be_replayed_is_a_problem_document(served, more, words):
    """Nothing of it is queued, and no file of the server is read."""
    answer = served.post("/api/v1/replays", json={**BODY, **more})
    assert answer.status_code == 400
    assert words in json.dumps(answer.json())
    assert served.get("/api/v1/replays").json()["replays"] == []


def test_what_waits_can_be_ended_and_too_many_are_refused(runtime, served):
    """The queue is bounded; what was ended says so for good."""
    slow = {**BODY, "seeds": 50, "startups": [1, 2, 3, 4, 5, 6, 7, 8]}
    ids = [served.post("/api/v1/replays", json=slow).json()["replay_id"] for _ in range(3)]
    last = served.delete(f"/api/v1/replays/{ids[-1]}").json()
    assert last["state"] == "cancelled"
    told = served.get(f"/api/v1/replays/{ids[-1]}").json()
    assert (told["state"], told["text"]) == ("cancelled", "before it began")
    answers = [served.post("/api/v1/replays", json=slow) for _ in range(9)]
    assert {answer.status_code for answer in answers} == {202, 429}
    listed = served.get("/api/v1/replays").json()["replays"]
    for one in listed:
        served.delete(f"/api/v1/replays/{one['replay_id']}")
    assert ended(runtime, served, ids[0])["state"] == "cancelled"


def test_what_another_process_left_open_is_told_as_interrupted(runtime, served):
    """After a restart nobody waits for it."""
    runtime.replaying.close()
    slow = {**BODY, "seeds": 50}
    from servescope.replaying import answers
    from servescope.replaying.service import Replaying

    runtime.replaying = Replaying(runtime.database, runtime.clock)
    runtime.replaying._work = lambda: None
    made = answers.submit(runtime, slow, "api")
    Replaying(runtime.database, runtime.clock).start()
    state = queries.listed(runtime.database.reader, made["replay_id"])["state"][0]
    assert state == "interrupted"


def test_a_replay_that_is_not_there_says_where_they_are(served):
    """By every door."""
    for path in ("/api/v1/replays/none", "/api/v1/views/replay?replay=none"):
        answer = served.get(path)
        assert answer.status_code == 400
        assert "there is no replay 'none'" in answer.text
    assert served.get("/api/v1/views/replay").json()["empty"]["kind"] == "nothing_connected"
    assert served.get("/api/v1/views/replays").json()["empty"]["kind"] == "nothing_connected"
