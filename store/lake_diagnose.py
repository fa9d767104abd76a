"""What is wrong with a lake and what to do about it, for `servescope doctor`.

Changes nothing: a catalogue that is not there is not made.
"""

from __future__ import annotations

from collections.abc import Iterator

import duckdb

from store.errors import ServescopeError
from store.finding import Finding
from store.lake import NAME
from store.lake_address import LakeAddress, lake_address
from store.lake_attach import INSTALL, attach_to_look, extension_file
from store.migrate import latest_version
from store.settings import StoreSettings
from store.units import count_text

_NO_LAKE = "creating a new DuckLake is explicitly disabled"


def diagnose_lake(settings: StoreSettings) -> list[Finding]:
    """Look at the lake that the settings name: extensions, catalogue, schema, files."""
    try:
        address = lake_address(settings.lake, settings.lake_data)
    except ServescopeError as error:
        return [Finding("fail", "lake", f"{error.where}: {error.message}", error.hint)]
    findings = list(_extensions(address))
    if any(finding.level == "fail" for finding in findings):
        return findings
    return [*findings, *_inside(address)]


def _extensions(address: LakeAddress) -> Iterator[Finding]:
    missing = [name for name in address.extensions if extension_file(name) is None]
    text = ", ".join(missing or address.extensions)
    if missing:
        yield Finding(
            "fail", "extensions", f"not installed for DuckDB {duckdb.__version__}: {text}", INSTALL
        )
    else:
        yield Finding("ok", "extensions", f"{text} for DuckDB {duckdb.__version__}")


def _inside(address: LakeAddress) -> Iterator[Finding]:
    with duckdb.connect() as connection:  # noqa: TID251 - an instance that holds nothing
        try:
            attach_to_look(connection, address)
        except ServescopeError as error:
            if _NO_LAKE in error.message:
                text = f"{address.text} is not there yet"
                yield Finding("note", "lake", text, "the first `servescope up` makes it")
            else:
                yield Finding("fail", "lake", error.message, error.hint)
            return
        yield Finding("ok", "lake", address.text)
        try:
            yield from _content(connection)
        except duckdb.Error as error:
            first = str(error).strip().splitlines()[0]
            yield Finding("fail", "files", first, "are they where store.lake_data says?")


def _content(connection: duckdb.DuckDBPyConnection) -> Iterator[Finding]:
    """The schema, and a look into each of the large tables, for which files must be read."""
    rows = connection.execute(f"SELECT max(version) FROM {NAME}.migration").fetchone()
    newest, latest = (rows[0] or 0) if rows else 0, latest_version()
    if newest > latest:
        text = f"schema version {newest}, this program knows up to {latest}"
        yield Finding("fail", "schema", text, "upgrade servescope")
        return
    behind = f", {latest - newest} behind" if newest < latest else ", up to date"
    yield Finding("ok" if newest == latest else "note", "schema", f"version {newest}{behind}")
    parts = []
    for table, column in (("request", "arrived_at"), ("sample", "sampled_at")):
        row = connection.execute(f"SELECT count(*) FROM {NAME}.{table}").fetchone()
        connection.execute(f"SELECT {column} FROM {NAME}.{table} LIMIT 1").fetchall()
        parts.append(f"{count_text(row[0] if row else 0)} {table}s")
    yield Finding("ok", "content", ", ".join(parts))
