"""Tables of sums by the hour of arrival: an hour is counted as a whole, whatever changed in it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import duckdb

Counted = Mapping[str, str]
"""Table with `source_id` and `hour_at` -> SELECT of its rows, by name.

It says `$source_id`, `$low`, `$high` and `{hours}`, as they are in `count_hours`.
"""


def count_hours(
    connection: duckdb.DuckDBPyConnection,
    counted: Counted,
    hours: str,
    source_id: int,
    low: datetime,
    high: datetime,
) -> None:
    """Count hours of one source again.

    Args:
        connection: the write connection, in a transaction.
        counted: the tables.
        hours: SQL of a table of the hours that are meant: bucket_at.
        source_id: whose.
        low: start of the first, naive.
        high: end of the last, naive.
    """
    values: dict[str, Any] = {"source_id": source_id, "low": low, "high": high}
    for table, rows in counted.items():
        connection.execute(
            f"""DELETE FROM {table} WHERE source_id = $source_id AND hour_at >= $low
            AND hour_at < $high AND hour_at IN (SELECT bucket_at FROM {hours})""",
            values,
        )
        connection.execute(f"INSERT INTO {table} BY NAME {rows.format(hours=hours)}", values)
