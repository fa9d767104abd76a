"""From file names to loads: recognise each file and group them into sources."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from collector.request_rows.aiperf import AIPERF
from collector.request_rows.guidellm import GUIDELLM
from collector.request_rows.vllm_bench import VLLM_BENCH
from collector.traces import mapped
from collector.traces.azure import AZURE
from collector.traces.burstgpt import BURSTGPT
from collector.traces.format import Match, TraceFormat, check_name
from collector.traces.head import Head, read_head
from collector.traces.mooncake import MOONCAKE
from collector.traces.own import LIVE, OWN
from collector.traces.servegen import SERVEGEN
from collector.traces.vtc import VTC
from store.bulk_spec import BulkLoad
from store.errors import InputError

FORMATS: Mapping[str, TraceFormat] = {
    "azure": AZURE,
    "burstgpt": BURSTGPT,
    "mooncake": MOONCAKE,
    "vtc": VTC,
    "servegen": SERVEGEN,
    "vllm-bench": VLLM_BENCH,
    "aiperf": AIPERF,
    "guidellm": GUIDELLM,
    "servescope": OWN,
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
    for trace_format in FORMATS.values():
        if format_name in ("auto", trace_format.name) and trace_format.matches(head):
            return Match(trace_format, head)
    raise _unknown(head, format_name)


def plan(
    paths: Sequence[Path],
    format: str = "auto",  # noqa: A002 - the command line calls it so
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
        InputError: see `sniff`; or a map that does not fit, or files of several formats or sources
            under one name.
    """
    if not paths:
        raise InputError("no file was named", hint="servescope import FILE")
    if format not in ("auto", "mapped", *FORMATS):
        raise InputError(f"no format is called '{format}'", hint=", ".join((*FORMATS, "mapped")))
    if mapping and format not in ("auto", "mapped"):
        raise InputError(
            f"--map does not go with the {format} format", hint="leave one of them out"
        )
    if format == "mapped" and not mapping:
        raise InputError("the mapped format needs a map", hint="--map 'arrived_at=COLUMN:s'")
    files = [Path(path).absolute() for path in paths]
    loads = _plan_mapped(files, mapping) if mapping else _plan_known(files, format)
    loads = _named(loads, source_name)
    if rejects_file is None:
        return loads
    return [replace(load, rejects_file=_rejects(rejects_file, load, loads)) for load in loads]


def parse_map(texts: Sequence[str]) -> dict[str, str]:
    """Read `--map` values: `stored=column[:unit]`, several separated by commas.

    Raises:
        InputError: an entry without `=`, or the same name twice.
    """
    mapping: dict[str, str] = {}
    for text in (part for value in texts for part in value.split(",") if part.strip()):
        stored, equals, column = (part.strip() for part in text.partition("="))
        if not (stored and equals and column):
            raise InputError(
                f"--map {text} is not STORED=COLUMN[:UNIT]", hint="write arrived_at=Timestamp:ms"
            )
        if stored in mapping:
            raise InputError(f"the map names '{stored}' twice", hint="leave one of them out")
        mapping[stored] = column
    return mapping


def _rejects(file: Path, load: BulkLoad, loads: Sequence[BulkLoad]) -> Path:
    """The file for refused rows; with several loads, one for each, named by its source."""
    target = file.absolute()
    if len(loads) > 1:
        place = f"{load.source.name}.{loads.index(load) + 1}"
        target = target.with_name(f"{target.stem}.{place}{target.suffix}")
    if target in load.files:
        raise InputError(
            "the rejected rows would overwrite the trace itself",
            where=str(target),
            hint="name another file with --rejects",
        )
    return target


def _plan_known(files: Sequence[Path], format_name: str) -> list[BulkLoad]:
    groups: dict[tuple[str, str], list[Match]] = {}
    for path in files:
        match = sniff(path, format_name)
        for name in match.format.sources(match.head):
            # Files with other columns are another load into the same source.
            head = match.head
            shape = "" if head.kind == "json" else "\0".join((*head.columns, str(head.comments)))
            key = (name, match.format.name + ("" if match.format is SERVEGEN else shape))
            groups.setdefault(key, []).append(match)
    return [
        replace(
            group[0].format.build([match.head for match in group], name),
            skipped_lines=group[0].head.comments,
        )
        for (name, _), group in groups.items()
    ]


def _plan_mapped(files: Sequence[Path], mapping: Mapping[str, str]) -> list[BulkLoad]:
    heads = [read_head(path) for path in files]
    return [
        replace(mapped.build([head], mapped.sources(head)[0], mapping), skipped_lines=head.comments)
        for head in heads
    ]


def _named(loads: Sequence[BulkLoad], source_name: str | None) -> list[BulkLoad]:
    """The loads under the name asked for; every name must be fit to ask by."""
    if source_name is not None:
        check_name(source_name)
        return _merged(loads, source_name)
    for load in loads:
        check_name(load.source.name, where=str(load.files[0]))
    return list(loads)


def _merged(loads: Sequence[BulkLoad], name: str) -> list[BulkLoad]:
    """All loads into one source of this name; they must agree on format and clock."""
    kinds = {(load.source.format, load.source.clock, load.where) for load in loads}
    if len(kinds) > 1:
        raise InputError(
            f"these files cannot all become the source '{name}'",
            hint="they differ in format, clock or source; import them one at a time",
        )
    # Rows of a live fleet under another name are a recording: their "now" is their last row.
    kind = loads[0].source.kind if name == LIVE else "trace"
    return [replace(load, source=replace(load.source, name=name, kind=kind)) for load in loads]


def _unknown(head: Head, format_name: str) -> InputError:
    seen = ", ".join(head.columns[:12])[:300] or "none"
    if format_name != "auto":
        return InputError(
            f"this is not the {format_name} format; its columns are: {seen}",
            where=str(head.path),
            hint=f"expected {FORMATS[format_name].title}; or leave --format out",
        )
    return InputError(
        f"the format is not known; its columns are: {seen}",
        where=str(head.path),
        hint=f"name them with --map 'arrived_at=COLUMN:unit'; known: {', '.join(FORMATS)}",
    )
