"""A server that is killed between making a report and sending it: the next one sends the rest."""

import importlib.util
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path

import httpx2
import polars as pl
import pytest

from store.clock import WallClock
from store.database import Database
from store.settings import StoreSettings

pytestmark = pytest.mark.slow
DOUBLES = Path(__file__).parents[1] / "servescope" / "reporting" / "doubles.py"


def load_doubles():
    name = "servescope_reporting_doubles"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, DOUBLES)
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


def fill(path):
    """A fortnight of requests, one every half hour."""
    count = 15 * 48
    start = WallClock().now().replace(tzinfo=None) - timedelta(days=15)
    frame = pl.DataFrame({
        "source_id": [1] * count,
        "arrived_at": [start + timedelta(minutes=30 * i) for i in range(count)],
        "status": ["ok"] * count, "model": ["llama"] * count, "tenant": ["a"] * count,
        "input_tokens": [10 + i % 700 for i in range(count)],
        "output_tokens": [5 + i % 90 for i in range(count)],
        "ttft_seconds": [0.1 + i % 13 / 20 for i in range(count)],
    })  # fmt: skip
    with Database.open(path, StoreSettings(), WallClock()) as database:
        database.writer.append("request", frame).result()


def config(home, first, second):
    (home / "servescope.toml").write_text(
        f"""
[reports]
templates = "{home}"
[[reports.channel]]
name = "first"
kind = "webhook"
webhook = "{first}"
[[reports.channel]]
name = "second"
kind = "webhook"
webhook = "{second}"
[[reports.schedule]]
name = "daily"
template = "short"
when = "daily 00:00"
channels = ["first", "second"]
""",
        "utf-8",
    )
    (home / "short.toml").write_text('kind = "daily"\nsections = ["traffic"]', "utf-8")


def up(home):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "servescope", "up", "--config", str(home / "servescope.toml"),
         "--store", str(home / "store.duckdb"), "--listen", f"127.0.0.1:{port}"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=home,
        env={**os.environ, "HOME": str(home)},
    )  # fmt: skip
    url = f"http://127.0.0.1:{port}/api/v1"
    until(lambda: process.poll() is not None or answers(url))
    assert process.poll() is None, "the server ended before it answered"
    return process, url


def answers(url):
    try:
        return httpx2.get(f"{url}/health").status_code == 200
    except httpx2.TransportError:
        return False


def until(is_so, seconds=90.0):
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, "it never came"
        threading.Event().wait(0.1)


def test_what_was_acknowledged_is_not_sent_again(tmp_path):
    """Killed while the second channel does not answer: the first one has it once, for ever."""
    doubles = load_doubles()
    fill(tmp_path / "store.duckdb")
    hangs, killed = threading.Event(), threading.Event()

    def hang(got):
        if not hangs.is_set():
            hangs.set()
            killed.wait(60)
        return 200, b""

    with doubles.Web() as first, doubles.Web(check=hang) as second:
        config(tmp_path, first.url, second.url)
        process, url = up(tmp_path)
        try:
            path = f"{url}/reports/schedules/daily/run"
            run = httpx2.post(path, json={"send": True}).json()["run_id"]
            until(hangs.is_set)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
        killed.set()
        process, url = up(tmp_path)
        try:
            path = f"{url}/reports/runs/{run}"
            until(lambda: httpx2.get(path).json()["state"] not in ("making", "sending"))
            told = httpx2.get(path).json()
        finally:
            process.terminate()
            process.wait()
        keys = [one["headers"]["idempotency-key"] for one in second.got]
        assert len(first.got) == 1
        assert keys == [f"{run}/second"] * 2, "it cannot know that it was heard: the same key"
    assert told["state"] == "sent", told
    assert [(one["channel"], one["attempt"]) for one in told["attempts"]] == [
        ("first", 1), ("second", 1),
    ]  # fmt: skip
