"""From file names to loads: recognise each file and group them into sources."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from collector.traces import azure
from collector.traces.head import Head, read_head
from store.bulk_spec import BulkLoad
from store.errors import InputError


@dataclass(frozen=True, slots=True)
class TraceFormat:
    """A public trace format.

    Attributes:
        name: what `--format` calls it.
        title: what it is, with its columns; for help and for "unknown format".
        matches: whether a head is of this format.
        source_name: name of the source that a file belongs to; files with equal names are one load.
        build: the load of all files of one source.
    """

    name: str
    title: str
    matches: Callable[[Head], bool]
    source_name: Callable[[Head], str]
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


FORMATS: Mapping[str, TraceFormat] = {
    "azure": TraceFormat(
        "azure",
        "Azure LLM inference (TIMESTAMP,ContextTokens,GeneratedTokens)",
        azure.matches,
        azure.source_name,
        azure.build,
    ),
}
"""Every format that `--format auto` tries; `mapped` needs `--map` and is not among them."""


def sniff(path: Path, format_name: str = "auto") -> Match:
    """Recognise a file by its first 64 kB.

    Args:
        path: the file; gzip and zstd are seen through.
        format_name: a key of `FORMATS` to insist on, or "auto".

    Raises:
        InputError: unreadable, of no known format, or not of the named one.
    """
    head = read_head(path)
    if format_name not in ("auto", *FORMATS):
        raise InputError(f"no format is called '{format_name}'", hint=", ".join(FORMATS))
    for trace_format in FORMATS.values():
        if format_name in ("auto", trace_format.name) and trace_format.matches(head):
            return Match(trace_format, head)
    raise _unknown(head, format_name)


def plan(
    paths: Sequence[Path],
    format: str = "auto",
    mapping: Mapping[str, str] | None = None,
    source_name: str | None = None,
    rejects_file: Path | None = None,
) -> list[BulkLoad]:
    """Turn files into loads, one for each source.

    Args:
        paths: files, read in the order given.
        format: "auto", "mapped" or a key of `FORMATS`.
        mapping: stored column -> source column with an optional `:unit`; implies "mapped".
        source_name: put all files into one source of this name.
        rejects_file: where refused rows go.

    Raises:
        InputError: see `sniff`; or files of several formats under one source name.
    """
    if not paths:
        raise InputError("no file was named", hint="servescope import FILE")
    groups: dict[tuple[str, str], list[Match]] = {}
    for path in paths:
        match = sniff(Path(path), format)
        name = source_name or match.format.source_name(match.head)
        groups.setdefault((name, match.format.name), []).append(match)
    return [
        replace(
            group[0].format.build([match.head for match in group], name), rejects_file=rejects_file
        )
        for (name, _), group in groups.items()
    ]


def _unknown(head: Head, format_name: str) -> InputError:
    seen = ", ".join(head.columns[:12]) or "none"
    if format_name != "auto":
        return InputError(
            f"this is not the {format_name} format; its columns are: {seen}",
            where=str(head.path),
            hint=f"expected {FORMATS[format_name].title}; or leave --format out",
        )
    known = "; ".join(f.title for f in FORMATS.values())
    return InputError(
        f"the format is not known; its columns are: {seen}",
        where=str(head.path),
        hint=f"name them with --map 'arrived_at=COLUMN:unit'; known: {known}",
    )
