"""What is needed to notice faults of cards across a restart, and the faults noticed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import polars as pl

from store.queries.first_rows import total
from store.reader import Reader

LAST_READINGS = """
SELECT s.target_id, s.signal, s.labels::VARCHAR AS labels, max(p.sampled_at) AS at,
       max_by(p.value, p.sampled_at) AS value
FROM sample AS p JOIN series AS s USING (series_id)
WHERE p.sampled_at >= $start AND list_contains($signals::VARCHAR[], s.signal)
GROUP BY ALL
"""
FAULTS = """
SELECT node, gpu, started_at, ended_at, kind, details->>'text' AS text
FROM gpu_fault WHERE started_at >= $start AND started_at < $end
ORDER BY started_at DESC, node, gpu, kind LIMIT $most
"""
MOST_FAULTS = 1_000


def last_readings(reader: Reader, signals: Sequence[str], start: datetime) -> pl.DataFrame:
    """The newest value of every series of some signals.

    Args:
        reader: the store.
        signals: names in the catalogue.
        start: nothing older than this, aware UTC.

    Returns:
        target_id, signal, labels (JSON text), at (naive UTC), value.
    """
    return reader.frame(LAST_READINGS, start=start.replace(tzinfo=None), signals=list(signals))


def gpu_fault_count(reader: Reader, start: datetime, end: datetime, held: int) -> int:
    """How many rows `gpu_faults` would have without its limit.

    Args:
        reader: the store.
        start: aware UTC.
        end: aware UTC, exclusive.
        held: rows that it gave.
    """
    params = {"start": start.replace(tzinfo=None), "end": end.replace(tzinfo=None)}
    return total(reader, FAULTS, held, MOST_FAULTS, **params)


def gpu_faults(reader: Reader, start: datetime, end: datetime) -> pl.DataFrame:
    """Faults of cards that began in a range of time, the newest first, at most a thousand.

    Returns:
        node, gpu, started_at, ended_at (naive UTC, null for something without duration), kind,
        text.
    """
    return reader.frame(
        FAULTS, start=start.replace(tzinfo=None), end=end.replace(tzinfo=None), most=MOST_FAULTS
    )
