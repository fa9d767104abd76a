"""A real Prometheus scrapes an engine and writes on to us: the rows are those of our own scrape."""

import json
import os
import shutil
import socket
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import uvicorn

from collector.detect import engines_of
from collector.engines.reader import PageReader
from collector.exposition import parse
from servescope.config import load
from servescope.runtime import Runtime, SloBook
from servescope.server import create_app
from store.clock import WallClock
from store.database import Database

PAGE = Path(__file__).parents[1] / "data" / "pages" / "vllm_0.32.0_under_load.txt"
PROMETHEUS = os.environ.get("SERVESCOPE_PROMETHEUS") or shutil.which("prometheus")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        PROMETHEUS is None,
        reason="no Prometheus: apt-get download prometheus && dpkg-deb -x prometheus_*.deb DIR, "
        "then SERVESCOPE_PROMETHEUS=DIR/usr/bin/prometheus",
    ),
]


@pytest.fixture
def engine():
    """A metrics page behind a socket; gives its address."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.end_headers()
            self.wfile.write(PAGE.read_bytes())

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def receiver(tmp_path):
    """Our server behind a socket; gives its store and its address."""
    config = load(None, {}, {"XDG_CONFIG_HOME": str(tmp_path)})
    clock = WallClock()
    with Database.open(tmp_path / "s.duckdb", config.store, clock) as database:
        app = create_app(Runtime(config, database, clock, SloBook(None, clock)))
        app.state.remote_write._door.pages._settle_seconds = 3.0
        sock = socket.create_server(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, ws="none"))
        thread = threading.Thread(target=server.run, args=([sock],))
        thread.start()
        yield database, f"http://127.0.0.1:{sock.getsockname()[1]}"
        server.should_exit = True
        thread.join()


@pytest.fixture
def prometheus(tmp_path, engine, receiver):
    config = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "900ms"},
        "scrape_configs": [{"job_name": "vllm", "static_configs": [{"targets": [engine]}]}],
        "remote_write": [
            {
                "url": f"{receiver[1]}/api/v1/write",
                # Requests end in the middle of a page.
                "queue_config": {"max_samples_per_send": 100, "min_shards": 3, "capacity": 300},
            }
        ],
    }
    file = tmp_path / "prometheus.yml"
    file.write_text(json.dumps(config), "utf-8")
    with socket.create_server(("127.0.0.1", 0)) as free:
        listen = f"127.0.0.1:{free.getsockname()[1]}"
    process = subprocess.Popen(
        [
            *(PROMETHEUS, f"--config.file={file}", f"--storage.tsdb.path={tmp_path}/tsdb"),
            *(f"--web.listen-address={listen}", "--log.level=warn"),
        ],
        stderr=subprocess.PIPE,
        text=True,
    )
    yield process
    process.terminate()
    process.communicate(timeout=20)


def test_rows_are_those_of_our_own_scrape(engine, receiver, prometheus):
    """Every value and every bucket of a page that came in pieces from several shards."""
    database, _ = receiver
    until = time.monotonic() + 40
    while time.monotonic() < until:
        if database.reader.scalar("SELECT count(DISTINCT scraped_at) FROM scrape") >= 3:
            break
        threading.Event().wait(0.2)
    page = parse(PAGE.read_bytes())
    reading = PageReader(*engines_of(page)).read(page)
    wanted = {(one.signal, one.labels): one.value for one in reading.samples}
    buckets = {
        (one.signal, one.labels): (
            one.observation_count, one.observation_sum,
            list(one.edges), list(one.cumulative_counts),
        )
        for one in reading.histograms
    }  # fmt: skip
    url = f"remote-write://vllm/{engine}"
    (target,) = database.reader.frame("SELECT target_id, url, engine FROM target").rows()
    assert target[1:] == (url, "vllm")
    at = database.reader.scalar("SELECT max(scraped_at) FROM scrape WHERE outcome = 'ok'")
    samples = database.reader.frame(
        "SELECT signal, labels, value FROM sample JOIN series USING (series_id)"
        " WHERE sampled_at = $at", at=at,
    )  # fmt: skip
    assert {tuple(row[:2]): row[2] for row in samples.rows()} == pytest.approx(wanted)
    histograms = database.reader.frame(
        "SELECT signal, labels, observation_count, observation_sum, edges, cumulative_counts"
        " FROM histogram_sample JOIN series USING (series_id) WHERE sampled_at = $at", at=at,
    )  # fmt: skip
    assert {tuple(row[:2]): tuple(row[2:]) for row in histograms.rows()} == buckets
    assert prometheus.poll() is None
