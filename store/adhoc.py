"""SQL that somebody typed: one read-only statement, no files, limited in time, rows and bytes.

Four fences, each enough for most mistakes: the statement's kind, the names it uses, a read-only
transaction, and an instance that may not touch files or the network (`store.database`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import duckdb
import polars as pl

from store.database import Database
from store.errors import InputError, QueryRefused

if TYPE_CHECKING:
    import pyarrow as pa

BATCH_ROWS = 2048
RESULT_LIMIT_BYTES = 64 << 20
SQL_LIMIT_CHARACTERS = 100_000
_READING = {"SELECT", "EXPLAIN"}
_FIRST_WORDS_REFUSED = {"pragma", "call"}
_SENSELESS = (duckdb.ProgrammingError, duckdb.DataError, duckdb.NotSupportedError)
_NAMES_HINT = "`SHOW TABLES` lists the tables, `DESCRIBE requests` the columns"
_HINT = "send one SELECT; also EXPLAIN, DESCRIBE, SUMMARIZE and SHOW"
# Every other table function is refused by name: some open files, `pandas_scan` and its like take a
# bare memory address, `query` and `json_execute_serialized_sql` carry SQL past this check.
_TABLE_FUNCTIONS = {
    "collations", "database_size", "duckdb_columns", "duckdb_constraints", "duckdb_functions",
    "duckdb_indexes", "duckdb_keywords", "duckdb_memory", "duckdb_schemas", "duckdb_settings",
    "duckdb_tables", "duckdb_types", "duckdb_views", "functions", "generate_series", "histogram",
    "histogram_values", "icu_calendar_names", "json_each", "json_tree", "pg_timezone_names",
    "pragma_collations", "pragma_database_size", "pragma_storage_info", "pragma_table_info",
    "pragma_version", "range", "repeat", "show", "show_tables", "storage_info", "summary",
    "table_info", "unnest", "version",
}  # fmt: skip
_DAY_PARTS = {None: 1, "ms": 86_400_000, "us": 86_400_000_000}
"""Whole numbers in a day by Polars's unit of time (None: dates)."""
_FIRST_DAY, _LAST_DAY = -719_162, 2_932_897  # 0001-01-01 and 10000-01-01, days from 1970
_SCHEMAS = {"", "main", "temp", "information_schema", "pg_catalog"}
_SCHEMA_PARTS = ("catalog_name", "schema_name", "table_name")


@dataclass(frozen=True, slots=True)
class AdhocResult:
    """What an ad-hoc query gave.

    Attributes:
        frame: the rows.
        truncated: whether rows were left out.
        truncated_why: which limit left them out, one line for people; None when complete.
        seconds: how long it took.
    """

    frame: pl.DataFrame
    truncated: bool
    truncated_why: str | None
    seconds: float


def query(
    database: Database,
    sql: str,
    *,
    limit_seconds: float | None = None,
    row_cap: int | None = None,
) -> AdhocResult:
    """Run one read-only statement.

    Args:
        database: the store; its SQL must not reach files (`Database.open(allow_files=False)`),
            which is checked.
        sql: the statement, at most 100,000 characters.
        limit_seconds: time limit, at most and by default `settings.adhoc_limit_seconds`.
        row_cap: most rows returned, at most and by default `settings.adhoc_rows`.

    Raises:
        QueryRefused: it is not one read-only statement, or names something it may not use.
        QueryTimeout: the time limit passed; also while waiting for another ad-hoc query.
        InputError: DuckDB cannot make sense of it (unknown table or column, a bad cast).
        StoreError: DuckDB gave up (out of memory).
    """
    settings = database.settings
    limit = min(limit_seconds or settings.adhoc_limit_seconds, settings.adhoc_limit_seconds)
    cap = min(row_cap or settings.adhoc_rows, settings.adhoc_rows)
    if limit <= 0 or cap < 1:
        raise QueryRefused("limit and row cap must be above 0")
    started = database.clock.monotonic()
    with database.adhoc_reader.cursor(limit) as cursor:
        cursor.execute("BEGIN TRANSACTION READ ONLY")
        try:
            check(cursor, sql)
            table, why = _fetch(cursor, sql, cap)
        except _SENSELESS as error:
            raise InputError(_first_line(error), hint=_NAMES_HINT) from error
        finally:
            cursor.execute("ROLLBACK")
    return AdhocResult(_frame(table), why is not None, why, database.clock.monotonic() - started)


