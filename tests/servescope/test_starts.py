"""Starts that the server notices by itself, and those that others tell it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from controller.actuators.careful import Careful
from controller.actuators.local.state import Replica
from controller.actuators.local.told import Starts
from controller.actuators.local_fleet import LocalFleet, LocalPool, LocalSettings
from servescope.cli.main import main
from servescope.starts import keep_starts
from store.targets import describe, register

LOG = Path(__file__).parents[1] / "data" / "starts" / "vllm_0.32.0_cpu.log"


def naive(at):
    return at.replace(tzinfo=None)


@pytest.fixture
def scraped(runtime, clock):
    """A target whose process began ten minutes ago, was refused for 40 s, then answered."""
    writer, now = runtime.database.writer, clock.now()
    began = now - timedelta(minutes=10)
    target = register(writer, "http://10.0.0.7:8000", now - timedelta(hours=1)).result()
    describe(writer, target, engine="vllm", engine_version="0.32.0", model="llama").result()
    stamps = [began + timedelta(seconds=5 * k) for k in range(1, 100)]
    answered = [at for at in stamps if at >= began + timedelta(seconds=40)]
    writer.append(
        "scrape",
        pl.DataFrame(
            {
                "target_id": [target] * len(stamps),
                "scraped_at": [naive(at) for at in stamps],
                "duration_seconds": [0.01] * len(stamps),
                "outcome": ["ok" if at in answered else "unreachable" for at in stamps],
            }
        ),
    ).result()

    def sample(signal, kind, value_of, labels="{}"):
        frame = {
            "target_id": [target] * len(answered),
            "signal": [signal] * len(answered),
            "kind": [kind] * len(answered),
            "unit": [""] * len(answered),
            "labels": [labels] * len(answered),
            "sampled_at": [naive(at) for at in answered],
            "value": [float(value_of(at)) for at in answered],
        }
        writer.append("sample", pl.DataFrame(frame)).result()

    sample("engine_start_unix_seconds", "gauge", lambda at: began.timestamp())
    sample(
        "generation_tokens_total", "counter",
        lambda at: 0 if at < began + timedelta(seconds=90) else 50,
    )  # fmt: skip
    return sample, began


def kept(runtime):
    """Phases and seconds after the beginning, sorted."""
    frame = runtime.database.reader.frame(
        """SELECT phase, epoch(started_at) AS began, epoch(ended_at) AS ended, instance, model, node
        FROM instance_start ORDER BY began, phase"""
    )
    return frame.to_dicts()


def test_a_start_is_noticed_in_the_scrapes_once(runtime, scraped):
    """Process start to first answer, ready, first token; looking again changes nothing."""
    _, began = scraped
    assert keep_starts(runtime) == {"rows": 3, "events": 1}
    assert keep_starts(runtime) is None
    base = began.timestamp()
    found = [(row["phase"], row["began"] - base, row["ended"] - base) for row in kept(runtime)]
    assert found == [("container", 0, 40), ("ready", 40, 40), ("first_token", 90, 90)]
    assert {row["instance"] for row in kept(runtime)} == {"10.0.0.7:8000"}
    view = runtime.view("cold_starts", {"from": "now-1h"})
    assert view.frames["starts"]["ready_seconds"].to_list() == [40.0]
    assert view.frames["starts"]["warm_seconds"].to_list() == [90.0]


def test_starts_and_faults_are_events_of_the_fleet(runtime, scraped, clock):
    """A started engine and a fault of a card are among what happened, once each, newest first."""
    at = naive(clock.now() - timedelta(minutes=5))
    fault = {"node": ["n1"], "gpu": ["GPU-7"], "started_at": [at], "kind": ["xid_79"]}
    runtime.database.writer.append("gpu_fault", pl.DataFrame(fault)).result()
    keep_starts(runtime)
    keep_starts(runtime)
    events = runtime.view("fleet", {"from": "now-1h"}).frames["events"]
    assert [text for text in events["text"] if "added" not in text] == [
        "xid 79 of card GPU-7 on n1",
        "10.0.0.7:8000 started; first answer after 40 s",
    ]


def test_looking_later_finds_the_same_moments(runtime, scraped, clock):
    """When the first answer has left the window no other moment takes its place."""
    keep_starts(runtime)
    before = kept(runtime)
    clock.advance(18 * 60)
    keep_starts(runtime)
    assert kept(runtime) == before


def test_the_engines_own_lengths_join_the_start(runtime, scraped):
    """SGLang exposes how long each phase took; they lie right before ready."""
    sample, _ = scraped
    sample("startup_phase_seconds", "gauge", lambda at: 12.5, '{"phase": "load_weight"}')
    keep_starts(runtime)
    view = runtime.view("cold_starts", {"from": "now-1h"})
    row = view.frames["starts"].row(0, named=True)
    assert row["weights_seconds"] == pytest.approx(12.5)
    assert row["container_seconds"] == pytest.approx(27.5)
    assert "weights: metric" in row["sources"]


def test_pods_of_kube_state_metrics_are_joined_to_their_target(runtime, scraped):
    """Created, scheduled, initialised, ready: under the instance that discovery named."""
    sample, began = scraped
    writer = runtime.database.writer
    register(writer, "http://10.0.0.8:8000", began, {"pod": "vllm-1", "namespace": "llm"}).result()
    for name, seconds in (
        ("pod_created", -20), ("pod_scheduled", -18), ("pod_started", -18),
        ("pod_initialised", -10), ("pod_containers_ready", 60), ("pod_ready", 61),
    ):  # fmt: skip
        moment = (began + timedelta(seconds=seconds)).timestamp()
        sample(
            f"{name}_unix_seconds", "gauge", lambda at, moment=moment: moment,
            '{"namespace": "llm", "pod": "vllm-1"}',
        )  # fmt: skip
    keep_starts(runtime)
    rows = [row for row in kept(runtime) if row["instance"] == "10.0.0.8:8000"]
    assert {row["phase"] for row in rows} == {"schedule", "init", "container", "probe", "ready"}


def test_starts_of_our_own_fleet_are_kept(runtime, clock, monkeypatch, tmp_path):
    """What the controller's processes went through becomes rows, once."""
    replica = Replica("r000001", "chat", 8700)
    replica.asked_at = clock.now()
    replica.spawned_at = replica.asked_at + timedelta(seconds=1)
    replica.open_at = replica.spawned_at + timedelta(seconds=5)
    replica.ready_at = replica.open_at + timedelta(seconds=20)
    starts = Starts()
    starts.ready(replica, "m")
    fleet = LocalFleet(LocalSettings(tmp_path, {"chat": LocalPool(("{port}",))}), clock)
    monkeypatch.setattr(fleet, "take_starts", starts.take)
    runtime.controlling.actuators = {"chat": Careful(fleet, clock)}
    assert keep_starts(runtime) == {"rows": 4, "events": 0}
    assert keep_starts(runtime) is None
    rows = kept(runtime)
    assert {row["phase"]: row["ended"] - row["began"] for row in rows} == {
        "schedule": 1.0,
        "process": 5.0,
        "engine": 20.0,
        "ready": 0.0,
    }
    assert {(row["instance"], row["model"]) for row in rows} == {("127.0.0.1:8700", "m")}


