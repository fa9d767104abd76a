"""How rows enter each table: identity, labels, and what makes a resend change nothing.

Every function takes the write connection inside a transaction and frames (batches), and returns the
number of rows of each that were really added. Columns that a frame lacks are NULL.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import duckdb
import polars as pl

from store.append_points import PointAppender
from store.append_predictions import FORECAST_FRAME, PREDICTION_FRAME, add_predictions
from store.bulk_spec import GATEWAY_COLUMNS, LABELS
from store.errors import InputError
from store.once import add_new

Connection = duckdb.DuckDBPyConnection
Appender = Callable[[Connection, Sequence[pl.DataFrame]], list[int]]

_TIME = pl.Datetime("us")
LABEL_COLUMNS = LABELS
_CONTENT_COLUMNS: Mapping[str, pl.DataType | type[pl.DataType]] = {
    "input_tokens": pl.Int32,
    "output_tokens": pl.Int32,
    "cached_tokens": pl.Int32,
    "predicted_output_tokens": pl.Int32,
    "queue_seconds": pl.Float64,
    "prefill_seconds": pl.Float64,
    "decode_seconds": pl.Float64,
    "ttft_seconds": pl.Float64,
    "tpot_seconds": pl.Float64,
    "e2e_seconds": pl.Float64,
}
_KINDS = {"SMALLINT": pl.Int16, "INTEGER": pl.Int32, "DOUBLE": pl.Float64, "BOOLEAN": pl.Boolean}
REQUEST_FRAME: Mapping[str, pl.DataType | type[pl.DataType]] = {
    "request_id": pl.String,
    "source_id": pl.Int16,
    "arrived_at": _TIME,
    "status": pl.String,
    **dict.fromkeys(LABEL_COLUMNS, pl.String),
    **_CONTENT_COLUMNS,
    "session_id": pl.String,
    "trace_id": pl.String,
    "decision_id": pl.Int64,
    **{name: _KINDS[kind] for name, kind in GATEWAY_COLUMNS.items()},
}
"""Columns of a frame for `append("request", …)`.

