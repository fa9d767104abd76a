"""`servescope up`: the server in the foreground."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from collector.detect import normalise_url
from collector.discovery.jobs import jobs
from servescope import process, slo_history
from servescope.cli.output import Output
from servescope.config import Config, load, slo_path, store_path
from servescope.logs import configure
from servescope.runtime import Runtime, SloBook
from store.access import Role
from store.clock import WallClock
from store.database import Database, incoming_folder


def run(
    targets: Sequence[str] | None,
    listen: str | None,
    store: Path | None,
    config_file: Path | None,
    slo_file: Path | None,
    *,
    ephemeral: bool,
    discover: Sequence[str] | None = None,
) -> None:
    """Serve until interrupted.

    Raises:
        CollectError: a target is no address.
        ConfigError: settings, objectives or the place to listen do not fit.
        StoreError: the store cannot be opened.
    """
    config = load(
        config_file,
        {
            "server.targets": list(targets) if targets else None,
            "server.listen": listen,
            "server.store": str(store) if store else None,
            "server.slo_file": str(slo_file) if slo_file else None,
            "discovery.sources": list(discover) if discover else None,
        },
    )
    jobs(config.discovery)
    for url in config.server.targets:
        normalise_url(url)  # a mistake is found before anything starts
    out = Output()
    configure(config.server.log_level)
    with ExitStack() as stack:
        sock = stack.enter_context(process.bind(config.server.listen))
        runtime = open_runtime(config, store_path(config), stack, ephemeral=ephemeral)
        runtime.url = process.url_of(sock)
        stack.enter_context(process.announced(runtime))

        def ready() -> None:
            out.line(f"Open    {runtime.url}/ui/")
            out.line(f"API     {runtime.url}/api/v1")
            rights = runtime.rights
            if rights.role < Role.ADMIN:
                out.note(f"everybody has the role {rights.role.word} ({rights.set_by})")
            out.note(f"store {runtime.store_text} · Ctrl-C stops")

        process.run(runtime, sock, on_ready=ready)


def open_runtime(config: Config, path: Path, stack: ExitStack, *, ephemeral: bool) -> Runtime:
    """Open store and objectives; `stack` closes them.

    Args:
        config: settings.
        path: the store's file.
        stack: what closes the store at the end.
        ephemeral: use a store in a temporary folder that is removed at the end. A file rather
            than memory, so that larger work can spill and uploads have a place.
    """
    if ephemeral:
        path = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "store.duckdb"
    clock = WallClock()
    slos = SloBook(slo_path(config), clock)
    slos.load()
    database = stack.enter_context(Database.open(path, config.store, clock))
    clear_incoming(path)
    slos.keep_history(partial(slo_history.keep, database))
    return Runtime(config, database, clock, slos)


def clear_incoming(path: Path) -> None:
    """Make the folder for uploads, without what a killed server left in it.

    The store's lock is held by now, so no other server can be using them.
    """
    folder = incoming_folder(path)
    folder.mkdir(exist_ok=True)
    for left in folder.iterdir():
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)
