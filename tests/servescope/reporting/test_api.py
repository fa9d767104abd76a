"""Scheduled reports over the API and the command line of a server."""

import json

import pytest
from starlette.testclient import TestClient

from servescope.config import load, rows
from servescope.reporting.service import Reporting
from servescope.runtime import Runtime, SloBook
from servescope.server import create_app
from store.database import Database

API = "/api/v1/reports"
TABLE = {"name": "chat", "template": "daily", "when": "daily 08:00", "zone": "Asia/Tokyo",
         "channels": ["room"], "formats": ["html"]}  # fmt: skip


@pytest.fixture
def server(tmp_path, bureau, doubles):
    """A server with one channel, one written schedule, and a quick maker."""
    with doubles.Web() as web:
        file = tmp_path / "servescope.toml"
        file.write_text(
            f"""
[[reports.channel]]
name = "room"
kind = "slack"
webhook = "{web.url}/SECRET"
[[reports.channel]]
name = "mail"
kind = "email"
host = "127.0.0.1"
password = "SECRET"
from = "a@example.org"
to = ["b@example.org"]
[[reports.schedule]]
name = "weekly"
template = "weekly"
when = "weekly mon 08:00"
""",
            "utf-8",
        )
        config = load(file, {}, {})
        with Database.open(tmp_path / "s.duckdb", config.store, bureau.clock) as database:
            runtime = Runtime(config, database, bureau.clock, SloBook(None, bureau.clock))
            runtime._reporting = Reporting(
                config.reports, database, bureau.clock, None, bureau.press
            )
            runtime.reporting.book.keep_written()
            base = "http://127.0.0.1:8787"
            with TestClient(create_app(runtime), base_url=base) as client:
                client.web, client.runtime = web, runtime
                yield client
            runtime.reporting.close()


def test_a_schedule_is_added_changed_and_removed(server):
    """Each is in the record with who did it; one that is there is not replaced by chance."""
    made = server.post(f"{API}/schedules", json={**TABLE, "by": "ann"}).json()
    assert (made["schedule"], made["next_at"]) == ("chat", "2026-11-16T23:00:00Z")
    again = server.post(f"{API}/schedules", json=TABLE)
    assert (again.status_code, "already" in again.json()["detail"]) == (400, True)
    changed = {**TABLE, "when": "daily 09:00", "replace": True, "by": "bo"}
    assert server.post(f"{API}/schedules", json=changed).json()["when"] == "daily 09:00"
    assert server.delete(f"{API}/schedules/chat").json() == {"schedule": "chat"}
    assert server.get(f"{API}/schedules/chat").status_code == 400
    told = server.runtime.database.reader.frame("SELECT actor, action FROM audit").rows()
    assert told == [("ann", "reports.schedule.set"), ("bo", "reports.schedule.set"),
                    ("api", "reports.schedule.remove")]  # fmt: skip


def test_a_dry_run_keeps_nothing(server):
    """And says when it would be due."""
    told = server.post(f"{API}/schedules", json={**TABLE, "dry_run": True}).json()
    assert [at[:10] for at in told["next_times"]] == ["2026-11-16", "2026-11-17", "2026-11-18"]
    assert [row["schedule"] for row in server.get(API).json()["schedules"]] == ["weekly"]


@pytest.mark.parametrize(
    "body",
    [{}, {"name": 7}, {**TABLE, "when": 8}, {**TABLE, "channels": "nowhere"},
     {**TABLE, "recipients": ["x@evil.com"]}, {**TABLE, "scope": []}, {**TABLE, "name": "new"},
     {**TABLE, "formats": []}, {**TABLE, "surprise": 1}, {**TABLE, "name": "../x"},
     {**TABLE, "channels": ["mail"], "recipients": ["x@evil.com"]}],
)  # fmt: skip
def test_a_broken_schedule_is_refused_with_a_hint(server, body):
    """As a problem document, and nothing is kept."""
    answer = server.post(f"{API}/schedules", json=body)
    assert answer.status_code == 400, answer.text
    assert [row["schedule"] for row in server.get(API).json()["schedules"]] == ["weekly"]


def test_a_run_is_made_and_sent_when_it_is_asked_for(server):
    """For a period of the past; it can be done again, and its page is served without any script."""
    server.post(f"{API}/schedules", json=TABLE)
    for number in (1, 2):
        body = {"period": "2026-11-10", "send": True}
        told = server.post(f"{API}/schedules/chat/run", json=body).json()
        assert told["run_id"] == f"chat.2026-11-10.{number}"
        server.runtime.reporting.turn()
    run = server.get(f"{API}/runs/chat.2026-11-10.2").json()
    assert (run["state"], run["text"]) == ("sent", "sent, 4 charts, 19 B")
    assert len(server.web.got) == 2
    page = server.get(f"{API}/runs/chat.2026-11-10.2/files/{run['files'][0]['name']}")
    assert page.text == "<h1>2026-11-10</h1>"
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "sandbox" in page.headers["content-security-policy"]


