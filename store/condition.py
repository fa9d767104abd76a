"""How the store stands: whether it takes rows, whether it answers, what is wrong since when."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from store.errors import StoreError, StoreFull, StoreReadOnly

State = Literal["ok", "full", "read_only", "stopped"]
RETRY_SECONDS = 5.0
"""From one try to take rows again to the next."""
_FULL = ("No space left on device", "Disk quota exceeded", "File too large")
_UNWRITABLE = ("Read-only file system", "Input/output error", "Permission denied")
_PROBE_BYTES = 4 << 20


_IN_SHORT: Mapping[State, str] = {
    "ok": "nothing is wrong with the store",
    "full": "the disk of the store is full",
    "read_only": "the disk of the store cannot be written",
    "stopped": "the store does not answer",
}


@dataclass(frozen=True, slots=True)
class Condition:
    """How the store stands.

    Attributes:
        state: "ok"; "full" (answers, takes no rows until space is free); "read_only" (answers,
            takes no rows until the disk can be written); "stopped" (does not answer either).
        what: what is wrong, a sentence without its full stop; "" when nothing is.
        since: when it was noticed, aware UTC; None when nothing is wrong.
        hint: what to do.
    """

    state: State = "ok"
    what: str = ""
    since: datetime | None = None
    hint: str = ""

    @property
    def in_short(self) -> str:
        """What is wrong, for somebody who may not know where the store lies."""
        return _IN_SHORT[self.state]

    def refusal(self) -> StoreError:
        """What whoever brings rows is told."""
        kind = StoreFull if self.state == "full" else StoreReadOnly
        return kind(f"{self.what}; nothing of this batch was taken", hint=self.hint)


OK = Condition()
FREE_SPACE = "free some space: rows are taken again within seconds, without a restart"
MAKE_WRITABLE = (
    "look at the system's log (dmesg) and make the disk writable: rows are taken again within"
    " seconds, without a restart"
)
OPENING = "it is opened again on its own; if this stays, see the server's log"


def disk_trouble(text: str) -> tuple[State, str] | None:
    """State and hint that the words of an error mean; None where no disk is to blame."""
    if any(sign in text for sign in _FULL):
        return "full", FREE_SPACE
    if any(sign in text for sign in _UNWRITABLE):
        return "read_only", MAKE_WRITABLE
    return None


def try_to_write(folder: Path) -> str | None:
    """Take some room for a file of no name and wait until it is on disk; why not, or None.

    Room for one commit alone would not do: it would be refused and taken again in turns.
    """
    try:
        with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
            os.posix_fallocate(file.fileno(), 0, _PROBE_BYTES)
            file.write(b"\0")
            os.fsync(file.fileno())
    except OSError as error:
        return error.strerror or str(error)
    return None
