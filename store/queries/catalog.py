"""What sources there are."""

from __future__ import annotations

from datetime import UTC, datetime

from store.queries.scope import SourceInfo
from store.reader import Reader

# One aggregate a source: with a constant filter DuckDB answers from the statistics of its row
# groups, 1 ms for ten million rows where a GROUP BY reads them all in 55 ms.
_HELD = """
  SELECT {source_id} AS source_id, min(arrived_at) AS first_at, max(arrived_at) AS last_at,
         count(*) AS requests
  FROM request WHERE source_id = {source_id}
  UNION ALL"""
_SOURCES = """
WITH held AS ({held}
  SELECT source_id, min(window_start_at), max(window_start_at), 0 FROM client_rate
  GROUP BY source_id
  UNION ALL
  SELECT 1, min(scraped_at), max(scraped_at), 0 FROM scrape HAVING count(*) > 0
)
SELECT s.source_id, s.name, s.kind, s.format, s.clock, min(h.first_at) AS first_at,
       max(h.last_at) AS last_at, coalesce(sum(h.requests), 0)::BIGINT AS requests
FROM source AS s LEFT JOIN held AS h USING (source_id)
GROUP BY ALL ORDER BY s.source_id
"""


def sources_sql(reader: Reader) -> str:
    """The query behind `sources`, for the sources there are now."""
    numbers = reader.frame("SELECT source_id FROM source ORDER BY source_id")["source_id"]
    held = "".join(_HELD.format(source_id=int(number)) for number in numbers)
    return _SOURCES.format(held=held)


def sources(reader: Reader) -> list[SourceInfo]:
    """All sources with their time span; live first."""
    return [
        SourceInfo(
            row["source_id"],
            row["name"],
            row["kind"],
            row["format"],
            row["clock"],
            _aware(row["first_at"]),
            _aware(row["last_at"]),
            row["requests"],
        )
        for row in reader.frame(sources_sql(reader)).to_dicts()
    ]


def _aware(at: datetime | None) -> datetime | None:
    return at.replace(tzinfo=UTC) if at is not None else None