def check(cursor: duckdb.DuckDBPyConnection, sql: str) -> None:
    """Refuse anything but one statement that only reads the store's own tables.

    Raises:
        QueryRefused: with the reason.
    """
    if len(sql) > SQL_LIMIT_CHARACTERS:
        raise QueryRefused(f"the text is longer than {SQL_LIMIT_CHARACTERS:,} characters")
    if not sql.isascii() and any("\ud800" <= sign <= "\udfff" for sign in sql):
        raise QueryRefused("the text holds half a character", hint="send it as UTF-8")
    words = _words(sql)
    # Some pragmas are rewritten to a SELECT, and some act, while they are being parsed.
    if words and words[0] in _FIRST_WORDS_REFUSED:
        raise QueryRefused(f"{words[0].upper()} is not allowed here", hint=_HINT)
    kind = _only_kind(cursor, sql)
    if kind not in _READING:
        raise QueryRefused(f"{kind} is not allowed here", hint=_HINT)
    _check_tree(cursor, _explained(sql) if kind == "EXPLAIN" else sql)


def _words(sql: str) -> list[str]:
    return [text.lower() for _, text in _tokens(sql)]


def _tokens(sql: str) -> list[tuple[int, str]]:
    """Byte offset and text of each token, comments left out; a text may carry what follows it."""
    found = [at for at, kind in duckdb.tokenize(sql) if kind != duckdb.token_type.comment]
    raw = sql.encode()
    ends = [*found[1:], len(raw)]
    return [
        (start, raw[start:end].decode(errors="replace").split("/*")[0].split("--")[0].strip())
        for start, end in zip(found, ends, strict=False)
    ]


def _only_kind(cursor: duckdb.DuckDBPyConnection, sql: str) -> str:
    try:
        statements = cursor.extract_statements(sql)
    except duckdb.PermissionException:
        raise QueryRefused("this reads files, which is not allowed here", hint=_HINT) from None
    except duckdb.Error as error:
        raise QueryRefused(f"not understood: {_first_line(error)}", hint=_HINT) from error
    if len(statements) != 1:
        wrong = f"{len(statements)} statements" if statements else "no statement"
        raise QueryRefused(f"this is {wrong}", hint=_HINT)
    if statements[0].named_parameters:
        raise QueryRefused("parameters cannot be given here", hint="write the values themselves")
    return statements[0].type.name


def _explained(sql: str) -> str:
    """The statement that an EXPLAIN is about."""
    tokens = _tokens(sql)[1:]
    if tokens and tokens[0][1].lower() == "analyze":
        tokens = tokens[1:]
    if tokens and tokens[0][1] == "(" and len(tokens) > 1 and tokens[1][1].lower() != "select":
        closing = next((i for i, (_, text) in enumerate(tokens) if text == ")"), 0)
        tokens = tokens[closing + 1 :]
    return sql.encode()[tokens[0][0] :].decode() if tokens else ""


def _check_tree(cursor: duckdb.DuckDBPyConnection, sql: str) -> None:
    """Refuse table functions that are not known to be harmless, and names of files."""
    text = cursor.execute("SELECT json_serialize_sql($sql::VARCHAR)", {"sql": sql}).fetchall()[0][0]
    tree = json.loads(text)
    if tree.get("error"):
        raise QueryRefused(f"not understood: {tree.get('error_message', '')}", hint=_HINT)
    catalogs = {""} | {
        name.lower()
        for (name,) in cursor.execute("SELECT database_name FROM duckdb_databases()").fetchall()
    }
    for node in _nodes(tree):
        if node.get("type") == "TABLE_FUNCTION":
            _check_function(node)
        elif "table_name" in node:
            _check_table(node, catalogs)


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            yield node
            waiting.extend(node.values())
        elif isinstance(node, list):
            waiting.extend(node)


