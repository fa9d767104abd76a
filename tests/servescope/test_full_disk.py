"""What people and senders see of a store that takes no rows."""

import pytest

from dashboard.scene import scene_of
from dashboard.services import Services
from dashboard.trouble import banner
from dashboard.url_state import parse
from store.condition import FREE_SPACE
from store.errors import StorePaused

HEARTBEAT = {
    "identity": "5be0c7a1f3d2e694", "node": "n", "version": "0.1.0", "started_at": 1769860800.0,
    "heartbeat_seconds": 10.0, "clock": {"offset_seconds": 0.0, "error_seconds": 0.001},
    "spool": {"records": 0, "rows": 0, "bytes": 0, "oldest_at": None},
    "dropped_rows": 0, "details": {},
}  # fmt: skip
WHAT = "the store's folder cannot be written (No space left on device)"


def text_of(part):
    """What people read of a component."""
    if isinstance(part, (list, tuple)):
        return "".join(map(text_of, part))
    return text_of(part.children) if hasattr(part, "children") else str(part)


@pytest.fixture
def full(client, filled, monkeypatch):
    """A server whose disk is full, and stays so."""
    monkeypatch.setattr(filled.database.standing, "on_trouble", lambda: None)
    filled.database.standing.note("full", WHAT, FREE_SPACE)
    return client


def test_probes_tell_it_rightly(full, client, filled):
    """It is alive, a restart would not help; it is not ready; when it is over both say so."""
    assert full.get("/healthz").status_code == 200
    assert full.get("/healthz").text == "ok, but the disk of the store is full\n"
    ready = full.get("/readyz")
    assert (ready.status_code, ready.headers["Retry-After"]) == (503, "5")
    assert ready.json()["detail"] == "the disk of the store is full"
    health = full.get("/api/v1/health").json()
    assert (health["status"], health["store_state"]) == ("degraded", "full")
    assert health["store_trouble_since"] == "2026-01-31T12:00:00Z"
    assert "servescope_store_takes_rows 0.0" in full.get("/metrics").text
    filled.database.standing.mended()
    assert client.get("/readyz").status_code == 200
    assert client.get("/healthz").text == "ok\n"


def test_pages_and_queries_are_answered_and_rows_are_sent_later(full):
    """Views and SQL as ever; doors say 503 and when to come again, so that senders keep it."""
    assert full.get("/api/v1/views/fleet?source=live").status_code == 200
    counted = full.post("/api/v1/sql", json={"sql": "SELECT count(*) AS n FROM requests"})
    assert counted.json()["rows"] == [{"n": 60}]
    body = b'{"arrived_at": "2026-01-31T11:00:00Z", "status": "ok"}\n'
    head = {"Content-Type": "application/x-ndjson"}
    answers = [
        full.post("/api/v1/requests", content=body, headers=head),
        full.post("/api/v1/agents/a/heartbeat", json=HEARTBEAT),
    ]
    for answer in answers:
        assert answer.status_code == 503, answer.text
        assert answer.headers["Retry-After"]
        assert "free some space" in answer.json()["hint"]


def test_a_query_while_the_store_is_opened_again_is_asked_once_more(client, filled):
    """503 with Retry-After, not a fault."""
    filled.database.reader.pause()
    with pytest.raises(StorePaused):
        filled.database.reader.scalar("SELECT 1")
    answer = client.post("/api/v1/sql", json={"sql": "SELECT 1"})
    assert answer.status_code == 200  # ad-hoc SQL has a turn of its own
    answer = client.get("/api/v1/requests?source=live")
    assert (answer.status_code, answer.json()["code"]) == (503, "store_paused")
    assert answer.headers["Retry-After"]
    filled.database.reopen(read_only=False)
    assert client.get("/api/v1/requests?source=live").status_code == 200


def test_pages_say_what_since_when_and_what_to_do(full, filled):
    """One line above every page, in the reader's time zone."""
    services = Services(
        view=filled.view, catalog=filled.catalog, now=filled.clock.now,
        data_age=filled.data_age, label_values=filled.label_values, version="1",
        condition=filled.database.standing.now,
    )  # fmt: skip
    scene = scene_of(services, parse("/ui/", "", "/ui/"), "/ui/")
    told = text_of(banner(services.condition(), scene))
    for words in ("takes no new rows since", "12:00", WHAT, "To do: free some space"):
        assert words in told
