"""Roll-ups of samples: what a panel over a day needs of each series and five minutes.

Of a gauge that is its count, sum, largest and last value; of a counter its ends and what it counted
in between and since the bucket before, restarts known. Of histograms the points are kept that a
bucket cannot do without (the first, the last, both sides of every drop or change of edges), so the
query that thins raw points finds the same ones here. What each target was, apart from its signals,
is counted beside them (`store.target_rollup`).

All buckets before `rolled_until` are rolled up, but for the dirty ones: `store.append_points` notes
a point that comes late in the transaction that stores it. Readers take such buckets from the
samples, so a roll-up is never wrong, only sometimes not there yet.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import duckdb

from store import target_rollup
from store.rolled_buckets import BUCKET, BUCKET_SECONDS, bucket_sql, floor
from store.writer import Writer

GRACE_SECONDS = 60
"""A bucket is first counted this long after its end: most of what is late has come by then."""
PORTION_SAMPLES = 400_000
"""About as many samples are read in one transaction; the writer is busy for some 0.1 s."""
PORTION_BUCKETS = 36
# What reading a histogram costs, against a sample.
_HISTOGRAM_SAMPLES = 10
Connection = duckdb.DuckDBPyConnection
Span = tuple[datetime, datetime]


@dataclass(frozen=True, slots=True)
class RolledUp:
    """What a refresh did.

    Attributes:
        buckets: five-minute buckets that were counted, empty ones left out.
        buckets_left: whether there is more to do now.
    """

    buckets: int
    buckets_left: bool


def refresh(
    connection: Connection, *, now: datetime, most_samples: int = PORTION_SAMPLES
) -> RolledUp:
    """Roll up one portion: dirty buckets first, then what has come; for `Writer.run`.

    Args:
        connection: the write connection, inside a transaction.
        now: aware UTC.
        most_samples: about how many samples to read, >= 1; one bucket is always read whole.
    """
    state = _state(connection)
    if state is None:
        return RolledUp(0, buckets_left=False)
    rolled_until, raw_since = state
    due = floor(now.replace(tzinfo=None) - timedelta(seconds=GRACE_SECONDS))
    if raw_since is not None:
        _drop_marks_before(connection, raw_since)
    marks = connection.execute(_MARKS, {"most": PORTION_BUCKETS + 1}).fetchall()
    if marks:
        return _refresh_dirty(connection, [at for (at,) in marks], most_samples, rolled_until < due)
    low = rolled_until
    counted = _next_counts(connection, low, due, most_samples)
    if low < due and not counted:
        found = _first(connection, low, due)
        low = due if found is None else floor(found)
        # Who answers without a sample is there all the same.
        target_rollup.insert(connection, rolled_until, low)
        counted = _next_counts(connection, low, due, most_samples)
    chosen = _portion(counted, most_samples)
    high = chosen[-1] + BUCKET if chosen else low
    if chosen:
        _insert(connection, low, high)
    if high > rolled_until:
        connection.execute("UPDATE rollup_sample_state SET rolled_until = $high", {"high": high})
    return RolledUp(len(chosen), buckets_left=bool(chosen) and high < due)


def refresh_due(writer: Writer, now: datetime, *, most_portions: int = 50) -> RolledUp:
    """Roll up what is due, a transaction a portion, so that appends get in between.

    Args:
        writer: the store's writer.
        now: aware UTC.
        most_portions: leave the rest for the next run after so many.
    """
    buckets, left = 0, True
    for _ in range(most_portions):
        done = writer.run(lambda con: refresh(con, now=now), changes=False).result()
        buckets, left = buckets + done.buckets, done.buckets_left
        if not left:
            break
    return RolledUp(buckets, left)


def forget_raw(connection: Connection, before: datetime) -> None:
    """Note that samples before a time (naive, the start of a bucket) are going to be deleted."""
    connection.execute(
        """UPDATE rollup_sample_state
        SET raw_since = greatest(coalesce(raw_since, $before), $before)""",
        {"before": before},
    )


def _state(connection: Connection) -> tuple[datetime, datetime | None] | None:
    """How far it is rolled up, and since when there are samples; None without any sample."""
    rows = connection.execute("SELECT rolled_until, raw_since FROM rollup_sample_state").fetchall()
    if rows:
        return rows[0][0], rows[0][1]
    first = _first(connection, datetime.min, datetime.max)  # noqa: DTZ901 - naive, as stored
    if first is None:
        return None
    connection.execute(
        "INSERT INTO rollup_sample_state (rolled_until, targets_since) VALUES ($at, $at)",
        {"at": floor(first)},
    )
    return floor(first), None


def _first(connection: Connection, low: datetime, high: datetime) -> datetime | None:
    ((found,),) = connection.execute(
        """SELECT min(first_at) FROM (
          SELECT min(sampled_at) AS first_at FROM sample
          WHERE sampled_at >= $low AND sampled_at < $high
          UNION ALL SELECT min(sampled_at) FROM histogram_sample
          WHERE sampled_at >= $low AND sampled_at < $high)""",
        {"low": low, "high": high},
    ).fetchall()
    return found if isinstance(found, datetime) else None


def _drop_marks_before(connection: Connection, raw_since: datetime) -> None:
    """Forget stragglers in buckets whose samples are gone; what was never counted still is."""
    ((low,),) = connection.execute(
        "SELECT min(bucket_at) FROM rollup_sample_dirty WHERE bucket_at < $raw_since",
        {"raw_since": raw_since},
    ).fetchall()
    if low is not None:
        span = {"low": low, "high": raw_since}
        connection.execute(_DROP_MARKS, span)


def _refresh_dirty(
    connection: Connection, marks: list[datetime], most_samples: int, more_due: bool
) -> RolledUp:
    """Count dirty buckets again, oldest first."""
    counted = dict.fromkeys(marks[:PORTION_BUCKETS], 0)
    for low, high in _stretches(list(counted)):
        counted |= _counts(connection, low, high)
    chosen = _portion(counted, most_samples)
    for low, high in _stretches(chosen):
        span = {"low": low, "high": high}
        for table, column in ROLLED.items():
            connection.execute(
                f"DELETE FROM {table} WHERE {column} >= $low AND {column} < $high", span
            )
        connection.execute(
            "DELETE FROM rollup_sample_dirty WHERE bucket_at >= $low AND bucket_at < $high", span
        )
        _insert_samples(connection, low, high)
        target_rollup.renew(connection, low, high)
        connection.execute(_RENEW_STEPS, {"at": high, "before": high - BUCKET})
    return RolledUp(len(chosen), buckets_left=len(chosen) < len(marks) or more_due)


def _counts(connection: Connection, low: datetime, high: datetime) -> dict[datetime, int]:
    """What reading each bucket costs, in samples; empty ones are absent."""
    if low >= high:
        return {}
    rows = connection.execute(_COUNTS, {"low": low, "high": high}).fetchall()
    return dict(rows)


def _next_counts(
    connection: Connection, low: datetime, due: datetime, most_samples: int
) -> dict[datetime, int]:
    """What the buckets from `low` on cost, as far ahead as a portion may reach."""
    counted: dict[datetime, int] = {}
    for ahead in (4, 12, PORTION_BUCKETS):
        counted = _counts(connection, low, min(due, low + BUCKET * ahead))
        if sum(counted.values()) >= most_samples:
            break
    return counted


def _portion(counted: dict[datetime, int], most_samples: int) -> list[datetime]:
    """The oldest buckets that hold at most so many samples together, and at least one."""
    chosen: list[datetime] = []
    total = 0
    for at in sorted(counted):
        total += counted[at]
        if chosen and total > most_samples:
            break
        chosen.append(at)
    return chosen


def _stretches(buckets: list[datetime]) -> list[Span]:
    """Neighbouring buckets as one."""
    found: list[Span] = []
    for at in buckets:
        if found and found[-1][1] == at:
            found[-1] = (found[-1][0], at + BUCKET)
        else:
            found.append((at, at + BUCKET))
    return found


def _insert(connection: Connection, low: datetime, high: datetime) -> None:
    _insert_samples(connection, low, high)
    target_rollup.insert(connection, low, high)


def _insert_samples(connection: Connection, low: datetime, high: datetime) -> None:
    span = {"low": low, "high": high}
    connection.execute(_INSERT_GAUGES, span)
    connection.execute(_INSERT_COUNTERS, {**span, "before": low - BUCKET})
    connection.execute(_INSERT_HISTOGRAMS, span)


def _step_sql(now: str, before: str) -> str:
    """What a counter counted from one value to the next; after a drop all it shows."""
    return f"CASE WHEN {now} < {before} THEN {now} ELSE {now} - {before} END"


ROLLED = {
    "rollup_gauge": "bucket_at",
    "rollup_counter": "bucket_at",
    "rollup_histogram": "sampled_at",
}
"""Tables of rolled-up samples, and the column of their time."""
_MARKS = "SELECT bucket_at FROM rollup_sample_dirty ORDER BY bucket_at LIMIT $most"
_COUNTS = f"""
SELECT bucket_at, sum(cost)::BIGINT FROM (
  SELECT {bucket_sql("sampled_at")} AS bucket_at, count(*) AS cost FROM sample
  WHERE sampled_at >= $low AND sampled_at < $high GROUP BY 1
  UNION ALL
  SELECT {bucket_sql("sampled_at")}, {_HISTOGRAM_SAMPLES} * count(*) FROM histogram_sample
  WHERE sampled_at >= $low AND sampled_at < $high GROUP BY 1)
