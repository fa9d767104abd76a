"""A runtime over a small real store, and a client that speaks to it without a socket."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from starlette.testclient import TestClient

from servescope.config import load
from servescope.runtime import Runtime, SloBook
from servescope.server import create_app
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
