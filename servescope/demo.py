"""`servescope demo`: a real trace, what is worth knowing about it, and the dashboard."""

from __future__ import annotations

import sys
import textwrap
import webbrowser
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

from servescope import importing, process
from servescope.cli.output import Output, Progress
from servescope.cli.serve import open_runtime
from servescope.cli.slo import packaged_file
from servescope.config import Config, data_folder, load
from servescope.listening import bind, url_of
from servescope.logs import configure
from servescope.runtime import Runtime
from servescope.settings import DEFAULT_HOST
from store.bulk_spec import ImportReport
from store.clock import WallClock
from store.database import Database, wal_path
from store.errors import StoreError, StoreLocked
from store.queries.scope import join_values

FINDINGS = 3
WIDTH = 100


def run(
    *,
    store: Path | None,
    port: int | None,
    ephemeral: bool,
    fresh: bool,
    open_browser: bool,
    serve: bool,
) -> None:
    """Load the packaged traces, print the first findings, serve until interrupted."""
    path = store or data_folder() / "demo.duckdb"
    listen = f"{DEFAULT_HOST}:{port}" if port is not None else None
    config = load(
        None,
        {
            "server.listen": listen,
            "server.store": str(path),
            "server.slo_file": str(packaged_file()),
        },
    )
    out = Output()
    configure("warning")
    with ExitStack() as stack:
        # The port is taken first: a clash should not cost the wait for the import.
        sock = stack.enter_context(bind(config.server.listen)) if serve else None
        if fresh:
            remove_store(path, config)
        if ephemeral:
            path = temporary(stack)
        load_traces(config, path, out)
        runtime = open_runtime(config, path, stack, ephemeral=False)
        print_findings(runtime, out)
        if sock is None:
            return
        runtime.url = url_of(sock)
        stack.enter_context(process.announced(runtime))

        def ready() -> None:
            out.line(f"Open    {runtime.url}/ui/        API  {runtime.url}/api/v1")
            out.note("Ctrl-C stops")
            if open_browser and sys.stdout.isatty():
                with suppress(webbrowser.Error):
                    webbrowser.open(f"{runtime.url}/ui/")

        process.run(runtime, sock, on_ready=ready)


def load_traces(config: Config, path: Path, out: Output) -> list[ImportReport]:
    """Import the packaged traces into the store at `path`; a second time changes nothing.

    Raises:
        StoreError: the store cannot be opened.
    """
    clock = WallClock()
    began = clock.monotonic()
    progress = Progress(out, "importing")
    # Opened with access to files for the import alone; the server opens it again without.
    with Database.open(path, config.store.alone(), clock, allow_files=True) as database:
        loads = importing.planned(importing.Options(tuple(importing.example_files())))
        reports = importing.load_files(database, loads, progress)
    progress.done()
    seconds = clock.monotonic() - began
    rows = sum(report.rows_added + report.rows_duplicate for report in reports)
    known = "" if any(report.rows_added for report in reports) else ", already there"
    out.line(f"Loaded  {importing.EXAMPLE_TITLE}: {rows:,} requests{known}  {seconds:.1f} s")
    return reports


def print_findings(runtime: Runtime, out: Output) -> None:
    """Print what is worth knowing first."""
    names = [source.name for source in runtime.catalog() if source.kind == "trace"]
    view = runtime.view("workload_findings", {"source": join_values(_together(runtime, names))})
    findings = view.frames.get("findings")
    sentences = list(findings["sentence"][:FINDINGS]) if findings is not None else []
    for sentence in sentences or view.sentences[:FINDINGS]:
        wrapped = textwrap.wrap(str(sentence), WIDTH - 8)
        for number, line in enumerate(wrapped):
            out.line(f"{'Found' if number == 0 else '':8}{line}")


def remove_store(path: Path, config: Config) -> None:
    """Delete a demo store and its log, damaged or not.

    Raises:
        StoreLocked: another process holds it; a file can be deleted under a running server, which
            would go on without it and lose what comes.
    """
    if path.exists():
        try:
            Database.open(path, config.store.alone(), WallClock()).close()
        except StoreError as error:
            if isinstance(error, StoreLocked):
                raise  # anything else, such as damage, is all the more reason
    path.unlink(missing_ok=True)
    wal_path(path).unlink(missing_ok=True)


def temporary(stack: ExitStack) -> Path:
    """A store file in a folder that `stack` removes."""
    import tempfile

    return Path(stack.enter_context(tempfile.TemporaryDirectory())) / "demo.duckdb"


def _together(runtime: Runtime, names: Sequence[str]) -> list[str]:
    """The packaged traces, whatever else somebody imported into the demo's store."""
    packaged = [name for name in names if name.startswith("azure-2023")]
    return packaged or list(names)
