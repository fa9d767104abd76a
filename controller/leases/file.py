"""Leases of one machine: a lock on a file, with a number that grows with every owner.

The lock goes with its process, however that ends. The number (a fencing token) tells an owner that
lost its file, because somebody removed it, from the one that has it now.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from store.errors import ControllerError


@dataclass(slots=True)
class _Held:
    file: int
    token: int


class FileLeases:
    """The leases of one process in a folder.

    Args:
        folder: where the files lie; None keeps no leases: an in-memory store has one owner anyway.
        owner: who we are, for people.
    """

    def __init__(self, folder: Path | None, owner: str) -> None:
        self._folder, self._owner = folder, owner
        self._held: dict[str, _Held] = {}

    def take(self, pool: str) -> bool:
        """Hold the lease of a pool; False when somebody else does.

        Raises:
            ControllerError: the folder cannot be written.
        """
        if self._folder is None or self.holds(pool):
            return True
        self.release(pool)
        path = self._path(pool)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ControllerError(
                f"no lease can be kept ({error.strerror})", where=str(path),
                hint="set controller.lease_folder to a folder that can be written",
            ) from error  # fmt: skip
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(file)
            return False
        token = int(_told(path).get("token", 0)) + 1
        text = json.dumps({"owner": self._owner, "pid": os.getpid(), "token": token}).encode()
        os.ftruncate(file, 0)
        os.pwrite(file, text, 0)
        os.fsync(file)
        self._held[pool] = _Held(file, token)
        return True

    def holds(self, pool: str) -> bool:
        """Whether the lease is ours, still."""
        if self._folder is None:
            return True
        held = self._held.get(pool)
        if held is None:
            return False
        path = self._path(pool)
        with suppress(OSError):
            if os.fstat(held.file).st_ino == path.stat().st_ino:
                return int(_told(path).get("token", -1)) == held.token
        return False

    async def confirm(self, pool: str, decision_id: int, seconds: float) -> bool:
        """Whether a decision may be done now: the lock lasts as long as we do."""
        del decision_id, seconds
        return self.holds(pool)

    def token(self, pool: str) -> int:
        """Of our lease; 0 without one."""
        held = self._held.get(pool)
        return held.token if held else 0

    def owner(self, pool: str) -> str:
        """Who holds it, or held it last, for people."""
        if self._folder is None:
            return self._owner
        told = _told(self._path(pool))
        return f"{told['owner']} (process {told['pid']})" if "owner" in told else "nobody"

    def release(self, pool: str) -> None:
        """Let go of a pool."""
        held = self._held.pop(pool, None)
        if held is not None:
            os.close(held.file)

    def release_all(self, pools: Iterable[str] | None = None) -> None:
        """Let go of all."""
        for pool in list(self._held if pools is None else pools):
            self.release(pool)

    def close(self) -> None:
        """Let go of all."""
        self.release_all()

    def _path(self, pool: str) -> Path:
        assert self._folder is not None  # noqa: S101 - for the type checker
        return self._folder / f"{pool}.lease"


def _told(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
