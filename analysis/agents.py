"""How the agents stand: state, what waits, what was lost, and what to do about it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import polars as pl

# Clocks that are further apart than this make rows hard to compare; people should know.
OFFSET_SECONDS = 1.0


def agent_table(rows: pl.DataFrame, now: datetime) -> pl.DataFrame:
    """What people see of the agents: state, and why it is not `ok`."""
    shown = [_agent_row(row, now) for row in rows.to_dicts()]
    return pl.DataFrame(shown, schema=_SHOWN)


_SHOWN: dict[str, pl.DataType] = {
    **dict.fromkeys(("name", "node", "version", "state", "why"), pl.String()),
    **dict.fromkeys(("last_seen_at", "started_at"), pl.Datetime("us")),
    **dict.fromkeys(("last_seen_seconds", "clock_offset_seconds"), pl.Float64()),
    **dict.fromkeys(("targets", "targets_failing"), pl.Int64()),
    **dict.fromkeys(("waiting_batches", "waiting_rows", "spool_bytes"), pl.Int64()),
    **dict.fromkeys(("waiting_seconds", "memory_bytes", "cpu_ratio"), pl.Float64()),
    **dict.fromkeys(("dropped_rows", "parked_batches"), pl.Int64()),
    "drops": pl.String(),
}


def _agent_row(row: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    at = now.replace(tzinfo=None)
    details = json.loads(row["details"])
    silent_seconds = (at - row["last_seen_at"]).total_seconds()
    # Both stamps are the agent's own, so its clock's error is in neither.
    offset = timedelta(seconds=row["clock_offset_seconds"] or 0.0)
    since = row["waiting_since"]
    waiting = None if since is None else max(((at + offset) - since).total_seconds(), 0.0)
    why = _troubles(row, details, silent_seconds, waiting)
    silent = silent_seconds > 3 * row["heartbeat_seconds"] + 5
    drops = "; ".join(f"{count} {reason}" for reason, count in details.get("drops", {}).items())
    return {
        **{name: row[name] for name in _SHOWN if name in row},
        "state": "silent" if silent else "degraded" if why else "ok",
        "why": "; ".join(why) or None,
        "last_seen_seconds": silent_seconds,
        "targets": details.get("targets"),
        "targets_failing": details.get("targets_failing"),
        "waiting_seconds": waiting,
        "memory_bytes": details.get("memory_bytes"),
        "cpu_ratio": details.get("cpu_ratio"),
        "parked_batches": details.get("parked"),
        "drops": drops or None,
    }


def _troubles(
    row: Mapping[str, Any],
    details: Mapping[str, Any],
    silent_seconds: float,
    waiting_seconds: float | None,
) -> list[str]:
    """Each trouble in words, with what to do."""
    told = []
    if details.get("rival"):
        told.append(
            "two agents report under this name: only the rows of one are taken, those of the other"
            " wait in its spool; give one of them another name (agent.name)"
        )
    if silent_seconds > 3 * row["heartbeat_seconds"] + 5:
        told.append(
            f"no word for {silent_seconds:.0f} s: is the agent running, does it reach this server?"
        )
    offset, error = row["clock_offset_seconds"], row["clock_error_seconds"] or 0.0
    if offset is not None and abs(offset) > OFFSET_SECONDS + error:
        direction = "ahead of" if offset > 0 else "behind"
        told.append(
            f"its clock is {abs(offset):.1f} s {direction} the server's: its rows lie at wrong"
            " times; run a time service on both"
        )
    if waiting_seconds is not None and waiting_seconds > 60:
        told.append(
            f"{row['waiting_rows']} rows wait for up to {waiting_seconds:.0f} s"
            f" ({details.get('problem') or 'catching up'})"
        )
    if row["dropped_rows"]:
        told.append(f"{row['dropped_rows']} rows dropped since it started; see drops")
    return told + [str(text) for text in details.get("problems", [])]
