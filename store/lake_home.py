"""What a server of a lake keeps on its own host: uploads, models, reports; one server a place."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from store.errors import StoreLocked


class Home:
    """The place beside a path, held until it is closed.

    Args:
        path: what `--store` names; there is no store in it, only beside it.

    Raises:
        StoreLocked: another process holds it.
    """

    def __init__(self, path: Path) -> None:
        lock = path.with_name(f"{path.name}.lock")
        self._file = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._file)
            raise StoreLocked(
                "another process keeps its files of the lake here",
                where=str(path),
                hint="give each server on a host a --store of its own; the lake is shared",
            ) from error

    def close(self) -> None:
        """Let it go. Safe to call twice."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
