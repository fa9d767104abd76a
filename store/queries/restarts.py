"""When targets started anew, as they say themselves."""

from __future__ import annotations

from datetime import datetime

from store.reader import Reader

RESTARTS = """
WITH mark AS (
  SELECT s.target_id, p.sampled_at AS seen_at,
         abs(p.value - lag(p.value) OVER (PARTITION BY p.series_id ORDER BY p.sampled_at)) > 0.5
           AS moved
  FROM sample AS p JOIN series AS s USING (series_id)
  WHERE s.signal IN ('engine_start_unix_seconds', 'engine_start_mark')
    AND p.sampled_at >= $start AND p.sampled_at < $end
)
SELECT target_id, list_sort(list(DISTINCT seen_at) FILTER (WHERE moved)) AS restarted_at
FROM mark GROUP BY target_id ORDER BY target_id
"""


def restarts(reader: Reader, start: datetime, end: datetime) -> dict[int, list[datetime]]:
    """Times (naive UTC) of the first scrape after each restart, by target.

    Targets that tell no start time are not in it: whether they restarted is seen by what fell. Look
    back a scrape interval or more before the range, as a restart is a difference of two scrapes.

    Args:
        reader: the store.
        start: aware UTC.
        end: aware UTC, exclusive.
    """
    found = reader.frame(RESTARTS, start=start.replace(tzinfo=None), end=end.replace(tzinfo=None))
    return {target_id: list(times or []) for target_id, times in found.iter_rows()}
