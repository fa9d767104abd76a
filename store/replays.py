"""Kept comparisons of policies: what was asked, outcomes, courses of replicas, candidates."""

from __future__ import annotations

import json
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import duckdb
import polars as pl

from store.errors import InputError
from store.writer import Writer

STATES = ("queued", "running", "done", "cancelled", "failed", "interrupted")
OPEN_STATES = ("queued", "running")


@dataclass(frozen=True, slots=True)
class ReplayRow:
    """A comparison as it was asked for.

    Attributes:
        replay_id: unique, for good.
        created_at: aware UTC.
        created_by: "cli", "api" or a page.
        trace: what was replayed.
        asked: every parameter.
        goal_ratio: attainment that counts as kept.
        profile: of the replicas.
        validity: one sentence: how wrong the model is.
        is_validated: whether it is near enough to decide by.
        error: median_ratio, p99_ratio and rows of the profile's fit; None: never compared.
        fleet: its pools, and how they are compared; None: not told.
    """

    replay_id: str
    created_at: datetime
    created_by: str
    trace: str
    asked: Mapping[str, Any]
    goal_ratio: float
    profile: Mapping[str, Any]
    validity: str
    is_validated: bool
    error: Mapping[str, float] | None = None
    fleet: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """A policy that somebody wants watched beside the one that decides.

    Attributes:
        pool: of replicas.
        policy: name.
        parameters: in place of its own.
        replay_id: that spoke for it; None without one.
        created_by: who.
    """

    pool: str
    policy: str
    parameters: Mapping[str, Any]
    replay_id: str | None
    created_by: str


def add(writer: Writer, row: ReplayRow, state: str = "queued") -> Future[None]:
    """Keep what was asked for."""

    def work(connection: duckdb.DuckDBPyConnection) -> None:
        error = row.error or {}
        connection.execute(
            "INSERT INTO replay_run VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                *(row.replay_id, _naive(row.created_at), row.created_by, row.trace),
                *(_text(row.asked), row.goal_ratio, _text(row.profile), row.validity),
                *(row.is_validated, error.get("median_ratio"), error.get("p99_ratio")),
                *(error.get("rows"), None if row.fleet is None else _text(row.fleet)),
            ],
        )
        _stand(connection, row.replay_id, row.created_at, state, None, None)

    return writer.run(work)


def stand(
    writer: Writer,
    replay_id: str,
    at: datetime,
    state: str,
    text: str | None = None,
    seconds: float | None = None,
) -> Future[None]:
    """Say how a comparison stands.

    Args:
        writer: the store's writer.
        replay_id: which.
        at: aware UTC.
        state: one of `STATES`.
        text: for people.
        seconds: it took.
    """
    return writer.run(lambda connection: _stand(connection, replay_id, at, state, text, seconds))


def keep(
    writer: Writer, replay_id: str, outcomes: pl.DataFrame, lanes: pl.DataFrame
) -> Future[None]:
    """Keep what came of a comparison.

    Args:
        writer: the store's writer.
        replay_id: which.
        outcomes: one row a replay, columns as in `replay_outcome`.
        lanes: courses of replicas, columns as in `replay_lane`.
    """

    def work(connection: duckdb.DuckDBPyConnection) -> None:
        for table, frame in (("replay_outcome", outcomes), ("replay_lane", lanes)):
            if frame.is_empty():
                continue
            connection.register("incoming_row", frame.to_arrow())
            connection.execute(
                f"INSERT INTO {table} BY NAME SELECT ? AS replay_id, * FROM incoming_row",
                [replay_id],
            )
            connection.unregister("incoming_row")

    return writer.run(work)


def judged(
    writer: Writer, replay_id: str, validity: str, error: Mapping[str, Any], *, is_validated: bool
) -> Future[None]:
    """Say how wrong the model was on the replayed window itself.

    Args:
        writer: the store's writer.
        replay_id: which.
        validity: one sentence.
        error: median_ratio, p99_ratio, rows and what else is known.
        is_validated: whether it is near enough.
    """

    def work(connection: duckdb.DuckDBPyConnection) -> None:
        connection.execute(
            "UPDATE replay_run SET validity = $validity, is_validated = $valid,"
            " fit_error_median_ratio = $median, fit_error_p99_ratio = $p99, fit_error_rows = $rows,"
            " profile = json_merge_patch(profile, $patch) WHERE replay_id = $id",
            {
                "id": replay_id,
                "validity": validity,
                "valid": is_validated,
                "median": error.get("median_ratio"),
                "p99": error.get("p99_ratio"),
                "rows": error.get("rows"),
                "patch": json.dumps({"error": dict(error)}),
            },
        )

    return writer.run(work)


