"""A server that is killed: its alerts go on, and nobody is told again of what was told."""

import json
import subprocess
import sys
import threading
from collections import defaultdict
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx2
import polars as pl
import pytest

from servescope.config import load
from store.clock import WallClock
from store.database import Database, server_file
from store.queries import alerts as queries

CLOCK = WallClock()
SETTINGS = """
[predict]
enabled = false
[alerts]
evaluate_seconds = 0.2
group_wait_seconds = 0
[[alerts.receiver]]
name = "first"
url = "{url}/first"
"""
SECOND = '[[alerts.receiver]]\nname = "second"\nurl = "{url}/second"\n'


@pytest.fixture
def listener():
    """Takes messages by path; says when one came."""
    told, came = defaultdict(list), threading.Condition()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()
            with came:
                told[self.path].append(body)
                came.notify_all()

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    server.told, server.came = told, came
    server.url = f"http://127.0.0.1:{server.server_address[1]}"
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def until_told(listener, path):
    with listener.came:
        assert listener.came.wait_for(lambda: listener.told[path], timeout=90)


def until_kept(store, receiver):
    """Wait until it is kept that a receiver was told."""
    url = json.loads(server_file(store).read_text("utf-8"))["url"]
    with httpx2.Client(trust_env=False, timeout=60) as client:
        for _ in range(600):
            told = client.get(f"{url}/api/v1/views/alerts/notifications?to=now").json()
            if any(row["receiver"] == receiver for row in told["rows"]):
                return
            threading.Event().wait(0.1)
    pytest.fail(f"{receiver} was told, and it was not kept")


def killed_after(folder, listener, path):
    """Run a server until somebody is told at a path, then kill it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "servescope", "up", "--config", str(folder / "servescope.toml"),
         "--store", str(folder / "s.duckdb"), "--listen", "127.0.0.1:0"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder,
    )  # fmt: skip
    try:
        until_told(listener, path)
        # In the instant between word and row a kill lets it be told again, as the docs say.
        until_kept(folder / "s.duckdb", path.strip("/"))
    finally:
        process.kill()
        process.wait()


def test_a_killed_server_loses_no_alert_and_tells_nobody_twice(tmp_path, listener):
    """The first receiver hears once; a second one, new after the kill, hears of the same alert."""
    (tmp_path / "servescope.toml").write_text(SETTINGS.format(url=listener.url), "utf-8")
    config = load(tmp_path / "servescope.toml", {}, {})
    now = CLOCK.now().replace(tzinfo=None)
    rows = {
        "source_id": [1] * 100, "status": ["failed"] * 100, "model": ["llama"] * 100,
        # Later ones are there, too, so that the outage goes on however slow the machine is.
        "arrived_at": [now + timedelta(seconds=3 * number - 60) for number in range(100)],
    }  # fmt: skip
    with Database.open(tmp_path / "s.duckdb", config.store, CLOCK) as database:
        database.writer.append("request", pl.DataFrame(rows)).result()
    killed_after(tmp_path, listener, "/first")
    both = SETTINGS.format(url=listener.url) + SECOND.format(url=listener.url)
    (tmp_path / "servescope.toml").write_text(both, "utf-8")
    killed_after(tmp_path, listener, "/second")

    (first,), (second,) = listener.told["/first"], listener.told["/second"]
    told, again = first["alerts"][0], second["alerts"][0]
    assert told["fingerprint"] == again["fingerprint"]
    assert told["startsAt"] == again["startsAt"]
    with Database.open(tmp_path / "s.duckdb", config.store, CLOCK) as database:
        hour = timedelta(hours=1)
        frame, _ = queries.history(database.reader, now - hour, now + hour)
    assert frame.select("rule", "state").rows() == [("outage", "firing")]
