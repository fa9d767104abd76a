"""What a trace format is: how it is recognised, which sources a file holds, how it is read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from collector.traces.head import Head
from store.bulk_spec import BulkLoad


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
    """The file's name without folder and endings, in lower case."""
    return head.path.name.split(".")[0].lower()
