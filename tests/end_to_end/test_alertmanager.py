"""A real Alertmanager takes our alerts, its silences hold here, and what it tells comes back."""

import asyncio
import os
import shutil
import socket
import subprocess
import threading
from datetime import timedelta
from pathlib import Path

import httpx2
import polars as pl
import pytest
import uvicorn

from analysis.alerts.matchers import parse_matcher
from servescope.config import load
from servescope.listening import bind, url_of
from servescope.runtime import Runtime, SloBook
from servescope.server import create_app
from store.clock import WallClock
from store.database import Database
from store.queries import alerts as queries

CLOCK = WallClock()
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
UNPACKED = CACHE / "servescope" / "debian" / "usr" / "bin" / "prometheus-alertmanager"
MISSING = (
    "no Alertmanager here: its test was NOT run. `make alertmanager` fetches Debian's, or set"
    " SERVESCOPE_ALERTMANAGER to its path"
)
ROUTES = """
route: {{receiver: back, group_by: [alertname], group_wait: 10ms, group_interval: 100ms}}
receivers:
- name: back
  webhook_configs:
  - url: {url}/api/v1/alerts/in
"""
OURS = """
[alerts]
resend_seconds = 0.1
off = ["slo-burn-fast", "slo-burn-slow"]
[[alerts.rule]]
name = "outage"
window_seconds = 30
keep_seconds = 0
[[alerts.receiver]]
name = "am"
kind = "alertmanager"
url = "{url}"
"""


def program():
    """Alertmanager, or None."""
    named = os.environ.get("SERVESCOPE_ALERTMANAGER")
    found = named or shutil.which("prometheus-alertmanager") or shutil.which(str(UNPACKED))
    # Debian's reads its templates from here, wherever the program itself lies.
    is_whole = found != str(UNPACKED) or Path("/usr/share/prometheus/alertmanager").exists()
    return found if found and is_whole and os.access(found, os.X_OK) else None


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


async def until(look):
    """Wait for something to be so; a minute at most."""
    async with asyncio.timeout(60):
        while True:
            if found := look():
                return found
            await CLOCK.sleep(0.02)


def ready(url, process):
    assert process.poll() is None, process.stderr.read()
    try:
        return httpx2.get(f"{url}/-/ready", timeout=2, trust_env=False).status_code == 200
    except httpx2.HTTPError:
        return False


@pytest.fixture
def sock():
    with bind("127.0.0.1:0") as made:
        yield made


