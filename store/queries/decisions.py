"""The ledger of the controller, read: states, decisions with what was done, chains of steps."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import polars as pl

from store.queries.first_rows import total
from store.reader import Reader

MOST_ROWS = 10_000

_CHANGES = """
SELECT version, changed_at, pool, kind, value, until_at, replicas, changed_by, comment
FROM control_change ORDER BY version
"""
_NUMBERS = """
SELECT coalesce((SELECT max(observation_id) FROM observation), 0) AS observation_id,
  coalesce((SELECT max(decision_id) FROM decision), 0) AS decision_id,
  coalesce((SELECT max(version) FROM control_change), 0) AS version
"""
_WITH_ACTION = """
SELECT d.*, o.fleet, a.outcome AS action_outcome, a.text AS action_text, a.acted_at, a.attempts,
  a.actuator, v.verdict, v.given_by AS verdict_by, v.comment AS verdict_comment
FROM decision AS d LEFT JOIN observation AS o USING (observation_id)
LEFT JOIN (
  SELECT decision_id, arg_max(outcome, attempt) AS outcome, arg_max(text, attempt) AS text,
    max(acted_at) AS acted_at, count(*) AS attempts, any_value(actuator) AS actuator
  FROM action GROUP BY 1) AS a ON a.decision_id = coalesce(d.repeats, d.decision_id)
  AND d.kind <> 'hold'
LEFT JOIN verdict AS v ON v.decision_id = coalesce(d.repeats, d.decision_id)
"""
# A reason with other numbers is the same reason.
_WORDS = "regexp_replace(reason, '[0-9.,:]+', '', 'g')"
_LISTED = f"""
WITH chosen AS (
  SELECT * FROM decision
  WHERE (len($pools) = 0 OR list_contains($pools, pool))
    AND ($start IS NULL OR decided_at >= $start) AND ($end IS NULL OR decided_at < $end)
  ORDER BY decision_id DESC LIMIT {MOST_ROWS}),
marked AS (
  SELECT *, coalesce(
    kind <> lag(kind) OVER w OR mode <> lag(mode) OVER w OR binding <> lag(binding) OVER w
    OR final_replicas IS DISTINCT FROM lag(final_replicas) OVER w OR policy <> lag(policy) OVER w
    OR code <> lag(code) OVER w OR {_WORDS} <> lag({_WORDS}) OVER w
    OR (kind <> 'hold' AND mode IN ('active', 'approve') AND repeats IS NULL), TRUE) AS is_new
  FROM chosen WINDOW w AS (PARTITION BY pool ORDER BY decision_id)),
runs AS (
  SELECT *, sum(is_new::INTEGER) OVER (PARTITION BY pool ORDER BY decision_id) AS run FROM marked),
folded AS (
  SELECT pool, run, min(decision_id) AS decision_id, max(decision_id) AS last_id,
    count(*) AS ticks, max(decided_at) AS until_at
  FROM runs GROUP BY pool, run)
SELECT d.decision_id, d.decided_at, d.pool, d.mode, d.kind, d.before_replicas,
  d.proposed_replicas, d.final_replicas, d.ready, d.starting, d.draining, d.binding, d.code,
  d.reason, d.policy, d.repeats, d.expires_at, d.action_outcome, d.action_text, d.acted_at,
  d.attempts, d.verdict, d.verdict_by, d.verdict_comment, f.ticks, f.until_at, f.last_id
FROM folded AS f JOIN ({_WITH_ACTION}) AS d USING (decision_id)
ORDER BY d.decision_id DESC LIMIT $most
"""
_LANES = """
SELECT time_bucket(to_seconds($bin_seconds), decided_at) AS at, pool,
  arg_max(proposed_replicas, decision_id) AS desired,
  arg_max(final_replicas, decision_id) AS target,
  arg_max(before_replicas, decision_id) AS wanted,
  arg_max(ready, decision_id) AS running, arg_max(starting, decision_id) AS starting,
  arg_max(draining, decision_id) AS draining, arg_max(mode, decision_id) AS mode