GROUP BY bucket_at
"""
_DROP_MARKS = f"""
DELETE FROM rollup_sample_dirty
WHERE bucket_at >= $low AND bucket_at < $high AND bucket_at IN (
  SELECT bucket_at FROM rollup_gauge WHERE bucket_at >= $low AND bucket_at < $high
  UNION SELECT bucket_at FROM rollup_counter WHERE bucket_at >= $low AND bucket_at < $high
  UNION SELECT bucket_at FROM rollup_target WHERE bucket_at >= $low AND bucket_at < $high
  UNION SELECT {bucket_sql("sampled_at")} FROM rollup_histogram
  WHERE sampled_at >= $low AND sampled_at < $high)
"""
# Rows lie by time and then by series: a range is a stretch of the table, and numbers of one series
# after the other take little space.
_INSERT_GAUGES = f"""
INSERT INTO rollup_gauge
SELECT p.series_id, {bucket_sql("p.sampled_at")} AS bucket, count(*), sum(p.value), max(p.value),
       max_by(p.value, p.sampled_at), max(p.sampled_at)
FROM sample AS p JOIN series AS s USING (series_id)
WHERE s.kind = 'gauge' AND p.sampled_at >= $low AND p.sampled_at < $high
GROUP BY p.series_id, bucket ORDER BY bucket, p.series_id
"""
# The last points of the bucket before come along, for the first steps.
_INSERT_COUNTERS = f"""
INSERT INTO rollup_counter
SELECT series_id, bucket_at, min(sampled_at), min_by(value, sampled_at), max(sampled_at),
  max_by(value, sampled_at), coalesce(sum(step) FILTER (earlier_at >= bucket_at), 0),
  max(earlier_at) FILTER (earlier_at < bucket_at), sum(step) FILTER (earlier_at < bucket_at)
