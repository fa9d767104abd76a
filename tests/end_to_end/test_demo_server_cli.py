"""The real processes: the demo, a server that holds its store, commands that go through it."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import httpx2
import pytest

from servescope.importing import example_files

pytestmark = pytest.mark.slow
START_SECONDS = 60
DATA = Path(__file__).parents[1] / "data"


class Process:
    """A servescope process; its lines are read as they come."""

    def __init__(self, *arguments, cwd, **env):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "servescope", *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=cwd,
            env={**os.environ, **env},
        )
        self.lines = []

    def url(self):
        """Wait for the line that says where to look."""
        watchdog = threading.Timer(START_SECONDS, self.process.kill)
        watchdog.start()
        for line in self.process.stdout:
            self.lines.append(line.rstrip())
            found = re.match(r"Open +(http://[^ ]+)/ui/", line)
            if found:
                watchdog.cancel()
                return found[1]
        raise AssertionError(self.process.stderr.read())

    def stop(self, number=signal.SIGINT):
        """End it as a person would; gives exit code and stderr."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        out, err = self.process.communicate(timeout=30)
        return self.process.returncode, out, err


@pytest.fixture
def start(tmp_path):
    started = []

    def go(*arguments):
        started.append(
            Process(
                *arguments,
                cwd=tmp_path,
                XDG_DATA_HOME=str(tmp_path / "data"),
                XDG_CONFIG_HOME=str(tmp_path / "config"),
            )
        )
        return started[-1]

    yield go
    for process in started:
        if process.process.poll() is None:
            process.process.kill()
        process.process.communicate()