def observation(**more):
    """A row as a script sends it."""
    return {
        "instance": "a:8000",
        "phase": "weights",
        "started_at": "2026-01-31T11:00:00Z",
        "ended_at": "2026-01-31T11:00:52Z",
        "evidence": "log of vllm",
        **more,
    }


def test_observations_are_taken_once(client):
    """Sent twice, kept once; the answer says so."""
    rows = [observation(), observation(phase="ready", started_at="2026-01-31T11:00:52Z")]
    first = client.post("/api/v1/starts", json={"observations": rows})
    assert (first.status_code, first.json()) == (200, {"rows_added": 2, "rows_known": 0})
    again = client.post("/api/v1/starts", json={"observations": rows})
    assert again.json() == {"rows_added": 0, "rows_known": 2}
    starts = client.get("/api/v1/views/cold_starts/starts?from=now-2h&source=live").json()["rows"]
    assert starts[0]["ready_seconds"] == 52.0


@pytest.mark.parametrize(
    "more",
    [
        {"phase": "thinking"},
        {"started_at": "soon"},
        {"ended_at": "2026-01-31T10:00:00Z"},
        {"instance": ""},
        {"evidence": 7},
        {"node": 7},
        {"color": "red"},
        {"model": "m" * 501},
    ],
)
def test_bad_observations_are_refused_by_place(client, more):
    """The answer names the row and what may stand there."""
    answer = client.post(
        "/api/v1/starts", json={"observations": [observation(), observation(**more)]}
    )
    assert answer.status_code in (400, 422)
    told = answer.json()
    assert told["hint"]
    assert "observations[1]" in str(told)


def test_a_log_is_read_from_the_command_line(tmp_path, capsys):
    """The phases are printed and kept; a second reading adds nothing."""
    store = str(tmp_path / "store.duckdb")
    assert main(["query", "SELECT 1", "--store", store]) != 0  # no store yet
    azure = Path(__file__).parents[2] / "servescope/data/AzureLLMInferenceTrace_code.csv.gz"
    assert main(["import", str(azure), "--store", store, "--plain"]) == 0
    command = ["starts", "read", str(LOG), "--instance", "gpu-1:8000", "--store", store]
    assert main(command) == 0
    assert "ready" in capsys.readouterr().out
    assert main(command) == 0
    assert "0 of" in capsys.readouterr().out
    assert main([*command, "--utc-offset", "noon"]) == 2
    assert main([*command[:2], str(tmp_path / "no.log"), *command[3:]]) == 2


def test_where_the_time_goes_is_told_in_a_terminal(tmp_path, capsys, runtime, more_requests):
    """Sentences and the tail; a store without latencies says why."""
    frame = more_requests().with_columns(e2e_seconds=pl.col("ttft_seconds") + 1.0)
    runtime.database.writer.append("request", frame).result()
    path = str(runtime.database.path)
    runtime.database.close()
    assert main(["latency", "--store", path, "--from", "2026-01-31T10:00:00Z",
                 "--to", "2026-01-31T12:00:00Z"]) == 0  # fmt: skip
    told = capsys.readouterr().out
    assert "95 % ended within" in told
    assert "99-100 %" in told
    assert main(["starts", "list", "--store", path]) == 0
    assert "No engine is connected" in capsys.readouterr().out


def test_the_time_of_a_log_needs_the_year_of_now():
    """The fixture was captured in November 2026: it is not read into the future."""
    from collector.starts.logs import read_log

    now = datetime(2026, 11, 21, tzinfo=UTC)
    assert read_log(LOG.read_text("utf-8").splitlines(), "a", now)[0].started_at.year == 2026
