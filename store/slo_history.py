"""Which objectives were in force, and since when: rows that are only ever added."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from concurrent.futures import Future
from datetime import datetime

import duckdb

from store.once import add_new
from store.writer import Writer


def record(writer: Writer, definitions: Mapping[str, str], since_at: datetime) -> Future[int]:
    """Keep definitions that were never seen before; known ones stay as they are.

    Args:
        writer: the store's writer.
        definitions: name -> definition as JSON text with sorted keys.
        since_at: aware UTC; when they came into force.

    Returns:
        a future: how many were new.
    """
    at = since_at.replace(tzinfo=None)
    rows = [
        {"name": name, "text": text, "hash": hashlib.sha256(text.encode()).hexdigest(), "at": at}
        for name, text in definitions.items()
    ]

    def work(connection: duckdb.DuckDBPyConnection) -> int:
        keys = ("name", "definition_hash")
        return sum(add_new(connection, "slo", keys, _ROW, row) for row in rows)

    # No view reads this table, so nothing that was computed has grown old.
    return writer.run(work, changes=False)


_ROW = """SELECT $name AS name, $text AS definition, $hash AS definition_hash, $at AS since_at"""
