"""Grades of signals: those in force at a moment, and how they came about."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import polars as pl

from store.queries.first_rows import total
from store.reader import Reader

MOST_HISTORY = 1_000

CURRENT = """
SELECT g.target_id, t.url, t.engine, t.model, g.signal,
       max_by(g.grade, g.graded_at) AS grade, max(g.graded_at) AS since,
       max_by(g.evidence, g.graded_at) AS evidence,
       arg_max_null(g.advice, g.graded_at) AS advice,
       max(g.graded_at) FILTER (WHERE g.grade = 'reset') AS reset_at
FROM signal_grade AS g JOIN target AS t USING (target_id)
WHERE g.graded_at <= $at AND (t.removed_at IS NULL OR t.removed_at > $at)
  AND (len($signals) = 0 OR list_contains($signals, g.signal))
GROUP BY ALL ORDER BY t.url, g.signal
"""

NEWEST = """
SELECT s.target_id, s.signal, max(p.sampled_at) AS newest_at
FROM (SELECT series_id, sampled_at FROM sample WHERE sampled_at > $since AND sampled_at <= $at
      UNION ALL
      SELECT series_id, sampled_at FROM histogram_sample
      WHERE sampled_at > $since AND sampled_at <= $at) AS p
JOIN series AS s USING (series_id) WHERE list_contains($targets, s.target_id)
GROUP BY ALL ORDER BY s.target_id, s.signal
"""

HISTORY = """
SELECT g.graded_at AS at, t.url, g.signal, g.grade, g.evidence, g.advice
FROM signal_grade AS g JOIN target AS t USING (target_id)
WHERE g.graded_at >= $start AND g.graded_at < $end AND t.removed_at IS NULL
  AND list_contains($urls, t.url)
ORDER BY g.graded_at DESC, t.url, g.signal LIMIT $most
"""


def current(reader: Reader, at: datetime, signals: Sequence[str] = ()) -> pl.DataFrame:
    """The grade of every signal that was ever graded, as it stood at a moment.

    Args:
        reader: the store.
        at: aware UTC.
        signals: which; empty = all.

    Returns:
        target_id, url, engine, model, signal ("" is the target as a whole), grade, since (naive
        UTC), evidence, advice, reset_at (its last reset); by URL and signal. Targets that were
        removed are left out.
    """
    return reader.frame(CURRENT, at=at.replace(tzinfo=None), signals=list(signals))


def newest(
    reader: Reader, target_ids: Sequence[int], since: datetime, at: datetime
) -> pl.DataFrame:
    """When each signal of some targets came last, of those that came after `since`.

    Returns:
        target_id, signal, newest_at (naive UTC).
    """
    return reader.frame(
        NEWEST,
        targets=list(target_ids),
        since=since.replace(tzinfo=None),
        at=at.replace(tzinfo=None),
    )


def history(
    reader: Reader, urls: Sequence[str], start: datetime, end: datetime
) -> tuple[pl.DataFrame, int]:
    """Changes of the grades of some targets in a range of time, the newest thousand; and how many.

    Returns:
        at (naive UTC), url, signal, grade, evidence, advice; how many changes there are in all.
    """
    asked = {"start": start.replace(tzinfo=None), "end": end.replace(tzinfo=None)}
    found = reader.frame(HISTORY, **asked, urls=list(urls), most=MOST_HISTORY)
    return found, total(reader, HISTORY, found.height, MOST_HISTORY, **asked, urls=list(urls))
