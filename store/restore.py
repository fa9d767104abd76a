"""Restoring a backup: everything is checked before the store is touched."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from store.backup import Manifest, again, from_tar, read_manifest, stamp, unpack
from store.contents import Contents, contents
from store.errors import InputError, SchemaError, StoreDamaged, StoreLocked
from store.migrate import latest_version
from store.opening import holder, holder_text
from store.restoring import draft_folder, finish_restore, switch, there
from store.snapshot import FILE


@dataclass(frozen=True, slots=True)
class Restored:
    """What was restored.

    Attributes:
        manifest: of the backup.
        contents: of the store now.
        before: the folder that holds the store that was there; None where none was.
    """

    manifest: Manifest
    contents: Contents
    before: Path | None


def size_of(backup: Path) -> int:
    """Bytes to be read.

    Raises:
        InputError: there is no backup.
        StoreDamaged: a folder without a manifest.
    """
    if backup.is_file():
        return backup.stat().st_size
    if not backup.is_dir():
        raise InputError("there is no backup", where=str(backup), hint="name its folder or file")
    return sum(int(told["bytes"]) for told in read_manifest(backup)["files"])


def restore(
    backup: Path,
    store: Path,
    now: datetime,
    *,
    replace: bool = False,
    told: Callable[[int], None] = lambda _: None,
) -> Restored:
    """Put a backup in the place of a store.

    Args:
        backup: its folder or tar file; stays as it is.
        store: the store's file. What is there is moved into a folder beside it.
        now: names that folder.
        replace: whether a store may be there.
        told: called with the bytes that are read so far.

    Raises:
        InputError: there is a store and `replace` is not given.
        StoreLocked: somebody has the store open.
        StoreDamaged: the backup is not whole; the store is as it was.
        SchemaError: the backup is of a newer servescope; the store is as it was.
    """
    store.parent.mkdir(parents=True, exist_ok=True)
    finish_restore(store)
    old = there(store.parent, store.name)
    if old and not replace:
        raise InputError(
            "there is a store already", where=str(store),
            hint="--replace moves it into a folder beside it first; --to names another place",
        )  # fmt: skip
    draft = draft_folder(store)
    shutil.rmtree(draft, ignore_errors=True)
    with locked(store):
        try:
            chunks = from_tar(backup) if backup.is_file() else again(backup)
            manifest = unpack(chunks, draft, told)
            found = checked(draft)
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise
        before = _free_name(store.with_name(f"{store.name}.before-{stamp(now)}"))
        switch(store, FILE, before)
    shutil.rmtree(draft, ignore_errors=True)
    return Restored(manifest, found, before if old else None)


def checked(folder: Path) -> Contents:
    """What the store of a backup holds, after all of it was read.

    Raises:
        StoreDamaged: it cannot be opened or read.
        SchemaError: it is of a newer servescope.
    """
    found = contents(folder / FILE)
    if found.unreadable:
        name, why = next(iter(found.unreadable.items()))
        raise StoreDamaged(
            f"{len(found.unreadable)} tables cannot be read whole, such as {name} ({why})",
            where=str(folder), hint="`servescope doctor` says how the store itself is",
        )  # fmt: skip
    if found.schema_version is None:
        raise StoreDamaged("this is no store of servescope", where=str(folder / FILE))
    if found.schema_version > latest_version():
        raise SchemaError(
            f"the backup has schema version {found.schema_version}, this program knows up to"
            f" {latest_version()}",
            where=str(folder), hint="restore it with the servescope that took it",
        )  # fmt: skip
    return found


def _free_name(folder: Path) -> Path:
    """A name that nothing has yet: two restores within a second must not mix."""
    number, free = 1, folder
    while free.exists():
        number += 1
        free = folder.with_name(f"{folder.name}-{number}")
    return free


@contextmanager
def locked(store: Path) -> Iterator[None]:
    """Keep everybody out, by the lock that DuckDB looks for; it works on a damaged file too."""
    if not store.is_file():
        yield
        return
    descriptor = os.open(store, os.O_RDWR | os.O_CLOEXEC)
    try:
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            who = holder_text(holder("", store))
            raise StoreLocked(
                f"the store is held{who}", where=str(store), hint="stop that server first"
            ) from error
        yield
    finally:
        os.close(descriptor)
