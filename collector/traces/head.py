"""The first bytes of a file, decompressed and taken apart just enough to recognise it."""

from __future__ import annotations

import codecs
import csv
import io
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import orjson

from store.errors import InputError

HEAD_BYTES = 64 * 1024
"""Decompressed bytes looked at to recognise a format."""

_RECORDS = 100
"""JSON records looked at for their keys."""

DOCUMENTS = (
    frozenset({"backend", "model_id", "tokenizer_id", "num_prompts"}),  # vllm bench serve
    frozenset({"guidellm_version"}),
    frozenset({"benchmarks", "type_"}),  # older GuideLLM
    frozenset({"result", "responses", "adapter_dir"}),  # VTC
)
"""Names that stand near the beginning of results which are one JSON document each."""
DAMAGE = (OSError, ValueError, ArithmeticError, LookupError, TypeError, MemoryError)
"""What reading a damaged Parquet file ends in, besides Arrow's own errors."""
THRIFT = {"thrift_string_size_limit": 16 << 20, "thrift_container_size_limit": 1 << 20}
"""How much a Parquet file may say about itself, in bytes and in items."""
_NAME = re.compile(r'"([a-z_]{1,40})"\s*:')

Kind = Literal["csv", "json", "parquet"]


@dataclass(frozen=True, slots=True)
class Head:
    """What the start of a file shows.

    Attributes:
        path: the file.
        kind: what sort of text it is.
        columns: CSV header fields, keys of the first JSON record, or Parquet column names.
        record: the first JSON record; empty when it does not fit the head.
        first: the fields of the first CSV line (the header when there is one).
        delimiter: CSV separator.
        text: the decompressed head.
        metadata: key-value metadata of a Parquet file.
        comments: lines before the first one of a CSV file that begin with #.
    """

    path: Path
    kind: Kind
    columns: tuple[str, ...]
    record: dict[str, Any] = field(default_factory=dict)
    first: tuple[str, ...] = ()
    delimiter: str = ","
    text: str = ""
    metadata: dict[str, str] | None = None
    comments: int = 0


def read_head(path: Path) -> Head:
    """Look at the first 64 kB (decompressed) of a file.

    Raises:
        InputError: missing, a folder, unreadable, empty, an archive, or no text.
    """
    raw = _raw_head(path)
    if raw[:4] == b"PAR1":
        return _parquet_head(path)
    return _text_head(path, _as_text(path, _decompressed(path, raw)))


def bad_file(path: Path, message: str, hint: str) -> InputError:
    """The one way this package refuses a file."""
    return InputError(message, where=str(path), hint=hint)


def _raw_head(path: Path) -> bytes:
    try:
        if path.is_dir():
            raise bad_file(path, "this is a folder", "name the trace files in it")
        if path.exists() and not path.is_file():
            raise bad_file(path, "this is no regular file", "write the trace to a file first")
        with path.open("rb") as file:
            raw = file.read(HEAD_BYTES)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a file name"
        hint = "check the path and its permissions"
        raise bad_file(path, f"cannot be read ({reason})", hint) from error
    if not raw:
        raise bad_file(path, "the file is empty", "fetch it again")
    return raw


def _decompressed(path: Path, raw: bytes) -> bytes:
    if raw[:2] == b"\x1f\x8b":
        try:
            return zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(raw, HEAD_BYTES)
        except zlib.error as error:
            raise bad_file(path, "the gzip data is damaged", "fetch the file again") from error
    if raw[:4] == b"\x28\xb5\x2f\xfd":
        return _zstd_head(path)
    if raw[:2] == b"PK":
        raise bad_file(path, "this is a zip archive", "unpack it first")
    return raw


def _zstd_head(path: Path) -> bytes:
    import pyarrow as pa

    try:
        with pa.input_stream(str(path), compression="zstd") as stream:
            return bytes(stream.read(HEAD_BYTES))
    except (OSError, pa.ArrowException) as error:
        raise bad_file(path, "the zstd data is damaged", "fetch the file again") from error


