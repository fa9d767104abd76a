"""What `servescope backup` and `servescope restore` do."""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

import httpx2

from servescope import backups
from servescope.cli import access
from servescope.cli.data import configured
from servescope.cli.output import CommandError, ExitCode, Output, Progress
from servescope.config import Config, store_path
from store import backup, restore, snapshot
from store.clock import WallClock
from store.contents import Contents
from store.errors import InputError, StoreError
from store.units import bytes_text, count_text

BYTES_HEADER = "X-Servescope-Backup-Bytes"
SILENT_SECONDS = 60.0
NICENESS = 5
"""The server beside it takes rows meanwhile; reading the copy back has time."""


def run_backup(
    to: Path, store: Path | None, config_file: Path | None, *, as_json: bool, plain: bool
) -> None:
    """Take a backup from the server that holds the store, or of its file.

    Raises:
        InputError: there is no store, or something is at that place already.
        StoreError: the store cannot be read, or the backup cannot be read back.
    """
    out = Output(as_json=as_json, plain=plain)
    os.nice(NICENESS)
    config = configured(store, config_file)
    place = backups.place_for(to, WallClock().now())
    size, chunks = _source(config)
    progress = Progress(out, f"backing up to {place}")
    try:
        try:
            backups.check_room(place, size, config.store)
            place.parent.mkdir(parents=True, exist_ok=True)
            done = backups.keep(chunks, place, lambda n: progress(n / max(size, 1)))
        finally:
            chunks.close()
    except OSError as error:
        raise _unwritable(place, error) from error
    progress.done()
    out.document("backup", done.as_dict())
    out.line(f"{done.path}  {bytes_text(done.size_bytes)}, whole as of {done.taken_at}")
    out.line(f"read back: {_said(done.contents)}")


def run_restore(
    source: Path,
    to: Path | None,
    config_file: Path | None,
    *,
    replace: bool,
    as_json: bool,
    plain: bool,
) -> None:
    """Put a backup in the place of a store.

    Raises:
        InputError: there is no backup, or a store is in the way.
        StoreError: the backup is not whole, or the store is held.
    """
    out = Output(as_json=as_json, plain=plain)
    store = to or store_path(configured(None, config_file))
    url = access.server_of(store)
    if url is not None:
        raise CommandError(
            "a server holds this store", ExitCode.REFUSED, where=url, code="held",
            hint="stop it first, or name another place with --to",
        )  # fmt: skip
    size = restore.size_of(source)
    progress = Progress(out, f"restoring {source}")
    now = WallClock().now()
    try:
        done = restore.restore(
            source, store, now, replace=replace, told=lambda n: progress(n / max(size, 1))
        )
    except OSError as error:
        raise _unwritable(store, error) from error
    progress.done()
    told: dict[str, Any] = {
        "store": store, "taken_at": done.manifest["taken_at"],
        "servescope": done.manifest["servescope"], "newest": done.contents.newest,
        "schema_version": done.contents.schema_version, "rows": done.contents.rows,
        "before": done.before,
    }  # fmt: skip
    out.document("restore", told)
    out.line(f"{store}  is what it was at {told['taken_at']}: {_said(done.contents)}")
    if done.before is not None:
        out.line(f"what was there lies in {done.before}; remove it when all is well")


def _source(config: Config) -> tuple[int, Generator[bytes]]:
    """Bytes to come, and the bytes."""
    path = store_path(config)
    url = access.server_of(path)
    if url is not None:
        chunks = _from_server(url, path)
        return int(next(chunks)), chunks
    if not path.exists():
        raise InputError("there is no store", where=str(path), hint="--store names another")
    taken = snapshot.of_file(path, config.store, WallClock().now())
    return taken.size_bytes, backup.stream(taken)


def _from_server(url: str, path: Path) -> Generator[bytes]:
    """How many bytes come, in digits; then the bytes."""
    try:
        with (
            access.server_client(url, path) as server,
            server.client.stream(
                "POST", f"{url}{access.API}/backup", timeout=SILENT_SECONDS
            ) as answer,
        ):
            if answer.status_code >= 400:
                raise access.refused(answer)
            yield answer.headers.get(BYTES_HEADER, "0").encode()
            yield from answer.iter_bytes()
    except httpx2.HTTPError as error:
        raise access.unreachable(url, error) from error


def _said(found: Contents) -> str:
    parts = []
    for words, table in (("requests", "request"), ("samples", "sample")):
        newest = found.newest.get(words)
        until = f" to {newest}" if newest else ""
        parts.append(f"{count_text(found.rows.get(table) or 0)} {words}{until}")
    return ", ".join(parts)


def _unwritable(place: Path, error: OSError) -> StoreError:
    return StoreError(
        f"it cannot be written ({error.strerror})", where=str(place),
        hint="name another place; nothing was changed",
    )  # fmt: skip