def call(*arguments, cwd):
    return subprocess.run(
        [sys.executable, "-m", "servescope", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        check=False,
        env={**os.environ, "XDG_CONFIG_HOME": str(cwd)},
    )


def test_the_demo_finds_something_true_and_serves_it(start, tmp_path):
    """Findings are printed, the page answers, Ctrl-C stops cleanly and leaves nothing behind."""
    demo = start("demo", "--no-open", "--port", "0")
    url = demo.url()
    text = " ".join(demo.lines)
    assert "28,185 requests" in text
    assert "Found" in text
    assert "burstier" in text
    with httpx2.Client(base_url=url, trust_env=False) as client:
        page = client.get("/", follow_redirects=True)
        assert (page.status_code, page.url.path) == (200, "/ui/")
        assert client.get("/ui/slo").status_code == 200
        for path in ("/nope", "/api/v1/nope", "/metric"):
            answer = client.get(path)
            assert answer.status_code == 404
            assert answer.headers["content-type"] == "application/problem+json"
        said = client.get("/api/v1/views/workload_arrivals").json()
        assert said["measures"]["requests"]["value"] == 28_185
        assert "servescope_http_requests_total" in client.get("/metrics").text
    code, _, err = demo.stop()
    assert code == 0
    assert "Traceback" not in err
    assert not list((tmp_path / "data").rglob("*.server.json"))


def test_commands_go_through_the_server_that_holds_the_store(start, tmp_path):
    """Import, query, list and diagnose work while the server runs; a second server is refused."""
    store = tmp_path / "s.duckdb"
    server = start("up", "--store", store, "--listen", "127.0.0.1:0")
    url = server.url()
    files = [str(file) for file in example_files()]
    imported = call("import", *files, "--store", store, "--json", cwd=tmp_path)
    assert imported.returncode == 0, imported.stderr
    reports = json.loads(imported.stdout)["data"]["imports"]
    assert [report["rows_added"] for report in reports] == [19_366, 8_819]
    again = call("import", *files, "--store", store, "--json", cwd=tmp_path)
    reports = json.loads(again.stdout)["data"]["imports"]
    assert [report["rows_added"] for report in reports] == [0, 0]
    counted = call(
        "query", "SELECT count(*) AS n FROM requests", "--store", store, "--json", cwd=tmp_path
    )
    assert json.loads(counted.stdout)["data"]["rows"] == [{"n": 28_185}]
    exported = call("export", "r.csv", "--format", "azure", "--store", store, cwd=tmp_path)
    assert exported.returncode == 0, exported.stderr
    assert len((tmp_path / "r.csv").read_text().splitlines()) == 28_186
    analysed = call("analyze", "azure-2023-code", "--store", store, cwd=tmp_path)
    assert "Burstiness" in analysed.stdout
    doctor = call("doctor", "--store", store, cwd=tmp_path)
    assert f"{url} answers and holds this store" in doctor.stdout
    assert not list(Path(f"{store}.incoming").iterdir())
    second = call("up", "--store", store, "--listen", "127.0.0.1:0", cwd=tmp_path)
    assert second.returncode == 2
    assert url in second.stderr
    code, _, err = server.stop(signal.SIGTERM)
    assert code == 0
    assert "Traceback" not in err


def test_client_rates_go_through_the_server_too(start, tmp_path):
    """A trace of rates without requests arrives with its format; a second time nothing is new."""
    store = tmp_path / "s.duckdb"
    server = start("up", "--store", store, "--listen", "127.0.0.1:0")
    url = server.url()
    files = sorted((DATA / "traces" / "m-small").glob("chunk-*.csv"))
    for added, duplicate in ((72, 0), (0, 72)):
        done = call("import", *files, "--store", store, "--json", cwd=tmp_path)
        (report,) = json.loads(done.stdout)["data"]["imports"]
        assert (report["rows_added"], report["rows_duplicate"]) == (added, duplicate)
    listed = call("sources", "--store", store, "--json", cwd=tmp_path)
    (source,) = [s for s in json.loads(listed.stdout)["data"]["sources"] if s["kind"] == "trace"]
    told = (source["name"], source["format"], source["clock"])
    assert told == ("servegen-m-small", "servegen", "relative")
    refused = call("export", "all", "--all", "--store", store, cwd=tmp_path)
    assert refused.returncode == 5
    assert refused.stderr.startswith(f"error: {url}: this server holds the store")
    assert "stop the server" in refused.stderr
    assert server.stop(signal.SIGTERM)[0] == 0
    exported = call("export", "all", "--all", "--store", store, cwd=tmp_path)
    assert exported.returncode == 0, exported.stderr


def test_a_taken_port_names_a_free_one(tmp_path):
    """The message says which port to use instead; nothing is written."""
    with socket.create_server(("127.0.0.1", 0)) as somebody:
        port = somebody.getsockname()[1]
        done = call("up", "--store", "b.duckdb", "--listen", f"127.0.0.1:{port}", cwd=tmp_path)
    assert done.returncode == 2
    free = re.search(r"port (\d+) is free: use --listen", done.stderr)
    assert free
    assert int(free[1]) != port
    assert not (tmp_path / "b.duckdb").exists()


def test_a_stale_server_file_does_not_mislead(tmp_path):
    """After kill -9 of a server its note stays behind; commands open the file themselves."""
    store = tmp_path / "s.duckdb"
    note = {"url": "http://127.0.0.1:9", "pid": 1, "started_at": "2026-01-01T00:00:00+00:00"}
    (tmp_path / "s.duckdb.server.json").write_text(json.dumps(note), "utf-8")
    done = call("import", example_files()[1], "--store", store, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_an_ephemeral_server_leaves_nothing_behind(start, tmp_path):
    """`--ephemeral` keeps everything in a folder that is gone afterwards."""
    server = start("up", "--ephemeral", "--listen", "127.0.0.1:0")
    url = server.url()
    with httpx2.Client(base_url=url, trust_env=False) as client:
        store = Path(client.get("/api/v1/health").json()["store"])
    assert store.exists()
    assert server.stop()[0] == 0
    assert not store.parent.exists()
    assert not (tmp_path / "data").exists()
