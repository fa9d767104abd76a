"""Stores in memory, filled by hand."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from store.clock import VirtualClock
from store.database import Database
from store.queries.scope import Scope
from store.settings import StoreSettings
from store.targets import describe, register

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@pytest.fixture
def database() -> Iterator[Database]:
    with Database.open(None, StoreSettings(threads=1), VirtualClock(NOW)) as opened:
        yield opened


@pytest.fixture
def add_requests(database: Database) -> Callable[..., None]:
    """Rows with `ago` seconds before NOW; other columns by name, scalars repeated."""

    calls = itertools.count()

    def add(ago: list[float], **columns: Any) -> None:
        call = next(calls)
        rows = {
            "request_id": [f"{call}-{i}" for i in range(len(ago))],
            "arrived_at": [(NOW - timedelta(seconds=a)).replace(tzinfo=None) for a in ago],
            "status": "ok",
            **columns,
        }
        whole = {
            name: value if isinstance(value, list) else [value] * len(ago)
            for name, value in rows.items()
        }
        database.writer.append("request", pl.DataFrame(whole)).result()

    return add


@pytest.fixture
def live_scope() -> Scope:
    return Scope((1,), NOW - timedelta(hours=6), NOW)


@pytest.fixture
def add_target(database: Database) -> Callable[..., int]:
    """A target scraped every ten seconds for an hour before NOW, its counters growing evenly."""

    def add(url: str, engine: str = "vllm", model: str | None = "m", **signals: Any) -> int:
        writer = database.writer
        target_id = register(writer, url, NOW - timedelta(days=1)).result()
        describe(writer, target_id, engine=engine, engine_version="1.0", model=model).result()
        stamps = [
            (NOW - timedelta(seconds=10 * (SCRAPES - k))).replace(tzinfo=None)
            for k in range(SCRAPES)
        ]
        failing = signals.pop("last_failed", 0)
        outcomes = ["ok"] * (SCRAPES - failing) + ["unreachable"] * failing
        writer.append(
            "scrape",
            pl.DataFrame(
                {
                    "target_id": [target_id] * SCRAPES,
                    "scraped_at": stamps,
                    "duration_seconds": [0.01] * SCRAPES,
                    "outcome": outcomes,
                    "error": [None if o == "ok" else "connection refused" for o in outcomes],
                    "bad_line_count": [0] * SCRAPES,
                },
                infer_schema_length=None,
            ),
        ).result()
        for name, value in signals.items():
            _add_signal(database, target_id, stamps, name, value)
        return target_id

    return add


SCRAPES = 360


def _add_signal(
    database: Database, target_id: int, stamps: list[datetime], name: str, value: Any
) -> None:
    """`name` or `name__reason`; a number per scrape, or a histogram as (edges, counts, n, sum)."""
    signal, _, reason = name.partition("__")
    label = "finish_reason" if signal == "requests_finished_total" else "reason"
    common = {
        "target_id": target_id,
        "signal": signal,
        "labels": f'{{"{label}": "{reason}"}}' if reason else "{}",
    }
    if isinstance(value, tuple):
        edges, counts, count, total = value
        rows = [
            common
            | {
                "unit": "s",
                "sampled_at": at,
                "observation_count": float(count * k),
                "observation_sum": float(total * k),
                "edges": [float(edge) for edge in edges],
                "cumulative_counts": [float(c * k) for c in counts],
            }
            for k, at in enumerate(stamps)
        ]
        database.writer.append("histogram_sample", pl.DataFrame(rows)).result()
        return
    kind = "counter" if signal.endswith("_total") else "gauge"
    rows = [
        common
        | {
            "kind": kind,
            "unit": "",
            "sampled_at": at,
            "value": float(value * k if kind == "counter" else value),
        }
        for k, at in enumerate(stamps)
    ]
    database.writer.append("sample", pl.DataFrame(rows)).result()
