"""What is deleted when: samples, their roll-ups, scrapes and live requests; never a trace."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

import duckdb

from store import arrival_rollup, sample_rollup, series_retention, target_rollup, workload_rollup
from store.append_predictions import TIERS, tier_table
from store.errors import StoreError
from store.queries.scope import LIVE_SOURCE_ID
from store.rolled_buckets import floor
from store.rollup import refresh_due
from store.settings import StoreSettings
from store.writer import Writer

PORTION_ROWS = 200_000
"""Rows deleted in one transaction; appends get in between."""
_OLD_SAMPLES = (
    ("sample", "sampled_at"),
    ("histogram_sample", "sampled_at"),
    ("scrape", "scraped_at"),
    ("job_run", "started_at"),
    ("ingest_drop", "bucket_at"),
    ("ingest_batch", "received_at"),
)


@dataclass(frozen=True, slots=True)
class Deleted:
    """Rows that a run of retention deleted, by table."""

    sample: int = 0
    histogram_sample: int = 0
    scrape: int = 0
    job_run: int = 0
    ingest_drop: int = 0
    ingest_batch: int = 0
    signal_grade: int = 0
    rollup_gauge: int = 0
    rollup_counter: int = 0
    rollup_histogram: int = 0
    rollup_target: int = 0
    series: int = 0
    request: int = 0
    request_prefix: int = 0
    session: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return sum(asdict(self).values())


def requests_kept_since(settings: StoreSettings, now: datetime) -> datetime | None:
    """Live requests before this are deleted; a whole hour, so that no bucket is cut in two."""
    if settings.request_retention_days is None:
        return None
    cutoff = now - timedelta(days=settings.request_retention_days)
    return cutoff.replace(minute=0, second=0, microsecond=0)


def delete_old(
    writer: Writer, settings: StoreSettings, now: datetime, *, portion_rows: int = PORTION_ROWS
) -> Deleted:
    """Delete what is older than the settings allow, in bounded portions.

    Samples and live requests are counted into the roll-ups before they go; the counts stay.

    Args:
        writer: the store's writer.
        settings: `sample_retention_days`, `sample_rollup_retention_days`, `request_retention_days`;
            None keeps everything.
        now: aware UTC.
        portion_rows: about how many rows one transaction deletes (rows of one instant go together).
    """
    deleted: dict[str, int] = {}
    if settings.sample_retention_days is not None:
        deleted |= _delete_samples(writer, settings, now, portion_rows)
    kept_since = requests_kept_since(settings, now)
    if kept_since is not None:
        while refresh_due(writer, now, kept_since=kept_since).buckets_left:
            pass
        before = kept_since.replace(tzinfo=None)
        # The workload views tell what is kept, arrivals and lengths alike.
        for table in (*workload_rollup.COUNTED, *arrival_rollup.COUNTED):
            _delete(writer, table, "hour_at", before, portion_rows, live=True)
        for table in ("request", "request_prefix"):
            deleted[table] = _delete(writer, table, "arrived_at", before, portion_rows, live=True)
        if deleted["request"]:
            deleted["session"] = writer.run(_delete_unused_sessions).result()
    return Deleted(**deleted)


def delete_predictions(
    writer: Writer, days: float | None, now: datetime, *, portion_rows: int = PORTION_ROWS
) -> int:
    """Delete predictions and forecasts older than `days`; gives how many there were.

    Args:
        writer: the store's writer.
        days: None keeps all.
        now: aware UTC.
        portion_rows: as in `delete_old`.
    """
    if days is None:
        return 0
    before = (now - timedelta(days=days)).replace(tzinfo=None)
    for one_in in TIERS:
        _delete(writer, tier_table(one_in), "predicted_at", before, portion_rows)
    return sum(
        _delete(writer, table, column, before, portion_rows)
        for table, column in (("prediction", "predicted_at"), ("forecast", "made_at"))
    )


def _delete_samples(
    writer: Writer, settings: StoreSettings, now: datetime, portion_rows: int
) -> dict[str, int]:
    """Delete what was scraped, once it is rolled up, and roll-ups that are older still."""
    days = settings.sample_retention_days or 0.0
    before = _bucket_days_ago(now, days)
    while sample_rollup.refresh_due(writer, now).buckets_left:
        pass
    # Readers turn to the roll-ups before the first sample goes.
    writer.run(lambda connection: sample_rollup.forget_raw(connection, before)).result()
    deleted = {
        table: _delete(writer, table, column, before, portion_rows)
        for table, column in _OLD_SAMPLES
    }
    deleted["signal_grade"] = writer.run(lambda c: _delete_past_grades(c, before)).result()
    if settings.sample_rollup_retention_days is not None:
        oldest = _bucket_days_ago(now, max(days, settings.sample_rollup_retention_days))
        rolled = {**sample_rollup.ROLLED, target_rollup.TABLE: target_rollup.COLUMN}
        for table, column in rolled.items():
            deleted[table] = _delete(writer, table, column, oldest, portion_rows)
    deleted["series"] = series_retention.delete_unused(writer, now)
    return deleted


def _bucket_days_ago(now: datetime, days: float) -> datetime:
    """A whole bucket (naive UTC), so that none is cut in two."""
    return floor((now - timedelta(days=days)).replace(tzinfo=None))


def checkpoint(writer: Writer) -> None:
    """Move the write-ahead log into the file and give back space of deleted rows.

    While a backup reads the file it is left to the next time.
    """
    try:
        writer.run(lambda connection: connection.execute("CHECKPOINT"), changes=False).result()
    except StoreError as error:
        if not isinstance(error.__cause__, duckdb.TransactionException):
            raise


def _delete(
    writer: Writer,
    table: str,
    column: str,
    before: datetime,
    portion_rows: int,
    *,
    live: bool = False,
) -> int:
    """Delete rows of `table` older than `before`, oldest first."""
    own = f"{column} < $before" + (f" AND source_id = {LIVE_SOURCE_ID}" if live else "")
    boundary = f"""SELECT max(stamp) FROM (
      SELECT {column} AS stamp FROM {table} WHERE {own} ORDER BY stamp LIMIT {int(portion_rows)})"""

    def portion(connection: duckdb.DuckDBPyConnection) -> int:
        ((last,),) = connection.execute(boundary, {"before": before}).fetchall()
        if last is None:
            return 0
        deleting = f"DELETE FROM {table} WHERE {own} AND {column} <= $last"
        ((rows,),) = connection.execute(deleting, {"before": before, "last": last}).fetchall()
        return int(rows)

    total = 0
    while rows := writer.run(portion).result():
        total += rows
    return total


def _delete_past_grades(connection: duckdb.DuckDBPyConnection, before: datetime) -> int:
    """Delete grades that had ended by `before`; the last of each signal is still in force."""
    ((rows,),) = connection.execute(
        """DELETE FROM signal_grade AS g WHERE g.graded_at < $before AND EXISTS (
          SELECT 1 FROM signal_grade AS later
          WHERE later.target_id = g.target_id AND later.signal = g.signal
            AND later.graded_at > g.graded_at AND later.graded_at <= $before)""",
        {"before": before},
    ).fetchall()
    return int(rows)


def _delete_unused_sessions(connection: duckdb.DuckDBPyConnection) -> int:
    ((rows,),) = connection.execute(
        f"""DELETE FROM session WHERE source_id = {LIVE_SOURCE_ID} AND session_key NOT IN (
          SELECT session_key FROM request
          WHERE source_id = {LIVE_SOURCE_ID} AND session_key IS NOT NULL)"""
    ).fetchall()
    return int(rows)
