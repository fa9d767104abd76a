"""Roll-up of arrivals: what gaps and counts in windows of the live fleet add up to, by the hour.

It is made by `store.rollup.refresh` in the transaction that counts `rollup_1h`, so both are true of
the same hours. Windows are those of the clock, so each lies in one hour. Only the live fleet has
hours without end; a trace begins its windows at its first request and is read from the rows.
"""

from __future__ import annotations

from store.hourly import Counted
from store.queries.scope import IS_COUNTED, LIVE_SOURCE_ID

WINDOWS_SECONDS = (1, 10, 60, 600)
"""Lengths of windows that are counted; each divides an hour."""
KEPT_STEP = 16
"""Of the gaps of an hour one in so many is kept: those where hour + place divides by it.

The hour counts from 1970 and the place of a gap is that of the later request in its hour, from 0.
"""

_SUMS = ",\n    ".join(
    f"max(n) FILTER (width = {width}) AS most_{width}s,"
    f" sum(n * n) FILTER (width = {width})::BIGINT AS squares_{width}s"
    for width in WINDOWS_SECONDS
)
_WIDTHS = ", ".join(f"({width})" for width in WINDOWS_SECONDS)
COUNTED: Counted = {
    "rollup_arrival": f"""WITH came AS MATERIALIZED (
  SELECT date_trunc('hour', r.arrived_at) AS hour_at, epoch_us(r.arrived_at) AS us
  FROM request AS r
  WHERE r.source_id = $source_id AND r.source_id = {LIVE_SOURCE_ID} AND {IS_COUNTED}
    AND r.arrived_at >= $low AND r.arrived_at < $high
    AND date_trunc('hour', r.arrived_at) IN (SELECT bucket_at FROM {{hours}})
), placed AS (
  SELECT hour_at, us, us - lag(us) OVER hour AS gap, row_number() OVER hour - 1 AS place,
    epoch_us(hour_at) // 3600000000 AS number
  FROM came WINDOW hour AS (PARTITION BY hour_at ORDER BY us)
), gapped AS (
  SELECT hour_at, count(*) AS requests, 1 + count(*) FILTER (gap > 0) AS stamps,
    min(us) AS first_us, max(us) AS last_us,
    coalesce(var_pop(gap) * count(gap), 0) AS gap_spread,
    max({{{{'gap': gap, 'before': gap - us}}}}) FILTER (gap IS NOT NULL) AS largest,
    coalesce(list(gap ORDER BY place) FILTER (place > 0 AND (number + place) % {KEPT_STEP} = 0),
      []) AS gaps
  FROM placed GROUP BY hour_at
), windows AS (
  SELECT hour_at, width, count(*) AS n
  FROM came, (VALUES {_WIDTHS}) AS w(width)
  GROUP BY hour_at, width, us // (width * 1000000)
), spread AS (
  SELECT hour_at, count(*) FILTER (width = 1) AS seconds, min(n) FILTER (width = 1) AS least_1s,
    {_SUMS}
  FROM windows GROUP BY hour_at
)
SELECT $source_id AS source_id, hour_at, requests, stamps, first_us, last_us, gap_spread,
  largest.gap AS largest_gap_us, -largest.before AS largest_after_us, gaps, s.* EXCLUDE (hour_at)
FROM gapped JOIN spread AS s USING (hour_at)""",
}
