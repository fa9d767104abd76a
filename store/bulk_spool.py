"""One source as a Parquet file that another store can load: rows, keys, blocks, and what it is.

A command that finds a running server cannot open its store. It loads the trace into a scratch
store instead, writes the source out with `spool`, and sends that file.
"""

from __future__ import annotations

import json
from pathlib import Path

import duckdb

from store.bulk_read import literal
from store.database import Database
from store.errors import InputError

Connection = duckdb.DuckDBPyConnection

SOURCES_KEY = "servescope_sources"
"""Parquet metadata: JSON, source name -> fields of `store.bulk_spec.SourceSpec`."""

REQUEST_ROWS = """
SELECT r.* EXCLUDE (source_id, import_id), p.block_hashes
FROM requests AS r
LEFT JOIN request_prefix AS p ON p.source_id = r.source_id AND p.arrived_at = r.arrived_at
  AND p.request_key = r.request_key
WHERE r.source_id = {source_id} ORDER BY r.arrived_at, r.request_key
"""
_RATE_ROWS = """
SELECT s.name AS source, c.* EXCLUDE (source_id) FROM client_rate AS c JOIN source AS s USING (source_id)
WHERE c.source_id = {source_id} ORDER BY c.client, c.window_start_at
"""  # noqa: E501 - one query


def spool(database: Database, source: str, file: Path) -> Path:
    """Write all rows of one source to a Parquet file.

    Loading that file (format `servescope`) gives the same rows with the same keys; loading it twice
    changes nothing.

    Args:
        database: opened with `allow_files=True`.
        source: its name.
        file: written, or replaced.

    Returns:
        `file`.

    Raises:
        InputError: there is no such source.
        StoreError: the file cannot be written.
    """
    return database.writer.run(lambda connection: _write(connection, source, file)).result()


def source_metadata(connection: Connection, source_ids: list[int]) -> str:
    """What a file says about its sources, so that they arrive as they left (JSON text)."""
    rows = connection.execute(
        """SELECT name, kind, format, clock, clock_resolution_seconds, time_zone,
          prefix_block_tokens, licence FROM source
        WHERE source_id IN (SELECT unnest($ids)) ORDER BY source_id""",
        {"ids": source_ids},
    )
    names = [column[0] for column in rows.description or ()]
    return json.dumps({row[0]: dict(zip(names, row, strict=True)) for row in rows.fetchall()})


def _write(connection: Connection, source: str, file: Path) -> Path:
    found = connection.execute(
        """SELECT source_id, EXISTS (SELECT 1 FROM request AS r WHERE r.source_id = s.source_id)
        FROM source AS s WHERE name = $name""",
        {"name": source},
    ).fetchall()
    if not found:
        raise InputError(f"no source is called '{source}'", hint="`servescope status` lists them")
    source_id, has_requests = found[0]
    rows = (REQUEST_ROWS if has_requests else _RATE_ROWS).format(source_id=source_id)
    metadata = literal(source_metadata(connection, [source_id]))
    connection.execute(
        f"COPY ({rows}) TO {literal(str(file))} "
        f"(FORMAT parquet, COMPRESSION zstd, KV_METADATA {{{SOURCES_KEY}: {metadata}}})"
    )
    return file
