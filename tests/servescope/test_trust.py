"""Trust by REST and on the command line, and grades of what agents send."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from collector.agent.wire import BATCH_HEADER, BATCH_TYPE, Batch, encode
from collector.model import Sample, Scrape
from servescope.cli.main import main
from store import targets
from store.clock import WallClock
from store.database import Database
from store.settings import StoreSettings

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
PAGE = "http://localhost:8000/metrics"


def scrape(number, outcome="ok"):
    samples = (
        Sample("requests_running", "{}", 3.0),
        Sample("engine_steps_total", "{}", float(number)),
    )
    told = Scrape(0, NOW + timedelta(seconds=5 * number), 0.01, outcome, samples=samples)
    return told if outcome == "ok" else replace(told, samples=(), error="HTTP 502")


def post(client, *scrapes, batch_id):
    headers = {"Content-Type": BATCH_TYPE, "Content-Encoding": "gzip", BATCH_HEADER: batch_id}
    body = encode(Batch((PAGE,), scrapes))
    return client.post("/api/v1/agents/gpu-3/batches", content=body, headers=headers).json()


def grades(client):
    frames = client.get("/api/v1/trust").json()["frames"]
    rows = frames["targets"]["rows"] + frames["signals"]["rows"]
    return {row.get("signal", ""): row["grade"] for row in rows}


def test_what_an_agent_sends_is_graded(client, clock):
    """A target behind an agent is trusted by the same rules as one that is scraped from here."""
    clock.advance(11)
    post(client, scrape(1), scrape(2), batch_id="a-1")
    assert grades(client) == {
        "": "fresh",
        "requests_running": "fresh",
        "engine_steps_total": "fresh",
    }
    clock.advance(5)
    post(client, scrape(3, "http_error"), batch_id="a-2")
    found = client.get("/api/v1/trust").json()
    (target,) = found["frames"]["targets"]["rows"]
    assert (target["grade"], target["usable_signals"]) == ("silent", 0)
    assert "HTTP 502" in found["sentences"][0]


def test_a_batch_sent_again_is_not_graded_again(client, runtime):
    """An agent that got no answer sends the same scrapes; grades say each change once."""
    count = "SELECT count(*) FROM signal_grade"
    for batch_id in ("a-1", "a-1", "a-2"):
        post(client, scrape(1), scrape(2), batch_id=batch_id)
    assert runtime.database.reader.scalar(count) == 3


def test_trust_is_a_table_too(client, clock):
    """Each part of the answer can be had as CSV, as every table can."""
    clock.advance(60)
    post(client, scrape(1), batch_id="a-1")
    found = client.get("/api/v1/views/trust/signals?format=csv")
    assert found.headers["content-type"].startswith("text/csv")
    assert "requests_running" in found.text


@pytest.fixture
def store(tmp_path):
    """A store with one silent target, written a moment ago."""
    path, clock = tmp_path / "s.duckdb", WallClock()
    now = clock.now()
    with Database.open(path, StoreSettings(threads=1), clock) as database:
        number = targets.register(database.writer, PAGE, now).result()
        frame = pl.DataFrame(
            {
                "target_id": [number] * 2,
                "signal": ["", "requests_running"],
                "graded_at": [(now - timedelta(seconds=9)).replace(tzinfo=None)] * 2,
                "grade": ["silent", "fresh"],
                "evidence": ["Nobody answers.", "It is on the page and plausible."],
                "advice": ["Check that the process runs.", None],
            }
        )
        database.writer.append("signal_grade", frame).result()
    return path


def test_the_command_says_what_is_wrong_and_what_to_do(store, capsys):
    """Trouble first; what is well is listed only when asked for."""
    assert main(["trust", "--store", str(store)]) == 0
    told = capsys.readouterr().out
    assert told.startswith("localhost:8000 is silent: Nobody answers. Check that the process runs.")
    assert "plausible" not in told
    assert main(["trust", "--all", "--store", str(store)]) == 0
    assert "plausible" in capsys.readouterr().out


def test_the_command_answers_in_json(store, capsys):
    """One document for scripts."""
    assert main(["trust", "--json", "--store", str(store)]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["schema"] == "servescope.trust/1"
    assert told["data"]["frames"]["targets"]["rows"][0]["grade"] == "silent"


def test_without_targets_it_says_so(tmp_path, capsys):
    """A store of traces alone has nothing to grade."""
    path = tmp_path / "t.duckdb"
    Database.open(path, StoreSettings(threads=1), WallClock()).close()
    assert main(["trust", "--store", str(path)]) == 0
    assert "nothing is graded" in capsys.readouterr().out
