"""A server's alerts over a small store, and somebody who listens."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import polars as pl
import pytest

from servescope.config import load
from servescope.runtime import Runtime, SloBook
from store.clock import VirtualClock
from store.database import Database

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SLOS = """
[[slo]]
name = "chat"
kind = "availability"
target_ratio = 0.99
window = "30d"
"""


class Listener:
    """Takes what it is told; answers with `status`."""

    def __init__(self) -> None:
        self.told: list[dict] = []
        self.heads: list[dict] = []
        self.status = 200
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if owner.status == 200:
                    owner.told.append(json.loads(body))
                    owner.heads.append(dict(self.headers))
                self.send_response(owner.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/hook"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Listen no more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def listener():
    """Somebody who is told."""
    made = Listener()
    yield made
    made.close()


class Place:
    """A folder with a store and settings; a server over it can be had again and again."""

    def __init__(self, folder) -> None:
        self.folder = folder
        self.clock = VirtualClock(NOW)
        (folder / "slo.toml").write_text(SLOS, "utf-8")
        self.settings = ""
        self._open: list[Database] = []

    def runtime(self) -> Runtime:
        """A server's state, as after a start; the one before is closed."""
        self.close()
        file = self.folder / "servescope.toml"
        file.write_text(self.settings, "utf-8")
        config = load(file, {}, {"XDG_CONFIG_HOME": str(self.folder)})
        database = Database.open(self.folder / "store.duckdb", config.store, self.clock)
        self._open.append(database)
        slos = SloBook(self.folder / "slo.toml", self.clock)
        return Runtime(config, database, self.clock, slos, "http://127.0.0.1:8787")

    def close(self) -> None:
        """Close what is open."""
        for database in self._open:
            database.close()
        self._open.clear()


@pytest.fixture
def place(tmp_path):
    """See `Place`."""
    made = Place(tmp_path)
    yield made
    made.close()


@pytest.fixture
def requests():
    """Adds live requests, one a second for some seconds before the clock's now."""

    def add(runtime, status="failed", seconds=120, **more):
        now = runtime.clock.now().replace(tzinfo=None)
        rows = {
            "source_id": [1] * seconds,
            "arrived_at": [now - timedelta(seconds=ago + 1) for ago in range(seconds)],
            "status": [status] * seconds,
            "tenant": [more.get("tenant", "acme")] * seconds,
            "model": [more.get("model", "llama")] * seconds,
        }
        runtime.database.writer.append("request", pl.DataFrame(rows)).result()

    return add
