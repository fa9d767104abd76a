"""What to say to somebody who wrote a name that there is not."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

# Of a name that somebody typed; comparing takes the product of both lengths.
MOST_CHARACTERS = 100


def nearest_hint(name: object, known: Iterable[str], *, lists_all: bool = False) -> str:
    """Advice for a person: the name that was probably meant, or else all of them.

    Args:
        name: what was written.
        known: what could have been written, in the order to show.
        lists_all: name all of them beside the nearest too.
    """
    names = list(known)
    near = difflib.get_close_matches(str(name)[:MOST_CHARACTERS], names, n=1)
    there_are = f"there are: {', '.join(names) or 'none'}"
    if not near:
        return there_are
    return f"did you mean {near[0]}?" + (f" {there_are}" if lists_all else "")
