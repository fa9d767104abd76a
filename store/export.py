"""Rows out of the store as files: our own Parquet, and three public trace formats.

Everything streams: rows leave in portions of bounded size, in order of arrival, over one state of
the store. Our own Parquet loses nothing and can be imported again; the public formats carry what
their columns can hold.
"""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from store.bulk_spec import GATEWAY_COLUMNS
from store.database import Database
from store.errors import InputError
from store.export_change import Change, with_header
from store.queries.scope import Scope
from store.queries.workload import where
from store.reader import Snapshot
from store.sample_rollup import ROLLED

if TYPE_CHECKING:
    import pyarrow as pa

SOURCES_KEY = "servescope_sources"
"""Parquet metadata: JSON, source name -> format, clock, units and licence of that source."""
PORTION_ROWS = 200_000
AS_RECORDED = Change()
LIMIT_SECONDS = 3600.0
_HOUR = timedelta(hours=1)
_COLUMNS = f"""s.name AS source, r.arrived_at, r.status::VARCHAR AS status,
  l.tenant, l.model, l.route, l.instance, l.slo_class, l.finish_reason, l.admission_reason,
  r.input_tokens, r.output_tokens, r.cached_tokens, r.predicted_output_tokens,
  r.queue_seconds, r.prefill_seconds, r.decode_seconds,
  r.ttft_seconds, r.tpot_seconds, r.e2e_seconds,
  {", ".join(f"r.{name}" for name in GATEWAY_COLUMNS)},
  n.session_id, r.trace_id::VARCHAR AS trace_id, r.decision_id, r.request_key, p.block_hashes"""
_TABLES: Mapping[str, str] = {
    "client_rate": """SELECT s.name AS source, c.* EXCLUDE (source_id)
      FROM client_rate AS c JOIN source AS s USING (source_id)""",
    "target": "SELECT * REPLACE (labels::VARCHAR AS labels) FROM target",
    "series": "SELECT * REPLACE (labels::VARCHAR AS labels) FROM series",
    "sample": "SELECT * FROM sample",
    "histogram_sample": "SELECT * FROM histogram_sample",
    **{table: f"SELECT * FROM {table}" for table in ROLLED},
    "rollup_target": "SELECT * FROM rollup_target",
    "scrape": "SELECT * FROM scrape",
    "event": "SELECT * REPLACE (details::VARCHAR AS details) FROM event",
}


@dataclass(frozen=True, slots=True)
class Selection:
    """Which requests are meant.

    Attributes:
        condition: SQL over `request AS r`.
        params: its parameters.
        start: aware; where the clock of formats that count from a start begins. None: at 1970.
        at: SQL of when a request arrives.
    """

    condition: str
    params: Mapping[str, Any]
    start: datetime | None
    at: str = "r.arrived_at"


def stream(
    database: Database, scope: Scope | None, form: str, change: Change = AS_RECORDED
) -> Iterator[bytes]:
    """The requests of a scope as the bytes of one file, a portion at a time.

    Args:
        database: the store.
        scope: which requests; None means all of all sources.
        form: "parquet", "azure", "burstgpt" or "mooncake".
        change: how the file shall differ from what was recorded; it then says so at its beginning.

    Returns:
        An iterator; the read transaction ends when it is exhausted or dropped.

    Raises:
        InputError: no such format, or one that only tells what was recorded.
        QueryTimeout: from the iterator, after an hour or when two exports are running already.
    """
    if form not in _WRITERS:
        raise InputError(
            f"there is no export format '{form}'", hint=f"one of: {', '.join(_WRITERS)}"
        )
    if change.is_none:
        return _WRITERS[form](database, _selection(scope))
    if form == "parquet":
        raise InputError(
            "Parquet tells what was recorded: it is neither thinned nor sped up",
            hint="choose azure, mooncake or burstgpt",
        )
    chosen = _selection(scope)
    condition = f"({chosen.condition}) AND {change.condition}"
    parts = _WRITERS[form](database, replace(chosen, condition=condition, at=change.at(scope)))
    return with_header(parts, change.words(scope), is_json=form == "mooncake")


def write_file(parts: Iterable[bytes], file: Path) -> int:
    """Write a file that is either whole or not there; gives its size in bytes.

    Raises:
        InputError: it cannot be written.
    """
    try:
        with tempfile.NamedTemporaryFile(
            dir=file.parent, prefix=f".{file.name}.", suffix=".part", delete=False
        ) as sink:
            draft = Path(sink.name)
            try:
                size = sum(sink.write(part) for part in parts)
                sink.flush()
                draft.replace(file)
            except BaseException:
                draft.unlink(missing_ok=True)
                raise
    except OSError as error:
        raise InputError(
            f"cannot be written ({error.strerror})", where=str(file), hint="name another file"
        ) from error
    return size


