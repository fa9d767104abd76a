"""The door for agents keeps each batch once, refuses what cannot fit, shows how they are."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from collector.agent.wire import AGENT_HEADER, BATCH_HEADER, BATCH_TYPE, Batch, GpuFault, encode
from collector.discovery.follow import JobState
from collector.drops import Drop
from collector.model import HistogramSample, Sample, Scrape, TargetFacts
from store.errors import StoreError, WriterOverloaded

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
HEARTBEAT = {
    "identity": "5be0", "node": "gpu-3", "version": "0.1.0",
    "started_at": NOW.timestamp() - 100, "heartbeat_seconds": 10.0,
    "clock": {"offset_seconds": 0.002, "error_seconds": 0.001},
    "spool": {"records": 0, "rows": 0, "bytes": 0, "oldest_at": None},
    "dropped_rows": 0, "details": {"targets": 10, "targets_failing": 0},
}  # fmt: skip


def scrape(number=0, **more):
    """A good scrape of a target, each number at a moment of its own."""
    return Scrape(
        0,
        NOW + timedelta(seconds=number),
        0.01,
        "ok",
        samples=(Sample("requests_running", "{}", float(number)),),
        histograms=(HistogramSample("ttft_seconds", "{}", 2.0, 0.5, (0.1, 1.0), (1.0, 2.0)),),
        **more,
    )


def post(client, batch, *, batch_id="a-1", name="gpu-3", **headers):
    body = batch if isinstance(batch, bytes) else encode(batch)
    told = {
        "Content-Type": BATCH_TYPE, "Content-Encoding": "gzip", BATCH_HEADER: batch_id, **headers,
    }  # fmt: skip
    return client.post(f"/api/v1/agents/{name}/batches", content=body, headers=told)


def count(runtime, sql, **params):
    return runtime.database.reader.scalar(sql, **params)


def test_a_batch_is_kept_once(client, runtime):
    """The rows are there when the answer is; the same batch again changes nothing and is fine."""
    batch = Batch(("http://localhost:8000/metrics",), (scrape(0), scrape(1)))
    first, again = post(client, batch), post(client, batch)
    assert (first.status_code, first.json()) == (200, {"rows_added": 6, "batches": 1, "known": 0})
    assert (again.status_code, again.json()) == (200, {"rows_added": 0, "batches": 1, "known": 1})
    assert count(runtime, "SELECT count(*) FROM sample") == 2
    assert count(runtime, "SELECT count(*) FROM histogram_sample") == 2
    assert count(runtime, "SELECT count(*) FROM scrape") == 2
    assert count(runtime, "SELECT row_count FROM ingest_batch WHERE batch_id = 'a-1'") == 6


def test_batches_that_come_together_are_told_apart(client, runtime):
    """Several in one request, one of them here before: only the new ones add rows."""
    first = Batch(("http://a", "http://b"), (scrape(0), replace(scrape(0), target_id=1)))
    second = Batch(("http://b",), (scrape(1), scrape(2)))
    post(client, first, batch_id="a-1")
    answer = post(client, encode(first) + encode(second), batch_id="a-1,a-2")
    assert answer.json() == {"rows_added": 6, "batches": 2, "known": 1}
    told = runtime.database.reader.frame(
        """SELECT url, count(*) FROM scrape JOIN target USING (target_id)
        GROUP BY url ORDER BY url"""
    )
    assert told.rows() == [("agent://gpu-3/http://a", 1), ("agent://gpu-3/http://b", 3)]


@pytest.mark.parametrize("ids", ["a-1", "a-1,a-1", "a-1,a-2,a-3"])
def test_an_id_for_each_batch(client, ids):
    """Ids that do not fit the body would mix up what is known."""
    body = encode(Batch((), ())) * 2
    assert post(client, body, batch_id=ids).status_code == 400


def test_two_nodes_localhost_stay_apart(client, runtime):
    """The same address behind two agents is two targets; a node's own name is as it was told."""
    batch = Batch(("http://localhost:8000/metrics", "host://n1"), (scrape(),))
    post(client, batch, name="n1")
    post(client, batch, name="n2")
    told = runtime.database.reader.frame("SELECT url FROM target ORDER BY url")["url"].to_list()
    assert told == [
        "agent://n1/http://localhost:8000/metrics",
        "agent://n2/http://localhost:8000/metrics",
        "host://n1",
    ]


