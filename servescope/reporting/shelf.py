"""Where made reports are kept: a folder for each, the newest of them, beside the store."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from servescope.reporting.channels.base import File
from store.errors import InputError

MANIFEST = "manifest.json"
_DRAFT = ".draft-"


class Shelf:
    """Folders of reports by id. Safe from any thread.

    Args:
        folder: theirs; None makes one that is gone with the process.
    """

    def __init__(self, folder: Path | None) -> None:
        self._is_passing = folder is None
        self._folder = folder

    def start(self) -> None:
        """Throw away what an earlier process left unfinished."""
        if self._folder is not None and self._folder.is_dir():
            for draft in self._folder.glob(f"{_DRAFT}*"):
                shutil.rmtree(draft, ignore_errors=True)

    def close(self) -> None:
        """Throw away what must not outlive this process. Safe twice."""
        if self._is_passing and self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    @contextmanager
    def draft(self) -> Iterator[Path]:
        """An empty folder to make a report in; gone afterwards, unless it was kept."""
        root = self._root()
        draft = Path(mkdtemp(prefix=_DRAFT, dir=root))
        try:
            yield draft
        finally:
            shutil.rmtree(draft, ignore_errors=True)

    def keep(self, run_id: str, draft: Path) -> None:
        """Put a whole report in its place, durably."""
        there = self._root() / run_id
        shutil.rmtree(there, ignore_errors=True)
        for file in draft.iterdir():
            _make_durable(file)
        draft.replace(there)
        _make_durable(there.parent)

    def manifest(self, run_id: str) -> Mapping[str, Any] | None:
        """What a report consists of; None when it is not kept (any more)."""
        try:
            text = (self._root() / run_id / MANIFEST).read_text("utf-8")
            found: Mapping[str, Any] = json.loads(text)
        except (OSError, ValueError):
            return None
        return found

    def file(self, run_id: str, name: str) -> File:
        """A file of a report.

        Raises:
            InputError: there is none, or it is not kept any more.
        """
        manifest = self.manifest(run_id)
        if manifest is None:
            raise InputError(
                f"the files of {run_id} are not kept any more",
                hint="reports.most_kept and reports.most_kept_bytes say how many are;"
                " `servescope report run --schedule` makes it again",
            )
        # Only names that the maker wrote down: a path leads nowhere else.
        known = {one["name"]: one["media_type"] for one in manifest["files"]}
        if name not in known:
            raise InputError(f"{run_id} has no file '{name[:80]}'", hint=", ".join(known))
        content = (self._root() / run_id / name).read_bytes()
        return File(name, known[name], content)

    def forget(self, most: int, most_bytes: int, needed: Collection[str]) -> int:
        """Delete the oldest beyond a count or a size, but none `needed`; gives how many."""
        root = self._root()
        folders = [one for one in root.iterdir() if one.is_dir() and not one.name.startswith(".")]
        folders.sort(key=lambda one: one.stat().st_mtime, reverse=True)
        size, gone = 0, 0
        for place, folder in enumerate(folders):
            size += sum(file.stat().st_size for file in folder.iterdir())
            if (place >= most or size > most_bytes) and folder.name not in needed:
                shutil.rmtree(folder, ignore_errors=True)
                gone += 1
        return gone

    def _root(self) -> Path:
        if self._folder is None:
            self._folder = Path(mkdtemp(prefix="servescope-reports-"))
        self._folder.mkdir(parents=True, exist_ok=True)
        return self._folder


def _make_durable(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
