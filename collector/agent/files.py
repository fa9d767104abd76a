"""Kernel files as text, under a root that tests can choose. A file that is not there is None."""

from __future__ import annotations

import os
from pathlib import Path

_MOST_BYTES = 1 << 20


class KernelFiles:
    """Reads below a root.

    Args:
        root: `/` on a real machine.
    """

    def __init__(self, root: Path = Path("/")) -> None:
        self.root = root

    def text(self, path: str) -> str | None:
        """A file's text; None when it is missing, unreadable or larger than a mebibyte."""
        try:
            descriptor = os.open(self.root / path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            parts = []
            left = _MOST_BYTES
            while left > 0 and (part := os.read(descriptor, min(left, 65_536))):
                parts.append(part)
                left -= len(part)
        except OSError:
            return None
        finally:
            os.close(descriptor)
        return b"".join(parts).decode("utf-8", "replace") if left > 0 else None

    def lines(self, path: str) -> list[str]:
        """Its lines; none when it cannot be read."""
        return (self.text(path) or "").splitlines()

    def names(self, path: str) -> list[str]:
        """What is in a folder, sorted; nothing when it cannot be read."""
        try:
            return sorted(os.listdir(self.root / path))
        except OSError:
            return []

    def statvfs(self, path: str) -> os.statvfs_result | None:
        """Room of the file system at `path`; None when it cannot be told."""
        try:
            return os.statvfs(self.root / path)
        except OSError:
            return None
