"""What the store holds and how complete it is."""

from __future__ import annotations

from typing import Any

import polars as pl

from store.queries.first_rows import total
from store.reader import Reader

# Fields of request rows that pages can need; counted once for the coverage matrix.
COUNTED_FIELDS = (
    "input_tokens", "output_tokens", "ttft_seconds", "tpot_seconds", "e2e_seconds", "session_key",
)  # fmt: skip
_COUNTS = ", ".join(f"count(r.{name}) AS {name}" for name in COUNTED_FIELDS)

FIELDS = f"""
WITH c AS (
  SELECT r.source_id, r.labels_id, count(*) AS requests, {_COUNTS}
  FROM request AS r GROUP BY ALL
), labelled AS (
  SELECT c.source_id, sum(c.requests) AS requests,
    {", ".join(f"sum(c.{name}) AS {name}" for name in COUNTED_FIELDS)},
    sum(c.requests) FILTER (WHERE l.tenant IS NOT NULL) AS tenant,
    sum(c.requests) FILTER (WHERE l.route IS NOT NULL) AS route,
    sum(c.requests) FILTER (WHERE l.model IS NOT NULL) AS model
  FROM c JOIN request_labels AS l USING (labels_id) GROUP BY c.source_id
), hashed AS (
  SELECT source_id, count(*) AS block_hashes FROM request_prefix GROUP BY source_id
), rated AS (
  SELECT source_id, count(*) AS rates FROM client_rate GROUP BY source_id
)
SELECT s.source_id, s.name,
  {
    ", ".join(
        f"CAST(coalesce({name}, 0) AS BIGINT) AS {name}"
        for name in (
            "requests",
            *COUNTED_FIELDS,
            "tenant",
            "route",
            "model",
            "block_hashes",
            "rates",
        )
    )
}
FROM source AS s LEFT JOIN labelled USING (source_id) LEFT JOIN hashed USING (source_id)
LEFT JOIN rated USING (source_id) ORDER BY s.source_id
"""

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


def fields(reader: Reader) -> pl.DataFrame:
    """How many requests of each source carry each field that a page can need.

    Returns:
        source_id, name, requests, input_tokens, output_tokens, ttft_seconds, tpot_seconds,
        e2e_seconds, session_key, tenant, route, model, block_hashes, rates (client windows).
    """
    return reader.frame(FIELDS)


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