def _as_text(path: Path, data: bytes) -> str:
    if data[257:262] == b"ustar":
        raise bad_file(path, "this is a tar archive", "unpack it first and name the files")
    if not data.strip():
        raise bad_file(path, "there is no data in the file", "fetch it again")
    # The last line may be cut inside a character; only what comes before it has to be text.
    whole = data.rsplit(b"\n", 1)[0] if b"\n" in data else data
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise bad_file(path, "this is UTF-16 text", "save it as UTF-8: iconv -f UTF-16 -t UTF-8")
    if b"\0" in whole:
        raise bad_file(path, "this is binary data, not a trace", "see `servescope import --help`")
    return data.decode("utf-8-sig", errors="replace")


def _text_head(path: Path, text: str) -> Head:
    comments = 0
    while text.startswith("#") and "\n" in text:
        text, comments = text.split("\n", 1)[1], comments + 1
    line = text.lstrip().split("\n", 1)[0].strip()
    if line.startswith(("{", "[")):
        return _json_head(path, text, line)
    if "\n" not in text and len(text) >= HEAD_BYTES // 4:
        raise _endless(path, text)
    if "\r" in line:
        hint = "convert it: tr '\\r' '\\n' < OLD > NEW"
        raise bad_file(path, "its lines end with a carriage return alone", hint)
    delimiter = max(",;\t|", key=line.count)
    try:
        fields = next(csv.reader(io.StringIO(line), delimiter=delimiter), [])
    except csv.Error as error:
        raise bad_file(path, f"the first line is not CSV ({error})", "check the file") from error
    first = tuple(field.strip() for field in fields)
    return Head(
        path, "csv", _unique(first), first=first, delimiter=delimiter, text=text, comments=comments
    )


def _endless(path: Path, text: str) -> InputError:
    return bad_file(
        path,
        f"the first line is longer than {len(text):,} characters",
        "a trace has one request a line",
    )


def _unique(fields: Sequence[str]) -> tuple[str, ...]:
    """Column names that SQL can tell apart: none empty, none twice whatever their case."""
    names: dict[str, str] = {}
    for number, field_ in enumerate(fields, 1):
        name = field_ or f"column_{number}"
        taken = name.lower() in names
        name = f"{name}_{number}" if taken else name
        names[name.lower()] = name
    return tuple(names.values())


def _json_head(path: Path, text: str, line: str) -> Head:
    opened = _opened(text)
    if opened:
        return Head(path, "json", opened, text=text)
    if "\n" not in text and len(text) >= HEAD_BYTES // 4 and not _record(line):
        raise _endless(path, text)
    records = [_record(row) for row in text.splitlines()[:_RECORDS]]
    # Not every record has every field: a column is what any of the first ones has.
    names = dict.fromkeys(str(key) for record in records for key in record)
    return Head(path, "json", tuple(names), record=_record(line), text=text)


def _opened(text: str) -> tuple[str, ...]:
    """The first names of a JSON document of a known kind that is larger than a line or the head."""
    names = tuple(dict.fromkeys(_NAME.findall(text)))
    return names if any(kind <= set(names) for kind in DOCUMENTS) else ()


def _record(line: str) -> dict[str, Any]:
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError:
        return {}
    return record if isinstance(record, dict) else {}


def _parquet_head(path: Path) -> Head:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(str(path), **THRIFT) as file:
            schema = file.schema_arrow
    except (pa.ArrowException, *DAMAGE) as error:
        reason = "the Parquet file is damaged or cut short"
        raise bad_file(path, reason, "fetch the file again") from error
    pairs = {k.decode("utf-8", "replace"): v.decode("utf-8", "replace") for k, v in
             (schema.metadata or {}).items()}  # fmt: skip
    return Head(path, "parquet", tuple(schema.names), metadata=pairs)
