"""Traces in memory and arrival streams with known answers."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import numpy as np
import polars as pl
import pytest

from store.database import Database
from store.queries.scope import Scope

FOREVER = (datetime(1970, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(20231116)


@pytest.fixture
def add_trace(database: Database) -> Callable[..., int]:
    """Make a trace source, with rows where seconds are given; returns its number."""
    made: list[str] = []

    def add(
        name: str,
        seconds: Any = (),
        *,
        clock: str = "utc",
        block_tokens: int | None = None,
        **columns: Any,
    ) -> int:
        source_id = len(made) + 2
        made.append(name)

        def insert(connection: Any) -> None:
            connection.execute(
                "INSERT INTO source (source_id, name, kind, format, clock, prefix_block_tokens,"
                " created_at) VALUES (?, ?, 'trace', 'mapped', ?, ?, TIMESTAMP '2026-01-01')",
                [source_id, name, clock, block_tokens],
            )

        database.writer.run(insert).result()
        if len(seconds):
            database.writer.append("request", _rows(source_id, seconds, columns)).result()
        return source_id

    return add


def _rows(source_id: int, seconds: Any, columns: dict[str, Any]) -> pl.DataFrame:
    start = 0 if columns.pop("relative", False) else 1_700_000_000
    stamps = np.rint((np.asarray(seconds, dtype=np.float64) + start) * 1e6).astype(np.int64)
    given = {"status": "ok", **columns}
    size = len(stamps)
    whole = {
        name: value if isinstance(value, list | np.ndarray | pl.Series) else [value] * size
        for name, value in given.items()
    }
    return pl.DataFrame(
        {
            "request_id": [f"{source_id}-{i}" for i in range(size)],
            "source_id": pl.Series([source_id] * size, dtype=pl.Int16),
            "arrived_at": stamps.astype("datetime64[us]"),
            **whole,
        }
    )


@pytest.fixture
def whole() -> Callable[..., Scope]:
    """The scope of all that sources hold."""

    def scope(*source_ids: int, **labels: tuple[str, ...]) -> Scope:
        return Scope(source_ids, *FOREVER, **labels)

    return scope
