"""The rows of a bulk load on their way into the tables: straight, or through a stage.

An empty source takes plain rows directly. Otherwise they are staged, and those that the source
does not have yet are added, a slice of time at a time so that memory stays small.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import duckdb
import pyarrow as pa

from store.append import LABEL_COLUMNS, mark_dirty, register_labels
from store.bulk_keys import TimeScan, number_copies
from store.bulk_read import literal, relation
from store.bulk_spec import GATEWAY_COLUMNS, BulkLoad
from store.once import add_new

Connection = duckdb.DuckDBPyConnection
Ids = tuple[int, int]
"""Source and import number."""

CONTENT_COLUMNS: Mapping[str, str] = {
    "input_tokens": "INTEGER",
    "output_tokens": "INTEGER",
    "cached_tokens": "INTEGER",
    "predicted_output_tokens": "INTEGER",
    "queue_seconds": "DOUBLE",
    "prefill_seconds": "DOUBLE",
    "decode_seconds": "DOUBLE",
    "ttft_seconds": "DOUBLE",
    "tpot_seconds": "DOUBLE",
    "e2e_seconds": "DOUBLE",
    "trace_id": "UUID",
    "decision_id": "BIGINT",
    **GATEWAY_COLUMNS,
}
"""Columns of `request` that a format may fill, besides time, status, labels and session."""
_RATE_COLUMNS: Mapping[str, str] = {
    "client": "VARCHAR",
    "window_seconds": "DOUBLE",
    "rate_per_second": "DOUBLE",
    "interarrival_cv": "DOUBLE",
    "family": "VARCHAR",
    "shape": "DOUBLE",
    "scale_seconds": "DOUBLE",
}
_NO_TIME = "TIMESTAMP '0001-01-01'"
"""Stands for a time that could not be read until the checks take the row out."""
_STAGE = "bulk_stage"
_SLICE_ROWS = 1_000_000
"""Staged rows that are compared with the store at once."""


def is_plain(spec: BulkLoad) -> bool:
    """Whether every row has the same labels and nothing beside the request table."""
    return spec.table == "request" and not (spec.labels or spec.session or spec.blocks or spec.key)


def insert_directly(connection: Connection, spec: BulkLoad, ids: Ids) -> str:
    """Parse the files straight into `request`.

    Returns:
        FROM item of just the new rows.
    """
    source_id, import_id = ids
    labels_id = _constant_labels(connection, spec)
    names = "".join(f", {name}" for name in CONTENT_COLUMNS if name in spec.select)
    connection.execute(
        f"""INSERT INTO request
          (request_key, source_id, import_id, arrived_at, status, labels_id{names})
        SELECT {_key(spec)}, {source_id}, {import_id}, arrived_at, status, {labels_id}{names}
        FROM ({_content(spec)})"""
    )
    return f"request WHERE import_id = {import_id}"


def stage(connection: Connection, spec: BulkLoad) -> str:
    """Parse the files into a temporary table.

    Returns:
        Its name.
    """
    if spec.table == "client_rate":
        query = f"SELECT {_cast(spec, _RATE_COLUMNS)}, window_start_at FROM ({_content(spec)})"
    else:
        own = [f"{label}::VARCHAR AS {label}" for label in LABEL_COLUMNS if label in spec.labels]
        own += ["session_id::VARCHAR AS session_id"] if spec.session else []
        own += ["block_hashes::UBIGINT[] AS block_hashes"] if spec.blocks else []
        columns = ", ".join([f"{_key(spec)} AS request_key", "arrived_at", "status", *own])
        content = _cast(spec, CONTENT_COLUMNS)
        query = f"SELECT {columns}{', ' + content if content else ''} FROM ({_content(spec)})"
    connection.execute(f"CREATE OR REPLACE TEMP TABLE {_STAGE} AS {query}")
    return _STAGE


def settle(connection: Connection, spec: BulkLoad, table: str, scan: TimeScan, ids: Ids) -> int:
    """Give the new rows their final keys and put staged ones where they belong.

    Args:
        connection: inside the load's transaction.
        spec: the load.
        table: what `insert_directly` or `stage` gave.
        scan: the times of these rows.
        ids: source and import number.

    Returns:
        How many rows were added.
    """
    if spec.table == "client_rate":
        return _add_rates(connection, ids[0])
    slices = _slices(connection, table, scan)
    if spec.key is None:
        for condition in slices:
            number_copies(connection, _narrowed(table, condition), "arrived_at", scan)
    if table != _STAGE:
        _mark_dirty(connection, scan, ids)
        return scan.rows
    added = _add_staged(connection, spec, slices, ids)
    connection.execute(f"DROP TABLE {_STAGE}")
    if added:
        _mark_dirty(connection, scan, ids)
    return added


def _content(spec: BulkLoad) -> str:
    """SELECT that turns source columns into stored ones; unknown ones are left out."""
    time = spec.time_column
    columns = [
        f"coalesce({expression}, {_NO_TIME}) AS {name}" if name == time
        else f"{expression} AS {name}"
        for name, expression in spec.select.items()
    ]  # fmt: skip
    columns += [f"{expression} AS {name}" for name, expression in spec.labels.items()]
    if spec.table == "request":
        columns.append(f"({spec.status})::request_status AS status")
        columns += [f"{spec.session} AS session_id"] if spec.session else []
        columns += [f"{spec.blocks} AS block_hashes"] if spec.blocks else []
        columns += [f"({spec.key})::UBIGINT AS own_key"] if spec.key else []
    return f"SELECT {', '.join(columns)} FROM {relation(spec)}"


def _key(spec: BulkLoad) -> str:
    if spec.key:
        return "own_key"
    names = [name for name in ("arrived_at", *CONTENT_COLUMNS) if name in spec.select]
    names += [name for name in LABEL_COLUMNS if name in spec.labels]
    names += ["status"] if spec.status != "'ok'" else []
    names += ["session_id"] if spec.session else []
    names += ["block_hashes"] if spec.blocks else []
    return f"hash({', '.join(names)})"


def _cast(spec: BulkLoad, kinds: Mapping[str, str]) -> str:
    return ", ".join(
        f"{name}::{kind} AS {name}" for name, kind in kinds.items() if name in spec.select
    )


def _constant_labels(connection: Connection, spec: BulkLoad) -> int:
    """The number of the one label combination of a load."""
    columns = ", ".join(
        f"{literal(spec.constant_labels[c])} AS {c}" if c in spec.constant_labels
        else f"NULL::VARCHAR AS {c}"
        for c in LABEL_COLUMNS
    )  # fmt: skip
    register_labels(connection, f"(SELECT {columns})")
    matches = " AND ".join(f"l.{c} IS NOT DISTINCT FROM d.{c}" for c in LABEL_COLUMNS)
    (labels_id,) = connection.execute(
        f"SELECT labels_id FROM request_labels AS l JOIN (SELECT {columns}) AS d ON {matches}"
    ).fetchall()[0]
    return int(labels_id)


def _varying_labels(connection: Connection, spec: BulkLoad) -> str:
    """SELECT of the numbered label combinations that the staged rows can have."""
    columns = ", ".join(
        c if c in spec.labels
        else f"{literal(spec.constant_labels[c])} AS {c}" if c in spec.constant_labels
        else f"NULL::VARCHAR AS {c}"
        for c in LABEL_COLUMNS
    )  # fmt: skip
    register_labels(connection, f"(SELECT DISTINCT {columns} FROM {_STAGE})")
    fixed = [
        f"l.{c} IS NOT DISTINCT FROM {literal(v) if v is not None else 'NULL'}"
        for c in LABEL_COLUMNS
        if c not in spec.labels
        for v in [spec.constant_labels.get(c)]
    ]
    where = f"WHERE {' AND '.join(fixed)}" if fixed else ""
    return f"SELECT * FROM request_labels AS l {where}"


def _slices(connection: Connection, table: str, scan: TimeScan) -> list[str]:
    """Conditions that cut the rows into slices of time of about a million rows each."""
    parts = -(-scan.rows // _SLICE_ROWS)
    if parts <= 1 or (scan.few_ties and table != _STAGE):
        return ["true"]
    shares = ", ".join(f"{part / parts:.6f}" for part in range(1, parts))
    (cuts,) = connection.execute(
        f"SELECT approx_quantile(epoch_us(arrived_at), [{shares}]) FROM {table}"
    ).fetchall()[0]
    edges = sorted({int(cut) for cut in cuts})
    at = [f"make_timestamp({edge}::BIGINT)" for edge in edges]
    return [
        f"arrived_at < {at[0]}",
        *(f"arrived_at >= {a} AND arrived_at < {b}" for a, b in pairwise(at)),
        f"arrived_at >= {at[-1]}",
    ]


def _narrowed(table: str, condition: str) -> str:
    if condition == "true":
        return table
    return f"{table} AND {condition}" if " WHERE " in table else f"{table} WHERE {condition}"


def _add_staged(connection: Connection, spec: BulkLoad, slices: list[str], ids: Ids) -> int:
    """Add the staged rows that the source lacks, with their labels, sessions and blocks."""
    if spec.labels:
        labels = _varying_labels(connection, spec)
        matches = " AND ".join(f"l.{c} IS NOT DISTINCT FROM i.{c}" for c in spec.labels)
    else:
        labels = f"SELECT {_constant_labels(connection, spec)} AS labels_id"
        matches = "true"
    added = sum(
        _add_slice(connection, spec, f"JOIN ({labels}) AS l ON {matches}", condition, ids)
        for condition in slices
    )
    if spec.session:
        sessions = f"""SELECT {ids[0]} AS source_id, hash(session_id) AS session_key,
            any_value(session_id) AS session_id
            FROM {_STAGE} WHERE session_id IS NOT NULL GROUP BY ALL"""
        add_new(connection, "session", ("source_id", "session_key"), sessions)
    return added


def _add_slice(
    connection: Connection, spec: BulkLoad, labels: str, condition: str, ids: Ids
) -> int:
    source_id, import_id = ids
    names = [name for name in CONTENT_COLUMNS if name in spec.select]
    session = "CASE WHEN i.session_id IS NOT NULL THEN hash(i.session_id) END" \
        if spec.session else "NULL"  # fmt: skip
    once = "QUALIFY row_number() OVER (PARTITION BY arrived_at, request_key) = 1"
    own = f"source_id = {source_id} AND {condition}"
    columns = ", ".join(["", *names])
    values = "".join(f", i.{name}" for name in names)
    if spec.blocks:
        connection.execute(
            f"""INSERT INTO request_prefix
            SELECT {source_id}, request_key, arrived_at, block_hashes FROM
            (SELECT * FROM {_STAGE} WHERE {condition} AND block_hashes IS NOT NULL {once}) AS i
            ANTI JOIN (SELECT request_key, arrived_at FROM request_prefix WHERE {own})
              USING (arrived_at, request_key)"""
        )
    (added,) = connection.execute(
        f"""INSERT INTO request (request_key, source_id, import_id, arrived_at, status, labels_id,
          session_key{columns})
        SELECT i.request_key, {source_id}, {import_id}, i.arrived_at, i.status, l.labels_id,
          {session}{values}
        FROM (SELECT * FROM {_STAGE} WHERE {condition} {once if spec.key else ""}) AS i
        ANTI JOIN (SELECT request_key, arrived_at FROM request WHERE {own})
          USING (arrived_at, request_key)
        {labels}"""
    ).fetchall()[0]
    return int(added)


def _mark_dirty(connection: Connection, scan: TimeScan, ids: Ids) -> None:
    """Note which parts of the roll-up the new rows touch."""
    source_id, import_id = ids
    if scan.minutes_us is None:
        rows = f"SELECT source_id, arrived_at FROM request WHERE import_id = {import_id}"
        mark_dirty(connection, f"({rows})")
        return
    connection.register("bulk_minute", pa.table({"t": scan.minutes_us}))
    mark_dirty(
        connection,
        f"(SELECT {source_id} AS source_id, make_timestamp(t) AS arrived_at FROM bulk_minute)",
    )
    connection.unregister("bulk_minute")


def _add_rates(connection: Connection, source_id: int) -> int:
    columns = ", ".join(_RATE_COLUMNS)
    keys = ("source_id", "client", "window_start_at")
    rates = f"""SELECT {source_id} AS source_id, window_start_at, {columns} FROM {_STAGE}
        QUALIFY row_number() OVER (PARTITION BY client, window_start_at) = 1"""
    added = add_new(connection, "client_rate", keys, rates)
    connection.execute(f"DROP TABLE {_STAGE}")
    return added
