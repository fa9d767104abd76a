"""One line of `servescope doctor`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that was looked at.

    Attributes:
        level: ok, note, warn or fail.
        subject: what it is about.
        text: what was found.
        fix: what to do; empty when there is nothing to do.
    """

    level: str
    subject: str
    text: str
    fix: str = ""
