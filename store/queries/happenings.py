"""What happened beside the controller: targets that came, went or fell silent, and told events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import polars as pl

from store.queries import alerts, control_marks
from store.queries.rollup_sql import ids_sql
from store.queries.scope import Scope
from store.queries.slo import naive_utc
from store.reader import Reader

MOST_ROWS = 200
EVENTS_SCHEMA: dict[str, Any] = {
    "at": pl.Datetime("us"),
    "until_at": pl.Datetime("us"),
    "kind": pl.String,
    "subject": pl.String,
    "text": pl.String,
}
# Freezes and changes of replicas have rows of their own, with more to tell.
_IS_TOLD = """source_id IN ({sources}) AND started_at < $end
  AND coalesce(ended_at, started_at) >= $start AND kind NOT IN ('freeze', 'scale', 'alert')"""
_TOLD = f"""
SELECT started_at AS "at", ended_at AS until_at,
  CASE WHEN starts_with(kind, 'alert') THEN 'alert'
       WHEN kind = 'start' THEN 'start'
       WHEN kind IN ('candidate', 'policy', 'deployment') THEN 'deployment'
       WHEN starts_with(kind, 'predictor') THEN 'drift' ELSE 'fault' END AS kind,
  coalesce(subject, '') AS subject, text
FROM event WHERE {_IS_TOLD}
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

# Each question costs 1 to 3 ms even where there is nothing, this one before all of them 1 ms.
_LOOKS = {
    "told": f"event WHERE {_IS_TOLD}",
    "moved": """target WHERE (added_at >= $start AND added_at < $end)
  OR (removed_at >= $start AND removed_at < $end)""",
    "silent": "signal_grade WHERE signal = '' AND grade = 'silent' AND graded_at < $end",
    "alerted": "alert_change WHERE state = 'firing' AND changed_at < $end",
    "received": "event WHERE kind = 'alert' AND started_at < $end",
    "frozen": "control_change WHERE kind = 'freeze' AND changed_at < $end",
    "applied": "action WHERE outcome = 'applied' AND acted_at >= $start AND acted_at < $end",
    "foreign": """control_change
  WHERE kind = 'foreign' AND changed_at >= $start AND changed_at < $end""",
}
_FOUND = "\nUNION ALL ".join(f"(SELECT '{name}' AS kind FROM {rows} LIMIT 1)"
                             for name, rows in _LOOKS.items())  # fmt: skip


def happened(reader: Reader, scope: Scope, most: int = MOST_ROWS) -> dict[str, pl.DataFrame]:
    """What happened in a range, by time; of each kind the newest `most` rows.

    Only the live fleet has targets and a controller; a trace has the events that came with it.

    Returns:
        events: at, until_at (naive; null where it has no length or goes on), kind (alert,
        deployment, drift, fault, outage, start), subject, text. Of the live fleet also freezes and
        scalings, as of `control_marks.freezes` and `control_marks.scalings`.
    """
    given = {"start": naive_utc(scope.start), "end": naive_utc(scope.end)}
    sources = ids_sql(scope)
    told = _TOLD.format(sources=sources)
    if not scope.is_live:
        return {"events": _in_order([reader.frame(told, **given, most=most)])}
    found = set(reader.frame(_FOUND.format(sources=sources), **given)["kind"])
    asked = {"told": told, "moved": _MOVED, "silent": _SILENT}
    parts = [reader.frame(sql, **given, most=most) for kind, sql in asked.items() if kind in found]
    if found & {"alerted", "received"}:
        parts.append(_alerted(alerts.periods(reader, **given, most=most)))
    return {"events": _in_order(parts), **_done(reader, found, **given)}


def _alerted(periods: pl.DataFrame) -> pl.DataFrame:
    """When alerts fired, ours and those that others told us of."""
    return periods.select(
        at="from_at", until_at="over_at", kind=pl.lit("alert"), subject="name", text="text"
    )


def _done(
    reader: Reader, found: set[str], start: datetime, end: datetime
) -> Mapping[str, pl.DataFrame]:
    """What was done to pools, asked for where there is anything."""
    freezes = pl.DataFrame(schema=control_marks.FREEZES_SCHEMA)
    scalings = pl.DataFrame(schema=control_marks.SCALINGS_SCHEMA)
    if "frozen" in found:
        freezes = control_marks.freezes(reader, start, end)
    if found & {"applied", "foreign"}:
        scalings = control_marks.scalings(reader, start, end)
    return {"freezes": freezes, "scalings": scalings}


def _in_order(parts: Sequence[pl.DataFrame]) -> pl.DataFrame:
    if not parts:
        return pl.DataFrame(schema=EVENTS_SCHEMA)
    return pl.concat(parts, how="vertical_relaxed").sort("at", "kind", "subject")
