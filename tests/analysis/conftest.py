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
