"""Whether the ten-minute sums of requests agree with their rows."""

from __future__ import annotations

import duckdb

from store.queries.scope import IS_COUNTED

# Of the bucket in which the rows of a source begin, retention may have deleted a part.
_WRONG = f"""
WITH counted AS (
  SELECT source_id, count(*) FILTER ({IS_COUNTED}) AS requests,
    time_bucket(INTERVAL 600 SECONDS, arrived_at, TIMESTAMP '1970-01-01') AS bucket_at
  FROM request AS r GROUP BY ALL),
first AS (SELECT source_id, min(bucket_at) AS bucket_at FROM counted GROUP BY ALL),
summed AS (
  SELECT source_id, bucket_at, sum(request_count) AS requests FROM rollup_sum
  WHERE quantity = 'arrival' GROUP BY ALL)
SELECT source_id, bucket_at FROM counted FULL JOIN summed USING (source_id, bucket_at)
  JOIN first USING (source_id)
WHERE coalesce(counted.requests, 0) <> coalesce(summed.requests, 0)
  AND bucket_at > first.bucket_at
  AND (source_id, bucket_at) NOT IN (SELECT (source_id, bucket_at) FROM rollup_dirty)"""


def wrong_buckets(connection: duckdb.DuckDBPyConnection, *, mark: bool = False) -> int:
    """How many buckets differ; for `Writer.run`.

    Args:
        connection: the write connection.
        mark: note them, so that they are read from the rows until they were counted again.
    """
    if mark:
        ((rows,),) = connection.execute(f"INSERT OR IGNORE INTO rollup_dirty {_WRONG}").fetchall()
    else:
        ((rows,),) = connection.execute(f"SELECT count(*) FROM ({_WRONG})").fetchall()
    return int(rows)
