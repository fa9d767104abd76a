"""The SQL that reads the files of a bulk load, and what is refused before any of it runs.

The decompressed bytes are looked over once before DuckDB parses them, because two things would
otherwise go wrong silently or slowly: its reader takes a gzip file that was cut short for a whole
one, and it needs minutes and gigabytes for one line of a million fields.
"""

from __future__ import annotations

import fcntl
import mmap
import zlib
from collections.abc import Iterator
from pathlib import Path

import duckdb

from store.bulk_spec import BulkLoad
from store.errors import InputError

BLOCK_BYTES = 8 * 1024
"""A CSV line longer than this is counted; longer than twice this it is always seen."""
MAX_LINE_FIELDS = 1_000
"""Fields in one such block of a CSV line; more is not a trace."""
MAX_RECORD_BYTES = 16 << 20
"""Largest JSON record; DuckDB keeps a buffer of twice this for each thread."""
MAX_DOCUMENT_BYTES = 256 << 20
"""Largest file that is one JSON document."""
_PACKED_RATIO = 100
REJECTED_SCAN = "bulk_rejected_scan"
REJECTED_LINE = "bulk_rejected_line"
MAX_REJECTED_LINES = 100_000
"""More bad lines than this are not listed: it is the wrong file."""
_READ_BYTES = 1 << 20
_WINDOW_BYTES = 64 << 20  # a multiple of the page size, as a mapping's offset has to be
_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"


def literal(text: str) -> str:
    """A text as SQL."""
    return "'" + text.replace("'", "''") + "'"


def relation(spec: BulkLoad) -> str:
    """A FROM item that yields the source columns of all files of a load."""
    reader = {"csv": _csv, "jsonl": _json, "parquet": _parquet}[spec.reader](spec)
    if spec.unnest:
        return f"(SELECT unnest({spec.unnest}, recursive := true) FROM {reader})"
    if spec.where:
        return f"(SELECT * FROM {reader} WHERE {spec.where})"
    return reader


def verify(spec: BulkLoad) -> None:
    """Read every text file once and refuse what must not reach the parser.

    Raises:
        InputError: unreadable, held by another process, cut short, or with an endless line.
    """
    for path in spec.files:
        _refuse_held(path)
        if spec.reader != "parquet":
            _verify_text(path, spec)


def refuse_broken_records(connection: duckdb.DuckDBPyConnection, spec: BulkLoad) -> None:
    """A record whose list of rows cannot be read would vanish without a word.

    Raises:
        InputError: there is such a record.
    """
    if spec.unnest is None:
        return
    rows = connection.execute(
        f"""SELECT n FROM (SELECT row_number() OVER () AS n, {spec.unnest} AS list
        FROM {_json(spec)}) WHERE list IS NULL LIMIT 1"""
    ).fetchall()
    if rows:
        raise InputError(
            f"record {rows[0][0]} is no whole JSON record of this format",
            where=str(spec.files[0]),
            hint="fetch the file again",
        )


def _csv(spec: BulkLoad) -> str:
    columns = ", ".join(f"{literal(name)}: {literal(kind)}" for name, kind in spec.columns.items())
    return (
        f"read_csv({_files(spec)}, columns = {{{columns}}}, auto_detect = false, "
        f"header = {str(spec.header).lower()}, skip = {spec.skipped_lines}, "
        f"delim = {literal(spec.delimiter)}, quote = '\"', escape = '\"', "
        f"filename = {str('filename' in _expressions(spec)).lower()}, "
        f"compression = '{_compression(spec.files[0])}', store_rejects = true, "
        f"rejects_scan = '{REJECTED_SCAN}', rejects_table = '{REJECTED_LINE}', "
        f"rejects_limit = {MAX_REJECTED_LINES})"
    )


def _json(spec: BulkLoad) -> str:
    columns = ", ".join(f"{literal(name)}: {literal(kind)}" for name, kind in spec.columns.items())
    # A line that is no JSON becomes a row of NULLs, which the checks refuse with its line number.
    layout = (
        f"format = 'unstructured', maximum_object_size = {_document_bytes(spec)}"
        if spec.whole
        else f"format = 'newline_delimited', ignore_errors = true, "
        f"maximum_object_size = {MAX_RECORD_BYTES}"
    )
    return (
        f"read_json({_files(spec)}, {layout}, columns = {{{columns}}}, "
        f"compression = '{_compression(spec.files[0])}')"
    )


def _document_bytes(spec: BulkLoad) -> int:
    """Room for the largest file, within limits: DuckDB takes twice as much for each thread."""
    packed = 1 if _compression(spec.files[0]) == "uncompressed" else _PACKED_RATIO
    largest = max(path.stat().st_size for path in spec.files) * packed
    return min(max(largest, MAX_RECORD_BYTES), MAX_DOCUMENT_BYTES)


def _parquet(spec: BulkLoad) -> str:
    return f"read_parquet({_files(spec)})"


