"""Any CSV, JSONL or Parquet file with a column map: `stored=column[:unit]`."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from collector.traces.expressions import (
    SECONDS,
    TOKENS,
    UNIT_SECONDS,
    YEAR_2000_SECONDS,
    guarded,
    number_checks,
    quoted,
    scaled,
    time_from_seconds,
    tokens,
)
from collector.traces.format import stem
from collector.traces.head import Head
from store.bulk_spec import LABELS, BulkLoad, Reader, SourceClock, SourceSpec
from store.errors import InputError

STORED = ("arrived_at", *TOKENS, *SECONDS, *LABELS, "session_id", "status")
"""What a column can be mapped to."""
_TIME_UNITS = (*UNIT_SECONDS, "iso", "epoch")
_READERS: Mapping[str, Reader] = {"csv": "csv", "json": "jsonl", "parquet": "parquet"}
_NAN = "'nan'::DOUBLE"
_OFFSET_SQL = r":\d\d.*(Z|[+-]\d\d(:?\d\d)?)\s*$"
_OFFSET = re.compile(_OFFSET_SQL)
_STATUS = """CASE
  WHEN {c} IS NULL OR lower(trim({c})) IN ('ok', 'success', 'succeeded', 'true', 'finished', 'stop', 'length', '')
    OR regexp_full_match(trim({c}), '2[0-9][0-9]') THEN 'ok'
  WHEN lower(trim({c})) IN ('refused', 'rejected', 'shed', '429', '503') THEN 'refused'
  WHEN lower(trim({c})) IN ('aborted', 'abort', 'cancelled', 'canceled', '499') THEN 'aborted'
  ELSE 'failed' END"""  # noqa: E501 - one expression
_STATUS_NOTE = (
    "status: ok, success, finished, stop, length, 2xx and blank are ok; refused, rejected, 429 and "
    "503 are refused; aborted, cancelled and 499 are aborted; anything else is failed"
)


@dataclass(frozen=True, slots=True)
class Column:
    """One entry of a map.

    Attributes:
        stored: what it becomes.
        name: the column of the file.
        unit: as given, or None.
    """

    stored: str
    name: str
    unit: str | None


def sources(head: Head) -> tuple[str, ...]:
    """The file's own name."""
    return (stem(head),)


def build(heads: Sequence[Head], name: str, mapping: Mapping[str, str]) -> BulkLoad:
    """The load of files described by a map.

    Args:
        heads: the files; all have the same columns.
        name: of the source.
        mapping: stored column -> "column" or "column:unit". Units of `arrived_at`: s, ms, us, ns
            (from the start, or since 1970 when the numbers are that large), epoch, iso; of
            durations: s, ms, us, ns.

    Raises:
        InputError: an unknown name, column or unit.
    """
    head = heads[0]
    columns = {c.stored: c for c in (_column(head, *item) for item in mapping.items())}
    if "arrived_at" not in columns:
        raise InputError("the map does not say which column is the time",
                         where=str(head.path), hint="--map 'arrived_at=COLUMN:s'")  # fmt: skip
    clock, time, numeric = _time(head, columns["arrived_at"])
    select = {"arrived_at": time}
    for stored in (*TOKENS, *SECONDS):
        if stored in columns:
            select[stored] = _value(head, columns[stored])
    return BulkLoad(
        source=SourceSpec(name, "mapped", clock, time_zone="UTC" if clock == "utc" else None),
        files=tuple(h.path for h in heads),
        reader=_READERS[head.kind],
        columns=_types(head, columns, numeric is not None),
        select=select,
        labels={c: _text(head, columns[c]) for c in LABELS if c in columns},
        status=_STATUS.format(c=_text(head, columns["status"])) if "status" in columns else "'ok'",
        session=f"CAST({quoted(columns['session_id'].name)} AS VARCHAR)"
        if "session_id" in columns else None,
        checks=number_checks(select),
        delimiter=head.delimiter,
        numeric_time_seconds=numeric,
        notes=(_STATUS_NOTE,) if "status" in columns else (),
        units="columns as mapped: " + ", ".join(f"{k} from {v}" for k, v in mapping.items()),
    )  # fmt: skip


def _column(head: Head, stored: str, text: str) -> Column:
    name, unit = _split(head, text)
    if stored not in STORED:
        raise InputError(f"'{stored}' cannot be filled by a map", hint=", ".join(STORED))
    if name not in head.columns:
        seen = ", ".join(head.columns[:20]) or "none"
        raise InputError(
            f"there is no column '{name}'", where=str(head.path), hint=f"its columns are: {seen}"
        )
    allowed = {"arrived_at": _TIME_UNITS} | dict.fromkeys(SECONDS, tuple(UNIT_SECONDS))
    if unit is not None and unit not in allowed.get(stored, ("tokens",)):
        units = ", ".join(allowed.get(stored, ("no unit",)))
        raise InputError(f"'{unit}' is no unit of {stored}", hint=f"units: {units}")
    return Column(stored, name, unit)