def test_what_a_target_is_comes_with_its_scrape(client, runtime):
    """Engine, version and model are those that the agent learned."""
    facts = TargetFacts("vllm", "0.33.0", "llama")
    post(client, Batch(("http://a/metrics",), (scrape(facts=facts),)))
    (row,) = runtime.database.reader.frame(
        "SELECT engine, engine_version, model FROM target"
    ).rows()
    assert row == ("vllm", "0.33.0", "llama")


def test_faults_and_drops_of_an_agent_are_rows(client, runtime):
    """A fault of a card, and what was lost on the way, are kept with the batch and only once."""
    fault = GpuFault("gpu-3", "1", NOW, None, "xid", "XID 79")
    drop = (NOW, Drop("agent", "the spool was full", 12, "x"))
    batch = Batch((), (), (fault,), (drop,))
    post(client, batch)
    post(client, batch)
    assert count(runtime, "SELECT kind FROM gpu_fault") == "xid"
    assert count(runtime, "SELECT dropped_count FROM ingest_drop") == 12
    assert count(runtime, "SELECT door FROM ingest_drop") == "agent:gpu-3"


@pytest.mark.parametrize(
    ("change", "status", "says"),
    [
        ({"batch": b"no gzip"}, 400, "gzip"),
        ({"Content-Type": "text/plain"}, 415, "batch"),
        ({"batch_id": ""}, 400, "needs an id"),
        ({"batch_id": "../x"}, 400, "needs an id"),
        ({"name": "a b"}, 400, "cannot name an agent"),
    ],
)
def test_what_will_never_fit_is_refused_for_good(client, change, status, says):
    """The agent can tell from the status that sending it again does not help."""
    given = {"batch": Batch((), ()), **change}
    answer = post(client, given.pop("batch"), **given)
    assert answer.status_code == status
    assert says in answer.json()["detail"]


def test_labels_that_are_no_json_are_refused_before_the_store(client):
    """A batch that the store could never take must not come again and again."""
    bad = replace(scrape(), samples=(Sample("requests_running", "no json", 1.0),))
    answer = post(client, Batch(("a",), (bad,)))
    assert answer.status_code == 400
    assert "JSON object" in answer.json()["detail"]


def test_values_without_a_place_are_counted_and_the_rest_is_kept(client, runtime):
    """A newer agent's signals, and values out of range, cost only themselves."""
    told = (
        Sample("requests_running", "{}", 1.0),
        Sample("requests_running", '{"model":"m"}', -1.0),
        Sample("signal_of_next_year", "{}", 1.0),
        Sample("ttft_seconds", "{}", 1.0),
    )
    answer = post(client, Batch(("a",), (replace(scrape(), samples=told),)))
    assert answer.status_code == 200
    assert count(runtime, "SELECT count(*) FROM sample") == 1
    assert sum(runtime.drops.totals().values()) == 3


@pytest.mark.parametrize(
    ("error", "status"), [(WriterOverloaded("full"), 503), (StoreError("disk"), 500)]
)
def test_a_store_that_cannot_asks_for_later(client, runtime, monkeypatch, error, status):
    """Nothing was kept, and the status says: the same batch, later."""

    def refuse(*_, **__):
        raise error

    monkeypatch.setattr(runtime.database.writer, "run", refuse)
    answer = post(client, Batch(("a",), (scrape(),)))
    assert answer.status_code == status
    assert status != 503 or answer.headers["Retry-After"] == "1"


def test_a_commit_that_fails_leaves_neither_rows_nor_id(client, runtime, monkeypatch):
    """Rows and the id of their batch are one transaction: after a fault both come again."""
    batch = Batch(("a",), (scrape(),))
    with monkeypatch.context() as patch:
        patch.setattr(runtime.database.standing, "check_space", _no_space)
        assert post(client, batch).status_code == 500
    assert count(runtime, "SELECT count(*) FROM ingest_batch") == 0
    assert post(client, batch).json() == {"rows_added": 3, "batches": 1, "known": 0}


