"""What the store holds and how complete it is."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import polars as pl

from store.queries.first_rows import total
from store.reader import Reader

# The first row that has it answers, and columns without any are known from statistics: a few
# milliseconds for ten million rows, where to count them takes 200.
_REQUESTS = "FROM request WHERE source_id = {number}"
_CARRIED = {
    "requests": _REQUESTS,
    **{
        name: f"{_REQUESTS} AND {name} IS NOT NULL"
        for name in (
            "input_tokens", "output_tokens", "ttft_seconds", "tpot_seconds", "e2e_seconds",
            "session_key",
        )
    },
    **{
        name: f"""{_REQUESTS} AND labels_id IN
  (SELECT labels_id FROM request_labels WHERE {name} IS NOT NULL)"""
        for name in ("tenant", "route", "model")
    },
    "block_hashes": "FROM request_prefix WHERE source_id = {number}",
    "rates": "FROM client_rate WHERE source_id = {number}",
}  # fmt: skip

MOST_IMPORTS = 100
IMPORTS = """
SELECT i.import_id, s.name AS source, i.file, i.rows_added, i.rows_duplicate, i.rows_rejected,
       i.finished_at, i.seconds
FROM import_run AS i JOIN source AS s USING (source_id) ORDER BY i.import_id DESC LIMIT $most
"""

TIME_COLUMNS = """
SELECT t.table_name, min_by(c.column_name, c.column_index) FILTER (WHERE c.data_type = 'TIMESTAMP')
  AS time_column
FROM duckdb_tables() AS t LEFT JOIN duckdb_columns() AS c USING (database_name, table_name)
WHERE t.database_name = current_database() AND NOT t.internal AND NOT t.temporary
GROUP BY t.table_name ORDER BY t.table_name
"""


def carried(reader: Reader, source_ids: Iterable[int]) -> dict[int, set[str]]:
    """Which fields that a page can need any request of each source carries.

    Returns:
        source id -> some of requests (there is one), input_tokens, output_tokens, ttft_seconds,
        tpot_seconds, e2e_seconds, session_key, tenant, route, model, block_hashes, and rates
        (client windows).
    """
    found: dict[int, set[str]] = {int(number): set() for number in source_ids}
    looks = [
        f"(SELECT {number} AS source_id, '{name}' AS field {rows.format(number=number)} LIMIT 1)"
        for number in found
        for name, rows in _CARRIED.items()
    ]
    if looks:
        for number, name in reader.frame("\nUNION ALL ".join(looks)).iter_rows():
            found[number].add(name)
    return found


def signals(reader: Reader) -> pl.DataFrame:
    """target_id and signal of every live series."""
    return reader.frame("SELECT DISTINCT target_id, signal FROM series ORDER BY ALL")


def imports(reader: Reader) -> tuple[pl.DataFrame, int]:
    """The hundred newest imports; and how many there are.

    Returns:
        import_id, source, file, rows_added, rows_duplicate, rows_rejected, finished_at (naive),
        seconds; newest first.
    """
    found = reader.frame(IMPORTS, most=MOST_IMPORTS)
    return found, total(reader, IMPORTS, found.height, MOST_IMPORTS)


def tables(reader: Reader) -> pl.DataFrame:
    """Every table of the store: rows, and the span of its first time column.

    Returns:
        table, rows, oldest_at, newest_at (naive; trace time for rows of traces).
    """
    parts = []
    for name, column in reader.frame(TIME_COLUMNS).iter_rows():
        span = f'min("{column}"), max("{column}")' if column else "NULL, NULL"
        parts.append(f"SELECT '{name}', count(*), {span} FROM \"{name}\"")
    if not parts:
        return pl.DataFrame(schema=_TABLES_SCHEMA)
    found = reader.frame(" UNION ALL ".join(parts))
    return found.rename(dict(zip(found.columns, _TABLES_SCHEMA, strict=True))).cast(
        pl.Schema(_TABLES_SCHEMA)
    )


_TABLES_SCHEMA: dict[str, Any] = {
    "table": pl.String,
    "rows": pl.Int64,
    "oldest_at": pl.Datetime("us"),
    "newest_at": pl.Datetime("us"),
}


def store_bytes(reader: Reader) -> int | None:
    """Bytes of the database file (without its write-ahead log); None in memory."""
    found = reader.scalar(
        "SELECT block_size * total_blocks FROM pragma_database_size()"
        " WHERE database_name = current_database()"
    )
    return int(found) if found else None
