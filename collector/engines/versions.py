"""Releases of engines, compared by their numbers."""

from __future__ import annotations

import re

_NUMBERS = re.compile(r"v?(\d+(?:\.\d+)+)")


def parts(version: str | None) -> tuple[int, ...] | None:
    """The numbers of a release; None for what is no dotted number (a build, a commit).

    >>> parts("0.9.2.post1")
    (0, 9, 2)
    >>> parts("b4200-7841fc7") is None
    True
    """
    found = _NUMBERS.match(version or "")
    return tuple(map(int, found[1].split("."))) if found else None


def in_range(version: str | None, since: str = "", until: str = "") -> bool:
    """Whether a release lies in `[since, until)`.

    An unknown release is taken as the newest: it has what is still there.

    >>> in_range("0.10.1", since="0.9.2", until="0.12")
    True
    >>> in_range(None, until="0.12")
    False
    """
    have = parts(version)
    if have is None:
        return not until
    return not (since and have < _padded(since)) and not (until and have >= _padded(until))


def _padded(version: str) -> tuple[int, ...]:
    return parts(version) or ()
