"""Traces into the store: into a file that this process opened, or handed to a running server."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from store.bulk_spec import BulkLoad, ImportReport
from store.database import Database

Progress = Callable[[float], None]


def load_files(
    database: Database,
    files: Sequence[Path],
    *,
    form: str = "auto",
    mapping: Mapping[str, str] | None = None,
    name: str | None = None,
    rejects: Path | None = None,
    progress: Progress | None = None,
) -> list[ImportReport]:
    """Import files into an open store that may read files.

    Args:
        database: opened with `allow_files=True`.
        files: traces; files of one source are one load.
        form: format name, or "auto".
        mapping: stored column -> source column with an optional unit.
        name: name of the source.
        rejects: where refused rows go.
        progress: called with the share done, 0..1.

    Raises:
        InputError: nothing of that load was written.
    """
    from collector.traces.plan import plan
    from store import bulk

    loads = plan(files, form, mapping, name, rejects)
    return [
        bulk.load(database.writer, spec, _part(progress, number, len(loads)))
        for number, spec in enumerate(loads)
    ]


def load_upload(database: Database, file: Path, name: str | None) -> ImportReport:
    """Import one uploaded Parquet file of normalised rows into the server's store.

    Raises:
        InputError: it is no such file.
    """
    from collector.traces.plan import plan
    from store import bulk

    return bulk.load(database.writer, _only(plan([file], "servescope", None, name, None)), None)


def _only(loads: list[BulkLoad]) -> BulkLoad:
    return loads[0]


def _part(progress: Progress | None, number: int, total: int) -> Progress | None:
    if progress is None:
        return None
    return lambda ratio: progress((number + ratio) / total)
