"""`servescope query`, `export`, `sources` and `add`."""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterator, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from servescope.cli import access
from servescope.cli.output import CommandError, ExitCode, Output, Progress
from servescope.config import Config, load
from store.errors import InputError, StoreError
from store.export_change import Change


def configured(store: Path | None, config_file: Path | None) -> Config:
    """The configuration with `--store` applied."""
    return load(config_file, {"server.store": str(store) if store else None})


def run_query(
    sql: str, form: str, store: Path | None, config_file: Path | None, *, as_json: bool
) -> None:
    """Print the rows of a read-only statement."""
    if form not in {"table", "csv", "json"}:
        raise InputError(f"there is no format '{form}'", hint="table, csv or json")
    out = Output(as_json=as_json)
    with access.opened(configured(store, config_file)) as way:
        found = way.sql(sql)
    if found["truncated"]:
        out.warn(found["truncated_why"] or "rows were left out")
    out.document("query", found)
    if as_json:
        return
    _print_rows(out, found, form)


def run_export(
    to: Path,
    form: str,
    params: Mapping[str, str],
    store: Path | None,
    config_file: Path | None,
    change: Change,
    *,
    as_json: bool,
) -> None:
    """Write requests to a file."""
    from servescope import exporting
    from store import export

    out = Output(as_json=as_json)
    progress = Progress(out, f"exporting to {to}")
    with access.opened(configured(store, config_file)) as way:
        if isinstance(way, access.ServerAccess):
            chunks = exporting.from_server(way.client, way.url, params, form, change)
        else:
            assert isinstance(way, access.FileAccess)  # noqa: S101 - there are two
            scope = way.runtime.scope(params, shared=False)
            chunks = exporting.chunks(way.runtime, scope, form, change)
        if str(to) == "-":
            _to_stdout(chunks)
            return
        size = export.write_file(chunks, to)
    progress.done()
    out.document("export", {"file": to, "format": form, "bytes": size})
    out.line(f"{to}  {size:,} bytes")


def _to_stdout(chunks: Iterator[bytes]) -> None:
    """Write a file to stdout, and end its making while the store is open, whoever stops reading."""
    try:
        for chunk in chunks:
            sys.stdout.buffer.write(chunk)
        sys.stdout.buffer.flush()
    finally:
        if isinstance(chunks, Generator):
            with suppress(StoreError):  # it is told of the end and answers with a failed query
                chunks.close()


def run_export_all(
    to: Path, store: Path | None, config_file: Path | None, *, as_json: bool
) -> None:
    """Write every table to a folder of Parquet files.

    Raises:
        CommandError: a server holds the store.
    """
    from store import export

    out = Output(as_json=as_json)
    with access.opened(configured(store, config_file)) as way:
        if isinstance(way, access.ServerAccess):
            raise CommandError(
                "this server holds the store, and --all has to open it itself",
                ExitCode.REFUSED, where=way.url, code="held",
                hint="stop the server and run this again; while it runs, the requests alone can"
                " be exported: `servescope export FILE`",
            )  # fmt: skip
        assert isinstance(way, access.FileAccess)  # noqa: S101 - there are two
        sizes = export.export_store(way.runtime.database, to)
    out.document("export", {"folder": to, "bytes": sizes})
    for name, size in sizes.items():
        out.line(f"{to / name}.parquet  {size:,} bytes")


def run_sources(store: Path | None, config_file: Path | None, *, as_json: bool) -> None:
    """Print what is in the store."""
    out = Output(as_json=as_json)
    with access.opened(configured(store, config_file)) as way:
        sources = way.sources()
        targets = way.view("admin", {})["frames"].get("targets", {}).get("rows", [])
    out.document("sources", {"sources": sources, "targets": targets})
    columns = ("name", "kind", "format", "clock", "request_count", "first_at", "last_at")
    out.table(columns, [[source[name] for name in columns] for source in sources])
    if targets:
        out.line()
        told = ("url", "engine", "engine_version", "state", "data_age_seconds", "error")
        out.table(told, [[target.get(name) for name in told] for target in targets])


def run_add(url: str, store: Path | None, config_file: Path | None, *, as_json: bool) -> None:
    """Connect an engine to the running server."""
    out = Output(as_json=as_json)
    with ExitStack() as stack:
        server = access.the_server(configured(store, config_file))
        stack.enter_context(server.client)
        added = server.send("POST", "/targets", json={"url": url})
    out.document("add", added)
    out.line(f"scraping {added['url']}; see {server.url}/ui/")


def _print_rows(out: Output, found: Mapping[str, Any], form: str) -> None:
    columns, rows = found["columns"], found["rows"]
    if form == "table":
        out.table(columns, [[row[name] for name in columns] for row in rows])
        return
    if form == "json":
        from servescope.json_text import to_json

        for row in rows:
            out.line(to_json(row).decode())
        return
    import polars as pl

    from servescope.documents import csv_safe

    frame = pl.DataFrame(rows, schema=columns, infer_schema_length=None, strict=False)
    out.line(csv_safe(frame).write_csv().rstrip("\n"))