FROM (
  SELECT series_id, bucket_at, sampled_at, value,
    CASE WHEN known_at >= bucket_at - INTERVAL {BUCKET_SECONDS} SECONDS THEN known_at END
      AS earlier_at,
    {_step_sql("value", "earlier_value")} AS step
  FROM (
    SELECT series_id, sampled_at, value, {bucket_sql("sampled_at")} AS bucket_at,
      lag(sampled_at) OVER w AS known_at, lag(value) OVER w AS earlier_value
    FROM (
      SELECT p.series_id, p.sampled_at, p.value
      FROM sample AS p JOIN series AS s USING (series_id)
      WHERE s.kind = 'counter' AND p.sampled_at >= $low AND p.sampled_at < $high
      UNION ALL SELECT series_id, last_at, last_value FROM rollup_counter
      WHERE bucket_at = $before)
    WINDOW w AS (PARTITION BY series_id ORDER BY sampled_at))
  WHERE sampled_at >= $low)
GROUP BY series_id, bucket_at ORDER BY bucket_at, series_id
"""
# What came late into a bucket may be what the next one starts from.
_RENEW_STEPS = f"""
UPDATE rollup_counter AS r SET before_at = f.last_at, step_increase = f.step
FROM (
  SELECT n.series_id, b.last_at, {_step_sql("n.first_value", "b.last_value")} AS step
  FROM rollup_counter AS n
  LEFT JOIN (SELECT * FROM rollup_counter WHERE bucket_at = $before) AS b USING (series_id)
  WHERE n.bucket_at = $at) AS f
WHERE r.bucket_at = $at AND r.series_id = f.series_id
  AND (r.before_at IS DISTINCT FROM f.last_at OR r.step_increase IS DISTINCT FROM f.step)
"""
_INSERT_HISTOGRAMS = f"""
INSERT INTO rollup_histogram
SELECT p.*
FROM (
  SELECT series_id, sampled_at FROM (
    SELECT series_id, sampled_at, held, layout,
      lag(held) OVER w AS held_before, lead(held) OVER w AS held_after,
      lag(layout) OVER w AS layout_before, lead(layout) OVER w AS layout_after
    FROM (SELECT series_id, sampled_at, observation_count AS held, hash(edges) AS layout,
            {bucket_sql("sampled_at")} AS bucket_at
          FROM histogram_sample WHERE sampled_at >= $low AND sampled_at < $high)
    WINDOW w AS (PARTITION BY series_id, bucket_at ORDER BY sampled_at))
  WHERE held_before IS NULL OR held_after IS NULL OR held_before > held OR held_after < held
    OR layout_before <> layout OR layout_after <> layout) AS k
JOIN histogram_sample AS p ON p.series_id = k.series_id AND p.sampled_at = k.sampled_at
  AND p.sampled_at >= $low AND p.sampled_at < $high
ORDER BY {bucket_sql("p.sampled_at")}, p.series_id, p.sampled_at
"""