FROM decision
WHERE decided_at >= $start AND decided_at < $end
  AND (len($pools) = 0 OR list_contains($pools, pool))
GROUP BY 1, 2 ORDER BY 2, 1
"""
_CHAIN = """
WITH RECURSIVE chain AS (
  SELECT * FROM observation WHERE observation_id = $observation_id
  UNION ALL
  SELECT o.* FROM observation AS o JOIN chain AS c ON o.observation_id = c.previous_id
  WHERE c.memory IS NULL)
SELECT observation_id, observed_at, fleet, policy, parameters::VARCHAR AS parameters, code,
  previous_id, memory::VARCHAR AS memory, content::VARCHAR AS content, result::VARCHAR AS result,
  notes
FROM chain ORDER BY observation_id
"""
_NEWEST_STEPS = """
SELECT observation_id, fleet FROM observation
WHERE len($fleets) = 0 OR list_contains($fleets, fleet)
ORDER BY observation_id DESC LIMIT $most
"""
_ACTIONS = """
SELECT decision_id, attempt, acted_at, pool, actuator, replicas, outcome, text, seconds,
  platform_version, details::VARCHAR AS details
FROM action WHERE decision_id = $decision_id ORDER BY attempt
"""
_LAST_DONE = """
SELECT pool, arg_max(replicas, acted_at) AS replicas, max(acted_at) AS acted_at,
  max(acted_at) FILTER (outcome = 'applied') AS changed_at,
  arg_max(decision_id, acted_at) AS decision_id
FROM action WHERE outcome IN ('applied', 'unchanged') GROUP BY pool
"""
_UNFINISHED = """
SELECT d.decision_id, d.pool, d.before_replicas, d.final_replicas, d.decided_at,
  d.platform_version, coalesce(a.attempts, 0) AS attempts, a.outcome
FROM (
  SELECT * FROM decision
  WHERE kind <> 'hold' AND repeats IS NULL AND (mode = 'active' OR policy = 'rollback'
    OR decision_id IN (SELECT decision_id FROM verdict WHERE verdict = 'approved'))
  QUALIFY row_number() OVER (PARTITION BY pool ORDER BY decision_id DESC) = 1) AS d
LEFT JOIN (
  SELECT decision_id, count(*) AS attempts, arg_max(outcome, attempt) AS outcome
  FROM action GROUP BY 1) AS a USING (decision_id)
WHERE a.outcome IS NULL OR a.outcome = 'failed'
ORDER BY d.decision_id
"""
_PENDING = f"""
SELECT * FROM ({_WITH_ACTION})
WHERE mode = 'approve' AND kind <> 'hold' AND repeats IS NULL AND verdict IS NULL
  AND expires_at > $at
QUALIFY row_number() OVER (PARTITION BY pool ORDER BY decision_id DESC) = 1
ORDER BY decision_id
"""
_UNANSWERED = """
SELECT decision_id, pool, expires_at FROM decision
WHERE mode = 'approve' AND kind <> 'hold' AND repeats IS NULL
  AND decision_id NOT IN (SELECT decision_id FROM verdict)
ORDER BY decision_id LIMIT 10000
"""
_DUE = """
SELECT d.decision_id, d.pool, d.decided_at, d.mode, d.before_replicas, d.final_replicas,
  d.numbers::VARCHAR AS numbers
FROM decision AS d LEFT JOIN outcome AS o USING (decision_id)
WHERE d.kind <> 'hold' AND d.repeats IS NULL AND o.decision_id IS NULL
  AND d.decided_at >= $start AND d.decided_at < $end
