"""Posted request rows in their four forms -> plain rows, bounded before anything is unfolded."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import orjson

from collector.request_rows.fields import FIELDS, MOST_CHARACTERS

if TYPE_CHECKING:
    import pyarrow as pa

MOST_ROWS = 100_000
MOST_UNFOLDED_BYTES = 256 << 20
# What reading a damaged file ends in, besides Arrow's own errors: names that are no text, lengths
# that point nowhere.
_DAMAGE = (OSError, ValueError, ArithmeticError, LookupError, TypeError, MemoryError)
_THRIFT = {"thrift_string_size_limit": 1 << 20, "thrift_container_size_limit": 1 << 20}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
JSON = "application/json"
LINES = "application/x-ndjson"
ARROW = "application/vnd.apache.arrow.stream"
PARQUET = "application/vnd.apache.parquet"
NO_OBJECT = "it is no JSON object"

Row = Mapping[str, Any] | None
"""A row as it came; None where there is none to be made out."""


class BadForm(ValueError):
    """A body that is not what its type says."""


class TooMany(ValueError):
    """More rows or more text than one request may bring."""


def rows_of(media_type: str, body: bytes) -> list[Row]:
    """All rows of a body.

    Raises:
        BadForm: it is not of that form.
        TooMany: it is too large when unfolded.
        KeyError: no such form.
    """
    return FORMS[media_type](body)


def _json(body: bytes) -> list[Row]:
    try:
        told = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadForm(f"the body is not JSON: {error}") from error
    if isinstance(told, dict) and set(told) == {"requests"}:
        told = told["requests"]
    if not isinstance(told, list):
        raise BadForm('the body must be a list of rows, or {"requests": [...]}')
    _require_few(len(told))
    return [row if isinstance(row, dict) else None for row in told]


def _lines(body: bytes) -> list[Row]:
    lines = [line for line in body.split(b"\n") if line.strip()]
    _require_few(len(lines))
    return [_line(line) for line in lines]


def _line(line: bytes) -> Row:
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return row if isinstance(row, dict) else None


def _arrow(body: bytes) -> list[Row]:
    import pyarrow as pa

    rows: list[Row] = []
    try:
        _refuse_compressed(body)
        with pa.ipc.open_stream(body) as stream:
            _require_known(stream.schema)
            for batch in stream:
                _require_few(len(rows) + batch.num_rows)
                batch.validate(full=True)
                rows += _unfolded(batch)
    except (BadForm, TooMany):
        raise
    except (pa.ArrowException, struct.error, *_DAMAGE) as error:
        raise BadForm("the body is no sound Arrow stream") from error
    return rows


def _parquet(body: bytes) -> list[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows: list[Row] = []
    try:
        file = pq.ParquetFile(pa.BufferReader(body), **_THRIFT)
        _require_few(file.metadata.num_rows)
        _require_small(file.metadata)
        _require_known(file.schema_arrow)
        # Repeated texts stay one text each until their length is known.
        names = file.schema_arrow.names
        file = pq.ParquetFile(pa.BufferReader(body), read_dictionary=names, **_THRIFT)
        for batch in file.iter_batches(batch_size=10_000, use_threads=False):
            _require_few(len(rows) + batch.num_rows)
            rows += _unfolded(batch)
    except (BadForm, TooMany):
        raise
    except (pa.ArrowException, *_DAMAGE) as error:
        raise BadForm("the body is no sound Parquet file") from error
    return rows


def _require_small(metadata: Any) -> None:
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    if sum(group.total_byte_size for group in groups) > MOST_UNFOLDED_BYTES:
        raise TooMany(f"it unfolds to more than {MOST_UNFOLDED_BYTES >> 20} MiB")


def _require_few(count: int) -> None:
    if count > MOST_ROWS:
        raise TooMany(f"there are more than {MOST_ROWS:,} rows; send them in several requests")


def _require_known(schema: pa.Schema) -> None:
    """Columns of our names and of plain types; everything else could unfold without bounds."""
    import pyarrow.types as kinds

    plain = (
        kinds.is_string, kinds.is_large_string, kinds.is_integer, kinds.is_floating,
        kinds.is_timestamp, kinds.is_null, kinds.is_boolean,
    )  # fmt: skip
    for field in schema:
        kind = field.type.value_type if kinds.is_dictionary(field.type) else field.type
        if not any(is_kind(kind) for is_kind in plain):
            raise BadForm(f"column '{field.name[:100]}' is of type {kind}, which no field has")
    names = [name for name in schema.names if name not in FIELDS]
    if names:
        raise BadForm(f"there is no field '{names[0][:100]}'; there are: {', '.join(FIELDS)}")
    if len(set(schema.names)) < len(schema.names):
        raise BadForm("two columns have the same name")


def _unfolded(batch: pa.RecordBatch) -> Iterator[Row]:
    """The rows of a batch; no text in it is longer than a field may be."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.types as kinds

    columns: dict[str, list[Any]] = {}
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        texts = column.dictionary if isinstance(column, pa.DictionaryArray) else column
        is_text = kinds.is_string(texts.type) or kinds.is_large_string(texts.type)
        if is_text and (pc.max(pc.binary_length(texts)).as_py() or 0) > 4 * MOST_CHARACTERS:
            raise TooMany(f"a {name} is longer than {MOST_CHARACTERS} characters")
        columns[name] = _moments(column) if kinds.is_timestamp(column.type) else column.to_pylist()
    for number in range(batch.num_rows):
        yield {name: values[number] for name, values in columns.items()}


