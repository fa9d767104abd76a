"""Traces into the store: into a file that this process opened, or handed to a running server."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from typing import Any

import polars as pl

from collector.traces.plan import plan
from store import bulk, export
from store.bulk_spec import BulkLoad, ImportReport
from store.database import Database, incoming_folder
from store.errors import InputError, StoreError

EXAMPLE_FILES = ("AzureLLMInferenceTrace_conv.csv.gz", "AzureLLMInferenceTrace_code.csv.gz")
EXAMPLE_TITLE = "Azure LLM inference traces 2023, Microsoft, CC BY 4.0"

Progress = Callable[[float], None]


@dataclass(frozen=True, slots=True)
class Options:
    """What to import and how.

    Attributes:
        files: traces; files of one source are one load.
        form: format name, or "auto".
        mapping: stored column -> source column with an optional unit.
        name: name of the source; None takes it from the files.
        rejects: where refused rows go; None is beside the first file.
    """

    files: tuple[Path, ...]
    form: str = "auto"
    mapping: Mapping[str, str] | None = None
    name: str | None = None
    rejects: Path | None = None


class ImportedRows:
    """Rows that imports brought since this process started, by what became of them."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._rows = dict.fromkeys(("added", "duplicate", "rejected"), 0)

    def count(self, reports: Sequence[ImportReport]) -> None:
        """Add the rows of finished imports; from any thread."""
        with self._lock:
            for report in reports:
                self._rows["added"] += report.rows_added
                self._rows["duplicate"] += report.rows_duplicate
                self._rows["rejected"] += report.rows_rejected

    def totals(self) -> dict[str, int]:
        """Outcome -> rows."""
        with self._lock:
            return dict(self._rows)


def planned(options: Options) -> list[BulkLoad]:
    """Recognise the files, before any store is opened or made.

    Raises:
        InputError: a file cannot be used.
    """
    return plan(options.files, options.form, options.mapping, options.name, options.rejects)


def load_files(
    database: Database, loads: Sequence[BulkLoad], progress: Progress | None = None
) -> list[ImportReport]:
    """Import files into an open store that may read files.

    Args:
        database: opened with `allow_files=True`, or holding the files in its incoming folder.
        loads: from `planned`.
        progress: called with the share done, 0..1.

    Raises:
        InputError: nothing of that load was written, nor of those after it; the hint names the
            sources before it that are stored.
    """
    for spec in loads:  # a file that is cut short is found before any row of the others is stored
        bulk.check(spec)
    reports: list[ImportReport] = []
    for number, spec in enumerate(loads):
        part = _part(progress, number, len(loads))
        try:
            reports.append(bulk.load(database.writer, spec, part, database.clock, checked=True))
        except InputError as error:
            if not reports:
                raise
            stored = ", ".join(dict.fromkeys(report.source for report in reports))
            hint = "; ".join(text for text in (error.hint, f"stored before it: {stored}") if text)
            raise InputError(error.message, where=error.where, hint=hint) from error
    return reports


def load_upload(
    database: Database, file: Path, imported: ImportedRows | None = None
) -> list[ImportReport]:
    """Import one uploaded Parquet file of normalised rows into the server's store.

    Args:
        database: the server's store.
        file: in its incoming folder.
        imported: where the rows are counted.

    Raises:
        InputError: it is no such file.
    """
    reports = load_files(database, plan([file], "servescope"))
    if imported is not None:
        imported.count(reports)
    return reports


def example_files() -> list[Path]:
    """The packaged traces."""
    folder = Path(str(resources.files("servescope"))) / "data"
    return [folder / name for name in EXAMPLE_FILES]


def load_example(database: Database, imported: ImportedRows | None = None) -> str:
    """Import the packaged traces into a server's store; says in one line what happened.

    A server's SQL reads nothing but its incoming folder, so the files are put there first.

    Args:
        database: the server's store.
        imported: where the rows are counted.

    Raises:
        StoreError: the store is in memory, or cannot be written.
    """
    if database.path is None:
        raise StoreError("a store in memory takes no files", hint="start it with --store FILE")
    with TemporaryDirectory(dir=incoming_folder(database.path)) as folder:
        files = [Path(shutil.copy(file, folder)) for file in example_files()]
        reports = load_files(database, planned(Options(tuple(files))))
    if imported is not None:
        imported.count(reports)
    added = sum(report.rows_added for report in reports)
    rows = sum(report.rows_read for report in reports)
    return f"{EXAMPLE_TITLE}: {rows:,} requests, {f'{added:,} new' if added else 'already there'}"


def spooled_files(database: Database, folder: Path) -> list[Path]:
    """What a scratch store holds, as Parquet files for `load_upload`; empty tables are left out.

    Args:
        database: the scratch store.
        folder: made for the files; must not exist.
    """
    export.export_store(database, folder)
    files = [folder / "request.parquet", folder / "client_rate.parquet"]
    return [file for file in files if pl.scan_parquet(file).select(pl.len()).collect().item()]


def settled(read: ImportReport, stored: Sequence[Mapping[str, Any]]) -> ImportReport:
    """What happened in all, when one process read the files and another stored the rows.

    Args:
        read: the report of reading and checking.
        stored: the reports of storing, as plain values; those of other sources play no part.
    """
    own = [report for report in stored if report["source"] == read.source]
    return replace(
        read,
        rows_added=sum(report["rows_added"] for report in own),
        rows_duplicate=read.rows_duplicate + sum(report["rows_duplicate"] for report in own),
        seconds=read.seconds + sum(report["seconds"] for report in own),
    )


def _part(progress: Progress | None, number: int, total: int) -> Progress | None:
    if progress is None:
        return None
    return lambda ratio: progress((number + ratio) / total)
