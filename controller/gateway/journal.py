"""Rows in the kernel at once: what ended before a `kill -9` is told after it.

Rows go to the spool many at a time, which takes a moment to fill up; until then they lie here, a
line each. A line that a crash cut short is counted, those before it are whole.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

MOST_BYTES = 4 << 20
"""Read back at the start; a journal never holds more than one record of the spool."""


class Journal:
    """One file, emptied whenever its lines are safe elsewhere. For one thread.

    Args:
        path: the file; its folder is there.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None
        self._is_whole = True

    def open(self) -> tuple[list[bytes], bool]:
        """Take the file; gives the lines that an earlier run left, and whether one was cut.

        Raises:
            OSError: it cannot be used.
        """
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        left = os.pread(self._file, MOST_BYTES, 0)
        *lines, rest = left.split(b"\n")
        return [line for line in lines if line], bool(rest)

    def add(self, line: bytes) -> bool:
        """Keep a line; False where the disk has no room, so that it is only in memory."""
        if self._file is None or not self._is_whole:
            return False
        try:
            self._is_whole = os.write(self._file, line + b"\n") == len(line) + 1
        except OSError:
            self._is_whole = False
        return self._is_whole

    def empty(self) -> None:
        """Its lines are safe elsewhere."""
        if self._file is not None:
            with suppress(OSError):
                os.ftruncate(self._file, 0)
            self._is_whole = True

    def close(self) -> None:
        """Let go; safe twice."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