ORDER BY d.decision_id LIMIT 200
"""
_OUTCOMES = """
SELECT decision_id, measured_at, quantity, predicted, observed FROM outcome
WHERE list_contains($decisions, decision_id) ORDER BY decision_id, quantity
"""
_HOURS = """
SELECT pool, count(*) AS decisions, min(decided_at) AS first_at, max(decided_at) AS last_at
FROM decision WHERE mode = 'dry-run' AND decided_at >= $start GROUP BY pool
"""
_REPLICA_SECONDS = """
SELECT avg(coalesce(ready, 0) + coalesce(starting, 0) + coalesce(draining, 0)) AS replicas
FROM decision WHERE pool = $pool AND decided_at >= $start AND decided_at < $end
"""
_NEWEST_OF_POOLS = """
SELECT * FROM decision QUALIFY row_number() OVER (PARTITION BY pool ORDER BY decision_id DESC) = 1
ORDER BY pool
"""
_TREATED = """
WITH newest AS (
  SELECT pool, mode, decided_at, policy, before_replicas, final_replicas, ready, starting, draining
  FROM decision
  QUALIFY row_number() OVER (PARTITION BY pool ORDER BY decision_id DESC) = 1),
told AS (
  SELECT pool, max(version) AS version,
    arg_max(value, version) FILTER (kind = 'mode') AS mode,
    arg_max(changed_by, version) FILTER (kind = 'mode') AS mode_by,
    max(changed_at) FILTER (kind = 'mode') AS mode_at,
    arg_max(comment, version) FILTER (kind = 'mode') AS mode_comment,
    coalesce(max(version) FILTER (kind = 'freeze'), 0)
      > coalesce(max(version) FILTER (kind = 'resume'), 0) AS is_held,
    arg_max_null(until_at, version) FILTER (kind = 'freeze') AS until_at,
    arg_max(changed_by, version) FILTER (kind = 'freeze') AS frozen_by,
    max(changed_at) FILTER (kind = 'freeze') AS frozen_at,
    arg_max_null(comment, version) FILTER (kind = 'freeze') AS frozen_comment,
    coalesce(max(version) FILTER (kind = 'foreign'), 0)
      > coalesce(max(version) FILTER (kind IN ('resume', 'mode')), 0) AS is_foreign,
    arg_max(replicas, version) FILTER (kind = 'foreign') AS foreign_replicas
  FROM control_change GROUP BY pool)
SELECT coalesce(n.pool, t.pool) AS pool, coalesce(t.mode, n.mode) AS mode,
  coalesce(t.mode_by, 'default') AS mode_by, t.mode_at, t.mode_comment,
  coalesce(t.is_held AND (t.until_at IS NULL OR t.until_at > $at), FALSE) AS is_frozen,
  t.until_at AS frozen_until, t.frozen_by, t.frozen_at, t.frozen_comment,
  CASE WHEN t.is_foreign THEN t.foreign_replicas END AS foreign_replicas,
  coalesce(t.version, 0) AS version, n.policy, n.decided_at, n.before_replicas AS wanted,
  n.final_replicas AS desired, n.ready, n.starting, n.draining
FROM newest AS n FULL JOIN told AS t USING (pool) ORDER BY 1
"""
_UNSETTLED = """
WITH newest AS (
  SELECT decision_id, arg_max(outcome, attempt) AS outcome, arg_max(text, attempt) AS text,
    min(acted_at) AS since, max(acted_at) AS last_at, count(*) AS attempts,
    any_value(pool) AS pool, any_value(replicas) AS replicas
  FROM action GROUP BY 1)
SELECT a.pool, a.decision_id, a.replicas AS desired, d.before_replicas AS actual, a.outcome,
  a.text AS reason, a.since, a.last_at, a.attempts
FROM newest AS a JOIN (
  SELECT * FROM decision
  QUALIFY row_number() OVER (PARTITION BY pool ORDER BY decision_id DESC) = 1) AS d USING (pool)
WHERE a.outcome IN ('failed', 'refused', 'conflict') AND d.before_replicas <> a.replicas
  AND d.final_replicas = a.replicas
  AND d.mode IN ('active', 'approve')
QUALIFY row_number() OVER (PARTITION BY a.pool ORDER BY a.decision_id DESC) = 1
ORDER BY a.pool
"""
_COUNTED = """
SELECT count(*) AS decisions, count(*) FILTER (kind <> 'hold' AND repeats IS NULL) AS changes,
  count(*) FILTER (kind = 'hold' AND binding <> '') AS blocked,
  count(DISTINCT pool) AS pools, max(decided_at) AS last_at
