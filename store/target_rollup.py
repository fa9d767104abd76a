"""Roll-ups of targets: for how long each answered and how often it was busy, by five minutes.

Kept beside the roll-ups of samples, renewed with them and by the same marks: `store.sample_rollup`
calls in here. A target is busy at a moment at which one of its gauges of load is above zero.
"""

from __future__ import annotations

from datetime import datetime

import duckdb

from store.rolled_buckets import bucket_sql

LOAD = ("requests_running", "requests_waiting")
TABLE, COLUMN = "rollup_target", "bucket_at"
_NAMES = ", ".join(f"'{name}'" for name in LOAD)


def answered_sql(condition: str) -> str:
    """Each scrape that worked, as a row of the roll-up; `condition` is on `scraped_at`."""
    return f"""SELECT target_id, scraped_at AS "at", 1 AS scrape_count, scraped_at AS first_at,
      scraped_at AS last_at, 0 AS load_count, 0 AS busy_count
    FROM scrape WHERE outcome = 'ok' AND {condition}"""


def loaded_sql(condition: str) -> str:
    """Each moment at which a target told its load, likewise; `condition` is on `p.sampled_at`."""
    return f"""SELECT s.target_id, p.sampled_at AS "at", 0 AS scrape_count,
      NULL::TIMESTAMP AS first_at, NULL::TIMESTAMP AS last_at, 1 AS load_count,
      (sum(p.value) > 0)::INTEGER AS busy_count
    FROM sample AS p JOIN series AS s USING (series_id)
    WHERE s.kind = 'gauge' AND s.signal IN ({_NAMES}) AND {condition}
    GROUP BY s.target_id, p.sampled_at"""


_INSERT = f"""
INSERT INTO rollup_target
SELECT target_id, {bucket_sql('"at"')} AS bucket, sum(scrape_count), min(first_at), max(last_at),
  sum(load_count), sum(busy_count)
FROM ({answered_sql("scraped_at >= $low AND scraped_at < $high")}
  UNION ALL {loaded_sql("p.sampled_at >= $low AND p.sampled_at < $high")})
GROUP BY target_id, bucket ORDER BY bucket, target_id
"""


def insert(connection: duckdb.DuckDBPyConnection, low: datetime, high: datetime) -> None:
    """Count the buckets of a stretch (naive UTC, whole buckets) that are not counted yet."""
    connection.execute(_INSERT, {"low": low, "high": high})


def renew(connection: duckdb.DuckDBPyConnection, low: datetime, high: datetime) -> None:
    """Count the buckets of a stretch again."""
    connection.execute(
        "DELETE FROM rollup_target WHERE bucket_at >= $low AND bucket_at < $high",
        {"low": low, "high": high},
    )
    insert(connection, low, high)
