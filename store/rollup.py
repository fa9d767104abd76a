"""Roll-ups: counts per ten minutes and per hour in logarithmic bins, kept up to date in portions.

A bucket whose rows changed is *dirty* (`store.append.mark_dirty`); readers take it from the raw
rows until it has been counted again, so a roll-up is never wrong, only sometimes not there yet.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

import duckdb

from store import arrival_rollup, phase_rollup, tenant_rollup, workload_rollup
from store.hourly import count_hours
from store.portions import PortionSize
from store.queries.log_bins import log_bin_sql
from store.queries.scope import IS_COUNTED, LIVE_SOURCE_ID
from store.writer import Writer

BUCKET_SECONDS = 600
HOUR_SECONDS = 3600
ARRIVAL = "arrival"
QUANTITIES: Mapping[str, str] = {
    "ttft": "ttft_seconds",
    "tpot": "tpot_seconds",
    "e2e": "e2e_seconds",
    "queue": "queue_seconds",
    "input_tokens": "input_tokens",
    "output_tokens": "output_tokens",
}
"""Name of a rolled-up quantity -> its column of `request`; besides them there is `arrival`."""
# Longer before 1970 than any record can lie.
_BEFORE_MICROSECONDS = 200 * 366 * 86_400 * 1_000_000
# Hours are counted as a whole, so that long portions cost least; appends wait for the end of one.
# Six hours at four requests a second keep the writer busy for 0.5 s.
PORTION_BUCKETS = 36
LAKE_PORTION_BUCKETS = 432
"""Three days: on a lake a portion costs seconds, whatever is in it."""
_LEAST_BUCKETS = HOUR_SECONDS // BUCKET_SECONDS


@dataclass(frozen=True, slots=True)
class Refreshed:
    """What a refresh did.

    Attributes:
        buckets: ten-minute buckets that were counted again.
        buckets_left: dirty buckets that are due and were left for the next portion.
    """

    buckets: int
    buckets_left: int


def refresh(
    connection: duckdb.DuckDBPyConnection,
    *,
    now: datetime,
    kept_since: datetime | None = None,
    most_buckets: int = PORTION_BUCKETS,
) -> Refreshed:
    """Count one portion of dirty buckets again; for `Writer.run`, which makes it one transaction.

    Args:
        connection: the write connection.
        now: aware UTC; live buckets that have not ended yet stay dirty.
        kept_since: aware UTC; older live rows have been deleted by retention, so the counts that
            were made of them are kept as they are.
        most_buckets: largest portion, >= 1.
    """
    _drop_marks_before(connection, kept_since)
    ended = now.replace(tzinfo=None) - timedelta(seconds=BUCKET_SECONDS)
    connection.execute(_CHOOSE, {"ended": ended, "most": most_buckets})
    source_id, first, last, buckets = connection.execute(_CHOSEN).fetchall()[0]
    if buckets:
        hours = _whole_hours(first, last)
        for table in ("rollup_10m", "rollup_sum", "rollup_slo"):
            connection.execute(_DELETE_CHOSEN.format(table=table))
        connection.execute(
            _INSERT_10M,
            {"source_id": source_id, "low": first, "high": last + timedelta(seconds=600)},
        )
        connection.execute(_INSERT_SUM)
        connection.execute(_DELETE_1H)
        connection.execute(_INSERT_1H, {"source_id": source_id, **hours})
        count_hours(connection, _BY_HOUR, _CHOSEN_HOURS, source_id, hours["low"], hours["high"])
        connection.execute(_CLEAN)
    connection.execute("DROP TABLE chosen_bucket")
    (left,) = connection.execute(_LEFT, {"ended": ended}).fetchall()[0]
    return Refreshed(buckets, left)


def refresh_due(
    writer: Writer,
    now: datetime,
    *,
    kept_since: datetime | None = None,
    most_portions: int = 50,
    stopwatch: Callable[[], float] = time.perf_counter,
) -> Refreshed:
    """Count dirty buckets again, a transaction a portion, so that appends get in between.

    Args:
        writer: the store's writer.
        now: aware UTC.
        kept_since: see `refresh`.
        most_portions: give up the rest for the next run after so many.
        stopwatch: seconds since any moment; tells how long appends had to wait for a portion.
    """
    buckets = left = 0
    size = PortionSize(
        LAKE_PORTION_BUCKETS if writer.is_shared else PORTION_BUCKETS, _LEAST_BUCKETS
    )
    for _ in range(most_portions):
        portion = partial(refresh, now=now, kept_since=kept_since, most_buckets=size.now)
        began = stopwatch()
        done = writer.run(portion, changes=False).result()
        buckets, left = buckets + done.buckets, done.buckets_left
        if not left:
            break
        size.took(stopwatch() - began)
    return Refreshed(buckets, left)


def _drop_marks_before(connection: duckdb.DuckDBPyConnection, kept_since: datetime | None) -> None:
    """Forget stragglers in buckets whose other rows are gone; what was never counted still is."""
    if kept_since is not None:
        connection.execute(
            """DELETE FROM rollup_dirty WHERE source_id = $live AND bucket_at < $kept_since
            AND bucket_at IN (SELECT bucket_at FROM rollup_10m
              WHERE source_id = $live AND bucket_at < $kept_since)""",
            {"live": LIVE_SOURCE_ID, "kept_since": kept_since.replace(tzinfo=None)},
        )


def _whole_hours(first: datetime, last: datetime) -> dict[str, datetime]:
    """An hour is counted as a whole, whichever of its buckets changed."""
    low = first.replace(minute=0, second=0, microsecond=0)
    high = last.replace(minute=0, second=0, microsecond=0) + timedelta(seconds=HOUR_SECONDS)
    return {"low": low, "high": high}


def _counts_sql(bucket: str, labels: str, chosen: str) -> str:
    """One row a bucket, label, status, quantity and bin.

    Args:
        bucket: SQL of the bucket of a row.
        labels: label columns, with a comma behind.
        chosen: table of the buckets that are meant: source_id, bucket_at.
    """
    arrival = f"""SELECT source_id, bucket_at, {labels} status, '{ARRIVAL}', 0,
      count(*), NULL FROM picked GROUP BY ALL"""
    others = [
        f"""SELECT source_id, bucket_at, {labels} status, '{name}', {log_bin_sql(column)},
        count(*), sum({column}) FROM picked WHERE {column} IS NOT NULL GROUP BY ALL"""
        for name, column in QUANTITIES.items()
    ]
    columns = ", ".join(f"r.{column}" for column in QUANTITIES.values())
    return f"""
    WITH picked AS MATERIALIZED (
      SELECT r.source_id, {bucket} AS bucket_at, {labels} r.status, {columns}
      FROM request AS r JOIN request_labels AS l USING (labels_id)
      WHERE r.source_id = $source_id AND r.arrived_at >= $low AND r.arrived_at < $high
        AND {IS_COUNTED} AND {bucket} IN (SELECT bucket_at FROM {chosen})
    )
    {" UNION ALL ".join([arrival, *others])}"""


def bucket_sql(column: str, seconds: int) -> str:
    """SQL for the start of the bucket that holds a time; buckets count from 1970-01-01."""
    return bucket_start_sql(bucket_number_sql(column, seconds), seconds)


def bucket_number_sql(column: str, seconds: int) -> str:
    """SQL for the number of that bucket: what is grouped by it takes less than by its start.

    Whole-number division takes half the time of `time_bucket`. It rounds towards zero, so times
    are counted from a bucket's start before any of them.
    """
    width, before = _bucket_micros(seconds)
    return f"(epoch_us({column}) + {before}) // {width}"


def bucket_start_sql(number: str, seconds: int) -> str:
    """SQL for the start of a bucket, from the SQL of its number."""
    width, before = _bucket_micros(seconds)
    return f"make_timestamp({number} * {width} - {before})"


def _bucket_micros(seconds: int) -> tuple[int, int]:
    """Width of a bucket, and how long before 1970 the first begins; microseconds."""
    width = int(seconds) * 1_000_000
    return width, -(-_BEFORE_MICROSECONDS // width) * width


_CHOOSE = f"""
CREATE OR REPLACE TEMP TABLE chosen_bucket AS
WITH due AS (SELECT source_id, bucket_at FROM rollup_dirty
  WHERE source_id <> {LIVE_SOURCE_ID} OR bucket_at <= $ended)