def export_store(database: Database, folder: Path) -> dict[str, int]:
    """Everything that was recorded, as a folder with one Parquet file a table.

    `request.parquet` and `client_rate.parquet` can be imported again (`servescope import`); the
    others are for other tools. Roll-ups of samples are there, since they outlive the samples; those
    of requests are left out, they are made anew.

    Args:
        database: the store.
        folder: must not exist yet; appears only when it is complete.

    Returns:
        Bytes of each file.

    Raises:
        InputError: the folder exists, or cannot be written.
    """
    if folder.exists():
        raise InputError("this exists already", where=str(folder), hint="name a new folder")
    try:
        draft = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}.", suffix=".part"))
    except OSError as error:
        raise InputError(
            f"cannot be written ({error.strerror})", where=str(folder), hint="name another folder"
        ) from error
    try:
        sizes = {
            "request": write_file(stream(database, None, "parquet"), draft / "request.parquet")
        }
        for table in _TABLES:
            sizes[table] = write_file(_table_parquet(database, table), draft / f"{table}.parquet")
        draft.chmod(0o755)
        draft.replace(folder)
    except BaseException:
        for file in draft.iterdir():
            file.unlink()
        draft.rmdir()
        raise
    return sizes


def _selection(scope: Scope | None) -> Selection:
    if scope is None:
        return Selection("TRUE", {}, None)
    condition, params = where(scope, every_attempt=True)
    return Selection(condition, params, scope.start)


def _portions(snapshot: Snapshot, chosen: Selection, columns: str) -> Iterator[pl.DataFrame]:
    """Rows in order of arrival, about `PORTION_ROWS` at a time."""
    hours = snapshot.frame(
        f"""SELECT date_trunc('hour', r.arrived_at) AS hour, count(*) AS requests
        FROM request AS r WHERE {chosen.condition} GROUP BY 1 ORDER BY 1""",
        **chosen.params,
    )
    for low, high in _spans(hours):
        yield snapshot.frame(
            f"""SELECT {columns}
            FROM request AS r JOIN source AS s USING (source_id)
            JOIN request_labels AS l USING (labels_id)
            LEFT JOIN session AS n ON n.source_id = r.source_id AND n.session_key = r.session_key
            LEFT JOIN request_prefix AS p ON p.source_id = r.source_id
              AND p.request_key = r.request_key AND p.arrived_at = r.arrived_at
              AND p.arrived_at >= $low AND p.arrived_at < $high
            WHERE {chosen.condition} AND r.arrived_at >= $low AND r.arrived_at < $high
            ORDER BY r.arrived_at, r.source_id, r.request_key""",
            low=low,
            high=high,
            **chosen.params,
        )


def _spans(hours: pl.DataFrame) -> Iterator[tuple[datetime, datetime]]:
    """Neighbouring hours together, as long as they stay under `PORTION_ROWS`."""
    low: datetime | None = None
    high = datetime.min  # noqa: DTZ901 - the store's own naive times
    rows = 0
    for hour, requests in hours.iter_rows():
        if low is not None and rows + requests > PORTION_ROWS:
            yield low, high
            low, rows = None, 0
        low = low or hour
        high, rows = hour + _HOUR, rows + requests
    if low is not None:
        yield low, high


def _parquet(database: Database, chosen: Selection) -> Iterator[bytes]:
    with database.export_reader.snapshot(LIMIT_SECONDS) as snapshot:
        empty = snapshot.frame(
            f"""SELECT {_COLUMNS} FROM request AS r, source AS s, request_labels AS l,
            session AS n, request_prefix AS p LIMIT 0"""
        )
        sink = _ParquetBytes(empty.to_arrow().schema, _sources_metadata(snapshot))
        for frame in _portions(snapshot, chosen, _COLUMNS):
            yield from sink.add(frame.to_arrow())
        yield from sink.finish()


def _table_parquet(database: Database, table: str) -> Iterator[bytes]:
    with database.export_reader.cursor(LIMIT_SECONDS) as cursor:
        sources = _sources_metadata(Snapshot(cursor))
        reader = cursor.execute(_TABLES[table]).to_arrow_reader(PORTION_ROWS)
        sink = _ParquetBytes(reader.schema, sources)
        for batch in reader:
            yield from sink.add(batch)
        yield from sink.finish()


