"""Back-tests a predictor on the store's own rows, in a process of its own, and keeps the cells.

store --rows--> folder --worker process--> cells --> store --> page, API, command line
"""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from threading import Event
from typing import Any

import polars as pl

from predictors import catalog, rolling, worker
from predictors.base import AT
from servescope.training_process import TrainingSettings, work
from store import audit, backtests
from store.clock import Clock
from store.database import Database
from store.errors import PredictorError
from store.queries.scope import Scope, SourceInfo

WINDOWS = 6
"""Judged, where nobody says how many."""
_LEAST_ROWS = 2 * rolling.LEAST_LEARNT


def backtest(
    database: Database,
    clock: Clock,
    name: str,
    scope: Scope,
    *,
    source: str,
    windows: int = WINDOWS,
    by: str = "cli",
    settings: TrainingSettings | None = None,
    stop: Event | None = None,
    told: Callable[[int], None] = lambda _: None,
) -> dict[str, Any]:
    """Judge `name` on rolling origins of the store's rows, keep it, and note who asked.

    Args:
        database: the open store.
        clock: stamps.
        name: in the catalogue of predictors.
        scope: which rows.
        source: whose they are, for people.
        windows: that are judged, 2 to 20.
        by: who asked.
        settings: limits.
        stop: ends it early once it is set.
        told: called with the number of windows that are done.

    Returns:
        as `store.backtests.BacktestRow`, and how many cells.

    Raises:
        PredictorError: too few rows, it failed, or it took too long.
    """
    limits = settings or TrainingSettings()
    entry = catalog.entry(name)
    rolling.check_count(windows)
    rows = entry.training_rows(database.reader, scope)
    if rows.height < _LEAST_ROWS or AT not in rows.columns:
        raise PredictorError(
            f"{rows.height} finished rows are too few to back-test {name}",
            hint=f"at least {_LEAST_ROWS} are needed: widen the range or wait for traffic",
        )
    rows = rows.tail(limits.most_rows)
    with tempfile.TemporaryDirectory(prefix="servescope-backtest-") as place:
        folder = Path(place)
        rows.write_parquet(folder / worker.ROWS)
        task = {"predictor": name, "windows": windows}
        report = work(folder, f"back-testing {name}", task, limits, stop or Event(), told)
        cells = pl.read_parquet(folder / worker.CELLS)
    if cells.is_empty():
        raise PredictorError(
            f"no window of {name} has an outcome to judge by", hint="take a longer range"
        )
    row = _row(name, rows, cells, report, clock.now(), source, by)
    backtests.add(database.writer, row, cells).result()
    after = {"backtest_id": row.backtest_id, "source": source, "rows": row.rows, "windows": windows}
    change = audit.Change(by, "predictors.backtest", name, None, after, by)
    audit.note(database.writer, clock.now(), change).result()
    return {**asdict(row), "cells": cells.height}


def _row(
    name: str,
    rows: pl.DataFrame,
    cells: pl.DataFrame,
    report: Mapping[str, Any],
    now: datetime,
    source: str,
    by: str,
) -> backtests.BacktestRow:
    return backtests.BacktestRow(
        backtest_id=f"{now:%Y%m%d-%H%M%S}-{secrets.token_hex(3)}",
        predictor=name,
        made_at=now.replace(tzinfo=None),
        made_by=by,
        source=source,
        data_from=_end(rows[AT].min()),
        data_until=_end(rows[AT].max()),
        rows=rows.height,
        windows=cells["window"].n_unique(),
        unit=str(report["unit"]),
        rival=str(report["rival"]),
        seconds=float(report["seconds"]),
    )


def source_text(catalog: Sequence[SourceInfo], scope: Scope) -> str:
    """The names of the sources that a scope is about."""
    return ", ".join(one.name for one in catalog if one.source_id in scope.source_ids)


def _end(value: object) -> datetime:
    assert isinstance(value, datetime)  # noqa: S101 - there are rows, with times
    return value.replace(tzinfo=None)