FROM decision WHERE decided_at >= $start AND decided_at < $end
"""
_RECORD = """
SELECT content::VARCHAR AS content, result::VARCHAR AS result, notes, seconds
FROM observation WHERE observation_id = $observation_id
"""
_OUTCOMES_BETWEEN = """
SELECT o.decision_id, d.pool, d.decided_at, d.mode, o.quantity, o.predicted, o.observed
FROM outcome AS o JOIN decision AS d USING (decision_id)
WHERE d.decided_at >= $start AND d.decided_at < $end
  AND (len($pools) = 0 OR list_contains($pools, d.pool))
ORDER BY o.decision_id DESC, o.quantity LIMIT $most
"""
_AUDIT = """
SELECT happened_at, actor, action, subject, before::VARCHAR AS before, after::VARCHAR AS after,
  origin, comment
FROM audit WHERE action LIKE 'controller.%' ORDER BY happened_at DESC LIMIT $most
"""


def changes(reader: Reader) -> pl.DataFrame:
    """All rows of `control_change`, oldest first."""
    return reader.frame(_CHANGES)


def numbers(reader: Reader) -> tuple[int, int, int]:
    """The largest observation_id, decision_id and version there are; 0 without any."""
    observation, decision, version = reader.frame(_NUMBERS).row(0)
    return int(observation), int(decision), int(version)


def listed(
    reader: Reader,
    pools: Sequence[str] = (),
    start: datetime | None = None,
    end: datetime | None = None,
    most: int = 200,
) -> pl.DataFrame:
    """Decisions, the newest first; those that say the same one after the other as one row.

    Columns: those of `decision` without JSON, action_outcome, action_text, acted_at, attempts,
    verdict, verdict_by, verdict_comment, ticks (how many were folded), until_at, last_id.
    """
    return reader.frame(_LISTED, pools=list(pools), start=start, end=end, most=most)


def listed_count(
    reader: Reader, pools: Sequence[str], start: datetime, end: datetime, held: int, most: int
) -> int:
    """How many rows `listed` would have without its limit, of the newest 10,000 steps."""
    return total(reader, _LISTED, held, most, pools=list(pools), start=start, end=end)


def lanes(
    reader: Reader, pools: Sequence[str], start: datetime, end: datetime, bin_seconds: float
) -> pl.DataFrame:
    """at, pool, desired, target, wanted, running, starting, draining, mode; by pool and time."""
    return reader.frame(_LANES, pools=list(pools), start=start, end=end, bin_seconds=bin_seconds)


def decision(reader: Reader, decision_id: int) -> dict[str, Any] | None:
    """One decision with what was done about it; None when there is none."""
    rows = reader.frame(
        f"""SELECT * REPLACE (clips::VARCHAR AS clips, numbers::VARCHAR AS numbers)
        FROM ({_WITH_ACTION}) WHERE decision_id = $decision_id""",
        decision_id=decision_id,
    ).to_dicts()
    return rows[0] if rows else None


def actions(reader: Reader, decision_id: int) -> list[dict[str, Any]]:
    """Every attempt on a decision."""
    return reader.frame(_ACTIONS, decision_id=decision_id).to_dicts()


def last_done(reader: Reader) -> pl.DataFrame:
    """pool, replicas, acted_at, changed_at, decision_id of the newest action that came through."""
    return reader.frame(_LAST_DONE)


def unfinished(reader: Reader) -> pl.DataFrame:
    """The newest decision of each pool that should have been done and is not known to be."""
    return reader.frame(_UNFINISHED)


def pending(reader: Reader, at: datetime) -> pl.DataFrame:
    """The newest decision of each pool that waits for a person at a time (naive UTC)."""
    return reader.frame(_PENDING, at=at)


def unanswered(reader: Reader) -> list[dict[str, Any]]:
    """decision_id, pool, expires_at of everything that a person was asked and nobody closed."""
    return reader.frame(_UNANSWERED).to_dicts()


def due(reader: Reader, start: datetime, end: datetime) -> pl.DataFrame:
    """Changes decided in a range whose outcome is not known yet."""
    return reader.frame(_DUE, start=start, end=end)


def outcomes(reader: Reader, decisions: Sequence[int]) -> pl.DataFrame:
    """decision_id, measured_at, quantity, predicted, observed."""
    return reader.frame(_OUTCOMES, decisions=list(decisions))


def rehearsed(reader: Reader, since: datetime) -> pl.DataFrame:
    """pool, decisions, first_at, last_at of decisions in dry-run since a time (naive UTC)."""
    return reader.frame(_HOURS, start=since)


def mean_replicas(reader: Reader, pool: str, start: datetime, end: datetime) -> float | None:
    """Replicas of a pool that cost something, on average over its decisions in a range."""
    found = reader.scalar(_REPLICA_SECONDS, pool=pool, start=start, end=end)
    return None if found is None else float(found)


def chain(reader: Reader, observation_id: int) -> list[dict[str, Any]]:
    """A step and those before it, back to the one whose memory was kept; oldest first."""
    return reader.frame(_CHAIN, observation_id=observation_id).to_dicts()


def newest_steps(reader: Reader, most: int, fleets: Sequence[str] = ()) -> list[tuple[int, str]]:
    """(observation_id, fleet), the newest first."""
    frame = reader.frame(_NEWEST_STEPS, most=most, fleets=list(fleets))
    return [(int(number), str(fleet)) for number, fleet in frame.iter_rows()]


def newest_of_pools(reader: Reader) -> pl.DataFrame:
    """The newest decision of each pool."""
    return reader.frame(_NEWEST_OF_POOLS)


def treated(reader: Reader, at: datetime) -> pl.DataFrame:
    """How each pool is treated at a time (naive UTC), as the ledger says, and how it stood last.

    Columns: pool, mode, mode_by, mode_at, mode_comment, is_frozen, frozen_until, frozen_by,
    frozen_at, frozen_comment, foreign_replicas, version, policy, decided_at, wanted, desired,
    ready, starting, draining.
    """
    return reader.frame(_TREATED, at=at)


def unsettled(reader: Reader) -> pl.DataFrame:
    """What was asked for and is not so.

    Columns: pool, decision_id, desired, actual, outcome, reason, since, last_at, attempts.
    """
    return reader.frame(_UNSETTLED)


def counted(reader: Reader, start: datetime, end: datetime) -> dict[str, Any]:
    """decisions, changes, blocked (holds by a guard), pools, last_at of a range."""
    return reader.frame(_COUNTED, start=start, end=end).to_dicts()[0]


def record(reader: Reader, observation_id: int) -> dict[str, Any] | None:
    """content, result (JSON texts), notes, seconds of a step; None when it was deleted."""
    rows = reader.frame(_RECORD, observation_id=observation_id).to_dicts()
    return rows[0] if rows else None


def decided_by(reader: Reader, observation_id: int) -> tuple[str, str] | None:
    """Policy and parameters (JSON text) of a step; None when it was deleted."""
    rows = reader.frame(
        """SELECT policy, parameters::VARCHAR AS parameters FROM observation
        WHERE observation_id = $observation_id""",
        observation_id=observation_id,
    ).rows()
    return (str(rows[0][0]), str(rows[0][1])) if rows else None


def outcomes_between(
    reader: Reader, pools: Sequence[str], start: datetime, end: datetime, most: int = 2_000
) -> tuple[pl.DataFrame, int]:
    """decision_id, pool, decided_at, mode, quantity, predicted, observed; and how many there are.

    The newest; `pools` empty is all.
    """
    asked = {"pools": list(pools), "start": start, "end": end}
    found = reader.frame(_OUTCOMES_BETWEEN, **asked, most=most)
    return found, total(reader, _OUTCOMES_BETWEEN, found.height, most, **asked)


def audited(reader: Reader, most: int = 2_000) -> tuple[pl.DataFrame, int]:
    """What people told the controller, the newest first; and how much there is in all."""
    found = reader.frame(_AUDIT, most=most)
    return found, total(reader, _AUDIT, found.height, most)
