"""`servescope up`: the server in the foreground."""

from __future__ import annotations

import shutil
import socket
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from collector.detect import normalise_url
from collector.discovery.jobs import jobs
from servescope import process, slo_history
from servescope.cli.output import Output
from servescope.config import Config, load, slo_path, store_path, store_settings
from servescope.listening import bind, url_of
from servescope.logs import configure
from servescope.runtime import Runtime, SloBook
from servescope.settings import is_loopback
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
        is_guarded = config.access.sign_in == "on"
        sock = stack.enter_context(bind(config.server.listen, is_guarded=is_guarded))
        runtime = open_runtime(config, store_path(config), stack, ephemeral=ephemeral)
        runtime.url = url_of(sock, is_tls=bool(config.server.tls_certificate))
        stack.enter_context(process.announced(runtime))

        def ready() -> None:
            link = runtime.people.public_url or runtime.url
            out.line(f"Open    {link}/ui/")
            out.line(f"API     {link}/api/v1")
            for note in door_notes(runtime, sock):
                out.note(note)
            lake = runtime.database.lake
            shared = f" of {lake.address.text}" if lake is not None else ""
            out.note(f"store {runtime.store_text}{shared} · Ctrl-C stops")

        process.run(runtime, sock, on_ready=ready)


def door_notes(runtime: Runtime, sock: socket.socket) -> Iterator[str]:
    """What whoever starts a server should know of its doors."""
    people, settings = runtime.people, runtime.config.server
    if not people.asks:
        if runtime.everybody.role < Role.ADMIN:
            role = runtime.everybody.role.word
            yield f"everybody has the role {role} ({runtime.everybody.set_by})"
        return
    empty = people.why_empty()
    if empty:
        yield empty
    is_sealed = settings.tls_certificate or settings.public_url.startswith("https:")
    if not is_sealed and not is_loopback(sock.getsockname()[0]):
        yield (
            "passwords and tokens travel unencrypted: set server.tls_certificate, or put a proxy"
            " with TLS before this server and name it by server.public_url"
        )


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
    database = stack.enter_context(Database.open(path, store_settings(config, path), clock))
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