def _azure(database: Database, chosen: Selection) -> Iterator[bytes]:
    # Seven digits, as Microsoft publishes them; the last is always 0 here.
    columns = f"""strftime({chosen.at}, '%Y-%m-%d %H:%M:%S.%f') || '0' AS TIMESTAMP,
      r.input_tokens AS ContextTokens, r.output_tokens AS GeneratedTokens"""
    names = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")
    return _csv(database, chosen, columns, names)


def _burstgpt(database: Database, chosen: Selection) -> Iterator[bytes]:
    # The format counts from a midnight and knows a failure by its lack of response tokens.
    midnight = _clock_start(chosen, whole_days=True)
    seconds = f"(epoch_us({chosen.at}) - CASE s.clock WHEN 'utc' THEN {midnight} ELSE 0 END) / 1e6"
    response = "CASE WHEN r.status = 'ok' THEN r.output_tokens ELSE 0 END"
    columns = f"""{seconds} AS "Timestamp", n.session_id AS "Session ID",
      r.e2e_seconds AS "Elapsed time", l.model AS "Model", r.input_tokens AS "Request tokens",
      {response} AS "Response tokens", r.input_tokens + {response} AS "Total tokens",
      l.route AS "Log Type" """
    names = ("Timestamp", "Session ID", "Elapsed time", "Model", "Request tokens",
             "Response tokens", "Total tokens", "Log Type")  # fmt: skip
    return _csv(database, chosen, columns, names)


def _mooncake(database: Database, chosen: Selection) -> Iterator[bytes]:
    start = _clock_start(chosen, whole_days=False)
    milliseconds = (
        f"(epoch_us({chosen.at}) - CASE s.clock WHEN 'utc' THEN {start} ELSE 0 END) // 1000"
    )
    columns = f"""{milliseconds} AS timestamp, r.input_tokens AS input_length,
      r.output_tokens AS output_length, coalesce(p.block_hashes, []) AS hash_ids"""
    with database.export_reader.snapshot(LIMIT_SECONDS) as snapshot:
        for frame in _portions(snapshot, chosen, columns):
            yield frame.write_ndjson().encode()


def _csv(
    database: Database, chosen: Selection, columns: str, names: tuple[str, ...]
) -> Iterator[bytes]:
    yield (",".join(names) + "\n").encode()
    with database.export_reader.snapshot(LIMIT_SECONDS) as snapshot:
        for frame in _portions(snapshot, chosen, columns):
            yield frame.write_csv(include_header=False).encode()


_WRITERS: Mapping[str, Callable[[Database, Selection], Iterator[bytes]]] = {
    "parquet": _parquet,
    "azure": _azure,
    "burstgpt": _burstgpt,
    "mooncake": _mooncake,
}


def _clock_start(chosen: Selection, *, whole_days: bool) -> int:
    """Microseconds since 1970 at which a UTC source's clock starts to count."""
    if chosen.start is None:
        return 0
    start = chosen.start
    if whole_days:
        start = start.replace(hour=0, minute=0, second=0, microsecond=0)
    return round(start.timestamp() * 1_000_000)


def _sources_metadata(snapshot: Snapshot) -> bytes:
    rows = snapshot.frame(
        """SELECT name, kind, format, clock, clock_resolution_seconds, time_zone,
        prefix_block_tokens, licence, details::VARCHAR AS details FROM source"""
    ).to_dicts()
    for row in rows:
        row["details"] = json.loads(row["details"]) if row["details"] else {}
    return json.dumps({row.pop("name"): row for row in rows}).encode()


class _ParquetBytes:
    """A Parquet file as it grows: `add` gives the bytes that are finished."""

    def __init__(self, schema: pa.Schema, sources: bytes) -> None:
        import pyarrow.parquet as pq

        self._schema = schema.with_metadata({SOURCES_KEY: sources})
        self._buffer = _Tail()
        self._writer = pq.ParquetWriter(self._buffer, self._schema, compression="zstd")

    def add(self, rows: pa.Table | pa.RecordBatch) -> Iterator[bytes]:
        """Append rows."""
        import pyarrow as pa

        table = pa.Table.from_batches([rows]) if isinstance(rows, pa.RecordBatch) else rows
        self._writer.write_table(table.cast(self._schema))
        yield from self._buffer.take()

    def finish(self) -> Iterator[bytes]:
        """Write the footer."""
        self._writer.close()
        yield from self._buffer.take()


class _Tail(io.RawIOBase):
    """A file whose written bytes are taken away at once, so that it never grows."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._parts.append(bytes(data))
        self._size += len(self._parts[-1])
        return len(self._parts[-1])

    def tell(self) -> int:
        return self._size

    def take(self) -> Iterator[bytes]:
        parts, self._parts = self._parts, []
        if parts:
            yield b"".join(parts)