SELECT source_id, bucket_at FROM due
WHERE source_id = (SELECT min(source_id) FROM due) ORDER BY bucket_at LIMIT $most
"""
_CHOSEN = "SELECT any_value(source_id), min(bucket_at), max(bucket_at), count(*) FROM chosen_bucket"
_BY_HOUR = {
    **tenant_rollup.COUNTED,
    **workload_rollup.COUNTED,
    **phase_rollup.COUNTED,
    **arrival_rollup.COUNTED,
}
_CHOSEN_HOURS = "(SELECT DISTINCT date_trunc('hour', bucket_at) AS bucket_at FROM chosen_bucket)"
_LEFT = f"""
SELECT count(*) FROM rollup_dirty WHERE source_id <> {LIVE_SOURCE_ID} OR bucket_at <= $ended
"""
# Counts of objectives are made from finished buckets (`store.slo_rollup`).
_DELETE_CHOSEN = """
DELETE FROM {table} AS u USING chosen_bucket AS c
WHERE u.source_id = c.source_id AND u.bucket_at = c.bucket_at
"""
_DELETE_1H = f"""
DELETE FROM rollup_1h AS u USING (SELECT any_value(source_id) AS source_id FROM chosen_bucket) AS s
WHERE u.source_id = s.source_id AND u.bucket_at IN (SELECT bucket_at FROM {_CHOSEN_HOURS})
"""
_CLEAN = """
DELETE FROM rollup_dirty AS d USING chosen_bucket AS c
WHERE d.source_id = c.source_id AND d.bucket_at = c.bucket_at
"""
_INSERT_10M = "INSERT INTO rollup_10m " + _counts_sql(
    bucket_sql("r.arrived_at", BUCKET_SECONDS), "model, route,", "chosen_bucket"
)
_INSERT_SUM = """
INSERT INTO rollup_sum
SELECT u.source_id, u.bucket_at, model, route, status, quantity, sum(request_count)::BIGINT,
  sum(value_sum)
FROM rollup_10m AS u SEMI JOIN chosen_bucket AS c
  ON u.source_id = c.source_id AND u.bucket_at = c.bucket_at
GROUP BY ALL ORDER BY u.bucket_at
"""
_INSERT_1H = "INSERT INTO rollup_1h " + _counts_sql(
    bucket_sql("r.arrived_at", HOUR_SECONDS), "tenant,", _CHOSEN_HOURS
)
