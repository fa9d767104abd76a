"""Raw rows a page at a time, for the API: requests and samples as they were recorded."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import polars as pl

from store.bulk_spec import GATEWAY_COLUMNS, LABELS
from store.errors import InputError
from store.queries.scope import Scope
from store.queries.workload import naive, where
from store.reader import Reader

REQUEST_COLUMNS = (
    "arrived_at", "status", "tenant", "model", "route", "instance", "slo_class", "finish_reason",
    "admission_reason",
    "input_tokens", "output_tokens", "cached_tokens", "predicted_output_tokens", "queue_seconds",
    "prefill_seconds", "decode_seconds", "ttft_seconds", "tpot_seconds", "e2e_seconds",
    *GATEWAY_COLUMNS, "decision_id",
)  # fmt: skip
STATUSES = ("ok", "failed", "refused", "aborted")


def requests_page(
    reader: Reader,
    scope: Scope,
    *,
    limit: int,
    offset: int = 0,
    sort: str = "arrived_at",
    status: tuple[str, ...] = (),
) -> pl.DataFrame:
    """Requests of a scope, sorted.

    Args:
        reader: the store.
        scope: which requests.
        limit: most rows, >= 1.
        offset: rows to skip, >= 0.
        sort: a column of `REQUEST_COLUMNS`; a leading `-` turns the order round.
        status: only these; empty means all.

    Returns:
        source, the columns of `REQUEST_COLUMNS`, session_id, request_key (decimal text, because
        JSON readers lose digits of 64-bit numbers).

    Raises:
        InputError: unknown sort column or status.
    """
    column, direction = sort.removeprefix("-"), "DESC" if sort.startswith("-") else "ASC"
    if column not in REQUEST_COLUMNS:
        raise InputError(f"cannot sort by '{column}'", hint=f"one of: {', '.join(REQUEST_COLUMNS)}")
    unknown = [name for name in status if name not in STATUSES]
    if unknown:
        raise InputError(f"no status is called '{unknown[0]}'", hint=f"one of: {STATUSES}")
    condition, params = where(scope, every_attempt=True)
    if status:
        condition += " AND r.status::VARCHAR IN $status"
        params["status"] = list(status)
    names = ", ".join(_qualified(name) for name in REQUEST_COLUMNS)
    return reader.frame(
        f"""SELECT s.name AS source, {names}, n.session_id, r.request_key::VARCHAR AS request_key
        FROM request AS r JOIN source AS s USING (source_id)
        JOIN request_labels AS l USING (labels_id)
        LEFT JOIN session AS n ON n.source_id = r.source_id AND n.session_key = r.session_key
        WHERE {condition}
        ORDER BY {column} {direction} NULLS LAST, r.request_key
        LIMIT $limit OFFSET $offset""",
        limit=limit,
        offset=offset,
        **params,
    )


def samples_page(
    reader: Reader,
    start: datetime,
    end: datetime,
    *,
    signal: str | None = None,
    target: str | None = None,
    limit: int,
    offset: int = 0,
) -> pl.DataFrame:
    """Scraped samples, oldest first.

    Args:
        reader: the store.
        start: aware UTC, inclusive.
        end: exclusive.
        signal: only this canonical signal.
        target: only the target with this URL.
        limit: most rows, >= 1.
        offset: rows to skip, >= 0.

    Returns:
        sampled_at, target, signal, kind, unit, labels (JSON text), value.
    """
    params: dict[str, Any] = {"start": naive(start), "end": naive(end)}
    condition = "p.sampled_at >= $start AND p.sampled_at < $end"
    if signal:
        condition += " AND s.signal = $signal"
        params["signal"] = signal
    if target:
        condition += " AND t.url = $target"
        params["target"] = target
    return reader.frame(
        f"""SELECT p.sampled_at, t.url AS target, s.signal, s.kind, s.unit,
               s.labels::VARCHAR AS labels, p.value
        FROM sample AS p JOIN series AS s USING (series_id) JOIN target AS t USING (target_id)
        WHERE {condition} ORDER BY p.sampled_at, p.series_id LIMIT $limit OFFSET $offset""",
        limit=limit,
        offset=offset,
        **params,
    )


def _qualified(name: str) -> str:
    if name == "status":
        return "r.status::VARCHAR AS status"
    return f"l.{name}" if name in LABELS else f"r.{name}"