def _files(spec: BulkLoad) -> str:
    # DuckDB reads *, ? and [ in a name as a pattern; a class of one character takes them literally.
    names = (str(path).translate(_GLOB) for path in spec.files)
    return "[" + ", ".join(literal(name) for name in names) + "]"


_GLOB = str.maketrans({"*": "[*]", "?": "[?]", "[": "[[]"})


def _expressions(spec: BulkLoad) -> str:
    return " ".join((*spec.select.values(), *spec.labels.values()))


def _compression(path: Path) -> str:
    magic = _magic(path)
    if magic.startswith(_GZIP):
        return "gzip"
    return "zstd" if magic.startswith(_ZSTD) else "uncompressed"


def _magic(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(4)
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> InputError:
    return InputError(
        f"cannot be read ({error.strerror})",
        where=str(path),
        hint="check the path and its permissions",
    )


def _refuse_held(path: Path) -> None:
    """A writer that locks the file has not finished it."""
    try:
        file = path.open("rb")
    except OSError as error:
        raise _unreadable(path, error) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(
                "another process holds this file locked",
                where=str(path),
                hint="wait until it is finished, or copy it",
            ) from error
        except OSError:
            return  # a file system without locks: nobody can hold one


def _verify_text(path: Path, spec: BulkLoad) -> None:
    kind = _compression(path)
    if kind != _compression(spec.files[0]):
        raise InputError(
            "the files are compressed in different ways",
            where=str(path),
            hint="import them one at a time",
        )
    is_csv = spec.reader == "csv"
    if kind == "uncompressed":
        if is_csv:
            _check_plain_lines(path, spec)
        return
    chunks = _gunzip(path) if kind == "gzip" else _unzstd(path)
    for start, chunk in chunks:
        if is_csv:
            _check_blocks(path, spec, chunk, start)


def _check_plain_lines(path: Path, spec: BulkLoad) -> None:
    size = path.stat().st_size
    with path.open("rb") as file:
        # Mapped in windows: pages of a mapping count as this process's memory.
        for start in range(0, size, _WINDOW_BYTES):
            length = min(_WINDOW_BYTES, size - start)
            with mmap.mmap(file.fileno(), length, access=mmap.ACCESS_READ, offset=start) as data:
                _check_blocks(path, spec, data, start)


def _check_blocks(path: Path, spec: BulkLoad, chunk: bytes | mmap.mmap, start: int) -> None:
    if len(chunk) >= _READ_BYTES and chunk.find(b"\n") < 0:
        raise InputError(
            f"a line near byte {start:,} is longer than {_READ_BYTES >> 20} MiB",
            where=str(path),
            hint="a trace has one request a line; mend or remove that line",
        )
    for at in range(0, len(chunk), BLOCK_BYTES):
        if chunk.find(b"\n", at, at + BLOCK_BYTES) < 0:
            _check_fields(path, spec, chunk[at : at + BLOCK_BYTES], start + at)


def _check_fields(path: Path, spec: BulkLoad, block: bytes, start: int) -> None:
    if block.count(spec.delimiter.encode()) > MAX_LINE_FIELDS:
        raise InputError(
            f"a line near byte {start:,} has more than {MAX_LINE_FIELDS:,} fields",
            where=str(path),
            hint=f"this format has {len(spec.columns)} columns; mend or remove that line",
        )


def _gunzip(path: Path) -> Iterator[tuple[int, bytes]]:
    """The decompressed chunks with their byte offset; raises when the data end too early."""
    inflater = zlib.decompressobj(zlib.MAX_WBITS | 16)
    offset = 0
    with path.open("rb") as file:
        for raw in iter(lambda: file.read(_READ_BYTES), b""):
            rest = raw
            while rest:
                if inflater.eof:  # a gzip file may be several, one after the other
                    inflater = zlib.decompressobj(zlib.MAX_WBITS | 16)
                try:
                    chunk = inflater.decompress(rest, _READ_BYTES)
                except zlib.error as error:
                    raise _damaged(path, f"the gzip data is damaged ({error})") from error
                yield offset, chunk
                offset += len(chunk)
                rest = inflater.unused_data if inflater.eof else inflater.unconsumed_tail
    if not inflater.eof:
        raise _damaged(path, f"the gzip file is cut short after {offset:,} bytes of text")


def _unzstd(path: Path) -> Iterator[tuple[int, bytes]]:
    import pyarrow as pa

    offset = 0
    try:
        with pa.input_stream(str(path), compression="zstd") as stream:
            for chunk in iter(lambda: stream.read(_READ_BYTES), b""):
                yield offset, chunk
                offset += len(chunk)
    except (OSError, pa.ArrowException) as error:
        raise _damaged(path, "the zstd file is damaged or cut short") from error


def _damaged(path: Path, message: str) -> InputError:
    return InputError(message, where=str(path), hint="fetch the file again")