`request_id` is the sender's own identity of the row (unique within the source); without it the
content of the row is its identity. `arrived_at` is naive UTC. `status` is ok, failed, refused or
aborted. `trace_id` is 32 hex digits.
"""
SAMPLE_FRAME: Mapping[str, pl.DataType | type[pl.DataType]] = {
    "target_id": pl.Int32,
    "signal": pl.String,
    "kind": pl.String,
    "unit": pl.String,
    "labels": pl.String,
    "sampled_at": _TIME,
    "value": pl.Float64,
}
"""Columns for `append("sample", …)`; `labels` is JSON text with sorted keys."""
HISTOGRAM_FRAME: Mapping[str, pl.DataType | type[pl.DataType]] = {
    "target_id": pl.Int32,
    "signal": pl.String,
    "unit": pl.String,
    "labels": pl.String,
    "sampled_at": _TIME,
    "observation_count": pl.Float64,
    "observation_sum": pl.Float64,
    "edges": pl.List(pl.Float64),
    "cumulative_counts": pl.List(pl.Float64),
}
"""Columns for `append("histogram_sample", …)`; `edges` are upper bounds, the last may be inf."""
SCRAPE_FRAME: Mapping[str, pl.DataType | type[pl.DataType]] = {
    "target_id": pl.Int32,
    "scraped_at": _TIME,
    "duration_seconds": pl.Float64,
    "outcome": pl.String,
    "error": pl.String,
    "body_bytes": pl.Int64,
    "sample_count": pl.Int32,
    "bad_line_count": pl.Int32,
    "unknown_family_count": pl.Int32,
}
EVENT_FRAME: Mapping[str, pl.DataType | type[pl.DataType]] = {
    "event_id": pl.String,
    "source_id": pl.Int16,
    "started_at": _TIME,
    "ended_at": _TIME,
    "kind": pl.String,
    "subject": pl.String,
    "text": pl.String,
    "details": pl.String,
}
JOB_RUN_FRAME: Mapping[str, pl.DataType | type[pl.DataType]] = {
    "job": pl.String,
    "started_at": _TIME,
    "seconds": pl.Float64,
    "outcome": pl.String,
    "error": pl.String,
    "details": pl.String,
}
SIGNAL_GRADE_FRAME: Mapping[str, pl.DataType | type[pl.DataType]] = {
    "target_id": pl.Int32,
    "signal": pl.String,
    "graded_at": _TIME,
    "grade": pl.String,
    "evidence": pl.String,
    "advice": pl.String,
}
INSTANCE_START_FRAME: Mapping[str, pl.DataType | type[pl.DataType]] = {
    **dict.fromkeys(("instance", "model", "node", "phase"), pl.String),
    **dict.fromkeys(("started_at", "ended_at"), _TIME),
    **dict.fromkeys(("cache_state", "evidence"), pl.String),
}
"""One phase of one start; it is written once the phase has ended."""
GPU_FAULT_FRAME: Mapping[str, pl.DataType | type[pl.DataType]] = {
    **dict.fromkeys(("node", "gpu"), pl.String),
    **dict.fromkeys(("started_at", "ended_at"), _TIME),
    **dict.fromkeys(("kind", "details"), pl.String),
}


def shaped(
    frame: pl.DataFrame, schema: Mapping[str, pl.DataType | type[pl.DataType]]
) -> pl.DataFrame:
    """The frame with exactly the columns of `schema`, missing ones as NULL.

    Raises:
        InputError: a column is unknown, or a value does not fit its type.
    """
    if not frame.width:
        # Of a frame without columns, a column of NULLs would have one row.
        return pl.DataFrame(schema=dict(schema))
    unknown = sorted(set(frame.columns) - set(schema))
    if unknown:
        raise InputError(f"unknown column '{unknown[0]}'", hint=f"known: {', '.join(schema)}")
    columns = [
        (pl.col(name) if name in frame.columns else pl.lit(None)).cast(kind).alias(name)
        for name, kind in schema.items()
    ]
    try:
        return frame.select(columns)
    except pl.exceptions.PolarsError as error:
        raise InputError(f"a value does not fit its column: {error}".splitlines()[0]) from error


def append_requests(connection: Connection, frames: Sequence[pl.DataFrame]) -> list[int]:
    """Requests, labels and sessions; identity is (source, arrival, request_id or content).

    Several batches are one piece of work: it costs hardly more than a single one.
    """
    numbered = [
        shaped(frame, REQUEST_FRAME).with_columns(batch=pl.lit(number, pl.Int32))
        for number, frame in enumerate(frames)
    ]
    rows = pl.concat(numbered)
    if not rows.height:
        return [0] * len(frames)
    _require(rows, ("arrived_at", "status"))
    connection.register("incoming_request", rows.to_arrow())
    connection.execute(_STAGE_REQUESTS)
    connection.unregister("incoming_request")
    low, high, repeated = connection.execute(_LOOK_AT_STAGED).fetchall()[0]
    if repeated:
        connection.execute(_DROP_REPEATED)
    connection.execute(_DROP_KNOWN_REQUESTS, {"low": low, "high": high})
    found = connection.execute("SELECT batch, count(*) FROM staged_request GROUP BY batch")
    added = dict(found.fetchall())
    if added:
        register_labels(connection, "staged_request")
        add_new(connection, "session", ("source_id", "session_key"), _SESSIONS)
        mark_dirty(connection, "staged_request")
        connection.execute(_ADD_REQUESTS)
    connection.execute("DROP TABLE staged_request")
    return [int(added.get(number, 0)) for number in range(len(frames))]


def register_labels(connection: Connection, table: str) -> None:
    """Give every distinct label combination of `table` a row in request_labels."""
    matches = " AND ".join(f"l.{c} IS NOT DISTINCT FROM d.{c}" for c in LABEL_COLUMNS)
    columns = ", ".join(LABEL_COLUMNS)
    connection.execute(
        f"""INSERT INTO request_labels
        SELECT (SELECT max(labels_id) FROM request_labels) + row_number() OVER (), {columns}
        FROM (SELECT DISTINCT {columns} FROM {table}) AS d
        WHERE NOT EXISTS (SELECT 1 FROM request_labels AS l WHERE {matches})"""
    )


def mark_dirty(connection: Connection, table: str) -> None:
    """Note that the ten-minute buckets of the rows in `table` need a new roll-up."""
    add_new(connection, "rollup_dirty", ("source_id", "bucket_at"), _DIRTY.format(table=table))


def _samples(points: PointAppender) -> Appender:
    """Gauge and counter samples; identity is (series, sampled_at)."""

    def append(connection: Connection, frames: Sequence[pl.DataFrame]) -> list[int]:
        rows = [shaped(frame, SAMPLE_FRAME) for frame in frames]
        for frame in rows:
            _require(frame, tuple(SAMPLE_FRAME))
        return points.samples(connection, rows)

    return append


def _histograms(points: PointAppender) -> Appender:
    """Cumulative histogram samples; identity is (series, sampled_at)."""
    needed = ("target_id", "signal", "unit", "labels", "sampled_at", "observation_count")

    def append(connection: Connection, frames: Sequence[pl.DataFrame]) -> list[int]:
        rows = [shaped(frame, HISTOGRAM_FRAME) for frame in frames]
        for frame in rows:
            _require(frame, needed)
        return points.histograms(connection, rows)

    return append


def _scrapes(points: PointAppender) -> Appender:
    """Scrapes; one of a stretch that is rolled up makes its bucket dirty, as a sample does."""
    append = _once("scrape", SCRAPE_FRAME, ("target_id", "scraped_at"))

    def add(connection: Connection, frames: Sequence[pl.DataFrame]) -> list[int]:
        counts = []
        for frame in frames:
            counts.append(append(connection, frame))
            times = shaped(frame, SCRAPE_FRAME)["scraped_at"].to_physical().to_list()
            points.mark_late(connection, times if counts[-1] else [])
        return counts

    return add


def _once(
    table: str,
    schema: Mapping[str, pl.DataType | type[pl.DataType]],
    identity: tuple[str, ...],
    nullable: tuple[str, ...] = (),
) -> Callable[[Connection, pl.DataFrame], int]:
    """Rows of which one with the same `identity` is there at most once."""

    def append(connection: Connection, frame: pl.DataFrame) -> int:
        return _add_new(connection, table, shaped(frame, schema), identity, nullable)

    return append


def _each(append: Callable[[Connection, pl.DataFrame], int]) -> Appender:
    return lambda connection, frames: [append(connection, frame) for frame in frames]


append_forecasts = _each(
    _once("forecast", FORECAST_FRAME, ("made_at", "quantity", "key", "horizon_seconds"))
)
_PLAIN: Mapping[str, Appender] = {
    "request": append_requests,
    "event": _each(_once("event", EVENT_FRAME, ("event_id",))),
    "job_run": _each(_once("job_run", JOB_RUN_FRAME, ("job", "started_at"))),
    "signal_grade": _each(
        _once("signal_grade", SIGNAL_GRADE_FRAME, ("target_id", "signal", "graded_at"))
    ),
    "instance_start": _each(
        _once("instance_start", INSTANCE_START_FRAME, ("instance", "phase", "started_at"))
    ),
    "prediction": _each(
        lambda connection, frame: add_predictions(connection, shaped(frame, PREDICTION_FRAME))
    ),
    "forecast": append_forecasts,
    "gpu_fault": _each(
        _once("gpu_fault", GPU_FAULT_FRAME, ("node", "gpu", "started_at", "kind"), ("gpu",))
    ),
}
TABLES = ("sample", "histogram_sample", "scrape", *_PLAIN)


def appenders(points: PointAppender) -> Mapping[str, Appender]:
    """Table -> what appends to it, for one connection; take new ones after a rollback.

    Args:
        points: remembers the series of that connection.
    """
    return {
        **_PLAIN,
        "sample": _samples(points),
        "histogram_sample": _histograms(points),
        "scrape": _scrapes(points),
    }


def _require(rows: pl.DataFrame, names: tuple[str, ...]) -> None:
    for name in names:
        if rows[name].null_count():
            raise InputError(
                f"column '{name}' has empty values", hint="fill it or leave the row out"
            )


def _add_new(
    connection: Connection,
    table: str,
    rows: pl.DataFrame,
    identity: tuple[str, ...],
    nullable: tuple[str, ...],
) -> int:
    if not rows.height:
        return 0
    _require(rows, tuple(name for name in identity if name not in nullable))
    unique = rows.unique(subset=list(identity), keep="first", maintain_order=True)
    connection.register("incoming_row", unique.to_arrow())
    matches = " AND ".join(
        f"t.{c} IS NOT DISTINCT FROM i.{c}" if c in nullable else f"t.{c} = i.{c}" for c in identity
    )
    (added,) = connection.execute(
        f"""INSERT INTO {table} BY NAME SELECT * FROM incoming_row AS i
        WHERE NOT EXISTS (SELECT 1 FROM {table} AS t WHERE {matches})"""
    ).fetchall()[0]
    connection.unregister("incoming_row")
    return int(added)


_IDENTITY = ", ".join((*LABEL_COLUMNS[:6], *_CONTENT_COLUMNS, "session_id", "trace_id", "status"))
# Columns that came later are no part of it: a row told again has the key that it had before.
_STAGE_REQUESTS = f"""
CREATE OR REPLACE TEMP TABLE staged_request AS
SELECT *, CASE WHEN request_id IS NULL THEN hash(arrived_at, {_IDENTITY}) ELSE hash(request_id) END AS request_key,
       hash(session_id) AS session_hash
