"""One line of what was found wrong with a store, or right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "note", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        level: "ok"; "note" (good to know); "warn" (works, but look); "fail" (does not work).
        subject: what it is about: "file", "lock", "log", "schema", "disk space"...
        text: what was found, one line.
        fix: what to do; None when nothing needs doing.
    """

    level: Level
    subject: str
    text: str
    fix: str | None = None
