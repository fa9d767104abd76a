"""`servescope import` and `servescope analyze`."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from collector.traces.format import clean_name
from collector.traces.plan import parse_map
from servescope import importing
from servescope.cli import access
from servescope.cli.data import configured
from servescope.cli.output import Output, Progress
from servescope.config import Config, store_path
from store.bulk_spec import BulkLoad, ImportReport
from store.opening import wal_path
from store.queries.scope import join_values


def run_import(
    files: Sequence[Path],
    form: str,
    maps: Sequence[str] | None,
    name: str | None,
    rejects: Path | None,
    store: Path | None,
    config_file: Path | None,
    *,
    as_json: bool,
    plain: bool,
) -> None:
    """Import request traces."""
    out = Output(as_json=as_json, plain=plain)
    config = configured(store, config_file)
    loads = importing.planned(
        importing.Options(tuple(files), form, parse_map(maps or ()), name, rejects)
    )
    progress = Progress(out, "importing")
    path = store_path(config)
    url = access.server_of(path)
    is_new = not path.exists()
    with ExitStack() as closed, ExitStack() as stack:
        if url is not None:
            server = access.the_server(config)
            stack.enter_context(server.client)
            reports = _through(server, config, loads, progress, stack)
        else:
            runtime = access.open_file(config, path, stack, allow_files=True)
            try:
                reports = importing.load_files(runtime.database, loads, progress)
            except BaseException:
                if is_new and not runtime.database.reader.scalar("SELECT count(*) FROM import_run"):
                    closed.callback(_remove_store, path)
                raise
    progress.done()
    out.document("import", {"imports": [report.as_dict() for report in reports]})
    for report in reports:
        for line in report.sentences():
            out.line(line)


def run_analyze(
    trace: str | None,
    compare: str | None,
    form: str,
    maps: Sequence[str] | None,
    store: Path | None,
    config_file: Path | None,
    *,
    as_json: bool,
    plain: bool,
) -> None:
    """Characterise a workload."""
    out = Output(as_json=as_json, plain=plain)
    config = configured(store, config_file)
    files = [Path(text) for text in (trace, compare) if text and Path(text).exists()]
    with ExitStack() as stack:
        if files:
            way, names = _in_memory(config, files, form, parse_map(maps or ()), out, stack)
        else:
            way, names = stack.enter_context(access.opened(config)), {}
        params = {"source": names.get(trace, trace)} if trace else {}
        against = names.get(compare, compare) if compare else None
        found = way.analysis(params, against, as_lines=not as_json)
    # The envelope names the schema; the API's document, which has no envelope, does so itself.
    out.document("analyze", {key: part for key, part in found.items() if key != "schema"})
    for line in found.get("lines", ()):
        out.line(line)


def _remove_store(path: Path) -> None:
    """Take back a store that was made for an import of which nothing came."""
    path.unlink(missing_ok=True)
    wal_path(path).unlink(missing_ok=True)


def _in_memory(
    config: Config,
    files: Sequence[Path],
    form: str,
    mapping: Mapping[str, str] | None,
    out: Output,
    stack: ExitStack,
) -> tuple[access.Access, dict[str | None, str]]:
    """Files are analysed in a store of their own, which is gone afterwards."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    runtime = access.open_file(config, folder / "analyze.duckdb", stack, allow_files=True)
    progress = Progress(out, "reading")
    names: dict[str | None, str] = {}
    for file in files:
        name = None
        if file.name in {Path(known).name for known in names if known}:
            name = f"{clean_name(file.name)} (2)"
        options = importing.Options((file,), form, mapping, name, folder / "rejects.csv")
        reports = importing.load_files(runtime.database, importing.planned(options), progress)
        names[str(file)] = join_values(report.source for report in reports)
        for report in reports:
            for line in report.sentences():
                out.note(line)
    progress.done()
    return access.FileAccess(runtime), names


def _through(
    server: access.ServerAccess,
    config: Config,
    loads: Sequence[BulkLoad],
    progress: Progress,
    stack: ExitStack,
) -> list[ImportReport]:
    """Read and check here, then hand the rows to the server that holds the store."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    spool = access.open_file(config, folder / "spool.duckdb", stack, allow_files=True)
    reports = importing.load_files(spool.database, loads, progress)
    stored = []
    for file in importing.spooled_files(spool.database, folder / "rows"):
        with file.open("rb") as body:
            told = server.send(
                "POST", "/imports", content=body,
                headers={"content-type": "application/vnd.apache.parquet"},
            )  # fmt: skip
        stored += told["imports"]
    return [importing.settled(report, stored) for report in reports]
