"""Reports that are made again and again: schedules as they were told, runs, attempts to deliver."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import duckdb

from store.writer import Writer

Place = Literal["file", "store"]
OPEN_STATES = ("waiting", "making", "sending")
"""States that something still follows."""
CLAIMING = ("due", "late")
"""Causes of which there is one run a period."""
_TABLES = ("report_delivery", "report_state", "report_run")


@dataclass(frozen=True, slots=True)
class Told:
    """What somebody told of a schedule.

    Attributes:
        name: of the schedule.
        place: "file" for what servescope.toml says, "store" for what was added at run time.
        kind: set, removed, enabled or disabled.
        by: who.
        definition: with `set`.
    """

    name: str
    place: Place
    kind: str
    by: str
    definition: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """A report of a schedule for a period.

    Attributes:
        schedule: its name.
        period: key of the period, such as "2026-W46".
        cause: due, late (its time had passed), asked or test.
        asked_by: who, or "schedule".
        asked_at: aware UTC.
        due_at: aware UTC; None where only a person asked for it.
        definition: of the schedule, as it was then, and the period.
        channels: that it goes to.
        text: what there is to know of it, such as why it is late.
    """

    schedule: str
    period: str
    cause: str
    asked_by: str
    asked_at: datetime
    due_at: datetime | None
    definition: Mapping[str, Any]
    channels: Sequence[str]
    text: str | None = None


@dataclass(frozen=True, slots=True)
class Attempt:
    """An attempt to deliver a run.

    Attributes:
        run_id: which.
        channel: by name.
        attempt: 1 is the first.
        attempted_at: aware UTC.
        state: acknowledged, partly, failed (there is a next one), refused or given_up.
        text: what the other side said.
        seconds: it took; None when not known.
        next_at: aware UTC; None when there is no next one.
    """

    run_id: str
    channel: str
    attempt: int
    attempted_at: datetime
    state: str
    text: str
    seconds: float | None = None
    next_at: datetime | None = None


def tell(writer: Writer, at: datetime, told: Sequence[Told]) -> Future[None]:
    """Keep what was told, in order, all or nothing."""

    def work(connection: duckdb.DuckDBPyConnection) -> None:
        for one in told:
            definition = None if one.definition is None else _text(one.definition)
            connection.execute(
                "INSERT INTO report_schedule SELECT coalesce(max(version), 0) + 1, ?, ?, ?, ?, ?, ?"
                " FROM report_schedule",
                [one.name, one.place, one.kind, _naive(at), one.by, definition],
            )

    return writer.run(work)


def claim(writer: Writer, run: Run) -> Future[str | None]:
    """Keep a run that waits; gives its id, or None when its period has one already.

    The writer is the only door, so of two that claim one period only one gets it.
    """

    def work(connection: duckdb.DuckDBPyConnection) -> str | None:
        many, claimed = connection.execute(
            "SELECT count(*), count(*) FILTER (cause IN ('due', 'late')) FROM report_run"
            " WHERE schedule = ? AND period = ?",
            [run.schedule, run.period],
        ).fetchall()[0]
        if claimed and run.cause in CLAIMING:
            return None
        run_id = f"{run.schedule}.{run.period}.{many + 1}"
        due = None if run.due_at is None else _naive(run.due_at)
        connection.execute(
            "INSERT INTO report_run VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                *(run_id, run.schedule, run.period, run.cause, run.asked_by),
                *(_naive(run.asked_at), due, _text(run.definition), list(run.channels)),
            ],
        )
        _stand(connection, run_id, run.asked_at, "waiting", run.text, None)
        return run_id

    return writer.run(work)


def stand(
    writer: Writer,
    run_id: str,
    at: datetime,
    state: str,
    text: str | None = None,
    details: Mapping[str, Any] | None = None,
) -> Future[None]:
    """Say how a run stands.

    Args:
        writer: the store's writer.
        run_id: which.
        at: aware UTC.
        state: waiting, making, sending; made (nobody was to get it), sent, failed or skipped.
        text: for people; None leaves what was said before in force.
        details: bytes, charts and what else is known of what was made.
    """
    return writer.run(lambda connection: _stand(connection, run_id, at, state, text, details))


def attempted(writer: Writer, attempt: Attempt) -> Future[None]:
    """Keep an attempt."""

    def work(connection: duckdb.DuckDBPyConnection) -> None:
        following = None if attempt.next_at is None else _naive(attempt.next_at)
        connection.execute(
            "INSERT INTO report_delivery VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            [
                *(attempt.run_id, attempt.channel, attempt.attempt, _naive(attempt.attempted_at)),
                *(attempt.state, attempt.text, attempt.seconds, following),
            ],
        )

    return writer.run(work)


def delete_old(writer: Writer, before: datetime, *, portion: int = 200) -> int:
    """Forget runs that ended, from before a time; gives how many."""

    def work(connection: duckdb.DuckDBPyConnection) -> int:
        found = connection.execute(_OLD, {"before": _naive(before), "portion": portion}).fetchall()
        for table in _TABLES:
            connection.execute(
                f"DELETE FROM {table} WHERE run_id IN (SELECT unnest(?))", [[r[0] for r in found]]
            )
        return len(found)

    total = 0
    while gone := writer.run(work).result():
        total += gone
    return total


# The newest claim of a schedule stays: without it the period would be made again.
_OLD = """
SELECT run_id FROM report_run AS r WHERE asked_at < $before
AND run_id IN (SELECT run_id FROM report_state GROUP BY 1
               HAVING arg_max(state, changed_at) NOT IN ('waiting', 'making', 'sending'))
AND NOT (cause IN ('due', 'late') AND asked_at = (
  SELECT max(n.asked_at) FROM report_run AS n
  WHERE n.schedule = r.schedule AND n.cause IN ('due', 'late')))
LIMIT $portion"""


def _stand(
    connection: duckdb.DuckDBPyConnection,
    run_id: str,
    at: datetime,
    state: str,
    text: str | None,
    details: Mapping[str, Any] | None,
) -> None:
    # Two changes of one moment keep their order.
    connection.execute(
        "INSERT INTO report_state SELECT $id, greatest($at, coalesce("
        "(SELECT max(changed_at) + INTERVAL 1 MICROSECOND FROM report_state WHERE run_id = $id),"
        " $at)), $state, $text, $details",
        {
            "id": run_id, "at": _naive(at), "state": state, "text": text,
            "details": None if details is None else _text(details),
        },
    )  # fmt: skip


def _text(value: Mapping[str, Any]) -> str:
    return json.dumps(dict(value), sort_keys=True, default=str)


def _naive(at: datetime) -> datetime:
    return at.replace(tzinfo=None)