@pytest.fixture
def alertmanager(tmp_path, sock):
    """Debian's, on a loopback port of its own; tells our server by webhook."""
    path = program()
    if path is None:
        pytest.skip(MISSING)
    config, port = tmp_path / "am.yml", free_port()
    config.write_text(ROUTES.format(url=url_of(sock)), "utf-8")
    process = subprocess.Popen(
        [path, f"--config.file={config}", f"--storage.path={tmp_path / 'am'}",
         f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address="],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    asyncio.run(until(lambda: ready(url, process)))
    yield url
    process.terminate()
    process.communicate(timeout=20)


@pytest.fixture
def runtime(tmp_path, alertmanager, sock):
    """Our server on its socket, with that Alertmanager as its receiver."""
    file = tmp_path / "servescope.toml"
    file.write_text(OURS.format(url=alertmanager), "utf-8")
    config, clock = load(file, {}, {"XDG_CONFIG_HOME": str(tmp_path)}), WallClock()
    with Database.open(tmp_path / "s.duckdb", config.store, clock) as database:
        made = Runtime(config, database, clock, SloBook(None, clock), url_of(sock))
        serving = uvicorn.Server(
            uvicorn.Config(create_app(made), log_config=None, lifespan="off", ws="none")
        )
        thread = threading.Thread(target=serving.run, kwargs={"sockets": [sock]})
        thread.start()
        yield made
        serving.should_exit = True
        thread.join()


def requests(runtime, status, count):
    now = CLOCK.now().replace(tzinfo=None)
    rows = {
        "source_id": [1] * count, "status": [status] * count, "model": ["llama"] * count,
        "arrived_at": [now - timedelta(milliseconds=10 * ago + 1) for ago in range(count)],
    }  # fmt: skip
    runtime.database.writer.append("request", pl.DataFrame(rows)).result()


def there(url):
    """Alerts as Alertmanager lists them."""
    return httpx2.get(f"{url}/api/v2/alerts", trust_env=False).json()


def received(runtime):
    now = CLOCK.now().replace(tzinfo=None)
    span = (now - timedelta(hours=1), now + timedelta(hours=1))
    found = queries.periods(runtime.database.reader, *span)
    return found.filter(pl.col("origin") == "alertmanager")


async def test_alerts_go_there_silences_come_back_and_so_does_its_webhook(alertmanager, runtime):
    """Firing, silenced there, let go, resolved."""
    alerting, url = runtime.alerting, alertmanager
    await alerting.load()
    requests(runtime, "failed", 100)
    (fired,) = await alerting.evaluate()
    await alerting.tell()
    (listed,) = there(url)
    assert listed["fingerprint"] == fired.fingerprint
    assert listed["labels"] == {"alertname": "outage", "model": "llama", "severity": "page"}
    assert listed["annotations"]["runbook_url"].endswith("/outage.md")
    assert listed["generatorURL"].startswith(f"{runtime.url}/ui/workload/failures?model=llama")
    assert listed["status"]["state"] == "active"
    # Its own webhook comes back to us, and is drawn on charts.
    await until(lambda: received(runtime).height == 1)
    assert received(runtime)["over_at"].to_list() == [None]

    silence = {
        "matchers": [{"name": "model", "value": "lla.*", "isRegex": True, "isEqual": True}],
        "startsAt": CLOCK.now().isoformat(), "createdBy": "ana", "comment": "new weights",
        "endsAt": (CLOCK.now() + timedelta(hours=1)).isoformat(),
    }  # fmt: skip
    made = httpx2.post(f"{url}/api/v2/silences", json=silence, trust_env=False).json()["silenceID"]
    muted = await told_until(alerting, lambda: alerting.book.muted(runtime.clock.now()))
    assert muted == {fired.fingerprint: "silenced by ana: new weights"}
    assert alerting.book.silences[made].origin == "am"
    # What it was handed goes on to be told: silence is no end.
    assert there(url)[0]["status"]["silencedBy"] == [made]
    httpx2.delete(f"{url}/api/v2/silence/{made}", trust_env=False).raise_for_status()
    await told_until(alerting, lambda: not alerting.book.muted(runtime.clock.now()))
    await silenced_here(alerting, url)

    requests(runtime, "ok", 100)
    (over,) = await alerting.evaluate()
    assert over.state == "resolved"
    await told_until(alerting, lambda: not there(url))
    await until(lambda: received(runtime)["over_at"][0] is not None)
    assert received(runtime)["name"].to_list() == ["outage"]
    await alerting.aclose()


async def silenced_here(alerting, url):
    """A silence made here holds there, for our alerts only; ended in one place it ends in both."""
    until, only = CLOCK.now() + timedelta(hours=1), [parse_matcher("model=llama")]
    for end_it_there in (False, True):
        made = alerting.silence(only, None, until, "ben", "roll-out")
        names = await told_until(alerting, lambda: there(url)[0]["status"]["silencedBy"])
        told = httpx2.get(f"{url}/api/v2/silence/{names[0]}", trust_env=False).json()
        assert told["createdBy"] == "ben"
        assert told["comment"] == f"roll-out [servescope {made.silence_id}]"
        assert {one["name"] for one in told["matchers"]} == {"model", "alertname"}
        assert len(alerting.book.silences) == 2 + end_it_there  # taken for nobody else's
        if end_it_there:
            httpx2.delete(f"{url}/api/v2/silence/{names[0]}", trust_env=False).raise_for_status()
            await told_until(alerting, lambda: not alerting.book.muted(CLOCK.now()))
        else:
            alerting.unsilence(made.silence_id, "ben")
            await told_until(alerting, lambda: not there(url)[0]["status"]["silencedBy"])


async def told_until(alerting, look):
    """Tell again and again, as a server does, until something is so."""
    async with asyncio.timeout(60):
        while True:
            await alerting.tell()
            if found := look():
                return found
            await CLOCK.sleep(0.02)
