"""Series without any point left: neither samples nor roll-ups, and nothing comes any more.

A label that holds ids or times makes series that are told once. Their samples go with age, their
roll-ups later; then nobody can ask for them, and their rows go too.

Looking is cheap for what is told today, and takes a look at each day of roll-ups for the rest, a
transaction each, so that appends get in between. What is told meanwhile is known from the writer's
memory of series, which is emptied when the looking begins.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial

import duckdb

from store.append_points import PointAppender
from store.rolled_buckets import BUCKET
from store.sample_rollup import ROLLED
from store.writer import Writer

CHECK_EVERY = timedelta(days=1)
STRETCH = timedelta(days=1)
PORTION_SERIES = 5_000
"""Series deleted in one transaction; two indexes make it some 0.2 s."""
Connection = duckdb.DuckDBPyConnection


def delete_unused(writer: Writer, now: datetime, *, portion_series: int = PORTION_SERIES) -> int:
    """Delete the rows of series that have no point left; at most once a day.

    Args:
        writer: the store's writer; all samples that are due are rolled up.
        now: aware UTC.
        portion_series: how many rows one transaction deletes.

    Returns:
        Deleted rows.
    """
    at = now.replace(tzinfo=None)
    begun = writer.run(lambda con: _begin(con, writer.points, at), changes=False).result()
    if begun is None:
        return 0
    memory, oldest, recent = begun
    high, left = recent, True
    while left and high > oldest:
        low = high - STRETCH
        left = writer.run(partial(_keep_used, low=low, high=high), changes=False).result()
        high = low
    deleted = 0
    while left:
        rows = writer.run(lambda con: _delete(con, writer.points, memory, portion_series)).result()
        deleted, left = deleted + rows, rows > 0
    writer.run(_end, changes=False).result()
    return deleted


def _begin(
    connection: Connection, points: PointAppender, now: datetime
) -> tuple[object, datetime, datetime] | None:
    """Note the series that may have no point: those without one in the last day.

    Returns:
        What tells whether the memory of series is still the same, the time of the oldest roll-up,
        and that since when was looked. None when there is nothing to do.
    """
    state = connection.execute(
        "SELECT rolled_until, raw_since, series_checked_at FROM rollup_sample_state"
    ).fetchone()
    if state is None or (state[2] is not None and now - state[2] < CHECK_EVERY):
        return None
    connection.execute("UPDATE rollup_sample_state SET series_checked_at = $now", {"now": now})
    rolled_until, raw_since, _ = state
    recent = rolled_until - STRETCH
    connection.execute("CREATE OR REPLACE TEMP TABLE unused_series AS SELECT series_id FROM series")
    _keep_used(connection, recent, now + STRETCH)
    # What no roll-up holds: what came last, and what came late.
    _keep_told(connection, rolled_until, datetime.max)  # noqa: DTZ901 - naive, as stored
    if raw_since is not None:
        _keep_told(connection, datetime.min, raw_since)  # noqa: DTZ901
    for (at,) in connection.execute("SELECT bucket_at FROM rollup_sample_dirty").fetchall():
        _keep_told(connection, at, at + BUCKET)
    if not _left(connection):
        return None
    points.forget_series()
    return points.memory, _oldest(connection, recent), recent


def _oldest(connection: Connection, recent: datetime) -> datetime:
    firsts = " UNION ALL ".join(
        f"SELECT min({at}) AS first_at FROM {name}" for name, at in ROLLED.items()
    )
    ((found,),) = connection.execute(f"SELECT min(first_at) FROM ({firsts})").fetchall()
    return found if isinstance(found, datetime) else recent


def _keep_used(connection: Connection, low: datetime, high: datetime) -> bool:
    """Take those off the list that have a roll-up in a stretch; gives whether any are left."""
    for name, column in ROLLED.items():
        _take_off(connection, name, column, low, high)
    return _left(connection)


def _keep_told(connection: Connection, low: datetime, high: datetime) -> None:
    """Take those off the list that have a sample in a stretch."""
    for name in ("sample", "histogram_sample"):
        _take_off(connection, name, "sampled_at", low, high)


def _take_off(
    connection: Connection, table: str, column: str, low: datetime, high: datetime
) -> None:
    connection.execute(
        f"""DELETE FROM unused_series WHERE series_id IN (
          SELECT series_id FROM {table} WHERE {column} >= $low AND {column} < $high)""",
        {"low": low, "high": high},
    )


def _left(connection: Connection) -> bool:
    ((rows,),) = connection.execute("SELECT count(*) FROM unused_series").fetchall()
    return bool(rows)


def _delete(connection: Connection, points: PointAppender, memory: object, most: int) -> int:
    """Delete some of the list, unless a point of them came; nothing if that cannot be told."""
    if points.memory is not memory:
        return 0
    connection.execute(
        "DELETE FROM unused_series WHERE series_id IN (SELECT unnest($told::INTEGER[]))",
        {"told": points.known_series()},
    )
    chosen = f"SELECT series_id FROM unused_series ORDER BY series_id LIMIT {int(most)}"
    ((rows,),) = connection.execute(f"DELETE FROM series WHERE series_id IN ({chosen})").fetchall()
    connection.execute(f"DELETE FROM unused_series WHERE series_id IN ({chosen})")
    return int(rows)


def _end(connection: Connection) -> None:
    connection.execute("DROP TABLE IF EXISTS unused_series")
