"""The ledger of the controller: what was seen, decided, done and what came of it.

A step is one transaction, durable before anything is done about it. Rows are only ever added.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

import duckdb

from store import candidates
from store.audit import Change
from store.candidates import CandidateRow, ShadowDecisionRow, ShadowStepRow
from store.errors import StoreError
from store.once import add_new
from store.writer import Writer


@dataclass(frozen=True, slots=True)
class ObservationRow:
    """Table `observation`; times are naive UTC, JSON is text."""

    observation_id: int
    observed_at: datetime
    fleet: str
    policy: str
    parameters: str
    code: str
    previous_id: int | None
    memory: str | None
    content: str
    result: str
    notes: list[str] = field(default_factory=list)
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class DecisionRow:
    """Table `decision`."""

    decision_id: int
    observation_id: int | None
    decided_at: datetime
    pool: str
    policy: str
    mode: str
    kind: str
    before_replicas: int | None
    proposed_replicas: int | None
    final_replicas: int | None
    ready: int | None
    starting: int | None
    draining: int | None
    binding: str
    code: str
    reason: str
    clips: str = "[]"
    numbers: str = "{}"
    platform_version: str = ""
    repeats: int | None = None
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class ActionRow:
    """Table `action`."""

    decision_id: int
    attempt: int
    acted_at: datetime
    pool: str
    actuator: str
    replicas: int
    outcome: str
    text: str
    seconds: float | None = None
    platform_version: str = ""
    details: str | None = None


@dataclass(frozen=True, slots=True)
class OutcomeRow:
    """Table `outcome`."""

    decision_id: int
    measured_at: datetime
    quantity: str
    predicted: float | None
    observed: float | None


@dataclass(frozen=True, slots=True)
class VerdictRow:
    """Table `verdict`."""

    decision_id: int
    given_at: datetime
    verdict: str
    given_by: str
    comment: str | None = None


@dataclass(frozen=True, slots=True)
class ChangeRow:
    """Table `control_change`."""

    version: int
    changed_at: datetime
    pool: str
    kind: str
    value: str | None
    until_at: datetime | None
    replicas: int | None
    changed_by: str
    comment: str | None = None


Row = (
    ObservationRow
    | DecisionRow
    | ActionRow
    | OutcomeRow
    | VerdictRow
    | ChangeRow
    | CandidateRow
    | ShadowStepRow
    | ShadowDecisionRow
)
_TABLES: Mapping[type, tuple[str, ...]] = {
    ObservationRow: ("observation", "observation_id"),
    DecisionRow: ("decision", "decision_id"),
    ActionRow: ("action", "decision_id", "attempt"),
    OutcomeRow: ("outcome", "decision_id", "quantity"),
    VerdictRow: ("verdict", "decision_id"),
    ChangeRow: ("control_change", "version"),
    ShadowStepRow: ("shadow_step", "step_id"),
    ShadowDecisionRow: ("shadow_decision", "candidate_id", "observation_id", "pool"),
}
"""The table of a row, and what tells its rows apart."""


def keep(
    writer: Writer, rows: Sequence[Row], audits: Sequence[tuple[datetime, Change]] = ()
) -> Future[int]:
    """Keep rows of the ledger together; gives how many were added.

    Args:
        writer: the store's writer.
        rows: of any of the tables. An outcome or a verdict that is there already changes nothing;
            any other row that is there already refuses them all.
        audits: what people changed (aware UTC), in the same transaction.
    """

    def work(connection: duckdb.DuckDBPyConnection) -> int:
        added = sum(_insert(connection, row) for row in rows)
        for at, change in audits:
            connection.execute(
                "INSERT INTO audit VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    *(at.replace(tzinfo=None), change.actor, change.action, change.subject),
                    *(_text(change.before), _text(change.after), change.origin, change.comment),
                ],
            )
        return added

    return writer.run(work, rows=len(rows))


def delete_old(writer: Writer, before: datetime) -> Future[int]:
    """Delete steps older than `before` (naive UTC), also of candidates; changes of modes stay.

    The newest step and decision stay whatever their age: numbers are counted on from them. The
    first kept step of a fleet may hang on one that goes; it cannot be made again.
    """

    def work(connection: duckdb.DuckDBPyConnection) -> int:
        (gone,) = connection.execute(
            """DELETE FROM observation WHERE observed_at < ?
            AND observation_id < (SELECT max(observation_id) FROM observation)""",
            [before],
        ).fetchall()[0]
        for table in ("action", "outcome", "verdict"):
            connection.execute(
                f"""DELETE FROM {table} WHERE decision_id IN (
                SELECT decision_id FROM decision WHERE decided_at < ?)""",
                [before],
            )
        connection.execute(
            """DELETE FROM decision WHERE decided_at < ?
            AND decision_id < (SELECT max(decision_id) FROM decision)""",
            [before],
        )
        candidates.delete_old(connection, before)
        return int(gone)

    return writer.run(work)


def _insert(connection: duckdb.DuckDBPyConnection, row: Row) -> int:
    if isinstance(row, CandidateRow):
        return candidates.stand(connection, row)
    values = asdict(row)
    table, *keys = _TABLES[type(row)]
    query = "SELECT " + ", ".join(f"${name} AS {name}" for name in values)
    added = add_new(connection, table, keys, query, values)
    # A number that was given twice must not pass for a step that was kept.
    if not added and not isinstance(row, OutcomeRow | VerdictRow):
        given = ", ".join(str(values[key]) for key in keys)
        raise StoreError(f"{table} {given} is there already", hint="nothing of this was kept")
    return added


def _text(value: Mapping[str, Any] | None) -> str | None:
    return None if value is None else json.dumps(dict(value), default=str)
