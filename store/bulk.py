"""Bulk load: files of request rows into one source, in one transaction.

The files are parsed by DuckDB's own parallel readers straight into the table. An empty source with
one label combination takes the rows directly; otherwise they are staged, and only rows that the
source does not have yet are added. Whatever goes wrong, nothing of the load remains.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from store import bulk_rows
from store.bulk_keys import TimeScan, scan_times
from store.bulk_read import refuse_broken_records, verify
from store.bulk_rejects import (
    Reject,
    count_reasons,
    forget_scan,
    refuse_overwriting,
    take_out,
    write_rejects,
)
from store.bulk_source import open_source, refuse_bad_times, settle_source
from store.bulk_spec import BulkLoad, ImportReport
from store.clock import Clock, WallClock
from store.errors import InputError, StoreError
from store.writer import Writer

Connection = duckdb.DuckDBPyConnection

_FILE_ERRORS = (
    duckdb.IOException,
    duckdb.InvalidInputException,
    duckdb.ConversionException,
    duckdb.BinderException,
    duckdb.OutOfRangeException,
)
_POLL_SECONDS = 0.1
_READ_SHARE_RATIO = 0.8
"""Reading is about this much of a load; the rest is checking and keys."""


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
    *,
    checked: bool = False,
) -> ImportReport:
    """Load the files of `spec` and wait until they are durable.

    Loading the same rows again adds nothing. Bad rows go to a rejects file with the reason.

    Args:
        writer: of the open store.
        spec: from `collector.traces.plan.plan`.
        progress: called now and then with the share done, 0 to 1.
        clock: stamps the source and the import.
        checked: whether `check` was called on `spec` just now.

    Raises:
        InputError: a file cannot be used; nothing was written.
        StoreError: the database refused; nothing was written.
    """
    clock = clock or WallClock()
    run = _Run(spec, clock, clock.monotonic())
    sizes = _stamps(spec)
    if not checked:
        check(spec)
    if progress is not None:
        _count_progress(writer)
    future = writer.run(lambda connection: _job(connection, run, sizes))
    try:
        report = _wait(future, run, progress)
    except StoreError as error:
        _drop_part(run)
        raise _explained(error, spec) from error
    except BaseException:
        _stop(run, future)
        _drop_part(run)
        raise
    if run.rejects_part is not None:
        run.rejects_part.replace(_rejects_path(spec))
    return report


def check(spec: BulkLoad) -> None:
    """Refuse files that cannot be loaded, as far as that shows without parsing them.

    Raises:
        InputError: see `store.bulk_read.verify`; or the rejects file would replace another file.
    """
    verify(spec)
    refuse_overwriting(_rejects_path(spec))


def _job(connection: Connection, run: _Run, sizes: Sequence[tuple[int, int]]) -> ImportReport:
    run.connection = connection
    spec = run.spec
    source_id, is_empty = open_source(connection, spec.source, run.clock.now())
    (import_id,) = connection.execute(
        "SELECT coalesce(max(import_id), 0) + 1 FROM import_run"
    ).fetchall()[0]
    refuse_broken_records(connection, spec)
    if is_empty and bulk_rows.is_plain(spec):
        table = bulk_rows.insert_directly(connection, spec, (source_id, int(import_id)))
    else:
        table = bulk_rows.stage(connection, spec)
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
    added = bulk_rows.settle(connection, spec, table, scan, (source_id, int(import_id)))
    report = _report(connection, run, scan, added, rejects, source_id)
    _record(connection, run, report, source_id, int(import_id))
    return report


def _report(
    connection: Connection,
    run: _Run,
    scan: TimeScan,
    added: int,
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
        rows_read=scan.rows + len(rejects),
        rows_added=added,
        rows_duplicate=scan.rows - added,
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


def _count_progress(writer: Writer) -> None:
    """Have DuckDB count how far a query is; a server's locked settings refuse, and so be it."""
    with suppress(StoreError):
        writer.run(
            lambda connection: connection.execute(
                "SET enable_progress_bar = true; SET enable_progress_bar_print = false"
            )
        ).result()


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


def _stop(run: _Run, future: Future[ImportReport]) -> None:
    """The caller gives up (an interrupt, or its progress display failed): roll back now."""
    if run.connection is not None and not future.done():
        run.connection.interrupt()
    wait([future])


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
    why = (
        f"all {len(rejects):,} rows are bad ({rejects[0].reason})"
        if rejects
        else "no rows can be read from it"
    )
    return InputError(
        f"there is nothing to import: {why}", where=str(spec.files[0]), hint="check the file"
    )


def _explained(error: StoreError, spec: BulkLoad) -> Exception:
    """DuckDB's complaint about the file, as one about the file."""
    cause = error.__cause__
    # What its Parquet reader finds damaged is often told as the bare base of all errors.
    is_bare = spec.reader == "parquet" and type(cause) is duckdb.Error
    if not is_bare and not isinstance(cause, _FILE_ERRORS):
        return error
    line = error.message.splitlines()[0][:300]
    return InputError(
        f"the file could not be read ({line}); nothing was imported",
        where=str(spec.files[0]),
        hint=f"is this really the {spec.source.format} format?",
    )
