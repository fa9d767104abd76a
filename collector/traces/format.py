"""What a trace format is: how it is recognised, which sources a file holds, how it is read."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from collector.traces.head import Head
from store.bulk_spec import BulkLoad
from store.errors import InputError

NAME_CHARACTERS = 200
"""Longest name of a source."""


@dataclass(frozen=True, slots=True)
class TraceFormat:
    """A public trace format.

    Attributes:
        name: what `--format` calls it.
        title: what it is, with its columns; for help and for "unknown format".
        matches: whether a head is of this format.
        sources: names of the sources in a file; files with equal names are one load.
        build: the load of all files of one source, from their heads and its name.
    """

    name: str
    title: str
    matches: Callable[[Head], bool]
    sources: Callable[[Head], tuple[str, ...]]
    build: Callable[[Sequence[Head], str], BulkLoad]


@dataclass(frozen=True, slots=True)
class Match:
    """A recognised file.

    Attributes:
        format: its format.
        head: what was seen of it.
    """

    format: TraceFormat
    head: Head


def stem(head: Head) -> str:
    """The file's name without folder and endings, in lower case, fit to name a source."""
    return clean_name(head.path.name.split(".")[0].lower())


def clean_name(text: str) -> str:
    """A name for a source from a file's or a folder's, which may hold anything."""
    plain = "".join("_" if _is_odd(sign) else sign for sign in text).strip()
    return plain[:NAME_CHARACTERS].strip() or "trace"


def check_name(name: str, where: str | None = None) -> None:
    """Refuse a name by which the source could not be asked for.

    Scopes list names with commas between them, and a line of output holds a name whole.

    Raises:
        InputError: empty, too long, or with a comma, a control character or a blank at an end.
    """
    odd = next((sign for sign in name if _is_odd(sign)), None)
    if not name.strip():
        wrong = "the name of the source is empty"
    elif len(name) > NAME_CHARACTERS:
        wrong = f"the name of the source is longer than {NAME_CHARACTERS} characters"
    elif odd is not None:
        wrong = f"the name of the source {name!r} holds {'a comma' if odd == ',' else repr(odd)}"
    elif name != name.strip():
        wrong = f"the name of the source {name!r} begins or ends with a blank"
    else:
        return
    raise InputError(wrong, where=where, hint="give it a plain name with --name NAME")


def _is_odd(sign: str) -> bool:
    """Commas part names; control, format and half characters cannot be typed or seen."""
    return sign == "," or unicodedata.category(sign).startswith("C")
