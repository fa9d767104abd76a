"""A server that scrapes: an engine is visible within two scrapes, and its death is said."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from servescope.beside import serving
from servescope.config import load
from servescope.runtime import Runtime, SloBook
from servescope.server import create_app
from store.clock import WallClock
from store.database import Database

PAGES = Path(__file__).parents[1] / "data" / "pages"
INTERVAL_SECONDS = 0.5
API = "/api/v1"


@pytest.fixture
def engine():
    """An engine's metrics page behind a socket; gives the server and its URL."""
    page = next(PAGES.glob("*vllm*")).read_bytes()

    class Page(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200 if self.path == "/metrics" else 404)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.end_headers()
            self.wfile.write(page if self.path == "/metrics" else b"")

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server, f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def client(tmp_path):
    flags = {"collector.scrape_interval_seconds": INTERVAL_SECONDS,
             "collector.scrape_timeout_seconds": 0.4}  # fmt: skip
    config = load(None, flags, {"XDG_CONFIG_HOME": str(tmp_path)})
    clock = WallClock()
    with Database.open(tmp_path / "s.duckdb", config.store, clock) as database:
        runtime = Runtime(config, database, clock, SloBook(None, clock))
        app = create_app(runtime, lifespan=serving(runtime))
        with TestClient(app, base_url="http://127.0.0.1") as client:
            yield client


def state_of(client, wanted, seconds):
    """Ask for the target's state until it is `wanted`; gives up after `seconds`."""
    clock = WallClock()
    began = clock.monotonic()
    while clock.monotonic() - began < seconds:
        rows = client.get(f"{API}/targets").json()["rows"]
        if rows and rows[0]["state"] == wanted:
            return rows[0]
        threading.Event().wait(0.05)
    raise AssertionError(f"not {wanted} after {seconds} s: {rows}")


def test_an_engine_is_seen_within_two_scrapes_and_missed_when_it_goes(client, engine):
    """Add a target while the server runs; then its samples, its version, and later its absence."""
    server, url = engine
    added = client.post(f"{API}/targets", json={"url": url})
    assert (added.status_code, added.json()["url"]) == (201, f"{url}/metrics")
    row = state_of(client, "ready", 20 * INTERVAL_SECONDS)
    assert row["engine"] == "vllm"
    assert client.get(f"{API}/samples?limit=5").json()["rows"]
    assert "servescope_scrapes_total" in client.get("/metrics").text
    server.shutdown()
    server.server_close()
    gone = state_of(client, "unreachable", 20 * INTERVAL_SECONDS)
    assert gone["error"]
    removed = client.delete(f"{API}/targets", params={"url": url})
    assert removed.status_code == 200
    again = client.delete(f"{API}/targets", params={"url": url})
    assert (again.status_code, again.json()["code"]) == (400, "collect")
