"""What sources there are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from store.queries.scope import SourceInfo
from store.reader import Reader

_SOURCES = "SELECT source_id, name, kind, format, clock FROM source ORDER BY source_id"
# One aggregate a source: with a constant filter DuckDB answers from the statistics of its row
# groups, 1 ms for ten million rows where a GROUP BY reads them all in 55 ms.
_HELD = """SELECT {source_id} AS source_id, min(arrived_at) AS first_at, max(arrived_at) AS last_at,
  count(*) AS requests
FROM request WHERE source_id = {source_id}
UNION ALL """
_HELD_BESIDE = """SELECT source_id, min(window_start_at), max(window_start_at), 0 FROM client_rate
GROUP BY source_id
UNION ALL SELECT 1, min(scraped_at), max(scraped_at), 0 FROM scrape HAVING count(*) > 0"""
_PLAIN = """SELECT s.source_id, s.name, s.kind, s.format, s.clock, min(h.first_at) AS first_at,
  max(h.last_at) AS last_at, coalesce(sum(h.requests), 0)::BIGINT AS requests
FROM source AS s LEFT JOIN ({held}) AS h USING (source_id)
GROUP BY ALL ORDER BY s.source_id"""


def sources_sql(numbers: Iterable[int]) -> str:
    """`sources` as one query that people can paste, for sources of these numbers."""
    return _PLAIN.format(held=_held_sql(numbers))


def sources(reader: Reader) -> list[SourceInfo]:
    """All sources with their time span; live first.

    Put together here: joined and grouped by DuckDB it takes twice as long.
    """
    found = reader.frame(_SOURCES)
    held: dict[int, list[_Held]] = defaultdict(list)
    for number, *span in reader.frame(_held_sql(found["source_id"])).iter_rows():
        held[number].append(_Held(*span))
    return [_info(row, held[row["source_id"]]) for row in found.iter_rows(named=True)]


class _Held(NamedTuple):
    """What one table holds of a source."""

    first_at: datetime | None
    last_at: datetime | None
    requests: int


def _held_sql(numbers: Iterable[int]) -> str:
    return "".join(_HELD.format(source_id=int(number)) for number in numbers) + _HELD_BESIDE


def _info(source: Mapping[str, Any], held: Sequence[_Held]) -> SourceInfo:
    return SourceInfo(
        source["source_id"],
        source["name"],
        source["kind"],
        source["format"],
        source["clock"],
        _aware(min((one.first_at for one in held if one.first_at), default=None)),
        _aware(max((one.last_at for one in held if one.last_at), default=None)),
        sum(one.requests for one in held),
    )


def _aware(at: datetime | None) -> datetime | None:
    return at.replace(tzinfo=UTC) if at is not None else None
