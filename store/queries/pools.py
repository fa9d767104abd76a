"""How the pools of the controller stood, and which instances were their replicas."""

from __future__ import annotations

from datetime import datetime

import polars as pl

from store.reader import Reader

_STANDING = """
WITH newest AS (
  SELECT * FROM decision
  WHERE observation_id IS NOT NULL AND decided_at >= $start AND decided_at < $end
  QUALIFY row_number() OVER (PARTITION BY pool ORDER BY decision_id DESC) = 1),
seen AS (
  SELECT o.observation_id, json_extract_string(p.value, '$.name') AS pool,
    json_extract_string(p.value, '$.replicas[*][0]') AS instances
  FROM observation AS o, json_each(o.content, '$.observation.pools') AS p
  WHERE o.observation_id IN (SELECT observation_id FROM newest))
SELECT n.pool, n.decided_at, n.before_replicas AS target, n.ready, n.starting, n.draining,
  coalesce(s.instances, []) AS instances
FROM newest AS n LEFT JOIN seen AS s USING (observation_id, pool) ORDER BY n.pool
"""


def standing(reader: Reader, start: datetime, end: datetime) -> pl.DataFrame:
    """The newest step of each pool in a range (naive UTC).

    Returns:
        pool, decided_at, target (replicas that were last asked for), ready, starting, draining,
        instances (names of its replicas); by pool.
    """
    return reader.frame(_STANDING, start=start, end=end)
