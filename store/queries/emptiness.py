"""What a scope holds, cheaply: enough to say why a page is empty."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from store.queries.scope import LIVE_SOURCE_ID, Scope
from store.queries.slo import LABEL_COLUMNS, labels_sql, naive_utc, scope_labels, source_sql
from store.reader import Reader

REQUEST_COLUMNS = (
    "input_tokens", "output_tokens", "cached_tokens", "queue_seconds", "prefill_seconds",
    "decode_seconds", "ttft_seconds", "tpot_seconds", "e2e_seconds", "session_key", "trace_id",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Held:
    """What there is in and around a scope.

    Attributes:
        first_at: first record of its sources, of any kind and time; naive.
        last_at: last record.
        requests_in_range: whether requests of its sources arrived in its range.
        requests_in_scope: whether any of them carry its labels.
        needed_in_scope: whether any of those carries the needed column.
        scrapes_in_range: whether a live target answered in its range.
        targets: watched targets, for a scope about the live fleet.
        has_traces: whether there are recorded traces outside of the scope.
    """

    first_at: datetime | None
    last_at: datetime | None
    requests_in_range: bool
    requests_in_scope: bool
    needed_in_scope: bool
    scrapes_in_range: bool
    targets: int
    has_traces: bool


def held(reader: Reader, scope: Scope, needs: str | None) -> Held:
    """What the scope holds.

    Args:
        reader: the store.
        scope: sources, range and labels.
        needs: request column, label or "block_hashes"; None for no need.

    Raises:
        ValueError: `needs` is none of them.
    """
    values: dict[str, Any] = {"start": naive_utc(scope.start), "end": naive_utc(scope.end)}
    source = source_sql(scope)
    live = LIVE_SOURCE_ID in scope.source_ids
    span = f"{source} AND r.arrived_at >= $start AND r.arrived_at < $end"
    labels = labels_sql(scope_labels(scope), values, "scope")
    chosen = (
        f"{span} AND r.labels_id IN (SELECT labels_id FROM request_labels WHERE {labels})"
        if scope_labels(scope)
        else span
    )
    rates = source.replace("r.source_id", "source_id")
    row = reader.frame(
        f"""
        WITH spans AS (
          SELECT min(arrived_at) AS first_at, max(arrived_at) AS last_at
          FROM request AS r WHERE {source}
          UNION ALL
          SELECT min(window_start_at), max(window_start_at) FROM client_rate WHERE {rates}
          UNION ALL
          SELECT min(scraped_at), max(scraped_at) FROM scrape WHERE outcome = 'ok' AND {live}
        )
        SELECT min(first_at) AS first_at, max(last_at) AS last_at,
          EXISTS (SELECT 1 FROM request AS r WHERE {span}) AS requests_in_range,
          EXISTS (SELECT 1 FROM request AS r WHERE {chosen}) AS requests_in_scope,
          EXISTS (SELECT 1 FROM request AS r WHERE {chosen} AND {_needs_sql(needs)})
            AS needed_in_scope,
          EXISTS (SELECT 1 FROM scrape WHERE scraped_at >= $start AND scraped_at < $end
                  AND outcome = 'ok' AND {live}) AS scrapes_in_range,
          CAST((SELECT count(*) FROM target WHERE removed_at IS NULL AND {live}) AS INTEGER)
            AS targets,
          EXISTS (SELECT 1 FROM source WHERE source_id <> {LIVE_SOURCE_ID} AND NOT ({rates}))
            AS has_traces
        FROM spans""",
        **values,
    ).row(0, named=True)
    return Held(**row)


def _needs_sql(needs: str | None) -> str:
    if needs is None:
        return "TRUE"
    if needs == "block_hashes":
        return (
            "EXISTS (SELECT 1 FROM request_prefix AS p WHERE p.source_id = r.source_id"
            " AND p.arrived_at = r.arrived_at AND p.request_key = r.request_key)"
        )
    if needs in LABEL_COLUMNS:
        return f"r.labels_id IN (SELECT labels_id FROM request_labels WHERE {needs} IS NOT NULL)"
    if needs in REQUEST_COLUMNS:
        return f"r.{needs} IS NOT NULL"
    raise ValueError(f"{needs} is not a request column")
