"""Candidates, read: how each stands, what they would have done, chains of their steps."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import polars as pl

from store.reader import Reader

MOST_POINTS = 300
"""Of each pool, in a picture of a course."""

_LISTED = """
WITH told AS (
  SELECT candidate_id, arg_max_null(text, change_id) AS text,
    arg_max(changed_at, change_id) AS changed_at, arg_max(changed_by, change_id) AS changed_by,
    min(changed_at) FILTER (state = 'shadow') AS watched_since
  FROM candidate_change GROUP BY 1),
done AS (
  SELECT candidate_id, count(*) AS rows, count(DISTINCT step_id) AS steps,
    count(DISTINCT step_id) FILTER (code = 'policy_failed') AS failures,
    arg_max(reason, observation_id) FILTER (code = 'policy_failed') AS last_failure,
    max(decided_at) AS last_at,
    avg((final_replicas <> live_replicas)::INTEGER) AS differing_ratio
  FROM shadow_decision
  WHERE $candidate IS NULL OR candidate_id = $candidate GROUP BY 1)
SELECT c.candidate_id, c.pool, c.policy, c.parameters::VARCHAR AS parameters, c.replay_id,
  c.created_at, c.created_by, c.state, t.text, t.changed_at, t.changed_by, t.watched_since,
  coalesce(d.steps, 0) AS steps, coalesce(d.failures, 0) AS failures, d.last_failure, d.last_at,
  d.differing_ratio, r.validity, r.is_validated
FROM policy_candidate AS c LEFT JOIN told AS t USING (candidate_id)
LEFT JOIN done AS d USING (candidate_id) LEFT JOIN replay_run AS r USING (replay_id)
WHERE $candidate IS NULL OR c.candidate_id = $candidate
ORDER BY c.state NOT IN ('proposed', 'shadow', 'adopted'), c.candidate_id DESC LIMIT $most
"""
_OPEN = """
SELECT candidate_id, pool, policy, parameters::VARCHAR AS parameters, replay_id, state
FROM policy_candidate WHERE state IN ('proposed', 'shadow')
ORDER BY state = 'proposed', candidate_id LIMIT $most
"""
_STATES = "SELECT candidate_id, state FROM policy_candidate WHERE list_contains($ids, candidate_id)"
_STEP = """
SELECT s.step_id, s.candidate_id, s.observation_id, c.policy,
  c.parameters::VARCHAR AS parameters, s.code, s.previous_id, s.memory::VARCHAR AS memory,
  s.given::VARCHAR AS given, s.result::VARCHAR AS result, o.content::VARCHAR AS content, o.fleet
"""
_CHAIN = f"""
WITH RECURSIVE chain AS (
  SELECT * FROM shadow_step WHERE step_id = $step_id
  UNION ALL
  SELECT s.* FROM shadow_step AS s JOIN chain AS c ON s.step_id = c.previous_id
  WHERE c.memory IS NULL)
{_STEP}
FROM chain AS s JOIN policy_candidate AS c USING (candidate_id)
LEFT JOIN observation AS o USING (observation_id) ORDER BY s.step_id
"""
_NEWEST_STEPS = """
SELECT step_id, candidate_id FROM shadow_step
WHERE $candidate IS NULL OR candidate_id = $candidate ORDER BY step_id DESC LIMIT $most
"""
_LAST = """
SELECT pool, final_replicas, live_replicas, decided_at FROM shadow_decision
WHERE candidate_id = $candidate
QUALIFY row_number() OVER (PARTITION BY pool ORDER BY observation_id DESC) = 1
"""
_COURSE = """
WITH chosen AS (
  SELECT * FROM shadow_decision
  WHERE candidate_id = $candidate AND ($start IS NULL OR decided_at >= $start)
    AND ($end IS NULL OR decided_at < $end)
  ORDER BY decided_at DESC, pool LIMIT $most)
SELECT decided_at AS at, pool, step_id, kind, proposed_replicas, final_replicas AS shadow_replicas,
  live_replicas, there_replicas, binding, code, reason, requests_per_second, input_tokens,
  output_tokens, observation_id