def _no_space():
    raise StoreError("only 1 byte is free")


def agents(client):
    return {row["name"]: row for row in client.get("/api/v1/agents").json()["rows"]}


def test_a_heartbeat_is_answered_with_the_time_and_shown(client):
    """A healthy agent is `ok`, and there is nothing to say about it."""
    answer = client.post("/api/v1/agents/gpu-3/heartbeat", json=HEARTBEAT)
    assert answer.json() == {"server_time": NOW.isoformat()}
    row = agents(client)["gpu-3"]
    assert (row["state"], row["why"], row["targets"]) == ("ok", None, 10)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"clock": {"offset_seconds": 3600.0, "error_seconds": 0.01}}, "3600.0 s ahead of"),
        ({"clock": {"offset_seconds": -5.0, "error_seconds": 0.01}}, "5.0 s behind"),
        ({"dropped_rows": 7}, "7 rows dropped"),
        (
            {"spool": {"records": 3, "rows": 9, "bytes": 1, "oldest_at": NOW.timestamp() - 90}},
            "9 rows wait for up to 90 s",
        ),
        ({"details": {"problems": ["the disk of the spool is full"]}}, "disk of the spool"),
    ],
)
def test_what_is_wrong_with_an_agent_is_said(client, change, says):
    """Clock, drops, a spool that fills: each in words that can be acted on."""
    client.post("/api/v1/agents/gpu-3/heartbeat", json={**HEARTBEAT, **change})
    row = agents(client)["gpu-3"]
    assert row["state"] == "degraded"
    assert says in row["why"]


def test_an_agent_that_says_nothing_is_silent(client, clock):
    """No heartbeat for a while: silent, with a question that helps."""
    client.post("/api/v1/agents/gpu-3/heartbeat", json=HEARTBEAT)
    clock.advance(60)
    row = agents(client)["gpu-3"]
    assert row["state"] == "silent"
    assert "no word for 60 s" in row["why"]


def test_an_agent_can_be_forgotten(client):
    """A node that is gone for good leaves the list; an unknown one is a mistake."""
    client.post("/api/v1/agents/gpu-3/heartbeat", json=HEARTBEAT)
    assert client.delete("/api/v1/agents/gpu-3").status_code == 200
    assert agents(client) == {}
    assert client.delete("/api/v1/agents/gpu-3").status_code == 400


def test_two_agents_under_one_name_are_told(client, clock):
    """Each would overwrite how the other stands; one that was restarted is no two."""
    for mark in ("5be0", "77aa", "5be0"):
        clock.advance(5)
        client.post("/api/v1/agents/gpu-3/heartbeat", json={**HEARTBEAT, "identity": mark})
    assert "two agents" in agents(client)["gpu-3"]["why"]
    clock.advance(5)
    client.post("/api/v1/agents/gpu-3/heartbeat", json=HEARTBEAT)
    assert agents(client)["gpu-3"]["state"] == "ok"


def test_a_damaged_heartbeat_is_refused(client):
    """A missing part is named."""
    answer = client.post("/api/v1/agents/gpu-3/heartbeat", json={"identity": "x"})
    assert answer.status_code == 400
    assert "spool" in answer.json()["detail"]


def test_scrapes_of_an_agent_are_graded(client, runtime):
    """What an agent reads is trusted no further than what the server reads by itself."""
    dead = Scrape(0, NOW, 0.1, "unreachable", "connection refused")
    post(client, Batch(("http://a/metrics",), (dead,)), batch_id="a-1")
    (row,) = runtime.database.reader.frame(
        "SELECT url, grade FROM signal_grade JOIN target USING (target_id) WHERE signal = ''"
    ).rows()
    assert row[0] == "agent://gpu-3/http://a/metrics"
    assert row[1] in ("absent", "silent")


def test_a_resend_is_graded_once(client, runtime):
    """A known batch shows nothing new."""
    batch = Batch(("http://a/metrics",), (scrape(0),))
    post(client, batch)
    graded = count(runtime, "SELECT count(*) FROM signal_grade")
    post(client, batch)
    assert count(runtime, "SELECT count(*) FROM signal_grade") == graded