def _moments(column: pa.Array) -> list[Any]:
    """Times of any resolution; the names of their zones do not matter, they count from 1970 UTC."""
    import pyarrow as pa

    micros = column.cast(pa.timestamp("us", column.type.tz), safe=False).cast(pa.int64())
    return [None if told is None else _moment(told) for told in micros.to_pylist()]


def _moment(microseconds: int) -> datetime | float:
    try:
        return _EPOCH + timedelta(microseconds=microseconds)
    except OverflowError:
        return math.inf  # a time that is refused with the row


def _refuse_compressed(body: bytes) -> None:
    """Buffers inside Arrow messages may be packed, and nothing bounds what comes out of them."""
    import pyarrow as pa

    reader = pa.ipc.MessageReader.open_stream(pa.BufferReader(body))
    while True:
        try:
            message = reader.read_next_message()
        except StopIteration:
            return
        if message.type in ("record batch", "dictionary") and _is_packed(message):
            raise BadForm("the record batches are compressed; send Content-Encoding: gzip instead")


def _is_packed(message: pa.Message) -> bool:
    """Whether the flatbuffer of a message names a codec. Source: format/Message.fbs of Arrow."""
    data = message.metadata.to_pybytes()
    (root,) = struct.unpack_from("<I", data, 0)
    header = _field(data, root, 2)
    batch = None if header is None else header + struct.unpack_from("<I", data, header)[0]
    if batch is not None and message.type == "dictionary":
        inner = _field(data, batch, 1)
        batch = None if inner is None else inner + struct.unpack_from("<I", data, inner)[0]
    return batch is not None and _field(data, batch, 3) is not None


def _field(data: bytes, table: int, number: int) -> int | None:
    """Where a field of a flatbuffer table lies; None when it is left out."""
    (back,) = struct.unpack_from("<i", data, table)
    start = table - back
    (size,) = struct.unpack_from("<H", data, start)
    slot = 4 + 2 * number
    if slot + 2 > size:
        return None
    (offset,) = struct.unpack_from("<H", data, start + slot)
    return table + offset if offset else None


FORMS: Mapping[str, Callable[[bytes], list[Row]]] = {
    JSON: _json,
    LINES: _lines,
    "application/jsonl": _lines,
    ARROW: _arrow,
    PARQUET: _parquet,
}
"""Media type -> how it is read."""
