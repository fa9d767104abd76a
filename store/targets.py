"""Targets: the endpoints that are scraped."""

from __future__ import annotations

import json
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime

import duckdb
import polars as pl

from store.writer import Writer


def register(
    writer: Writer, url: str, added_at: datetime, labels: Mapping[str, str] | None = None
) -> Future[int]:
    """The id of a target, made when the URL is new; a removed target comes back under its old id.

    Args:
        writer: the store's writer.
        url: the metrics address, already normalised.
        added_at: aware UTC.
        labels: what discovery knows about it; replaces what was noted before. None leaves that.
    """

    def work(connection: duckdb.DuckDBPyConnection) -> int:
        number = register_in(connection, url, added_at)
        if labels is not None:
            _label_in(connection, number, labels)
        return number

    return writer.run(work)


@dataclass(frozen=True, slots=True)
class Noted:
    """A target as it was found; what is None leaves what was noted before."""

    added_at: datetime
    engine: str | None = None
    model: str | None = None


def note(writer: Writer, found: Mapping[str, Noted]) -> Future[dict[str, int]]:
    """The ids of many targets by their URLs, in one transaction; new ones are made, all described.

    Args:
        writer: the store's writer.
        found: by URL; removed targets come back under their old ids.
    """
    return writer.run(lambda connection: _note_in(connection, found))


def _note_in(connection: duckdb.DuckDBPyConnection, found: Mapping[str, Noted]) -> dict[str, int]:
    columns = {
        "url": pl.Series(list(found), dtype=pl.String),
        "added_at": pl.Series(
            [one.added_at.replace(tzinfo=None) for one in found.values()], dtype=pl.Datetime("us")
        ),
        "engine": pl.Series([one.engine for one in found.values()], dtype=pl.String),
        "model": pl.Series([one.model for one in found.values()], dtype=pl.String),
    }
    connection.register("noted", pl.DataFrame(columns).with_row_index("place").to_arrow())
    try:
        for statement in _NOTE:
            connection.execute(statement)
        rows = connection.execute("SELECT url, target_id FROM target JOIN noted USING (url)")
        return {str(url): int(number) for url, number in rows.fetchall()}
    finally:
        connection.unregister("noted")


_NOTE = (
    """INSERT INTO target (target_id, url, added_at)
    SELECT (SELECT coalesce(max(target_id), 0) FROM target)
        + row_number() OVER (ORDER BY place), url, added_at
    FROM noted ANTI JOIN target USING (url)""",
    """UPDATE target SET removed_at = NULL, engine = coalesce(n.engine, target.engine),
        model = coalesce(n.model, target.model)
    FROM noted AS n WHERE n.url = target.url AND (target.removed_at IS NOT NULL
        OR n.engine IS NOT NULL AND n.engine IS DISTINCT FROM target.engine
        OR n.model IS NOT NULL AND n.model IS DISTINCT FROM target.model)""",
)


def register_in(connection: duckdb.DuckDBPyConnection, url: str, added_at: datetime) -> int:
    """The same within a transaction of the writer."""
    row = connection.execute("SELECT target_id, removed_at FROM target WHERE url = ?", [url])
    known = row.fetchone()
    if known is not None:
        if known[1] is not None:
            connection.execute(
                "UPDATE target SET removed_at = NULL WHERE target_id = ?", [known[0]]
            )
        return int(known[0])
    ((number,),) = connection.execute(
        "SELECT coalesce(max(target_id), 0) + 1 FROM target"
    ).fetchall()
    connection.execute(
        "INSERT INTO target (target_id, url, added_at) VALUES (?, ?, ?)",
        [number, url, added_at.replace(tzinfo=None)],
    )
    return int(number)


def describe(
    writer: Writer,
    target_id: int,
    *,
    engine: str | None = None,
    engine_version: str | None = None,
    model: str | None = None,
) -> Future[None]:
    """Note what a target turned out to be; None leaves a field as it is."""
    return writer.run(
        lambda connection: describe_in(connection, target_id, engine, engine_version, model)
    )


def describe_in(
    connection: duckdb.DuckDBPyConnection,
    target_id: int,
    engine: str | None,
    engine_version: str | None,
    model: str | None,
) -> None:
    """The same within a transaction of the writer."""
    connection.execute(
        """UPDATE target SET engine = coalesce($engine, engine),
        engine_version = coalesce($version, engine_version), model = coalesce($model, model)
        WHERE target_id = $target_id""",
        {"engine": engine, "version": engine_version, "model": model, "target_id": target_id},
    )


def _label_in(
    connection: duckdb.DuckDBPyConnection, target_id: int, labels: Mapping[str, str]
) -> None:
    text = json.dumps(dict(labels), sort_keys=True, separators=(",", ":")) if labels else None
    connection.execute("UPDATE target SET labels = ? WHERE target_id = ?", [text, target_id])


def remove(writer: Writer, url: str, removed_at: datetime) -> Future[None]:
    """Note that a target is not scraped any more; what it gave stays.

    Args:
        writer: the store's writer.
        url: the metrics address, normalised; an unknown one changes nothing.
        removed_at: aware UTC.
    """

    def work(connection: duckdb.DuckDBPyConnection) -> None:
        connection.execute(
            "UPDATE target SET removed_at = $at WHERE url = $url",
            {"at": removed_at.replace(tzinfo=None), "url": url},
        )

    return writer.run(work)
