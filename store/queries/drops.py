"""What the doors refused or left out lately, most first."""

from __future__ import annotations

from datetime import datetime

import polars as pl

from store.queries.first_rows import total
from store.reader import Reader

MOST_ROWS = 200

DROPS = """
SELECT door, reason, sum(dropped_count)::BIGINT AS dropped,
       arg_max(example, bucket_at) FILTER (WHERE example IS NOT NULL) AS example,
       min(bucket_at) AS first_at, max(bucket_at) + INTERVAL 10 MINUTES AS last_at
FROM ingest_drop WHERE bucket_at + INTERVAL 10 MINUTES > $since AND bucket_at < $until
GROUP BY door, reason ORDER BY dropped DESC, door, reason LIMIT $most
"""


def drops(reader: Reader, since: datetime, until: datetime) -> pl.DataFrame:
    """What was not taken in a range of time, in ten-minute steps.

    Args:
        reader: the store's reader.
        since: aware UTC.
        until: aware UTC, exclusive.

    Returns:
        door, reason, dropped (how many), example (or null), first_at, last_at (naive UTC: begin of
        the first and end of the last ten minutes that saw it); most first, at most 200 rows.
        `counted` tells how many there are.
    """
    return reader.frame(DROPS, **_between(since, until), most=MOST_ROWS)


def counted(reader: Reader, since: datetime, until: datetime, held: int) -> int:
    """How many rows there are, of which `drops` gave `held`."""
    return total(reader, DROPS, held, MOST_ROWS, **_between(since, until))


def _between(since: datetime, until: datetime) -> dict[str, datetime]:
    return {"since": since.replace(tzinfo=None), "until": until.replace(tzinfo=None)}