def _check_function(node: dict[str, Any]) -> None:
    name = str(node.get("function", {}).get("function_name", "")).lower()
    if name not in _TABLE_FUNCTIONS:
        raise QueryRefused(f"the function {name} is not allowed here", hint=_HINT)


def _check_table(node: dict[str, Any], catalogs: set[str]) -> None:
    """What is no table of ours would be looked for among the files: `'a.csv'`, or bare `a.csv`."""
    catalog, schema, table = (str(node.get(part, "")).lower() for part in _SCHEMA_PARTS)
    is_ours = schema in _SCHEMAS | catalogs and catalog in catalogs and "." not in table
    if not is_ours:
        name = ".".join(part for part in (catalog, schema, table) if part)
        raise QueryRefused(
            f"there is no table '{name}'", hint="`SHOW TABLES` lists them; files are not read"
        )


def _fetch(cursor: duckdb.DuckDBPyConnection, sql: str, cap: int) -> tuple[pa.Table, str | None]:
    import pyarrow as pa  # a fifth of a second that only this caller pays

    cursor.execute(sql)
    reader = cursor.to_arrow_reader(BATCH_ROWS)
    batches: list[pa.RecordBatch] = []
    rows = size_bytes = 0
    why = None
    for batch in reader:
        batches.append(batch.slice(0, cap - rows))
        size_bytes += batch.nbytes
        rows += batch.num_rows
        if rows > cap:
            why = f"only the first {cap:,} rows"
            break
        if size_bytes > RESULT_LIMIT_BYTES:
            why = f"only the first {rows:,} rows; the rest is over {RESULT_LIMIT_BYTES >> 20} MiB"
            break
    return pa.Table.from_batches(batches, reader.schema), why


def _frame(table: pa.Table) -> pl.DataFrame:
    import pyarrow as pa

    for field in table.schema:
        if pa.types.is_interval(field.type):
            raise QueryRefused(
                f"column '{field.name}' is an INTERVAL, which has no one length",
                hint="use epoch(…) for seconds or cast it to VARCHAR",
            )
    names = distinct_names(table.column_names)
    try:
        frame = pl.from_arrow(table.rename_columns(names))
    except (pl.exceptions.PolarsError, pa.ArrowException) as error:
        raise QueryRefused(
            "a column is of a type that has no form outside the database",
            hint="cast it to VARCHAR",
        ) from error
    if not isinstance(frame, pl.DataFrame):
        raise TypeError(f"expected a table, got {type(frame).__name__}")
    for column in frame:
        _check_dates(column, column.name)
    return frame


def distinct_names(names: Sequence[str]) -> list[str]:
    """Column names without repeats, as DuckDB makes them for a table: a, a_1, a_2."""
    found: dict[str, None] = {}
    for name in names:
        number, new = 0, name
        while new in found:
            number += 1
            new = f"{name}_{number}"
        found[new] = None
    return list(found)


def _check_dates(column: pl.Series, name: str) -> None:
    """Refuse infinity and years that Python and the readers of JSON cannot write."""
    kind = column.dtype
    if isinstance(kind, pl.List | pl.Array):
        _check_dates(column.explode(), name)
    elif isinstance(kind, pl.Struct):
        for field in kind.fields:
            _check_dates(column.struct.field(field.name), name)
    elif isinstance(kind, pl.Date | pl.Datetime) and _is_far(column, kind):
        raise QueryRefused(
            f"column '{name}' holds infinity or a year outside 1 to 9999",
            hint="cast it to VARCHAR, or filter with isfinite(…)",
        )


def _is_far(column: pl.Series, kind: pl.Date | pl.Datetime) -> bool:
    unit = kind.time_unit if isinstance(kind, pl.Datetime) else None
    if unit == "ns":  # 64 bits hold the years 1677 to 2262
        return False
    days = _DAY_PARTS[unit]
    whole = column.to_physical().drop_nulls()
    return bool(((whole < _FIRST_DAY * days) | (whole >= _LAST_DAY * days)).any())


def _first_line(error: duckdb.Error) -> str:
    return str(error).strip().splitlines()[0]
