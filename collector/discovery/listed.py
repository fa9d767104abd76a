"""Targets that stand in settings or in files."""

from __future__ import annotations

import asyncio
import glob
import os
import stat
from collections.abc import Sequence

from collector.discovery.groups import (
    MOST_BYTES,
    GroupsError,
    read_json,
    read_yaml,
    targets_of,
)
from collector.discovery.model import DiscoveredTarget

_Stamp = tuple[int, int, int]


class StaticDiscovery:
    """A list that does not change.

    Args:
        listed: the targets.
    """

    refresh_seconds = 3600.0
    problem: str | None = None

    def __init__(self, listed: Sequence[DiscoveredTarget]) -> None:
        self._listed = tuple(listed)

    async def targets(self) -> tuple[DiscoveredTarget, ...]:
        """The list."""
        return self._listed

    async def aclose(self) -> None:
        """Nothing to close."""


class FileDiscovery:
    """Files of target groups (Prometheus' file_sd), JSON or YAML.

    Looked at every few seconds and read again when they change. A file that is malformed keeps its
    previous targets; one that is gone has none.

    Args:
        pattern: path of a file; `*` and `?` in it stand for several.
        refresh_seconds: how often to look.
    """

    def __init__(self, pattern: str, refresh_seconds: float = 5.0) -> None:
        self.refresh_seconds = refresh_seconds
        self.problem: str | None = None
        self._pattern = os.path.expanduser(pattern)
        self._read: dict[str, tuple[_Stamp, tuple[DiscoveredTarget, ...], str | None]] = {}

    async def targets(self) -> tuple[DiscoveredTarget, ...]:
        """Targets of all files that match, in the order of their names."""
        # A long file, or a file system that hangs, must not hold up the scrapes.
        self._read = await asyncio.to_thread(self._look_at_all)
        problems = [why for _, _, why in self._read.values() if why]
        if not self._read:
            problems = [f"{self._pattern}: there is no such file"]
        self.problem = "; ".join(problems) or None
        return tuple(target for _, targets, _ in self._read.values() for target in targets)

    async def aclose(self) -> None:
        """Nothing to close."""

    def _look_at_all(self) -> dict[str, tuple[_Stamp, tuple[DiscoveredTarget, ...], str | None]]:
        return {name: self._look(name) for name in sorted(glob.glob(self._pattern))}

    def _look(self, name: str) -> tuple[_Stamp, tuple[DiscoveredTarget, ...], str | None]:
        before = self._read.get(name)
        kept = before[1] if before else ()
        stamp: _Stamp = (0, 0, 0)
        try:
            told = os.stat(name)
            stamp = (told.st_mtime_ns, told.st_size, told.st_ino)
            if before is not None and before[0] == stamp:
                return before
            if not stat.S_ISREG(told.st_mode):
                return stamp, kept, f"{name}: is no regular file"
            return stamp, _targets(name), None
        except OSError as error:
            return stamp, kept, f"{name}: cannot be read ({error.strerror})"
        except GroupsError as error:
            return stamp, kept, f"{name}: {error}"


def _targets(name: str) -> tuple[DiscoveredTarget, ...]:
    with open(name, "rb") as file:
        text = file.read(MOST_BYTES + 1)
    if len(text) > MOST_BYTES:
        raise GroupsError(f"more than {MOST_BYTES} bytes")
    decoded = read_json(text) if name.endswith(".json") else read_yaml(text)
    return targets_of(decoded, {"__meta_filepath": name})
