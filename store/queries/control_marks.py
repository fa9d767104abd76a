"""What was done to pools over time: changes of replicas, freezes and rehearsals."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import polars as pl

from store.reader import Reader

# A step counts until the next one, but not longer than this many usual steps: nobody decided then.
LONGEST_STEPS = 5

FREEZES_SCHEMA: dict[str, Any] = {
    "pool": pl.String,
    "from_at": pl.Datetime("us"),
    "changed_by": pl.String,
    "comment": pl.String,
    "until_at": pl.Datetime("us"),
}
SCALINGS_SCHEMA: dict[str, Any] = {
    "at": pl.Datetime("us"),
    "pool": pl.String,
    "before_replicas": pl.Int32,
    "after_replicas": pl.Int32,
    "decision_id": pl.Int64,
    "changed_by": pl.String,
}
_SCALINGS = """
SELECT "at", pool, before_replicas, after_replicas, decision_id, changed_by FROM (
  SELECT a.acted_at AS "at", d.pool, d.before_replicas, d.final_replicas AS after_replicas,
    d.decision_id, 'the controller' AS changed_by
  FROM action AS a JOIN decision AS d USING (decision_id)
  WHERE a.outcome = 'applied' AND a.acted_at >= $start AND a.acted_at < $end
  UNION ALL
  SELECT changed_at, pool, NULL, replicas, NULL, 'somebody else'
  FROM control_change
  WHERE kind = 'foreign' AND replicas IS NOT NULL AND changed_at >= $start AND changed_at < $end)
ORDER BY "at" DESC, pool LIMIT $most
"""
_FREEZES = """
SELECT pool, changed_at AS from_at, changed_by, comment,
  least(coalesce(until_at, $end), coalesce((
    SELECT min(r.changed_at) FROM control_change AS r
    WHERE r.pool = f.pool AND r.kind = 'resume' AND r.version > f.version), $end), $end) AS until_at
FROM control_change AS f
WHERE kind = 'freeze' AND changed_at < $end AND (until_at IS NULL OR until_at >= $start)
ORDER BY changed_at
"""
_REHEARSED = f"""
WITH steps AS (
  SELECT pool, decided_at, kind, before_replicas, final_replicas,
    epoch(lead(decided_at) OVER (PARTITION BY pool ORDER BY decision_id) - decided_at) AS seconds
  FROM decision
  WHERE mode = 'dry-run' AND decided_at >= $start AND decided_at < $end
    AND final_replicas IS NOT NULL AND before_replicas IS NOT NULL),
usual AS (SELECT pool, median(seconds) AS seconds FROM steps GROUP BY pool),
timed AS (
  SELECT s.*, least(coalesce(s.seconds, u.seconds, 0), {LONGEST_STEPS} * coalesce(u.seconds, 0))
    AS counted
  FROM steps AS s JOIN usual AS u USING (pool))
SELECT pool, min(decided_at) AS first_at, max(decided_at) AS last_at, count(*) AS steps,
  count(*) FILTER (final_replicas = before_replicas) AS agreed,
  count(*) FILTER (final_replicas > before_replicas) AS higher,
  count(*) FILTER (final_replicas < before_replicas) AS lower,
  max(final_replicas - before_replicas) AS most_above,
  max(before_replicas - final_replicas) AS most_below,
  sum(counted) / 3600 AS hours,
  sum(counted * final_replicas) / 3600 AS wanted_replica_hours,
  sum(counted * before_replicas) / 3600 AS there_replica_hours
FROM timed GROUP BY pool ORDER BY pool
"""


def scalings(reader: Reader, start: datetime, end: datetime, most: int = 200) -> pl.DataFrame:
    """Changes of replicas that were really made in a range (naive UTC), the newest first.

    Columns: at, pool, before_replicas (null where somebody else did it), after_replicas,
    decision_id, changed_by.
    """
    return reader.frame(_SCALINGS, start=start, end=end, most=most)


def freezes(reader: Reader, start: datetime, end: datetime) -> pl.DataFrame:
    """pool, from_at, until_at (at most `end`), changed_by, comment of freezes in a range."""
    return reader.frame(_FREEZES, start=start, end=end)


def rehearsed(reader: Reader, start: datetime, end: datetime) -> pl.DataFrame:
    """What dry-run would have given over a range (naive UTC), one row a pool.

    Each step counts until the next. Columns: pool, first_at, last_at, steps, agreed (left as it
    was), higher, lower, most_above, most_below (replicas), hours, wanted_replica_hours (what the
    controller would have set at each step), there_replica_hours (what the platform was told by
    others).
    """
    return reader.frame(_REHEARSED, start=start, end=end)
