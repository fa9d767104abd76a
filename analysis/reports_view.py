"""What do people who never open the dashboard get, and what became of the last ones?"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import polars as pl

from analysis.measure import Empty, Measure, View
from analysis.timetable import timetable
from store.errors import InputError
from store.queries import reports as queries
from store.queries.scope import Scope
from store.reader import Reader

MOST_RUNS = 200
_TIME = pl.Datetime("us")
SCHEDULE_SCHEMA: Mapping[str, pl.DataType | type[pl.DataType]] = {
    "schedule": pl.String, "last_state": pl.String, "last_result": pl.String,
    "last_period": pl.String, "last_at": _TIME, "last_run": pl.String, "next_at": _TIME,
    "zone": pl.String, "when": pl.String, "template": pl.String, "formats": pl.List(pl.String),
    "channels": pl.List(pl.String), "recipients": pl.List(pl.String), "scope": pl.String,
    "place": pl.String, "is_on": pl.Boolean, "note": pl.String, "changed_at": _TIME,
    "changed_by": pl.String,
}  # fmt: skip
_NONE = (
    "No report is scheduled yet. Add one here, by `servescope report schedule add`, or as"
    " [[reports.schedule]] in servescope.toml."
)
_TWICE = "one of the same name was added, too; what servescope.toml says wins"


def reports(reader: Reader, scope: Scope, *, now: datetime) -> View:
    """Schedules with their last result and their next time, and what was made lately.

    Measures: schedules, resting (disabled), failed (whose last report failed).
    Frames: `schedules` (by name; times are UTC, `zone` is the schedule's own), `runs` (newest
    first), `deliveries` (every attempt of those).
    """
    runs = queries.runs(reader, limit=MOST_RUNS)
    newest = {row["schedule"]: row for row in reversed(list(runs.iter_rows(named=True)))
              if row["cause"] != "test"}  # fmt: skip
    told = queries.schedules(reader).iter_rows(named=True)
    rows = [_row(row, newest.get(row["name"]), now) for row in told]
    schedules = pl.DataFrame(rows, schema=dict(SCHEDULE_SCHEMA), orient="row")
    failed = schedules.filter(pl.col("last_state") == "failed").height
    measures = {
        "schedules": Measure(float(schedules.height), ""),
        "resting": Measure(float(schedules.filter(~pl.col("is_on")).height), ""),
        "failed": Measure(float(failed), ""),
    }
    deliveries = queries.deliveries(reader)
    frames = {
        "schedules": schedules,
        "runs": _runs(runs),
        "deliveries": deliveries.filter(pl.col("run_id").is_in(runs["run_id"].to_list())),
    }
    empty = Empty("nothing_connected", _NONE) if schedules.is_empty() and runs.is_empty() else None
    sql = {"runs": queries.RUNS, "deliveries": queries.DELIVERIES, "schedules": queries.SCHEDULES}
    totals = {"runs": queries.runs_count(reader, runs.height, MOST_RUNS)}
    return View("reports", scope, measures, frames, _said(schedules), empty, sql, totals=totals)


def _row(row: Mapping[str, Any], last: Mapping[str, Any] | None, now: datetime) -> dict[str, Any]:
    told = json.loads(row["definition"])
    names = ("zone", "when", "template", "formats", "channels", "recipients")
    notes = [row["why_off"], _TWICE if row["is_twice"] else ""]
    return {
        **{name: told[name] for name in names},
        "schedule": row["name"],
        "scope": ", ".join(f"{key} {value}" for key, value in told["scope"].items()),
        "place": row["place"],
        "is_on": not row["why_off"],
        "note": "; ".join(filter(None, notes)) or None,
        "next_at": None if row["why_off"] else _next(told, now),
        "changed_at": row["changed_at"],
        "changed_by": row["changed_by"],
        "last_state": last["state"] if last else None,
        "last_result": (last["text"] or last["state"]) if last else None,
        "last_period": last["period"] if last else None,
        "last_at": last["changed_at"] if last else None,
        "last_run": last["run_id"] if last else None,
    }


def _next(told: Mapping[str, Any], now: datetime) -> datetime | None:
    try:
        return timetable(told["when"], told["zone"]).next_after(now).replace(tzinfo=None)
    except InputError:
        return None


def _runs(runs: pl.DataFrame) -> pl.DataFrame:
    """Runs with what is kept of their reports as columns: charts, bytes, files."""
    told = [json.loads(text) if text else {} for text in runs["details"]]
    files = [[file["name"] for file in one.get("files", ())] for one in told]
    more = (
        pl.Series("charts", [one.get("charts") for one in told], pl.Int64),
        pl.Series("bytes", [one.get("bytes") for one in told], pl.Int64),
        pl.Series("files", files, pl.List(pl.String)),
    )
    return runs.with_columns(*more).drop("details", "definition")


def _said(schedules: pl.DataFrame) -> tuple[str, ...]:
    failed = schedules.filter(pl.col("last_state") == "failed")
    return tuple(
        f"{row['schedule']} for {row['last_period']} {row['last_result']}"
        for row in failed.iter_rows(named=True)
    )
