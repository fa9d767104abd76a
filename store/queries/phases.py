"""Sums of the phases of requests, from the hours that are rolled up and the rows elsewhere."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import polars as pl

from store.phase_rollup import COLUMNS, COUNTS
from store.queries.log_bins import log_bin_sql
from store.queries.phase_sql import SUMS_SQL
from store.queries.rollup import RAW_BELOW_SECONDS, Split, cut
from store.queries.scope import Scope
from store.queries.workload import FrameReader, aware, naive, where
from store.rollup import HOUR_SECONDS, bucket_sql

Use = Literal["auto", "rows", "rollup"]


def phase_sums_by_time(
    reader: FrameReader, scope: Scope, width_seconds: int, use: Use = "auto"
) -> pl.DataFrame:
    """Sums of the phases of successful requests whose whole duration is known, by time.

    Args:
        reader: the store.
        scope: which requests.
        width_seconds: of a bin, counted from 1970-01-01.
        use: "auto" takes the roll-up for long ranges; the others are for tests.

    Returns:
        at (naive, start of the bin), requests, e2e, queue, prefill, first_token, decode (sums in
        seconds; null when no row knows it), prefill_told and decode_told (rows that carry the phase
        itself); by time.
    """
    bucket = bucket_sql("{}", width_seconds)
    plan = _plan(reader, scope, "rows" if width_seconds % HOUR_SECONDS else use)
    at = bucket.format("r.arrived_at"), bucket.format("hour_at")
    return _sums(reader, scope, plan, "at", *at)


def phase_sums_by_e2e(reader: FrameReader, scope: Scope, use: Use = "auto") -> pl.DataFrame:
    """The same sums by the logarithmic bin of the whole duration, in column `log_bin`."""
    plan = _plan(reader, scope, use)
    return _sums(reader, scope, plan, "log_bin", log_bin_sql("r.e2e_seconds"), "log_bin")


def _plan(reader: FrameReader, scope: Scope, use: Use) -> Split:
    """Which stretches the roll-up can tell; it knows models and routes."""
    is_short = use == "auto" and scope.seconds < RAW_BELOW_SECONDS
    if use == "rows" or is_short or scope.tenants or scope.instances or not scope.source_ids:
        return Split(None, (), ((naive(scope.start), naive(scope.end)),))
    return cut(reader, scope, "rollup_1h")


def _sums(
    reader: FrameReader, scope: Scope, plan: Split, name: str, of_row: str, of_hour: str
) -> pl.DataFrame:
    params: dict[str, Any] = {}
    texts = []
    for number, (low, high) in enumerate((*plan.rolled, *plan.raw)):
        condition, values = where(replace(scope, start=aware(low), end=aware(high)))
        if number < len(plan.rolled):
            found = f"{of_hour} AS key, {_OF_HOURS} WHERE {_of_hours(scope)}"
        else:
            found = f"{of_row} AS key, {_OF_ROWS} AND {condition}"
        for end in ("start", "end"):
            found = found.replace(f"${end}", f"${end}{number}")
            params[f"{end}{number}"] = values.pop(end)
        params |= values
        texts.append(f"SELECT {found} GROUP BY 1")
    return reader.frame(
        f"""SELECT key::{_TYPES[name]} AS {name}, {_WHOLE}
FROM ({" UNION ALL ".join(texts)}) GROUP BY 1 ORDER BY 1""",
        **params,
    )


_TYPES = {"at": "TIMESTAMP", "log_bin": "INTEGER"}
_OF_ROWS = f"""{SUMS_SQL} FROM request AS r
WHERE r.status = 'ok' AND r.e2e_seconds IS NOT NULL"""
_OF_HOURS = f"""{", ".join(f"sum({column}) AS {column}" for column in COLUMNS)}
FROM rollup_phase AS r"""
_WHOLE = ", ".join(
    f"sum({column}){'::BIGINT' if column in COUNTS else ''} AS {column}" for column in COLUMNS
)


def _of_hours(scope: Scope) -> str:
    parts = [
        f"r.source_id IN ({', '.join(str(int(number)) for number in scope.source_ids)})",
        "r.hour_at >= $start AND r.hour_at < $end",
        *(f"{name} IN ${name}s" for name in ("model", "route") if getattr(scope, f"{name}s")),
    ]
    return " AND ".join(parts)
