"""What is asked of scheduled reports: schedules in force, runs, attempts."""

from __future__ import annotations

import polars as pl

from store.queries.first_rows import total
from store.reader import Reader

SCHEDULES = """
WITH said AS (
  SELECT name, place, arg_max(kind, version) AS kind,
         arg_max_null(definition, version) AS definition,
         max(changed_at) AS changed_at, arg_max(changed_by, version) AS changed_by
  FROM report_schedule WHERE kind IN ('set', 'removed') GROUP BY 1, 2),
switch AS (
  SELECT name, arg_max(kind, version) AS kind, arg_max(changed_by, version) AS changed_by,
         max(changed_at) AS changed_at
  FROM report_schedule WHERE kind IN ('enabled', 'disabled') GROUP BY 1)
SELECT s.name, s.place, s.definition::VARCHAR AS definition, s.changed_at, s.changed_by,
       CASE WHEN NOT coalesce((s.definition ->> '$.enabled')::BOOLEAN, true)
              THEN 'it is written with enabled = false'
            WHEN w.kind = 'disabled' THEN 'disabled by ' || w.changed_by ELSE '' END AS why_off,
       count(*) OVER (PARTITION BY s.name) > 1 AS is_twice
FROM said AS s LEFT JOIN switch AS w USING (name)
WHERE s.kind = 'set'
QUALIFY row_number() OVER (PARTITION BY s.name ORDER BY s.place) = 1 OR $all
ORDER BY s.name, s.place"""
HISTORY = """
SELECT changed_at, kind, definition::VARCHAR AS definition FROM report_schedule
WHERE name = $name AND (place = $place OR kind IN ('enabled', 'disabled')) ORDER BY version"""
RUNS = """
WITH now AS (
  SELECT run_id, arg_max(state, changed_at) AS state, max(changed_at) AS changed_at,
         arg_max(text, changed_at) AS text, arg_max(details, changed_at)::VARCHAR AS details
  FROM report_state GROUP BY 1),
sent AS (
  SELECT run_id, count(*) AS attempts,
         count(*) FILTER (state IN ('acknowledged', 'partly')) AS acknowledged,
         min(next_at) AS next_at
  FROM report_delivery GROUP BY 1)
SELECT r.run_id, r.schedule, r.period, r.cause, r.asked_by, r.asked_at, r.due_at, n.state, n.text,
       n.changed_at, n.details, r.channels, r.definition::VARCHAR AS definition,
       coalesce(s.attempts, 0) AS attempts, coalesce(s.acknowledged, 0) AS acknowledged
FROM report_run AS r JOIN now AS n USING (run_id) LEFT JOIN sent AS s USING (run_id)
WHERE ($run IS NULL OR r.run_id = $run) AND ($schedule IS NULL OR r.schedule = $schedule)
  AND (NOT $only_open OR n.state IN ('waiting', 'making', 'sending'))
ORDER BY r.asked_at DESC, r.run_id DESC LIMIT $limit"""
NEWEST = """
WITH now AS (
  SELECT run_id, arg_max(state, changed_at) AS state, arg_max(text, changed_at) AS text
  FROM report_state GROUP BY 1),
there AS (
  SELECT name FROM report_schedule WHERE kind IN ('set', 'removed')
  GROUP BY name, place HAVING arg_max(kind, version) = 'set')
SELECT r.schedule, r.period, n.state, n.text FROM report_run AS r JOIN now AS n USING (run_id)
WHERE r.cause <> 'test' AND n.state NOT IN ('waiting', 'making', 'sending')
  AND r.schedule IN (SELECT name FROM there)
QUALIFY row_number() OVER (PARTITION BY r.schedule ORDER BY r.asked_at DESC, r.run_id DESC) = 1
ORDER BY r.schedule"""
DELIVERIES = """
SELECT * FROM report_delivery WHERE $run IS NULL OR run_id = $run
ORDER BY run_id, channel, attempt"""
OPEN = """
SELECT count(*) FROM (SELECT 1 FROM report_state GROUP BY run_id
                      HAVING arg_max(state, changed_at) IN ('waiting', 'making', 'sending'))"""
CLAIMED = """
SELECT count(*) FROM report_run
WHERE schedule = $schedule AND period = $period AND cause IN ('due', 'late')"""


def schedules(reader: Reader, *, every: bool = False) -> pl.DataFrame:
    """Schedules as they are told now, by name: what the file says ("file") wins.

    Args:
        reader: the store.
        every: also those that were added and lose; `is_twice` says that there is such a one.
    """
    return reader.frame(SCHEDULES, all=every)


def history(reader: Reader, name: str, place: str) -> pl.DataFrame:
    """What was told of one, oldest first."""
    return reader.frame(HISTORY, name=name, place=place)


def runs(
    reader: Reader,
    *,
    run: str | None = None,
    schedule: str | None = None,
    only_open: bool = False,
    limit: int = 200,
) -> pl.DataFrame:
    """Runs, newest first, with how they stand; `details` and `definition` are JSON text."""
    return reader.frame(RUNS, run=run, schedule=schedule, only_open=only_open, limit=limit)


def runs_count(reader: Reader, held: int, most: int) -> int:
    """How many runs there are, of which `runs` gave the newest `held`."""
    sql = RUNS.replace("$limit", "$most")
    return total(reader, sql, held, most, run=None, schedule=None, only_open=False)


def newest(reader: Reader) -> pl.DataFrame:
    """How the newest report of each schedule ended: schedule, period, state, text; no tests."""
    return reader.frame(NEWEST)


def deliveries(reader: Reader, run: str | None = None) -> pl.DataFrame:
    """Every attempt, in order."""
    return reader.frame(DELIVERIES, run=run)


def has_open(reader: Reader) -> bool:
    """Whether something follows any run still."""
    return bool(reader.scalar(OPEN))


def is_claimed(reader: Reader, schedule: str, period: str) -> bool:
    """Whether a period has its report."""
    return bool(reader.scalar(CLAIMED, schedule=schedule, period=period))
