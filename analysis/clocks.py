"""Whose clock differs from the server's: agents by their heartbeats, targets by their answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from analysis.agents import OFFSET_SECONDS
from store.units import seconds_text

# As `collector.trust` judges it: a target's samples are stamped by whoever asks, so only what it
# says of itself (starts, phases of starts) lies at a wrong time.
TARGET_OFFSET_SECONDS = 30.0
# The date of an answer has whole seconds.
DATE_ERROR_SECONDS = 1.0
CLOCKS_SCHEMA: dict[str, Any] = {
    "name": pl.String,
    "kind": pl.String,
    "state": pl.String,
    "offset_seconds": pl.Float64,
    "error_seconds": pl.Float64,
    "limit_seconds": pl.Float64,
    "why": pl.String,
}


def clock_table(
    agents: pl.DataFrame, targets: pl.DataFrame, measured: Mapping[int, float]
) -> pl.DataFrame:
    """One row a clock, the farthest off first and the unknown last.

    Args:
        agents: of `store.queries.agents.agents`.
        targets: of `store.queries.telemetry.targets`; those that are not asked have no row.
        measured: target id -> its clock minus that of whoever asks it, in seconds.

    Returns:
        Columns of `CLOCKS_SCHEMA`; `state` is agrees, off or unknown; `offset_seconds` above 0 is
        ahead of the server, NULL unknown; `limit_seconds`: from this on it is off.
    """
    rows = [_agent(row) for row in agents.iter_rows(named=True)]
    rows += [
        _target(row["url"], measured.get(row["target_id"]))
        for row in targets.iter_rows(named=True)
        if "http" in row["url"]
    ]
    frame = pl.DataFrame(rows, schema=CLOCKS_SCHEMA, orient="row")
    return frame.sort(pl.col("offset_seconds").abs(), descending=True, nulls_last=True)


def _agent(row: Mapping[str, Any]) -> tuple[Any, ...]:
    offset, error = row["clock_offset_seconds"], row["clock_error_seconds"]
    limit = OFFSET_SECONDS + (error or 0.0)
    lies = "its rows lie at wrong times"
    unknown = "it has not compared its clock with the server's yet"
    return (row["name"], "agent", *_judged(offset, error, limit, lies, unknown))


def _target(url: str, offset: float | None) -> tuple[Any, ...]:
    error = None if offset is None else DATE_ERROR_SECONDS
    whose = "its agent's clock" if url.startswith("agent://") else "the server's clock"
    lies = f"compared with {whose}: what it says of its starts lies at wrong times"
    unknown = "none of its answers since this server started had a date"
    return (url, "target", *_judged(offset, error, TARGET_OFFSET_SECONDS, lies, unknown))


def _judged(
    offset: float | None, error: float | None, limit: float, lies: str, unknown: str
) -> tuple[str, float | None, float | None, float, str | None]:
    if offset is None:
        return "unknown", None, error, limit, unknown
    if abs(offset) <= limit:
        return "agrees", offset, error, limit, None
    way = "ahead" if offset > 0 else "behind"
    why = f"{seconds_text(abs(offset))} {way}, {lies}; run a time service on both"
    return "off", offset, error, limit, why
