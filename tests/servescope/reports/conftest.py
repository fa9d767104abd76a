"""Two weeks of a made-up fleet: the second is busier, and slow for one tenant."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from servescope.config import load
from servescope.runtime import Runtime, SloBook
from store import decisions
from store.clock import VirtualClock
from store.database import Database
from store.decisions import ActionRow, ChangeRow, DecisionRow, OutcomeRow
from store.settings import StoreSettings
from store.targets import describe, register

# A Saturday: the last whole weeks are 2026-W03 and 2026-W04.
NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
FIRST = datetime(2026, 1, 12)
WEEK = timedelta(days=7)
SLOS = """
[[slo]]
name = "first-token"
kind = "ttft"
threshold_seconds = 1.0
target_ratio = 0.95
window = "7d"

[[slo]]
name = "availability"
kind = "availability"
target_ratio = 0.9
window = "7d"
"""


PRICES = """
[cost]
currency = "EUR"
[cost.pool_gpu_hour]
llama = 2.5
"""


def rows(start, every_seconds, *, slow_tenant=""):
    """A week of requests, evenly spaced; those of the slow tenant wait longer for a first token."""
    count = int(WEEK.total_seconds() // every_seconds)
    rng = np.random.default_rng(count)
    tenant = rng.choice(["acme", "=HYPERLINK(1)", "zeta"], count, p=[0.6, 0.2, 0.2])
    model = rng.choice(["llama", "qwen"], count, p=[0.7, 0.3])
    ttft = rng.lognormal(-1.6, 0.4, count) + np.where(tenant == slow_tenant, 1.0, 0.0)
    output = rng.integers(20, 200, count)
    at = [start + timedelta(seconds=every_seconds * (k + 0.5)) for k in range(count)]
    status = np.where(rng.random(count) < 0.01, "failed", "ok")
    return pl.DataFrame(
        {
            "source_id": [1] * count, "request_id": [f"{start:%d}-{k}" for k in range(count)],
            "arrived_at": at, "status": status.tolist(), "tenant": tenant.tolist(),
            "model": model.tolist(),
            "instance": [f"gpu-{k % 3}" for k in range(count)],
            "input_tokens": rng.integers(50, 2000, count), "output_tokens": output,
            "queue_seconds": ttft / 4, "ttft_seconds": ttft,
            "tpot_seconds": np.full(count, 0.03), "e2e_seconds": ttft + 0.03 * output,
        }
    )  # fmt: skip


def start_rows():
    """A replica that started on Tuesday and was ready after 70 s; another never was."""
    began = FIRST + WEEK + timedelta(days=1, hours=9)
    phases = [("gpu-1", "weights", 0, 60), ("gpu-1", "ready", 70, 70), ("gpu-2", "weights", 90, 99)]
    return pl.DataFrame(
        {
            "instance": [one[0] for one in phases], "model": ["llama"] * 3, "node": ["n1"] * 3,
            "phase": [one[1] for one in phases],
            "started_at": [began + timedelta(seconds=one[2]) for one in phases],
            "ended_at": [began + timedelta(seconds=one[3]) for one in phases],
            "cache_state": ["cold"] * 3, "evidence": ["log"] * 3,
        }
    )  # fmt: skip


def ledger():
    """Decisions of the second week: one applied, one that failed, holds between."""
    start = FIRST + WEEK
    made = [
        DecisionRow(
            number, None, start + timedelta(hours=number), "chat", "risk", "active",
            "up" if number in (30, 90) else "hold", 3, 4 if number in (30, 90) else 3,
            4 if number in (30, 90) else 3, 3, 0, 0, "", "rate", "41 requests a second",
        )
        for number in range(1, 160)
    ]  # fmt: skip
    return [
        ChangeRow(1, start, "chat", "mode", "active", None, None, "ana", "go"),
        *made,
        ActionRow(30, 1, start + timedelta(hours=30), "chat", "k8s", 4, "applied", "done"),
        ActionRow(90, 1, start + timedelta(hours=90), "chat", "k8s", 4, "failed", "no card free"),
        OutcomeRow(30, start + timedelta(hours=31), "attainment_ratio", 0.98, 0.97),
    ]


def watch(writer, url, running):
    """An engine that is read every minute of the second week's Tuesday."""
    begin = FIRST + WEEK + timedelta(days=1)
    stamps = [begin + timedelta(minutes=k) for k in range(1440)]
    target = register(writer, url, begin.replace(tzinfo=UTC)).result()
    describe(writer, target, engine="vllm", engine_version="1.0", model="llama").result()
    told = {"target_id": [target] * 1440}
    scrapes = told | {"scraped_at": stamps, "duration_seconds": [0.01] * 1440}
    writer.append("scrape", pl.DataFrame(scrapes | {"outcome": ["ok"] * 1440})).result()
    for signal, value in (("requests_running", running), ("requests_waiting", 0.0),
                          ("kv_cache_usage_ratio", 0.1 * running)):  # fmt: skip
        frame = told | {
            "signal": [signal] * 1440, "kind": ["gauge"] * 1440, "unit": [""] * 1440,
            "labels": ["{}"] * 1440, "sampled_at": stamps, "value": [float(value)] * 1440,
        }  # fmt: skip
        writer.append("sample", pl.DataFrame(frame)).result()


def state_rows():
    """gpu-2 gets 60 % of what it would get alone."""
    levels = [0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99]
    worth = {"gpu-0": 0.97, "gpu-2": 0.6}
    return pl.DataFrame(
        {
            "source_id": [1, 1], "made_at": [FIRST + WEEK + timedelta(days=6)] * 2,
            "quantity": ["performance_ratio"] * 2, "horizon_seconds": [0.0] * 2,
            "key": [[name] for name in worth], "levels": [levels] * 2,
            "predicted": [[v + 0.002 * k for k in range(8)] for v in worth.values()],
            "rival": [[0.9] * 8] * 2, "model_id": ["degradation-1"] * 2,
            "rival_id": ["constant"] * 2, "calibration": ["raw"] * 2, "was_fallback": [False] * 2,
            "features_age_seconds": [2.0] * 2,
        }
    )  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with that store, closed, its objectives and its prices."""
    folder = tmp_path_factory.mktemp("reports")
    (folder / "servescope.toml").write_text(PRICES, "utf-8")
    (folder / "slo.toml").write_text(SLOS, "utf-8")
    clock = VirtualClock(NOW)
    with Database.open(folder / "store.duckdb", StoreSettings(), clock) as database:
        writer = database.writer
        writer.append("request", rows(FIRST, 400.0)).result()
        writer.append("request", rows(FIRST + WEEK, 200.0, slow_tenant="zeta")).result()
        writer.append("instance_start", start_rows()).result()
        writer.append("forecast", state_rows()).result()
        decisions.keep(writer, ledger()).result()
        watch(writer, "http://gpu-1:8000", 3.0)
        watch(writer, "http://gpu-2:8000", 0.0)
    return folder


@pytest.fixture(scope="module")
def rich(place):
    """A runtime over that store."""
    config = load(place / "servescope.toml", {}, {})
    clock = VirtualClock(NOW)
    slos = SloBook(place / "slo.toml", clock)
    with Database.open(place / "store.duckdb", config.store, clock) as database:
        yield Runtime(config, database, clock, slos, "http://127.0.0.1:8787")
