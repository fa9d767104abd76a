"""Two servers, one store: sign in at either, kill the one that decides, lose nothing."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest

from store.clock import WallClock
from store.opening import server_file

CLOCK = WallClock()
PASSWORD = "correct horse battery staple"
SETTINGS = """
[access]
sign_in = "on"
[store]
lake = "{lake}"
lake_data = "{data}"
[predict]
enabled = false
[controller]
mode = "dry-run"
lease_seconds = 1.5
[[controller.pool]]
name = "chat"
match = {{model = "m"}}
actuator = {{kind = "memory", replicas = 3, most = 50}}
policy = "queue-length-hpa"
most = 20
"""


class Server:
    """One `servescope up` and a browser's connection to it."""

    def __init__(self, folder, name):
        self.store, self.log = folder / f"{name}.duckdb", (folder / f"{name}.log").open("w")
        command = [sys.executable, "-m", "servescope", "up", "--config", str(folder / "s.toml"),
                   "--store", str(self.store), "--listen", "127.0.0.1:0"]  # fmt: skip
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log)
        self.client = httpx2.Client(trust_env=False)

    def begun(self):
        """The same server, answering."""
        self.url = self.until(lambda: json.loads(server_file(self.store).read_text("utf-8"))["url"])
        self.client.close()
        self.client = httpx2.Client(base_url=self.url, trust_env=False, timeout=60,
                                    headers={"Origin": self.url})  # fmt: skip
        assert self.until(lambda: self.client.get("/readyz").status_code == 200)
        return self

    def until(self, asked):
        """What it gives, once it does; a server that has ended never will."""
        end = CLOCK.monotonic() + 120
        while CLOCK.monotonic() < end and self.process.poll() is None:
            try:
                found = asked()
            except (OSError, ValueError, KeyError, httpx2.HTTPError):
                found = None
            if found:
                return found
        raise AssertionError(f"not in time: {Path(self.log.name).read_text('utf-8')[-2000:]}")

    def status(self):
        """How the controller stands, as this server tells it."""
        return self.client.get("/api/v1/controller/status").json()

    def end(self, number=signal.SIGTERM):
        if self.process.poll() is None:
            os.kill(self.process.pid, number)
            self.process.wait(60)
        self.client.close()
        self.log.close()


@pytest.fixture
def folder(lakes, tmp_path):
    settings = SETTINGS.format(lake=lakes.new(), data=lakes.folder / "files")
    (tmp_path / "s.toml").write_text(settings, "utf-8")
    (tmp_path / "password").write_text(PASSWORD, "utf-8")
    return tmp_path


@pytest.fixture
def start(folder):
    servers = []

    def begin(name):
        servers.append(Server(folder, name))
        return servers[-1].begun()

    yield begin
    for server in servers:
        server.end()


def row(name):
    return json.dumps({"request_id": name, "arrived_at": "2026-01-01T00:00:00Z", "status": "ok"})


def sent(server, token, names):
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/x-ndjson"}
    body = "\n".join(row(name) for name in names)
    return server.client.post("/api/v1/requests", content=body, headers=headers).json()["added"]


@pytest.mark.slow
def test_one_of_two_servers_is_killed_and_the_other_goes_on(folder, start):
    """Who signed in stays so, orders reach whoever decides, no row is lost or doubled."""
    one, other = start("one"), start("other")
    local = {"Authorization": "Bearer " + one.store.with_name("one.duckdb.local-key").read_text()}
    body = {"name": "ada", "role": "admin", "password": PASSWORD}
    assert one.client.post("/api/v1/access/users", json=body, headers=local).status_code == 200
    body = {"name": "ci", "scopes": ["ingest"]}
    token = other.client.post(
        "/api/v1/access/tokens", json=body,
        headers={"Authorization": "Bearer "
                 + other.store.with_name("other.duckdb.local-key").read_text()},
    ).json()["token"]  # fmt: skip
    one.client.post("/sign-in", data={"name": "ada", "password": PASSWORD})
    other.client.cookies.update(one.client.cookies)
    assert other.client.get("/api/v1/access/me").json()["name"] == "ada"

    assert one.until(lambda: one.status()["running"])
    assert other.status()["running"], "asked of the one that decides"
    frozen = other.client.post("/api/v1/controller/freeze", json={"pools": ["chat"]})
    assert frozen.status_code == 200, frozen.text
    assert one.status()["pools"][0]["frozen_by"] == "ada"
    assert other.client.get("/ui/").status_code == 200

    names = [f"r{number}" for number in range(20)]
    assert (sent(one, token, names), sent(other, token, names)) == (20, 0)
    one.end(signal.SIGKILL)
    assert sent(other, token, [*names, "r20"]) == 1
    refused = other.client.get("/api/v1/controller/status")
    assert refused.status_code in (200, 503)
    assert other.until(lambda: other.status().get("running"))
    assert other.status()["pools"][0]["frozen_by"] == "ada"
    sql = {"sql": "SELECT count(*) AS n FROM request"}
    assert other.client.post("/api/v1/sql", json=sql).json()["rows"] == [{"n": 21}]
