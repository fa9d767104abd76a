"""What sources there are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import polars as pl

from store.queries.scope import SourceInfo
from store.reader import Reader

_SOURCES = "SELECT source_id, name, kind, format, clock FROM source ORDER BY source_id"
_SUMMED_UP = "SELECT source_id, min(first_at), max(last_at) FROM rollup_outcome GROUP BY 1"
# A question for each number: DuckDB answers most of them from the statistics of its row groups.
_REQUESTS = """SELECT {source_id} AS source_id, 'first' AS part, min(arrived_at) AS first_at,
  NULL AS last_at, 0 AS requests
FROM request WHERE source_id = {source_id}{until}
UNION ALL SELECT {source_id}, 'last', NULL, max(arrived_at), 0
FROM request WHERE source_id = {source_id}{since}
UNION ALL SELECT {source_id}, 'count', NULL, NULL, count(*)
FROM request WHERE source_id = {source_id}
UNION ALL """
_BESIDE = """SELECT source_id, 'rates', min(window_start_at), max(window_start_at), 0
FROM client_rate GROUP BY source_id
UNION ALL SELECT 1, 'scrapes', min(scraped_at), max(scraped_at), 0
FROM scrape HAVING count(*) > 0"""
_PLAIN = """SELECT s.source_id, s.name, s.kind, s.format, s.clock, min(h.first_at) AS first_at,
  max(h.last_at) AS last_at, coalesce(sum(h.requests), 0)::BIGINT AS requests
FROM source AS s LEFT JOIN (
{held}) AS h USING (source_id)
GROUP BY ALL ORDER BY s.source_id"""
_Span = tuple[datetime | None, datetime | None]
_NOT_KNOWN: _Span = (None, None)


def sources_sql(numbers: Iterable[int]) -> str:
    """`sources` as one query that people can paste, for sources of these numbers."""
    return _PLAIN.format(held=_held_sql(dict.fromkeys(numbers, _NOT_KNOWN)))


def sources(reader: Reader) -> list[SourceInfo]:
    """All sources with their time span; live first.

    Put together here: joined and grouped by DuckDB it takes twice as long.
    """
    found = reader.frame(_SOURCES).to_dicts()
    # Once rows have been added DuckDB no longer knows the first and the last without reading all,
    # 20 ms for ten million: only what lies before and after those summed up is read.
    summed = {number: (first, last) for number, first, last in reader.frame(_SUMMED_UP).iter_rows()}
    spans = {row["source_id"]: summed.get(row["source_id"], _NOT_KNOWN) for row in found}
    held = reader.frame(_held_sql(spans))
    if _has_lost(held, spans):
        held = reader.frame(_held_sql(dict.fromkeys(spans, _NOT_KNOWN)))
    parts = held.partition_by("source_id", as_dict=True)
    return [_info(row, parts.get((row["source_id"],), held.clear())) for row in found]


def _held_sql(spans: Mapping[int, _Span]) -> str:
    """What each table holds of sources of these numbers.

    Args:
        spans: the first and the last of the requests that are summed up, where that is known.
    """
    parts = (
        _REQUESTS.format(
            source_id=int(number),
            until=f" AND arrived_at <= TIMESTAMP '{first}'" if first else "",
            since=f" AND arrived_at >= TIMESTAMP '{last}'" if last else "",
        )
        for number, (first, last) in spans.items()
    )
    return "".join(parts) + _BESIDE


def _has_lost(held: pl.DataFrame, spans: Mapping[int, _Span]) -> bool:
    """Whether requests that were summed up are gone, so that the edges lie elsewhere."""
    edges = held.filter(pl.col("part").is_in(("first", "last")))
    return any(
        edge is None and spans[number] != _NOT_KNOWN
        for number, edge in edges.select(
            "source_id", pl.coalesce("first_at", "last_at")
        ).iter_rows()
    )


def _info(source: Mapping[str, Any], held: pl.DataFrame) -> SourceInfo:
    return SourceInfo(
        source["source_id"],
        source["name"],
        source["kind"],
        source["format"],
        source["clock"],
        _aware(min(held["first_at"].drop_nulls(), default=None)),
        _aware(max(held["last_at"].drop_nulls(), default=None)),
        sum(held["requests"]),
    )


def _aware(at: datetime | None) -> datetime | None:
    return at.replace(tzinfo=UTC) if at is not None else None