def interrupt_open(writer: Writer, at: datetime) -> Future[int]:
    """What an earlier process left queued or running will never end: say so; gives how many."""

    def work(connection: duckdb.DuckDBPyConnection) -> int:
        found = connection.execute(
            "SELECT replay_id FROM replay_state GROUP BY 1"
            " HAVING arg_max(state, changed_at) IN ('queued', 'running')"
        ).fetchall()
        for (replay_id,) in found:
            _stand(connection, replay_id, at, "interrupted", "the server ended meanwhile", None)
        return len(found)

    return writer.run(work)


def delete_old(
    writer: Writer, before: datetime | None, most: int | None, *, portion: int = 20
) -> int:
    """Delete comparisons that ended, from before a time or beyond a count; gives how many.

    Candidates keep the id of the comparison that spoke for them.

    Args:
        writer: the store's writer.
        before: aware UTC; None keeps all of them.
        most: how many of the newest stay; None keeps all.
        portion: comparisons that one transaction deletes, so that appends get in between.
    """
    bounds = {"before": None if before is None else _naive(before), "most": most}

    def work(connection: duckdb.DuckDBPyConnection) -> int:
        found = connection.execute(_OLD, {**bounds, "portion": portion}).fetchall()
        for (replay_id,) in found:
            for table in ("replay_lane", "replay_outcome", "replay_state", "replay_run"):
                connection.execute(f"DELETE FROM {table} WHERE replay_id = ?", [replay_id])
        return len(found)

    total = 0
    while gone := writer.run(work).result():
        total += gone
    return total


_OLD = """
WITH open AS (
  SELECT replay_id FROM replay_state GROUP BY 1
  HAVING arg_max(state, changed_at) IN ('queued', 'running')),
ranked AS (
  SELECT replay_id, created_at, row_number() OVER (ORDER BY created_at DESC, replay_id) AS place
  FROM replay_run)
SELECT replay_id FROM ranked
WHERE (created_at < $before OR place > $most) AND replay_id NOT IN (SELECT replay_id FROM open)
ORDER BY created_at LIMIT $portion"""


def propose(writer: Writer, at: datetime, candidate: Candidate) -> Future[int]:
    """Record a candidate; gives its number. The future raises InputError for an unknown replay."""

    def work(connection: duckdb.DuckDBPyConnection) -> int:
        if candidate.replay_id is not None:
            known = connection.execute(
                "SELECT count(*) FROM replay_run WHERE replay_id = ?", [candidate.replay_id]
            ).fetchall()[0][0]
            if not known:
                raise InputError(
                    f"there is no replay '{candidate.replay_id}'", hint="GET /api/v1/replays"
                )
        number = connection.execute(
            "SELECT coalesce(max(candidate_id), 0) + 1 FROM policy_candidate"
        ).fetchall()[0][0]
        connection.execute(
            "INSERT INTO policy_candidate VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            [
                *(number, candidate.pool, candidate.policy, _text(candidate.parameters)),
                *(candidate.replay_id, _naive(at), candidate.created_by, "proposed"),
            ],
        )
        return int(number)

    return writer.run(work)


def _stand(
    connection: duckdb.DuckDBPyConnection,
    replay_id: str,
    at: datetime,
    state: str,
    text: str | None,
    seconds: float | None,
) -> None:
    # Two changes of one moment keep their order.
    connection.execute(
        "INSERT INTO replay_state SELECT $id, greatest($at, coalesce("
        "(SELECT max(changed_at) + INTERVAL 1 MICROSECOND FROM replay_state WHERE replay_id = $id),"
        " $at)), $state, $text, $seconds",
        {"id": replay_id, "at": _naive(at), "state": state, "text": text, "seconds": seconds},
    )


def _text(value: Mapping[str, Any]) -> str:
    return json.dumps(dict(value), sort_keys=True, default=str)


def _naive(at: datetime) -> datetime:
    return at.replace(tzinfo=None)