def test_rows_of_two_agents_under_one_name_are_never_mixed(client, runtime, clock):
    """The second is told why and keeps its rows; under a name of its own all of them are taken."""
    one, two = (Batch(("http://a/metrics",), (scrape(number),)) for number in range(2))
    assert post(client, one, **{AGENT_HEADER: "aaaa 100"}).status_code == 200
    refused = post(client, two, batch_id="b-1", **{AGENT_HEADER: "bbbb 90"})
    assert (refused.status_code, refused.json()["code"]) == (409, "agent_name_taken")
    assert "agent.name" in refused.json()["detail"]
    assert count(runtime, "SELECT count(*) FROM scrape") == 1
    again = post(client, two, batch_id="b-1", name="gpu-4", **{AGENT_HEADER: "bbbb 95"})
    assert again.status_code == 200
    assert count(runtime, "SELECT count(DISTINCT target_id) FROM scrape") == 2


@pytest.mark.parametrize(("later_seconds", "running"), [(5, "1.5"), (61, "900")])
def test_a_name_goes_over_to_who_comes_after(client, clock, later_seconds, running):
    """An agent that was started anew is taken at once, another one when the first is gone."""
    post(client, Batch(("http://a/metrics",), (scrape(0),)), **{AGENT_HEADER: "aaaa 100"})
    clock.advance(later_seconds)
    batch = Batch(("http://a/metrics",), (scrape(1),))
    answer = post(client, batch, batch_id="b-1", **{AGENT_HEADER: f"bbbb {running}"})
    assert answer.status_code == 200
    old = post(client, batch, batch_id="a-2", **{AGENT_HEADER: "aaaa 900"})
    assert old.status_code == 409


@pytest.mark.parametrize("told", ["", "aaaa", "aaaa x", "aaaa nan", "aaaa -1e999", " "])
def test_an_agent_that_tells_little_of_itself_is_taken(client, told):
    """What stands in the header is never a reason to lose rows of a name that is free."""
    batch = Batch(("http://a/metrics",), (scrape(0),))
    assert post(client, batch, **{AGENT_HEADER: told}).status_code == 200


def test_a_copy_of_a_spool_is_a_second_agent(client, clock):
    """Machines made from one image share the spool's mark; that one was started anew is no copy."""
    began = NOW.timestamp()
    for at, started in ((0, began - 50), (5, began + 3), (5, began - 50)):
        clock.advance(at)
        client.post("/api/v1/agents/gpu-3/heartbeat", json={**HEARTBEAT, "started_at": started})
        told = agents(client)["gpu-3"]["why"] or ""
        assert ("two agents" in told) == (started < began and at > 0)


def test_admin_shows_the_agents_and_leads_with_those_in_trouble(client, clock):
    """Version, last word, what waits, what was lost: with the reason and what to do."""
    spool = {"records": 3, "rows": 50, "bytes": 900, "oldest_at": NOW.timestamp() - 90}
    details = {"drops": {"bad lines": 2}, "parked": 1}
    told = {**HEARTBEAT, "spool": spool, "dropped_rows": 2, "details": details}
    client.post("/api/v1/agents/gpu-3/heartbeat", json=told)
    view = client.get("/api/v1/views/admin").json()
    frame = view["frames"]["agents"]
    row = dict(zip(frame["columns"], frame["rows"][0].values(), strict=True))
    assert (row["name"], row["version"], row["spool_bytes"]) == ("gpu-3", "0.1.0", 900)
    assert (round(row["waiting_seconds"]), row["parked_batches"], row["drops"]) == (
        90,
        1,
        "2 bad lines",
    )
    assert any(text.startswith("Agent gpu-3 is degraded") for text in view["sentences"])


def test_admin_shows_where_targets_come_from(client, runtime):
    """A source of discovery that does not answer stands there with its reason."""
    state = JobState("dns:a:vllm:8000", 4, "vllm: no answer (the 4 targets known last stay)")
    collecting = SimpleNamespace(discovered=lambda: (state,), counts=lambda: None)
    runtime.beside = SimpleNamespace(collecting=collecting)
    frame = client.get("/api/v1/views/admin").json()["frames"]["discovery"]
    (row,) = frame["rows"]
    assert row == {"source": state.name, "targets": 4, "problem": state.problem}
