"""How the jobs of the server stand."""

from __future__ import annotations

from datetime import datetime

import polars as pl

from store.reader import Reader

_STANDING = """
WITH ran AS (SELECT * FROM job_run WHERE started_at >= $since AND outcome <> 'skipped'),
well AS (SELECT job, max(started_at) FILTER (outcome = 'done') AS last_done FROM ran GROUP BY 1)
SELECT r.job, count(*) FILTER (r.outcome = 'failed'
    AND (w.last_done IS NULL OR r.started_at > w.last_done)) AS failures,
  arg_max_null(r.error, r.started_at) AS error, max(r.started_at) AS last_at
FROM ran AS r JOIN well AS w USING (job) GROUP BY 1 ORDER BY 1
"""
_RUNS = """
SELECT job, arg_max(outcome, started_at) AS outcome, max(started_at) AS last_at,
  max(started_at) FILTER (outcome = 'done') AS last_done_at,
  count(*) FILTER (outcome = 'done') AS done, count(*) FILTER (outcome = 'failed') AS failed,
  count(*) FILTER (outcome = 'skipped') AS skipped,
  median(seconds) FILTER (outcome = 'done') AS usual_seconds,
  max(seconds) AS longest_seconds, arg_max_null(error, started_at) AS error
FROM job_run WHERE started_at >= $since GROUP BY 1 ORDER BY failed > 0 DESC, 1
"""


def runs(reader: Reader, since: datetime) -> pl.DataFrame:
    """How often each job ran and how it ended.

    Columns: job, outcome and error of the newest run, last_at, last_done_at, done, failed, skipped
    (because the one before was still going), usual_seconds (median of those done),
    longest_seconds.

    Args:
        reader: the store.
        since: naive UTC; older runs are not looked at.
    """
    return reader.frame(_RUNS, since=since)


def standing(reader: Reader, since: datetime) -> pl.DataFrame:
    """job, failures (since it was last done), error of the newest run, last_at.

    Args:
        reader: the store.
        since: naive UTC; older runs are not looked at.
    """
    return reader.frame(_STANDING, since=since)
