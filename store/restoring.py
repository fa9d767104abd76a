"""Putting the files of a backup in the place of a store: all of them or none.

They lie ready beside the store before anything is moved. Then a note says what is to be moved;
from there on there is only forward: whoever opens the store next, after a crash too, finishes it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

ENDINGS = ("", ".wal", ".secret", ".models", ".reports", ".remote-write", ".access")
"""What a store is made of: its file, and what lies beside it."""


def draft_folder(store: Path) -> Path:
    """Where files lie ready."""
    return store.with_name(f"{store.name}.restoring")


def note_file(store: Path) -> Path:
    """Says that a restore has begun to move files (JSON: before, old, new)."""
    return store.with_name(f"{store.name}.restore.json")


def there(folder: Path, name: str) -> list[str]:
    """Which parts of a store lie in a folder."""
    return [ending for ending in ENDINGS if os.path.lexists(folder / f"{name}{ending}")]


def switch(store: Path, draft_name: str, before: Path) -> None:
    """Move the parts of a store into the folder `before` and those of the draft into its place.

    Args:
        store: the file, which nobody may have open.
        draft_name: what the file is called in `draft_folder`.
        before: a folder that is not there yet, on the same file system.
    """
    old = there(store.parent, store.name)
    told = {
        "before": before.name, "draft_name": draft_name,
        "old": old, "new": there(draft_folder(store), draft_name),
    }  # fmt: skip
    note = note_file(store)
    draft = note.with_name(f"{note.name}.part")
    with draft.open("w", encoding="utf-8") as file:
        json.dump(told, file)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(note)
    _sync(store.parent)
    finish_restore(store)


def finish_restore(store: Path) -> bool:
    """Finish what a crash interrupted; whether there was something. Safe to call again and again.

    Raises:
        OSError: files cannot be moved.
    """
    note = note_file(store)
    try:
        told = json.loads(note.read_text("utf-8"))
    except FileNotFoundError:
        return False
    before, draft = store.with_name(told["before"]), draft_folder(store)
    _move_all(told["old"], (store.parent, store.name), (before, store.name))
    _move_all(told["new"], (draft, told["draft_name"]), (store.parent, store.name))
    note.unlink(missing_ok=True)
    _sync(store.parent)
    return True


def _move_all(endings: Sequence[str], source: tuple[Path, str], target: tuple[Path, str]) -> None:
    """Move what has not been moved yet."""
    if not endings:
        return
    target[0].mkdir(exist_ok=True, mode=0o700)
    for ending in endings:
        old, new = source[0] / f"{source[1]}{ending}", target[0] / f"{target[1]}{ending}"
        if not os.path.lexists(new) and os.path.lexists(old):
            old.rename(new)
    _sync(target[0])
    _sync(source[0])


def _sync(folder: Path) -> None:
    """Wait until the names in a folder are on disk."""
    if not folder.is_dir():
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
