"""Bad rows of a bulk load: found, explained, written to a file, and taken out before the commit."""

from __future__ import annotations

import csv
import gzip
import io
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import duckdb

from store.bulk_read import MAX_REJECTED_LINES, REJECTED_LINE, REJECTED_SCAN, relation
from store.bulk_spec import BulkLoad
from store.errors import InputError

Connection = duckdb.DuckDBPyConnection

MAX_REJECTED_RATIO = 0.5
"""With more bad rows than this the file is not what it was taken for."""
_COLUMNS = ("file", "line", "reason", "text")
MAX_TEXT_CHARACTERS = 2_000
"""Of a bad row's text this much is kept."""


@dataclass(frozen=True, slots=True)
class Reject:
    """One refused row.

    Attributes:
        file: its file.
        line: line of the file (from 1), or number of the record in formats without lines.
        reason: why.
        text: the row as it stands in the file.
    """

    file: str
    line: int
    reason: str
    text: str


def take_out(connection: Connection, spec: BulkLoad, table: str) -> list[Reject]:
    """Find the bad rows of a load and delete those that were read.

    Args:
        connection: inside the load's transaction, after its files were read.
        spec: the load.
        table: the table that holds the new rows, with a WHERE where it holds others.

    Raises:
        InputError: so many rows are bad that the file must be something else.
    """
    broken = _broken_lines(connection, spec)
    bad = _failed_checks(connection, spec, table)
    if not broken and not bad:
        return []
    (read,) = connection.execute(f"SELECT count(*) FROM {table}").fetchall()[0]
    rejects = _with_text(connection, spec, broken, bad)
    _refuse_most(spec, rejects, len(broken) + int(read))
    if bad:
        name, _, condition = table.partition(" WHERE ")
        own = f"({condition}) AND " if condition else ""
        connection.execute(f"DELETE FROM {name} WHERE {own}({_any_check(spec)})")
    return rejects


def forget_scan(connection: Connection) -> None:
    """Drop the tables in which DuckDB lists lines that it could not parse."""
    for name in (REJECTED_LINE, REJECTED_SCAN):
        connection.execute(f"DROP TABLE IF EXISTS {name}")


def count_reasons(rejects: Sequence[Reject]) -> Mapping[str, int]:
    """Reason -> rows, most frequent first."""
    return dict(Counter(reject.reason for reject in rejects).most_common())


def refuse_overwriting(path: Path) -> None:
    """Refuse a place for rejected rows that holds something else.

    Raises:
        InputError: a folder, a device, or a file that is no list of rejected rows.
    """
    wrong = None
    try:
        if path.exists() and not path.is_file():
            wrong = "the rejected rows need a file of their own, and this is none"
        elif path.is_file():
            with path.open("rb") as file:
                first = file.readline(MAX_TEXT_CHARACTERS).strip()
            if first and first != ",".join(_COLUMNS).encode():
                wrong = "the rejected rows would overwrite this file"
    except OSError as error:
        wrong = f"the rejected rows cannot be written here ({error.strerror})"
    if wrong:
        raise InputError(wrong, where=str(path), hint="name another file with --rejects FILE")


def write_rejects(path: Path, rejects: Sequence[Reject]) -> None:
    """Write refused rows as CSV: file, line, reason, text.

    Raises:
        InputError: the file cannot be written.
    """
    try:
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(_COLUMNS)
            writer.writerows((r.file, r.line, r.reason, r.text) for r in rejects)
    except OSError as error:
        raise InputError(
            f"the rejected rows cannot be written here ({error.strerror})",
            where=str(path),
            hint="name another file with --rejects FILE",
        ) from error


def _checks(spec: BulkLoad) -> list[str]:
    return [check.predicate.replace("{time}", spec.time_column) for check in spec.checks]


def _any_check(spec: BulkLoad) -> str:
    return " OR ".join(f"({predicate})" for predicate in _checks(spec)) or "false"


def _broken_lines(connection: Connection, spec: BulkLoad) -> dict[tuple[str, int], Reject]:
    """Lines that DuckDB's CSV parser gave up on, by file and line."""
    if spec.reader != "csv":
        return {}
    rows = connection.execute(
        f"""SELECT s.file_path, e.line, min_by(e.error_type || coalesce(' in ' || e.column_name, ''),
              e.column_idx) AS error, min(left(e.csv_line, {MAX_TEXT_CHARACTERS})) AS text
        FROM {REJECTED_LINE} AS e JOIN {REJECTED_SCAN} AS s USING (scan_id, file_id)
        GROUP BY ALL HAVING true ORDER BY s.file_path, e.line"""  # noqa: E501 - one query
    ).fetchall()
    return {
        (file, int(line)): Reject(file, int(line), _plain(error), (text or "").strip("\r\n"))
        for file, line, error, text in rows
    }


