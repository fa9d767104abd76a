"""A made-up fleet that is scraped: two pools, four replicas, cards with power, three tenants."""

from __future__ import annotations

import math
from datetime import datetime, timedelta

import polars as pl

from analysis.cost_rules import CostRules, PoolRule
from store.database import Database
from store.targets import describe, register

EVERY_SECONDS = 60
HOURS = 12
# URL, model, hour from which it runs, share of the time in which it works.
REPLICAS = (
    ("http://gpu-1:8000/metrics", "llama-70b", 0.0, 0.9),
    ("http://gpu-2:8000/metrics", "llama-70b", 0.0, 0.7),
    ("http://gpu-3:8000/metrics", "llama-70b", 8.0, 0.4),
    ("http://gpu-4:8000/metrics", "qwen-7b", 0.0, 0.3),
)
RULES = CostRules(
    "EUR",
    {"*h100*": 2.5},
    {"qwen-7b": 0.9},
    0.22,
    {"qwen-7b": 1},
    (PoolRule("chat", {"model": "llama*"}, 4, "NVIDIA H100 80GB HBM3"),),
)


def fill(database: Database, now: datetime) -> None:
    """Half a day before `now`, a scrape a minute."""
    for url, model, since, works in REPLICAS:
        _replica(database, now, url, model, since, works)
    _cards(database, now)
    _requests(database, now)
    _start(database, now)


def _times(now: datetime, since_hour: float = 0.0) -> list[datetime]:
    first = now - timedelta(hours=HOURS - since_hour)
    count = int((HOURS - since_hour) * 3600 / EVERY_SECONDS)
    return [
        (first + timedelta(seconds=EVERY_SECONDS * k)).replace(tzinfo=None) for k in range(count)
    ]


def _replica(
    database: Database, now: datetime, url: str, model: str, since: float, works: float
) -> None:
    writer = database.writer
    target = register(writer, url, now - timedelta(days=1)).result()
    describe(writer, target, engine="vllm", engine_version="0.13.2", model=model).result()
    at = _times(now, since)
    writer.append("scrape", pl.DataFrame({
        "target_id": [target] * len(at), "scraped_at": at, "duration_seconds": [0.01] * len(at),
        "outcome": ["ok"] * len(at), "error": pl.Series([None] * len(at), dtype=pl.String),
        "bad_line_count": [0] * len(at),
    })).result()  # fmt: skip
    running = [4.0 if (k * 7) % 10 < 10 * works * _day(k, len(at)) else 0.0 for k in range(len(at))]
    _samples(database, target, at, "requests_running", running)
    _samples(database, target, at, "requests_waiting", [value / 4 for value in running])
    _samples(database, target, at, "kv_cache_usage_ratio", [value / 8 for value in running])


def _day(place: int, count: int) -> float:
    return 0.75 + 0.35 * math.sin(place / count * 5.0)


def _samples(
    database: Database, target: int, at: list[datetime], signal: str, values: list[float],
    labels: str = "{}", unit: str = "",
) -> None:  # fmt: skip
    database.writer.append("sample", pl.DataFrame({
        "target_id": [target] * len(at), "signal": [signal] * len(at), "kind": ["gauge"] * len(at),
        "unit": [unit] * len(at), "labels": [labels] * len(at), "sampled_at": at, "value": values,
    })).result()  # fmt: skip


def _cards(database: Database, now: datetime) -> None:
    target = register(database.writer, "gpu://gpu-1", now - timedelta(days=1)).result()
    at = _times(now)
    for card in range(4):
        labels = f'{{"node": "gpu-1", "gpu": "{card}", "gpu_model": "NVIDIA H100 80GB HBM3"}}'
        watts = [420.0 + 120.0 * math.sin(k / 60 + card) for k in range(len(at))]
        _samples(database, target, at, "gpu_power_watts", watts, labels, "W")


def _requests(database: Database, now: datetime) -> None:
    count = 1_500
    at = [(now - timedelta(seconds=HOURS * 3600 * (1 - k / count))).replace(tzinfo=None)
          for k in range(count)]  # fmt: skip
    chat = [k % 5 != 4 for k in range(count)]
    database.writer.append("request", pl.DataFrame({
        "request_id": [f"cost-{k}" for k in range(count)], "arrived_at": at, "status": "ok",
        "model": ["llama-70b" if c else "qwen-7b" for c in chat],
        "instance": [f"gpu-{k % 2 + 1}:8000" if c else "gpu-4:8000" for k, c in enumerate(chat)],
        "tenant": ["search" if k % 3 else ("batch" if k % 2 else "chat") for k in range(count)],
        "input_tokens": [800 + 13 * (k % 40) for k in range(count)],
        "output_tokens": [150 + 7 * (k % 30) for k in range(count)],
        "ttft_seconds": [0.3 + 0.01 * (k % 50) for k in range(count)],
        "e2e_seconds": [4.0 + 0.1 * (k % 50) for k in range(count)],
    })).result()  # fmt: skip


def _start(database: Database, now: datetime) -> None:
    ready = (now - timedelta(hours=HOURS - 8)).replace(tzinfo=None)
    began = ready - timedelta(minutes=7)
    database.writer.append("instance_start", pl.DataFrame({
        "instance": ["gpu-3:8000"] * 2, "model": ["llama-70b"] * 2, "node": ["gpu-3"] * 2,
        "phase": ["container", "ready"], "evidence": ["log", "log"], "started_at": [began, ready],
        "ended_at": [ready, ready], "cache_state": pl.Series([None, None], dtype=pl.String),
    })).result()  # fmt: skip
