"""Bulk load: files of request rows into one source, in one transaction.

The files are parsed by DuckDB's own parallel readers straight into the table. An empty source with
one label combination takes the rows directly; otherwise they are staged, and only rows that the
source does not have yet are added. Whatever goes wrong, nothing of the load remains.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from store.append import LABEL_COLUMNS, mark_dirty, register_labels
from store.bulk_keys import TimeScan, number_copies, scan_times
from store.bulk_read import literal, refuse_broken_records, relation, verify
from store.bulk_rejects import Reject, count_reasons, forget_scan, take_out, write_rejects
from store.bulk_source import open_source, refuse_bad_times, settle_source
from store.bulk_spec import BulkLoad, ImportReport
from store.clock import Clock, WallClock
from store.errors import InputError, StoreError
from store.writer import Writer

Connection = duckdb.DuckDBPyConnection

CONTENT_COLUMNS: Mapping[str, str] = {
    "input_tokens": "INTEGER",
    "output_tokens": "INTEGER",
    "cached_tokens": "INTEGER",
    "predicted_output_tokens": "INTEGER",
    "queue_seconds": "DOUBLE",
    "prefill_seconds": "DOUBLE",
    "decode_seconds": "DOUBLE",
    "ttft_seconds": "DOUBLE",
    "tpot_seconds": "DOUBLE",
    "e2e_seconds": "DOUBLE",
    "trace_id": "UUID",
    "decision_id": "BIGINT",
}
"""Columns of `request` that a format may fill, besides time, status, labels and session."""
_RATE_COLUMNS: Mapping[str, str] = {
    "client": "VARCHAR",
    "window_seconds": "DOUBLE",
    "rate_per_second": "DOUBLE",
    "interarrival_cv": "DOUBLE",
    "family": "VARCHAR",
    "shape": "DOUBLE",
    "scale_seconds": "DOUBLE",
}
_NO_TIME = "TIMESTAMP '0001-01-01'"
"""Stands for a time that could not be read until the checks take the row out."""
_POLL_SECONDS = 0.1
_READ_SHARE_RATIO = 0.8
"""Reading is about this much of a load; the rest is checking and keys."""


@dataclass(slots=True)
class _Counts:
    read: int = 0
    added: int = 0
    duplicate: int = 0


@dataclass(slots=True)
class _Run:
    """One load under way: what the writer thread shows the waiting caller."""

    spec: BulkLoad
    clock: Clock
    started: float
    connection: Connection | None = None
    reading: bool = True
    rejects_part: Path | None = None


def load(
    writer: Writer,
    spec: BulkLoad,
    progress: Callable[[float], None] | None = None,
    clock: Clock | None = None,
) -> ImportReport:
    """Load the files of `spec` and wait until they are durable.

    Loading the same rows again adds nothing. Bad rows go to a rejects file with the reason.

    Args:
        writer: of the open store.
        spec: from `collector.traces.plan.plan`.
        progress: called now and then with the share done, 0 to 1.
        clock: stamps the source and the import.

    Raises:
        InputError: a file cannot be used; nothing was written.
        StoreError: the database refused; nothing was written.
    """
    clock = clock or WallClock()
    run = _Run(spec, clock, clock.monotonic())
    sizes = _stamps(spec)
    verify(spec)
    try:
        report = _wait(writer.run(lambda connection: _job(connection, run, sizes)), run, progress)
    except StoreError as error:
        _drop_part(run)
        raise _explained(error, spec) from error
    except BaseException:
        _drop_part(run)
        raise
    if run.rejects_part is not None:
        run.rejects_part.replace(_rejects_path(spec))
    return report


def _job(connection: Connection, run: _Run, sizes: Sequence[tuple[int, int]]) -> ImportReport:
    run.connection = connection
    spec = run.spec
    source_id, is_empty = open_source(connection, spec.source, run.clock.now())
    (import_id,) = connection.execute(
        "SELECT coalesce(max(import_id), 0) + 1 FROM import_run"
    ).fetchall()[0]
    refuse_broken_records(connection, spec)
    if is_empty and _is_plain(spec):
        table = _insert_directly(connection, spec, source_id, int(import_id))
    else:
        table = _stage(connection, spec)
    run.reading = False
    rejects = take_out(connection, spec, table)
    forget_scan(connection)
    if _stamps(spec) != list(sizes):
        raise InputError("the file changed while it was read", where=str(spec.files[0]),
                         hint="wait until it is finished, then import it")  # fmt: skip
    scan = scan_times(connection, table, spec.time_column)
    if scan.rows == 0:
        raise _no_rows(spec, rejects)
    refuse_bad_times(connection, spec, scan, rejects)
    counts = _settle(connection, spec, table, scan, source_id, int(import_id))
    counts.read = scan.rows + len(rejects)
    report = _report(connection, run, scan, counts, rejects, source_id)
    _record(connection, run, report, source_id, int(import_id))
    return report


def _settle(
    connection: Connection,
    spec: BulkLoad,
    table: str,
    scan: TimeScan,
    source_id: int,
    import_id: int,
) -> _Counts:
    """Give the rows their final keys and put staged ones where they belong."""
    if spec.table == "client_rate":
        return _add_rates(connection, scan.rows, source_id)
    if spec.key is None:
        number_copies(connection, table, spec.time_column, scan)
    if table != "bulk_stage":
        mark_dirty(connection, f"(SELECT source_id, arrived_at FROM {table})")
        return _Counts(added=scan.rows)
    added = _add_staged(connection, spec, source_id, import_id)
    connection.execute("DROP TABLE bulk_stage")
    mark_dirty(
        connection, f"(SELECT source_id, arrived_at FROM request WHERE import_id = {import_id})"
    )
    return _Counts(added=added, duplicate=scan.rows - added)


def _is_plain(spec: BulkLoad) -> bool:
    """Whether every row has the same labels and nothing beside the request table."""
    return spec.table == "request" and not (spec.labels or spec.session or spec.blocks or spec.key)


def _content(spec: BulkLoad) -> str:
    """SELECT that turns source columns into stored ones; unknown ones are left out."""
    time = spec.time_column
    columns = [
        f"coalesce({expression}, {_NO_TIME}) AS {name}" if name == time
        else f"{expression} AS {name}"
        for name, expression in spec.select.items()
    ]  # fmt: skip
    columns += [f"{expression} AS {name}" for name, expression in spec.labels.items()]
    if spec.table == "request":
        columns.append(f"({spec.status})::request_status AS status")
        columns += [f"{spec.session} AS session_id"] if spec.session else []
        columns += [f"{spec.blocks} AS block_hashes"] if spec.blocks else []
        columns += [f"({spec.key})::UBIGINT AS own_key"] if spec.key else []
    return f"SELECT {', '.join(columns)} FROM {relation(spec)}"


def _key(spec: BulkLoad) -> str:
    if spec.key:
        return "own_key"
    names = [name for name in ("arrived_at", *CONTENT_COLUMNS) if name in spec.select]
    names += [name for name in LABEL_COLUMNS if name in spec.labels]
    names += ["status"] if spec.status != "'ok'" else []
    names += ["session_id"] if spec.session else []
    names += ["block_hashes"] if spec.blocks else []
    return f"hash({', '.join(names)})"


def _insert_directly(connection: Connection, spec: BulkLoad, source_id: int, import_id: int) -> str:
    labels = ", ".join(
        f"{literal(spec.constant_labels[c])} AS {c}" if c in spec.constant_labels
        else f"NULL::VARCHAR AS {c}"
        for c in LABEL_COLUMNS
    )  # fmt: skip
    register_labels(connection, f"(SELECT {labels})")
    matches = " AND ".join(f"l.{c} IS NOT DISTINCT FROM d.{c}" for c in LABEL_COLUMNS)
    (labels_id,) = connection.execute(
        f"SELECT labels_id FROM request_labels AS l JOIN (SELECT {labels}) AS d ON {matches}"
    ).fetchall()[0]
    names = [name for name in CONTENT_COLUMNS if name in spec.select]
    connection.execute(
        f"""INSERT INTO request
          (request_key, source_id, import_id, arrived_at, status, labels_id, {", ".join(names)})
        SELECT {_key(spec)}, {source_id}, {import_id}, arrived_at, status, {labels_id},
          {", ".join(names)} FROM ({_content(spec)})"""
    )
    return f"request WHERE import_id = {import_id}"


def _stage(connection: Connection, spec: BulkLoad) -> str:
    if spec.table == "client_rate":
        columns = ", ".join(
            _typed(name, kind, spec.select, {}) for name, kind in _RATE_COLUMNS.items()
        )
        query = f"SELECT window_start_at, {columns} FROM ({_content(spec)})"
    else:
        content = [_typed(n, kind, spec.select, {}) for n, kind in CONTENT_COLUMNS.items()]
        labels = [_typed(n, "VARCHAR", spec.labels, spec.constant_labels) for n in LABEL_COLUMNS]
        session = "session_id::VARCHAR" if spec.session else "NULL::VARCHAR"
        blocks = "block_hashes::UBIGINT[]" if spec.blocks else "NULL::UBIGINT[]"
        query = f"""SELECT {_key(spec)} AS request_key, arrived_at, status,
          {", ".join(content + labels)}, {session} AS session_id, {blocks} AS block_hashes
        FROM ({_content(spec)})"""
    connection.execute(f"CREATE OR REPLACE TEMP TABLE bulk_stage AS {query}")
    return "bulk_stage"


def _typed(name: str, kind: str, given: Mapping[str, str], constant: Mapping[str, str]) -> str:
    if name in constant:
        return f"{literal(constant[name])}::VARCHAR AS {name}"
    return f"{name}::{kind} AS {name}" if name in given else f"NULL::{kind} AS {name}"


def _add_staged(connection: Connection, spec: BulkLoad, source_id: int, import_id: int) -> int:
    """Add the staged rows that the source lacks, with their labels, sessions and blocks."""
    register_labels(connection, "bulk_stage")
    low, high = connection.execute(
        "SELECT min(arrived_at), max(arrived_at) FROM bulk_stage"
    ).fetchall()[0]
    matches = " AND ".join(f"l.{c} IS NOT DISTINCT FROM i.{c}" for c in LABEL_COLUMNS)
    content = ", ".join(f"i.{name}" for name in CONTENT_COLUMNS)
    once = "QUALIFY row_number() OVER (PARTITION BY i.arrived_at, i.request_key) = 1"
    (added,) = connection.execute(
        f"""INSERT INTO request (request_key, source_id, import_id, arrived_at, status, labels_id,
          {", ".join(CONTENT_COLUMNS)}, session_key)
        SELECT i.request_key, {source_id}, {import_id}, i.arrived_at, i.status, l.labels_id,
          {content}, CASE WHEN i.session_id IS NOT NULL THEN hash(i.session_id) END
        FROM bulk_stage AS i JOIN request_labels AS l ON {matches}
        WHERE NOT EXISTS (SELECT 1 FROM request AS r WHERE r.source_id = {source_id}
          AND r.arrived_at BETWEEN $low AND $high
          AND r.arrived_at = i.arrived_at AND r.request_key = i.request_key)
        {once if spec.key else ""}""",
        {"low": low, "high": high},
    ).fetchall()[0]
    connection.execute(
        f"""INSERT OR IGNORE INTO session SELECT DISTINCT {source_id}, hash(session_id), session_id
        FROM bulk_stage WHERE session_id IS NOT NULL"""
    )
    connection.execute(
        f"""INSERT INTO request_prefix
        SELECT DISTINCT {source_id}, i.request_key, i.arrived_at, i.block_hashes
        FROM bulk_stage AS i WHERE i.block_hashes IS NOT NULL
          AND NOT EXISTS (SELECT 1 FROM request_prefix AS p WHERE p.source_id = {source_id}
            AND p.arrived_at = i.arrived_at AND p.request_key = i.request_key)"""
    )
    return int(added)


def _add_rates(connection: Connection, rows: int, source_id: int) -> _Counts:
    columns = ", ".join(_RATE_COLUMNS)
    (added,) = connection.execute(
        f"""INSERT OR IGNORE INTO client_rate (source_id, window_start_at, {columns})
        SELECT {source_id}, window_start_at, {columns} FROM bulk_stage"""
    ).fetchall()[0]
    connection.execute("DROP TABLE bulk_stage")
    return _Counts(added=int(added), duplicate=rows - int(added))


def _report(
    connection: Connection,
    run: _Run,
    scan: TimeScan,
    counts: _Counts,
    rejects: Sequence[Reject],
    source_id: int,
) -> ImportReport:
    spec = run.spec
    rejects_path: Path | None = None
    if rejects:
        rejects_path = _rejects_path(spec)
        run.rejects_part = rejects_path.with_name(rejects_path.name + ".part")
        write_rejects(run.rejects_part, rejects)
    resolution, notes = settle_source(connection, spec, scan, source_id)
    return ImportReport(
        source=spec.source.name,
        format=spec.source.format,
        clock=spec.source.clock,
        clock_resolution_seconds=resolution,
        time_zone=spec.source.time_zone,
        units=spec.units,
        files=tuple(path.name for path in spec.files),
        rows_read=counts.read,
        rows_added=counts.added,
        rows_duplicate=counts.duplicate,
        rows_rejected=len(rejects),
        rejects_file=str(rejects_path) if rejects_path else None,
        reasons=count_reasons(rejects),
        seconds=run.clock.monotonic() - run.started,
        notes=(*spec.notes, *notes),
    )


def _record(
    connection: Connection, run: _Run, report: ImportReport, source_id: int, import_id: int
) -> None:
    values: dict[str, Any] = {
        "import_id": import_id,
        "source_id": source_id,
        "file": ", ".join(report.files),
        "format": report.format,
        "read": report.rows_read,
        "added": report.rows_added,
        "duplicate": report.rows_duplicate,
        "rejected": report.rows_rejected,
        "rejects_file": report.rejects_file,
        "seconds": report.seconds,
        "finished_at": run.clock.now().replace(tzinfo=None),
        "report": json.dumps(report.as_dict()),
    }
    connection.execute(
        """INSERT INTO import_run VALUES ($import_id, $source_id, $file, $format, $read, $added,
        $duplicate, $rejected, $rejects_file, $seconds, $finished_at, $report)""",
        values,
    )


def _wait(
    future: Future[ImportReport], run: _Run, progress: Callable[[float], None] | None
) -> ImportReport:
    if progress is None:
        return future.result()
    done = 0.0
    while True:
        try:
            report = future.result(timeout=_POLL_SECONDS)
        except FutureTimeout:
            if future.done():  # the job itself may have timed out somewhere
                raise
            done = max(done, _share(run))
            progress(done)
        else:
            progress(1.0)
            return report


def _share(run: _Run) -> float:
    if run.connection is None:
        return 0.0
    if not run.reading:
        return _READ_SHARE_RATIO
    return max(0.0, run.connection.query_progress()) / 100 * _READ_SHARE_RATIO


def _stamps(spec: BulkLoad) -> list[tuple[int, int]]:
    try:
        return [(p.stat().st_size, p.stat().st_mtime_ns) for p in spec.files]
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", where=str(error.filename),
                         hint="check the path and its permissions") from error  # fmt: skip


def _rejects_path(spec: BulkLoad) -> Path:
    first = spec.files[0]
    return spec.rejects_file or first.with_name(first.name + ".rejects.csv")


def _drop_part(run: _Run) -> None:
    if run.rejects_part is not None:
        run.rejects_part.unlink(missing_ok=True)


def _no_rows(spec: BulkLoad, rejects: Sequence[Reject]) -> InputError:
    why = f"all {len(rejects):,} rows are bad ({rejects[0].reason})" if rejects else "no rows in it"
    return InputError(
        f"there is nothing to import: {why}", where=str(spec.files[0]), hint="check the file"
    )


def _explained(error: StoreError, spec: BulkLoad) -> Exception:
    """DuckDB's complaint about the file, as one about the file."""
    if not isinstance(error.__cause__, duckdb.Error):
        return error
    line = error.message.splitlines()[0][:300]
    return InputError(
        f"the file could not be read ({line}); nothing was imported",
        where=str(spec.files[0]),
        hint=f"is this really the {spec.source.format} format?",
    )
