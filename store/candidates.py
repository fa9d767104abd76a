"""Candidates beside the policy that decides: what became of them, and what they would have done.

Rows are kept by `store.decisions.keep`, together with what they belong to.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import duckdb

PROPOSED, SHADOW, REFUSED = "proposed", "shadow", "refused"
WITHDRAWN, ADOPTED, ENDED = "withdrawn", "adopted", "ended"
CANDIDATE_STATES = (PROPOSED, SHADOW, REFUSED, WITHDRAWN, ADOPTED, ENDED)
"""Asked for; watched; cannot be; taken back; decides; decided, and does not any more."""
OPEN_STATES = (PROPOSED, SHADOW)


@dataclass(frozen=True, slots=True)
class CandidateRow:
    """What became of a candidate: a row of `candidate_change`; times are naive UTC."""

    candidate_id: int
    changed_at: datetime
    state: str
    text: str | None
    changed_by: str


@dataclass(frozen=True, slots=True)
class ShadowStepRow:
    """Table `shadow_step`; JSON is text."""

    step_id: int
    candidate_id: int
    observation_id: int
    stepped_at: datetime
    code: str
    previous_id: int | None
    memory: str | None
    given: str
    result: str
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class ShadowDecisionRow:
    """Table `shadow_decision`; replicas as if every target had been applied, rates as seen."""

    candidate_id: int
    observation_id: int
    decided_at: datetime
    pool: str
    step_id: int | None
    kind: str
    before_replicas: int
    proposed_replicas: int | None
    final_replicas: int
    live_replicas: int
    there_replicas: int | None
    binding: str
    code: str
    reason: str
    requests_per_second: float | None = None
    input_tokens: float | None = None
    output_tokens: float | None = None


def stand(connection: duckdb.DuckDBPyConnection, row: CandidateRow) -> int:
    """Say what became of a candidate, inside a transaction; gives how many rows were added."""
    connection.execute(
        """INSERT INTO candidate_change
        SELECT coalesce(max(change_id), 0) + 1, $candidate_id, $changed_at, $state, $text,
          $changed_by
        FROM candidate_change""",
        {name: getattr(row, name) for name in row.__slots__},
    )
    connection.execute(
        "UPDATE policy_candidate SET state = ? WHERE candidate_id = ?",
        [row.state, row.candidate_id],
    )
    return 1


def delete_old(connection: duckdb.DuckDBPyConnection, before: datetime) -> None:
    """Delete what candidates would have done before a time (naive UTC); the newest step stays."""
    connection.execute("DELETE FROM shadow_decision WHERE decided_at < ?", [before])
    connection.execute(
        """DELETE FROM shadow_step WHERE stepped_at < ?
        AND step_id < (SELECT max(step_id) FROM shadow_step)""",
        [before],
    )
