"""Backups on disk: taken whole or not at all, read back before they count, the oldest removed."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from store import backup, snapshot
from store.contents import Contents
from store.database import Database
from store.errors import InputError, StoreFull
from store.restore import checked
from store.settings import StoreSettings
from store.units import bytes_text

if TYPE_CHECKING:
    from servescope.runtime import Runtime

PART = ".part"
_NAME = re.compile(r"servescope-(\d{8}T\d{6}Z)")
Told = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Kept:
    """A backup that was taken and read back.

    Attributes:
        path: its folder or tar file.
        taken_at: what was acknowledged before is in it.
        size_bytes: of its files.
        contents: of the store in it.
    """

    path: Path
    taken_at: str
    size_bytes: int
    contents: Contents

    def as_dict(self) -> dict[str, Any]:
        """For JSON and job rows."""
        return {
            "path": str(self.path), "taken_at": self.taken_at, "bytes": self.size_bytes,
            "schema_version": self.contents.schema_version, "newest": self.contents.newest,
            "rows": {name: count for name, count in self.contents.rows.items() if count},
        }  # fmt: skip


def place_for(to: Path, now: datetime) -> Path:
    """Where a backup goes: the file when `to` ends in .tar, else a new folder in `to`.

    Raises:
        InputError: it is there already.
    """
    place = to if to.suffix == ".tar" else to / f"servescope-{backup.stamp(now)}"
    if place.exists():
        raise InputError("there is something already", where=str(place), hint="name another place")
    return place


def check_room(place: Path, size_bytes: int, settings: StoreSettings) -> None:
    """Refuse what would fill the disk.

    Args:
        place: of the backup.
        size_bytes: of the backup.
        settings: how much of a disk stays free.

    Raises:
        StoreFull: too little is free.
    """
    folder = next(parent for parent in place.absolute().parents if parent.is_dir())
    needed = size_bytes * (2 if place.suffix == ".tar" else 1) + settings.disk_reserve_bytes
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise StoreFull(
            f"{bytes_text(free)} are free at {folder}, and a backup needs {bytes_text(needed)}",
            hint="name a place on another disk",
        )


def keep(chunks: Iterable[bytes], place: Path, told: Told = lambda _: None) -> Kept:
    """Write a backup, read it back, then give it its name.

    Args:
        chunks: from `store.backup.stream`, or a server.
        place: a folder or file that is not there yet.
        told: called with the bytes that are written so far.

    Raises:
        StoreDamaged: it was cut short, or its store cannot be read.
        OSError: it cannot be written.
    """
    draft = place.with_name(place.name + PART)
    shutil.rmtree(draft, ignore_errors=True)
    try:
        manifest = backup.unpack(chunks, draft, told)
        found = checked(draft)
        manifest["contents"] = asdict(found)
        backup.write_manifest(draft, manifest)
        if place.suffix == ".tar":
            _pack(draft, place)
        else:
            draft.rename(place)
        backup.sync_folder(place.parent)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    size = sum(int(told["bytes"]) for told in manifest["files"])
    return Kept(place, str(manifest["taken_at"]), size, found)


def take(database: Database, to: Path, now: datetime, settings: StoreSettings) -> Kept:
    """Back up a store that this process writes, while it goes on.

    Raises:
        StoreError: it cannot be read now.
        StoreFull: too little of the disk is free.
        OSError: the place cannot be written.
    """
    place = place_for(to, now)
    to.mkdir(parents=True, exist_ok=True, mode=0o700)
    taken = snapshot.of_running(database, now)
    try:
        check_room(place, taken.size_bytes, settings)
    except BaseException:
        taken.close()
        raise
    return keep(backup.stream(taken), place)


def newest_at(folder: Path) -> datetime | None:
    """When the newest backup in a folder was taken; None where there is none."""
    found = _backups(folder)
    return found[-1][0] if found else None


def age_seconds(settings: StoreSettings, now: datetime) -> float | None:
    """Age of the newest scheduled backup; None where there is none, or none is asked for."""
    if not settings.backup_folder:
        return None
    newest = newest_at(Path(settings.backup_folder).expanduser())
    return (now - newest).total_seconds() if newest else None


def is_due(settings: StoreSettings, now: datetime) -> bool:
    """Whether a scheduled backup is to be taken.

    One from the future counts as none: the clock was set back.
    """
    if not settings.backup_folder:
        return False
    age = age_seconds(settings, now)
    return age is None or age < 0 or age >= settings.backup_every_hours * 3600


def scheduled(runtime: Runtime) -> Mapping[str, Any] | None:
    """Take a backup when one is due and remove the oldest; None when none is."""
    settings, now = runtime.config.store, runtime.clock.now()
    if runtime.database.path is None or not is_due(settings, now):
        return None
    folder = Path(settings.backup_folder).expanduser()
    _sweep(folder, now)
    done = take(runtime.database, folder, now, settings)
    removed = [path for _, path in _backups(folder)[: -settings.backups_kept]]
    for path in removed:
        shutil.rmtree(path)
    return {**done.as_dict(), "removed": [path.name for path in removed]}


def _backups(folder: Path) -> list[tuple[datetime, Path]]:
    """Whole backups in a folder, the oldest first. Nothing else is ever removed."""
    found = []
    for path in folder.glob("servescope-*") if folder.is_dir() else ():
        named = _NAME.fullmatch(path.name)
        if named and (path / backup.MANIFEST).is_file():
            at = datetime.strptime(named[1], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
            found.append((at, path))
    return sorted(found)


def _sweep(folder: Path, now: datetime) -> None:
    """Remove what a killed process has left of a backup."""
    for draft in folder.glob(f"servescope-*{PART}") if folder.is_dir() else ():
        written = datetime.fromtimestamp(draft.stat().st_mtime, UTC)
        if now - written > timedelta(days=1):
            shutil.rmtree(draft, ignore_errors=True)


def _pack(folder: Path, file: Path) -> None:
    """A folder as one tar file."""
    draft = file.with_name(f"{file.name}{PART}.tar")
    try:
        with draft.open("wb") as sink:
            draft.chmod(0o600)
            for chunk in backup.again(folder):
                sink.write(chunk)
        draft.rename(file)
    finally:
        draft.unlink(missing_ok=True)
