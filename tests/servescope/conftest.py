"""A runtime over a small real store, and a client that speaks to it without a socket."""

import asyncio
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from starlette.testclient import TestClient

from controller.loop import Loop
from servescope.config import load
from servescope.runtime import Runtime, SloBook
from servescope.server import create_app
from store import targets
from store.clock import VirtualClock
from store.database import Database

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
SLOS = """
[[slo]]
name = "chat"
kind = "availability"
target_ratio = 0.9
window = "1h"
"""


def requests(count=60, *, tenant="=cmd()", at=NOW):
    start = at.replace(tzinfo=None) - timedelta(minutes=count)
    return pl.DataFrame(
        {
            "source_id": [1] * count,
            "arrived_at": [start + timedelta(minutes=minute) for minute in range(count)],
            "status": ["failed" if minute % 10 == 9 else "ok" for minute in range(count)],
            "tenant": [tenant] * count,
            "model": ["llama"] * count,
            "input_tokens": list(range(count)),
            "output_tokens": [10] * count,
            "ttft_seconds": [0.1 + minute / 100 for minute in range(count)],
        }
    )


@pytest.fixture
def more_requests():
    """Makes frames of live requests, one a minute, the last a minute before `at`."""
    return requests


@pytest.fixture
def clock():
    return VirtualClock(NOW)


@pytest.fixture
def runtime(tmp_path, clock):
    config = load(None, {}, {"XDG_CONFIG_HOME": str(tmp_path)})
    slo_file = tmp_path / "slo.toml"
    slo_file.write_text(SLOS, "utf-8")
    slos = SloBook(slo_file, clock)
    with Database.open(tmp_path / "store.duckdb", config.store, clock) as database:
        yield Runtime(config, database, clock, slos, "http://127.0.0.1:8787")


@pytest.fixture
def filled(runtime):
    runtime.database.writer.append("request", requests()).result()
    return runtime


@pytest.fixture
def client(filled):
    with TestClient(create_app(filled), base_url="http://127.0.0.1:8787") as client:
        yield client


CONTROLLED = """
[controller]
mode = "dry-run"
rehearse_hours = 0.01
[[controller.pool]]
name = "chat"
match = {model = "m"}
actuator = {kind = "memory", replicas = 3, most = 50}
policy = "queue-length-hpa"
most = 20
down_cooldown_seconds = 0
"""
SIGNALS = {"requests_running": 2.0, "requests_waiting": 20.0, "requests_finished_total": 50.0}
API = "/api/v1/controller"


class Rig:
    """A server with a pool of three engines, and a client."""

    def __init__(self, runtime, client):
        self.runtime, self.client = runtime, client
        self.counters = {}

    def scrape(self, times=4):
        writer, clock = self.runtime.database.writer, self.runtime.clock
        urls = {f"http://r{n}:8000/metrics": targets.Noted(clock.now(), "vllm", "m")
                for n in range(3)}  # fmt: skip
        ids = targets.note(writer, urls).result()
        for _ in range(times):
            clock.advance(5)
            rows = []
            for target in ids.values():
                for signal, value in SIGNALS.items():
                    kind = "counter" if signal.endswith("_total") else "gauge"
                    if kind == "counter":
                        self.counters[target] = value = self.counters.get(target, 0) + value
                    at = clock.now().replace(tzinfo=None)
                    rows.append((target, signal, kind, "requests", "{}", at, value))
            names = ("target_id", "signal", "kind", "unit", "labels", "sampled_at", "value")
            writer.append("sample", pl.DataFrame(rows, schema=names, orient="row")).result()

    def tick(self, times=1):
        controlling = self.runtime.controlling
        loop = controlling.loop
        for _ in range(times):
            self.scrape()
            step = loop.tick(loop.fleets[0])
            asyncio.run_coroutine_threadsafe(step, controlling._events).result(60)
            # Candidates are asked after the step; the test looks when they were.
            shadows = loop.shadows.settled()
            asyncio.run_coroutine_threadsafe(shadows, controlling._events).result(60)

    def get(self, path, status=200, **params):
        answer = self.client.get(f"{API}{path}", params=params)
        assert answer.status_code == status, answer.text
        return answer.json()

    def post(self, path, status=200, **body):
        answer = self.client.post(f"{API}{path}", json=body)
        assert answer.status_code == status, answer.text
        return answer.json()


@pytest.fixture
def rig(tmp_path, clock, monkeypatch):
    # Steps are made by the test alone.
    monkeypatch.setattr(Loop, "start", lambda loop: None)
    file = tmp_path / "servescope.toml"
    file.write_text(CONTROLLED, "utf-8")
    config = load(file, {}, {})

    @asynccontextmanager
    async def lifespan(app):
        await runtime.controlling.start()
        yield
        await runtime.controlling.aclose()

    with Database.open(tmp_path / "store.duckdb", config.store, clock) as database:
        runtime = Runtime(config, database, clock, SloBook(None, clock), "http://127.0.0.1:8787")
        runtime.controlling.prepare(())
        app = create_app(runtime, lifespan=lifespan)
        with TestClient(app, base_url="http://127.0.0.1:8787") as client:
            yield Rig(runtime, client)
