"""What sources there are."""

from __future__ import annotations

from datetime import UTC, datetime

from store.queries.scope import SourceInfo
from store.reader import Reader

SOURCES = """
WITH held AS (
  SELECT source_id, min(arrived_at) AS first_at, max(arrived_at) AS last_at, count(*) AS requests
  FROM request GROUP BY source_id
  UNION ALL
  SELECT source_id, min(window_start_at), max(window_start_at), 0 FROM client_rate GROUP BY source_id
  UNION ALL
  SELECT 1, min(scraped_at), max(scraped_at), 0 FROM scrape HAVING count(*) > 0
)
SELECT s.source_id, s.name, s.kind, s.format, s.clock,
       min(h.first_at) AS first_at, max(h.last_at) AS last_at, coalesce(sum(h.requests), 0)::BIGINT AS requests
FROM source AS s LEFT JOIN held AS h USING (source_id)
GROUP BY ALL ORDER BY s.source_id
"""  # noqa: E501 - one query


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
        for row in reader.frame(SOURCES).to_dicts()
    ]


def _aware(at: datetime | None) -> datetime | None:
    return at.replace(tzinfo=UTC) if at is not None else None
