"""What happened beside the controller: targets that came, went or fell silent, and told events."""

from __future__ import annotations

import polars as pl

from store.queries import alerts
from store.queries.scope import Scope
from store.queries.slo import naive_utc, source_sql
from store.reader import Reader

MOST_ROWS = 200
# Freezes and changes of replicas have rows of their own, with more to tell.
_TOLD = """
SELECT started_at AS "at", ended_at AS until_at,
  CASE WHEN starts_with(kind, 'alert') THEN 'alert'
       WHEN kind = 'start' THEN 'start'
       WHEN kind IN ('candidate', 'policy', 'deployment') THEN 'deployment'
       WHEN starts_with(kind, 'predictor') THEN 'drift' ELSE 'fault' END AS kind,
  coalesce(subject, '') AS subject, text
FROM event
WHERE {sources} AND started_at < $end AND coalesce(ended_at, started_at) >= $start
  AND kind NOT IN ('freeze', 'scale', 'alert')
ORDER BY started_at DESC LIMIT $most
"""
_MOVED = """
SELECT min("at") AS "at", NULL::TIMESTAMP AS until_at, 'deployment' AS kind,
  any_value(url) AS subject,
  CASE WHEN count(*) = 1 THEN any_value(url) ELSE count(*) || ' targets' END || ' ' || what AS text
FROM (SELECT added_at AS "at", url, 'added' AS what FROM target
      UNION ALL SELECT removed_at, url, 'removed' FROM target WHERE removed_at IS NOT NULL)
WHERE "at" >= $start AND "at" < $end
GROUP BY time_bucket(INTERVAL 1 MINUTE, "at"), what
ORDER BY 1 DESC LIMIT $most
"""
_SILENT = """
SELECT graded_at AS "at", until_at, 'outage' AS kind, url AS subject,
  url || ' stopped answering: ' || evidence AS text
FROM (SELECT g.graded_at, t.url, g.grade, g.evidence,
        lead(g.graded_at) OVER (PARTITION BY g.target_id ORDER BY g.graded_at) AS until_at
      FROM signal_grade AS g JOIN target AS t USING (target_id)
      WHERE g.signal = '' AND g.graded_at < $end)
WHERE grade = 'silent' AND coalesce(until_at, $end) >= $start
ORDER BY graded_at DESC LIMIT $most
"""


def happened(reader: Reader, scope: Scope, most: int = MOST_ROWS) -> pl.DataFrame:
    """What happened in a range, by time; of each kind the newest `most` rows.

    Only the live fleet has targets; a trace has the events that came with it.

    Returns:
        at, until_at (naive; null where it has no length or goes on), kind (alert, deployment,
        drift, fault, outage, start), subject, text.
    """
    given = {"start": naive_utc(scope.start), "end": naive_utc(scope.end), "most": most}
    sources = source_sql(scope).replace("r.source_id", "source_id")
    parts = [reader.frame(_TOLD.format(sources=sources), **given)]
    if scope.is_live:
        parts += [reader.frame(sql, **given) for sql in (_MOVED, _SILENT)]
        parts.append(_alerted(reader, scope, most))
    return pl.concat(parts, how="vertical_relaxed").sort("at", "kind", "subject")


def _alerted(reader: Reader, scope: Scope, most: int) -> pl.DataFrame:
    """When alerts fired, ours and those that others told us of."""
    found = alerts.periods(reader, naive_utc(scope.start), naive_utc(scope.end), most)
    return found.select(
        at="from_at", until_at="over_at", kind=pl.lit("alert"), subject="name", text="text"
    )