FROM chosen ORDER BY pool, decided_at
"""
_WATCHED = """
SELECT count(DISTINCT step_id) FILTER (code <> 'policy_failed') AS steps,
  min(decided_at) AS first_at, max(decided_at) AS last_at
FROM shadow_decision WHERE candidate_id = $candidate
"""


def listed(reader: Reader, candidate_id: int | None = None, most: int = 200) -> pl.DataFrame:
    """Candidates: those that are open or decide first, then the newest first.

    Columns: candidate_id, pool, policy, parameters (JSON text), replay_id, created_at,
    created_by, state, text (why it is in that state), changed_at, changed_by, watched_since,
    steps, failures (steps without an answer), last_failure, last_at, differing_ratio (share of
    the steps at which it would have another number than the policy that decides), validity and
    is_validated of its replay.
    """
    return reader.frame(_LISTED, candidate=candidate_id, most=most)


def open_candidates(reader: Reader, most: int = 200) -> list[dict[str, Any]]:
    """Those that are watched, then those that wait for it: the oldest first."""
    return reader.frame(_OPEN, most=most).to_dicts()


def states(reader: Reader, candidate_ids: Sequence[int]) -> dict[int, str]:
    """How some candidates stand, by number."""
    frame = reader.frame(_STATES, ids=list(candidate_ids))
    return {int(number): str(state) for number, state in frame.iter_rows()}


def chain(reader: Reader, step_id: int) -> list[dict[str, Any]]:
    """A step and those before it, back to the one whose memory was kept; oldest first.

    `content` is what the observation of each step was; None where that was deleted.
    """
    return reader.frame(_CHAIN, step_id=step_id).to_dicts()


def newest_steps(
    reader: Reader, most: int, candidate_id: int | None = None
) -> list[tuple[int, int]]:
    """(step_id, candidate_id), the newest first."""
    frame = reader.frame(_NEWEST_STEPS, most=most, candidate=candidate_id)
    return [(int(step), int(candidate)) for step, candidate in frame.iter_rows()]


def last_step_id(reader: Reader) -> int:
    """The largest number of a step; 0 without any."""
    return int(reader.scalar("SELECT coalesce(max(step_id), 0) FROM shadow_step"))


def last_replicas(reader: Reader, candidate_id: int) -> list[dict[str, Any]]:
    """pool, final_replicas, live_replicas, decided_at of the newest row of each pool."""
    return reader.frame(_LAST, candidate=candidate_id).to_dicts()


def course(
    reader: Reader,
    candidate_id: int,
    start: datetime | None = None,
    end: datetime | None = None,
    most: int = 100_000,
) -> pl.DataFrame:
    """What both would have had, by pool and time; times naive UTC, the newest rows at most.

    Columns: at, pool, step_id, kind, proposed_replicas, shadow_replicas, live_replicas,
    there_replicas, binding, code, reason, requests_per_second, input_tokens, output_tokens,
    observation_id.
    """
    return reader.frame(_COURSE, candidate=candidate_id, start=start, end=end, most=most)


def thinned(rows: pl.DataFrame) -> pl.DataFrame:
    """A course for a picture: the last row of each of at most `MOST_POINTS` parts of its time.

    Args:
        rows: of `course`.

    Returns:
        pool, at, shadow_replicas, live_replicas, there_replicas, requests_per_second; by pool and
        time.
    """
    names = ("shadow_replicas", "live_replicas", "there_replicas", "requests_per_second")
    since = (pl.col("at") - pl.col("at").min()).dt.total_microseconds() / 1e6
    width = pl.max_horizontal(since.max() / MOST_POINTS, pl.lit(1e-3))
    return (
        rows.with_columns(part=(since / width).floor())
        .group_by("pool", "part", maintain_order=True)
        .agg(pl.col("at", *names).last())
        .drop("part")
        .sort("pool", "at")
    )


def watched(reader: Reader, candidate_id: int) -> dict[str, Any]:
    """Of a candidate: steps (that were answered), first_at, last_at."""
    return reader.frame(_WATCHED, candidate=candidate_id).to_dicts()[0]