FROM (SELECT * REPLACE (coalesce(source_id, 1)::SMALLINT AS source_id) FROM incoming_request)
"""  # noqa: E501 - one expression
_LOOK_AT_STAGED = """
SELECT min(arrived_at), max(arrived_at),
       count(*) - count(DISTINCT (source_id, arrived_at, request_key)) FROM staged_request
"""
# A window over the whole staged table costs more than everything else together, and is hardly ever
# needed.
_DROP_REPEATED = """
DELETE FROM staged_request WHERE rowid IN (
  SELECT rowid FROM staged_request
  QUALIFY row_number() OVER (PARTITION BY source_id, arrived_at, request_key ORDER BY batch) > 1)
"""
_SESSIONS = """
SELECT source_id, session_hash AS session_key, any_value(session_id) AS session_id
FROM staged_request WHERE session_id IS NOT NULL GROUP BY ALL
"""
_DIRTY = """
SELECT DISTINCT source_id, time_bucket(INTERVAL 10 MINUTES, arrived_at) AS bucket_at FROM {table}
"""
_DROP_KNOWN_REQUESTS = """
DELETE FROM staged_request AS i USING request AS r
WHERE r.source_id = i.source_id AND r.arrived_at = i.arrived_at AND r.request_key = i.request_key
  AND r.arrived_at BETWEEN $low AND $high
"""
_NUMBERS = (*_CONTENT_COLUMNS, *GATEWAY_COLUMNS)
_ADD_REQUESTS = f"""
INSERT INTO request (request_key, source_id, arrived_at, status, labels_id, session_key, trace_id, decision_id,
       {", ".join(_NUMBERS)})
SELECT i.request_key, i.source_id, i.arrived_at, i.status::request_status, l.labels_id,
       CASE WHEN i.session_id IS NULL THEN NULL ELSE i.session_hash END, i.trace_id::UUID, i.decision_id,
       {", ".join(f"i.{c}" for c in _NUMBERS)}
FROM staged_request AS i
JOIN request_labels AS l ON {" AND ".join(f"l.{c} IS NOT DISTINCT FROM i.{c}" for c in LABEL_COLUMNS)}
"""  # noqa: E501 - one expression
