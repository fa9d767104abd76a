"""Buckets of five minutes, in which samples are rolled up."""

from __future__ import annotations

from datetime import datetime, timedelta

BUCKET_SECONDS = 300
BUCKET = timedelta(seconds=BUCKET_SECONDS)


def floor(at: datetime) -> datetime:
    """The start of the bucket that holds a naive time; buckets count from 1970-01-01."""
    return at - (at - datetime(1970, 1, 1)) % BUCKET  # noqa: DTZ001 - as the store keeps it


def bucket_sql(column: str) -> str:
    """SQL for the start of the bucket that holds a time."""
    return f"time_bucket(INTERVAL {BUCKET_SECONDS} SECONDS, {column}, TIMESTAMP '1970-01-01')"