def test_no_file_but_those_of_a_report_is_served(server):
    """Whatever the name."""
    server.post(f"{API}/schedules/weekly/run", json={})
    server.runtime.reporting.turn()
    run = server.get(API).json()["runs"][0]["run_id"]
    for name in ("manifest.json", "..%2F..%2Fs.duckdb", "%2Fetc%2Fpasswd", "nothing.html"):
        assert server.get(f"{API}/runs/{run}/files/{name}").status_code in (400, 404), name
    assert server.get(f"{API}/runs/..%2F{run}/files/page.html").status_code in (400, 404)


def test_a_test_goes_to_one_channel_once_and_answers(server):
    """Marked as one; a failure is the answer and no alert."""
    server.post(f"{API}/schedules", json={**TABLE, "channels": ["room", "mail"]})
    server.web.answers = [(503, {}, b"overloaded")]
    told = server.post(f"{API}/schedules/chat/test", json={"channel": "room"}).json()
    assert [(one["channel"], one["state"], one["text"]) for one in told["attempts"]] == [
        ("room", "given_up", "HTTP 503: overloaded")
    ]
    told = server.post(f"{API}/schedules/chat/test", json={}).json()
    assert told["state"] == "sent"
    assert server.web.bodies()[-1]["text"].startswith("[test] Weekly report")
    assert server.runtime.database.reader.scalar("SELECT count(*) FROM event") == 0
    last = server.get(f"{API}/schedules/chat").json()
    assert last["last_result"] is None, "a test is not the last report"


def test_a_period_that_is_not_over_is_refused(server):
    """There would be another report for it later."""
    answer = server.post(f"{API}/schedules/weekly/run", json={"period": "2026-W47"})
    assert (answer.status_code, "not over" in answer.json()["detail"]) == (400, True)


def test_no_more_wait_than_are_allowed(server):
    """One that asks again and again is told so."""
    codes = [server.post(f"{API}/schedules/weekly/run", json={}).status_code for _ in range(22)]
    assert codes == [200] * 20 + [429] * 2
    assert server.post(f"{API}/schedules/weekly/test", json={"channel": "room"}).status_code == 429


def test_a_preview_is_kept_nowhere(server):
    """Made by the same maker; neither a run nor a file is left."""
    page = server.get(f"{API}/schedules/weekly/preview")
    assert page.text == "<h1>2026-W46</h1>"
    typed = {"template": "daily", "zone": "Asia/Tokyo", "channels": "", "when": ""}
    draft = server.get(f"{API}/preview/draft", params=typed)
    assert draft.text == "<h1>2026-11-15</h1>"
    for wrong in ({"template": "dayly"}, {"channels": "nowhere"}, {"when": "sometimes"}):
        told = server.get(f"{API}/preview/draft", params={**typed, **wrong})
        assert told.status_code == 400, "what could not be saved is not shown"
    assert server.get(API).json()["runs"] == []


def test_secrets_are_on_no_page(server):
    """Not in the list of channels, not among the settings, not in the record of a run."""
    server.post(f"{API}/schedules", json=TABLE)
    server.post(f"{API}/schedules/chat/run", json={"send": True})
    server.runtime.reporting.turn()
    texts = [server.get(API).text, server.get(f"{API}/schedules/chat").text,
             server.get("/api/v1/-/config").text, json.dumps(rows(server.runtime.config),
             default=str)]  # fmt: skip
    for text in texts:
        assert "SECRET" not in text
    assert [one["kind"] for one in server.get(API).json()["channels"]] == ["slack", "email"]


def test_enable_and_disable(server):
    """One that rests has no next time, and says who let it rest."""
    rests = server.post(f"{API}/schedules/weekly/disable", json={"by": "ann"}).json()
    assert (rests["is_on"], rests["next_at"]) == (False, None)
    works = server.post(f"{API}/schedules/weekly/enable", json={}).json()
    assert works["is_on"]
    assert server.post(f"{API}/schedules/weekly/explode", json={}).status_code == 400


def test_a_foreign_page_may_not_write(server):
    """The guard of the other writing routes stands here, too."""
    origin = {"Origin": "http://evil.example"}
    answer = server.post(f"{API}/schedules", json=TABLE, headers=origin)
    assert answer.status_code == 403
