"""When targets answered, and how busy they were."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import polars as pl

from store.queries.sample_split import Span, Split, Use, split
from store.queries.slo import naive_utc
from store.reader import Reader
from store.target_rollup import answered_sql, loaded_sql

SEEN = """
WITH told AS (
  {parts}),
counted AS (
  SELECT target_id, epoch_us("at") // $width AS bin, sum(scrape_count) AS scrapes,
    (epoch_us(max(last_at)) - epoch_us(min(first_at))) / 1e6 AS between_seconds,
    sum(busy_count) / nullif(sum(load_count), 0) AS busy_ratio
  FROM told GROUP BY ALL HAVING sum(scrape_count) > 0)
SELECT t.target_id, t.url, t.engine, t.model, t.labels::VARCHAR AS labels,
  make_timestamp(c.bin * $width) AS "at", c.scrapes::BIGINT AS scrapes, c.between_seconds,
  c.busy_ratio
FROM counted AS c JOIN target AS t USING (target_id) ORDER BY t.target_id, "at"
"""
PLAIN = SEEN.format(
    parts=answered_sql("scraped_at >= $start AND scraped_at < $end")
    + " UNION ALL "
    + loaded_sql("p.sampled_at >= $start AND p.sampled_at < $end")
)
"""`seen` without roll-ups, to be read and run by people."""
_ROLLED = """SELECT target_id, bucket_at AS "at", scrape_count, first_at, last_at, load_count,
    busy_count FROM rollup_target WHERE {spans}"""


def seen(
    reader: Reader,
    start: datetime,
    end: datetime,
    width_seconds: int,
    *,
    with_load: bool = True,
    use: Use = "auto",
) -> pl.DataFrame:
    """When each target answered and how busy it was, by bin; those no longer watched, too.

    Args:
        reader: the store.
        start: aware UTC, inclusive.
        end: aware UTC, exclusive.
        width_seconds: of a bin; whole buckets of the roll-up (300 s).
        with_load: without it busy_ratio says nothing, and samples are not read.
        use: "raw" reads scrapes and samples as far as there are any.

    Returns:
        target_id, url, engine, model, labels (JSON text), at, scrapes (that worked),
        between_seconds (from the first to the last of the bin), busy_ratio (share of the moments at
        which its load was told at which a request was running or waiting; null where none was).
    """
    low, high, width = naive_utc(start), naive_utc(end), int(width_seconds) * 1_000_000
    with reader.snapshot() as snapshot:
        since = snapshot.frame("SELECT targets_since FROM rollup_sample_state")
        before = [(low, at) for at in since["targets_since"] if at > low]
        plan = split(snapshot, low, high, before, use=use)
        return snapshot.frame(SEEN.format(parts=_parts(plan, with_load)), width=width)


def _parts(plan: Split, with_load: bool) -> str:
    """What is read from where, as one relation; the times are our own."""
    parts = [_ROLLED.format(spans=_spans("bucket_at", plan.rolled))] if plan.rolled else []
    if plan.raw or not parts:
        parts.append(answered_sql(_spans("scraped_at", plan.raw)))
        if with_load:
            parts.append(loaded_sql(_spans("p.sampled_at", plan.raw)))
    return "\n  UNION ALL ".join(parts)


def _spans(column: str, spans: Sequence[Span]) -> str:
    within = [f"{column} >= TIMESTAMP '{a}' AND {column} < TIMESTAMP '{b}'" for a, b in spans]
    return f"({' OR '.join(within) or 'FALSE'})"