def _plain(error: str | None) -> str:
    """DuckDB's error type as words."""
    kind, _, column = (error or "bad line").partition(" in ")
    words = {
        "CAST": "the value does not fit",
        "MISSING COLUMNS": "fields are missing",
        "TOO MANY COLUMNS": "there are too many fields",
        "LINE SIZE OVER MAXIMUM": "the line is too long",
        "INVALID ENCODING": "the text is not UTF-8",
        "UNQUOTED VALUE": "a quotation mark is not closed",
    }
    return words.get(kind, kind.lower()) + (f": {column}" if column else "")


def _failed_checks(connection: Connection, spec: BulkLoad, table: str) -> list[tuple[int, str]]:
    """Number (from 1, in file order) and reason of rows that were read but fail a check."""
    found = connection.execute(f"SELECT count(*) FROM {table} {_and(table, _any_check(spec))}")
    if found.fetchall()[0][0] == 0:
        return []
    cases = " ".join(f"WHEN {check} THEN {at}" for at, check in enumerate(_checks(spec)))
    rows = connection.execute(
        f"""SELECT n, failed FROM
        (SELECT row_number() OVER () AS n, CASE {cases} END AS failed FROM {table})
        WHERE failed IS NOT NULL ORDER BY n LIMIT {MAX_REJECTED_LINES}"""
    ).fetchall()
    return [(int(n), spec.checks[failed].reason) for n, failed in rows]


def _and(table: str, predicate: str) -> str:
    return f"AND ({predicate})" if " WHERE " in table else f"WHERE {predicate}"


def _refuse_most(spec: BulkLoad, rejects: Sequence[Reject], rows: int) -> None:
    too_many = len(rejects) >= MAX_REJECTED_LINES
    if not too_many and len(rejects) <= rows * MAX_REJECTED_RATIO:
        return
    reason, count = next(iter(count_reasons(rejects).items()))
    first = next(reject for reject in rejects if reject.reason == reason)
    at_least = "at least " if too_many else ""
    raise InputError(
        f"{at_least}{len(rejects):,} of {rows:,} rows are bad, {count:,} because {reason} "
        f"(first: line {first.line}: {first.text[:80]!r}); nothing was imported",
        where=first.file,
        hint=f"is this really the {spec.source.format} format, and are its units right?",
    )


def _with_text(
    connection: Connection,
    spec: BulkLoad,
    broken: Mapping[tuple[str, int], Reject],
    bad: Sequence[tuple[int, str]],
) -> list[Reject]:
    """Add file, line and text to the rows that failed a check."""
    if not bad:
        return list(broken.values())
    reasons = dict(bad)
    if spec.reader == "parquet" or spec.unnest:
        found = _records(connection, spec, reasons)
    else:
        found = list(_lines(spec, broken, reasons))
    return sorted([*broken.values(), *found], key=lambda r: (r.file, r.line))


def _records(
    connection: Connection, spec: BulkLoad, reasons: Mapping[int, str]
) -> list[Reject]:  # fmt: skip
    rows = connection.execute(
        f"""SELECT n, text FROM (SELECT row_number() OVER () AS n, to_json(r)::VARCHAR AS text
        FROM {relation(spec)} AS r) WHERE n IN (SELECT unnest($numbers))""",
        {"numbers": list(reasons)},
    ).fetchall()
    file = str(spec.files[0])
    return [Reject(file, int(n), reasons[n], text[:MAX_TEXT_CHARACTERS]) for n, text in rows]


def _lines(
    spec: BulkLoad, broken: Mapping[tuple[str, int], Reject], reasons: Mapping[int, str]
) -> Iterator[Reject]:
    """Walk the files as text up to the last bad row: the n-th line that was read is row n."""
    row, last = 0, max(reasons)
    for path in spec.files:
        for line, text in _records_of_text(path, spec):
            if (str(path), line) in broken:
                continue
            row += 1
            if row in reasons:
                yield Reject(str(path), line, reasons[row], text[:MAX_TEXT_CHARACTERS])
            if row == last:
                return


def _records_of_text(path: Path, spec: BulkLoad) -> Iterator[tuple[int, str]]:
    """Line number and text of each record; a quoted field may run over several lines."""
    quoted = spec.reader == "csv"
    first = 1 + spec.skipped_lines + spec.header if quoted else 1
    start, text = 1, ""
    with _text(path) as lines:
        for number, line in enumerate(lines, 1):
            text, start = (text + line, start) if text else (line, number)
            if quoted and text.count('"') % 2:
                continue
            if text.strip() and start >= first:
                yield start, text.strip("\r\n")
            text = ""


@contextmanager
def _text(path: Path) -> Iterator[IO[str]]:
    with path.open("rb") as file:
        magic = file.read(4)
    if magic.startswith(b"\x1f\x8b"):
        with gzip.open(path, "rt", encoding="utf-8", errors="replace") as lines:
            yield lines
    elif magic == b"\x28\xb5\x2f\xfd":
        import pyarrow as pa

        with pa.input_stream(str(path), compression="zstd") as stream:
            yield io.TextIOWrapper(stream, encoding="utf-8", errors="replace")
    else:
        with path.open(encoding="utf-8", errors="replace") as lines:
            yield lines
