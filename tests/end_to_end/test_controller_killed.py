"""A server that controls a pool, killed in the middle: what people said and what was done holds."""

import json
import os
import re
import signal
import subprocess
import sys
import threading

import httpx2
import pytest

from store.clock import WallClock

pytestmark = pytest.mark.slow
START_SECONDS = 60
CONFIG = """
[server]
listen = "127.0.0.1:0"
store = "{folder}/store.duckdb"
[controller]
rehearse_hours = 0
[[controller.pool]]
name = "chat"
match = {{model = "m"}}
actuator = {{kind = "desired", file = "{folder}/desired.json"}}
policy = "knative-kpa"
least = 2
"""


class Server:
    """`servescope up`, and a client."""

    def __init__(self, folder):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "servescope", "up", "--config", str(folder / "servescope.toml")],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=folder,
            env={**os.environ, "XDG_CONFIG_HOME": str(folder)},
        )  # fmt: skip
        watchdog = threading.Timer(START_SECONDS, self.process.kill)
        watchdog.start()
        for line in self.process.stdout:
            found = re.match(r"API +(http://[^ ]+)/api/v1", line)
            if found:
                break
        watchdog.cancel()
        assert found, "the server did not start"
        self.client = httpx2.Client(
            base_url=f"{found[1]}/api/v1/controller/", timeout=30, trust_env=False
        )

    def pool(self):
        (found,) = self.client.get("status").json()["pools"]
        return found

    def until(self, wanted, seconds=40):
        """Ask for the pool until something holds of it."""
        clock = WallClock()
        began = clock.monotonic()
        while clock.monotonic() - began < seconds:
            if wanted(pool := self.pool()):
                return pool
            threading.Event().wait(0.1)
        raise AssertionError(pool)

    def end(self, number):
        self.process.send_signal(number)
        self.process.communicate(timeout=30)
        self.client.close()


@pytest.fixture
def up(tmp_path):
    (tmp_path / "servescope.toml").write_text(CONFIG.format(folder=tmp_path), "utf-8")
    started = []

    def go():
        started.append(Server(tmp_path))
        return started[-1]

    yield go
    for one in started:
        one.client.close()
        if one.process.poll() is None:
            one.process.kill()
        one.process.communicate()


def test_what_was_said_and_done_outlives_a_kill(up, tmp_path):
    """Modes, freezes, the number that is published, and a ledger that can be made again."""
    server = up()
    server.until(lambda pool: pool["desired"] is not None)
    body = {"mode": "active", "override": "chat", "by": "ana"}
    assert server.client.post("mode", json=body).status_code == 200
    # Nothing is known of the load; the least of the pool is asked for all the same.
    server.until(lambda pool: pool["wanted"] == 2)
    assert server.client.get("desired").json() == {"pools": {"chat": {"desired_replicas": 2}}}
    assert server.client.post("freeze", json={"by": "ana", "comment": "x"}).status_code == 200
    before = server.client.get("decisions").json()["rows"]
    server.end(signal.SIGKILL)

    server = up()
    pool = server.until(lambda pool: pool["wanted"] is not None)
    assert (pool["mode"], pool["is_frozen"], pool["frozen_by"]) == ("active", True, "ana")
    assert pool["wanted"] == 2
    assert pool["foreign"] is None
    after = server.client.get("decisions").json()["rows"]
    assert {row["decision_id"] for row in before} <= {row["decision_id"] for row in after}
    told = server.client.get("verify").json()
    assert told["checked"] == told["same"] >= 2
    server.end(signal.SIGTERM)

    found = subprocess.run(
        [sys.executable, "-m", "servescope", "controller", "verify", "--json", "--config",
         str(tmp_path / "servescope.toml")],
        capture_output=True, text=True, check=True, cwd=tmp_path,
    )  # fmt: skip
    assert json.loads(found.stdout)["data"]["differs"] == 0