def _split(head: Head, text: str) -> tuple[str, str | None]:
    """A column's own name may hold a colon."""
    name, colon, unit = text.rpartition(":")
    if not colon or text in head.columns:
        return text, None
    return name, unit


def _time(head: Head, column: Column) -> tuple[SourceClock, str, str | None]:
    """Clock, SQL of the time, and SQL of the number of seconds where it is a number."""
    sample = _sample(head, column.name)
    name = _raw(head, column.name)
    number = _number(sample)
    if column.unit == "iso" or (column.unit is None and number is None):
        return _text_time(head, name, sample)
    if column.unit is None:
        raise InputError(
            f"the unit of '{column.name}' (such as {sample}) is not said",
            where=str(head.path),
            hint=f"--map 'arrived_at={column.name}:s' (or {', '.join(_TIME_UNITS[1:])})",
        )
    unit = "s" if column.unit == "epoch" else column.unit
    seconds = scaled(name if head.kind == "csv" else f"TRY_CAST({name} AS DOUBLE)", unit)
    absolute = number is not None and number * UNIT_SECONDS[unit] >= YEAR_2000_SECONDS
    clock: SourceClock = "utc" if absolute or column.unit == "epoch" else "relative"
    return clock, time_from_seconds(seconds), seconds


def _text_time(head: Head, name: str, sample: Any) -> tuple[SourceClock, str, None]:
    # Microseconds since 1970 do not depend on the session's time zone; a plain cast would, and
    # would drop an offset that stands in a text.
    if head.kind == "parquet" and not isinstance(sample, str):
        return "utc", f"make_timestamp(epoch_us({name}))", None
    time = (
        f"CASE WHEN regexp_matches({name}, '{_OFFSET_SQL}') "
        f"THEN make_timestamp(epoch_us(TRY_CAST({name} AS TIMESTAMPTZ))) "
        f"ELSE TRY_CAST({name} AS TIMESTAMP) END"
    )
    has_offset = bool(_OFFSET.search(str(sample).strip()))
    return "utc" if has_offset else "local_unknown", time, None


def _value(head: Head, column: Column) -> str:
    name = _raw(head, column.name)
    unit = column.unit or "s"
    if head.kind == "csv":
        return tokens(name) if column.stored in TOKENS else scaled(name, unit)
    # Untyped records: what is no number must be refused, not taken for unknown.
    if column.stored in TOKENS:
        return tokens(f"({guarded(name, 'BIGINT', '-1')})")
    return scaled(f"({guarded(name, 'DOUBLE', _NAN)})", unit)


def _raw(head: Head, name: str) -> str:
    """SQL of a column's value; JSON fields are read as text whatever they hold."""
    return f"({quoted(name)} ->> '$')" if head.kind == "json" else quoted(name)


def _text(head: Head, column: Column) -> str:
    return f"CAST({_raw(head, column.name)} AS VARCHAR)"


def _types(head: Head, columns: Mapping[str, Column], is_number: bool) -> dict[str, str]:
    """DuckDB type of each source column; those not mapped stay text and are never parsed."""
    wanted: dict[str, str] = {}
    for stored, column in columns.items():
        if stored in TOKENS:
            wanted[column.name] = "UINTEGER" if head.kind == "csv" else "BIGINT"
        elif stored in SECONDS or (stored == "arrived_at" and is_number):
            wanted[column.name] = "DOUBLE"
        else:
            wanted[column.name] = "VARCHAR"
    if head.kind == "json":
        return {column.name: "JSON" for column in columns.values()}
    if head.kind == "csv":
        return {name: wanted.get(name, "VARCHAR") for name in head.columns}
    return wanted


def _sample(head: Head, name: str) -> Any:
    """The first value of a column, to tell numbers from text."""
    if head.kind == "json":
        return head.record.get(name)
    if head.kind == "parquet":
        import polars as pl

        rows = pl.scan_parquet(head.path, glob=False).select(pl.col(name)).head(1).collect()
        return rows.item() if rows.height else None
    lines = [line for line in head.text.splitlines() if line.strip()]
    fields = next(csv.reader(lines[1:2], delimiter=head.delimiter), [])
    at = head.columns.index(name)
    return fields[at].strip() if at < len(fields) else None


def _number(sample: Any) -> float | None:
    try:
        return float(sample)
    except (TypeError, ValueError):
        return None
