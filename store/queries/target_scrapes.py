"""How targets stood last, without reading every scrape of those that fell silent."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

import polars as pl

from store.queries.rollup_sql import Span
from store.reader import Snapshot
from store.rolled_buckets import BUCKET_SECONDS

# Who answered of late has nothing to tell from before: older scrapes are read of the others only.
_TARGETS = """
WITH late AS (SELECT * FROM scrape WHERE scraped_at < $end AND scraped_at >= $recent),
silent AS (
  SELECT target_id FROM target WHERE removed_at IS NULL
  EXCEPT SELECT target_id FROM late WHERE outcome = 'ok'),
looked_at AS (
  SELECT * FROM late{older}),
last_scrape AS (
  SELECT target_id, max(scraped_at) AS last_at, max_by(outcome, scraped_at) AS last_outcome,
         max_by(error, scraped_at) AS last_error,
         max(scraped_at) FILTER (WHERE outcome = 'ok') AS last_success_at,
         max_by(duration_seconds, scraped_at) AS last_duration_seconds,
         max_by(sample_count, scraped_at) FILTER (WHERE outcome = 'ok') AS sample_count,
         max_by(bad_line_count, scraped_at) FILTER (WHERE outcome = 'ok') AS bad_line_count,
         max_by(unknown_family_count, scraped_at) FILTER (WHERE outcome = 'ok')
           AS unknown_family_count
  FROM looked_at GROUP BY target_id
), pace AS (
  SELECT target_id, median(gap) AS interval_seconds FROM (
    SELECT target_id, date_diff('microseconds', lag(scraped_at)
      OVER (PARTITION BY target_id ORDER BY scraped_at), scraped_at) / 1e6 AS gap
    FROM late)
  GROUP BY target_id
)
SELECT t.target_id, t.url, t.engine, t.engine_version, t.model, t.added_at, t.removed_at,
       s.last_at, s.last_outcome, s.last_error, s.last_success_at, s.last_duration_seconds,
       s.sample_count, s.bad_line_count, s.unknown_family_count, p.interval_seconds
FROM target AS t LEFT JOIN last_scrape AS s USING (target_id) LEFT JOIN pace AS p USING (target_id)
WHERE t.removed_at IS NULL ORDER BY t.url
"""
_OLDER = """
  UNION ALL SELECT s.* FROM scrape AS s SEMI JOIN silent USING (target_id)
  WHERE s.scraped_at >= {low} AND s.scraped_at < {high}"""
LATE = _TARGETS.format(older="")
TARGETS = _TARGETS.format(older=_OLDER.format(low="'-infinity'", high="least($recent, $end)"))
"""`telemetry.targets` from all scrapes there are, to be read and run by people."""
MOST_SPANS = 24
"""With more separate stretches than this, one that holds them all is read."""
_BUCKET = timedelta(seconds=BUCKET_SECONDS)
_STATE = """
SELECT targets_since, rolled_until,
  list(d.bucket_at) FILTER (d.bucket_at IS NOT NULL AND d.bucket_at < $until) AS dirty
FROM rollup_sample_state LEFT JOIN rollup_sample_dirty AS d ON TRUE GROUP BY ALL
"""
_ANSWERED = """
SELECT target_id, max(bucket_at) AS bucket_at FROM rollup_target
WHERE scrape_count > 0 AND first_at < $until AND target_id IN ({ids}) GROUP BY target_id
"""


def with_older(stretches: Sequence[Span]) -> str:
    """The query of `LATE` that reads these stretches (naive UTC) of silent targets, too."""
    parts = (
        _OLDER.format(low=f"TIMESTAMP '{low}'", high=f"TIMESTAMP '{high}'")
        for low, high in stretches
    )
    return _TARGETS.format(older="".join(parts))


def spans(snapshot: Snapshot, silent: pl.DataFrame, until: datetime) -> list[Span]:
    """The stretches in which scrapes tell how silent targets stood last; apart, in order.

    A target's last success lies in the last bucket of its roll-up in which one worked, or where
    nothing is rolled up. Of one that was scraped of late, whether or not that worked, nothing else
    is asked.

    Args:
        snapshot: the store.
        silent: target_id and last_at (null where no scrape of `until` or later is known).
        until: naive UTC; what is later is known already.
    """
    state = snapshot.frame(_STATE, until=until)
    if state.is_empty() or state["targets_since"][0] is None:
        return [(datetime.min, until)]  # noqa: DTZ901 - as the store keeps it
    since, rolled_until, dirty = state.row(0)
    ids = ", ".join(str(number) for number in silent["target_id"])
    answered = dict(snapshot.frame(_ANSWERED.format(ids=ids), until=until).iter_rows())
    found = [(rolled_until, until), *((at, at + _BUCKET) for at in dirty or ())]
    for target_id, last_at in silent.select("target_id", "last_at").iter_rows():
        found += _of_one(answered.get(target_id), last_at, since, until)
    merged = list(_merged(found, until))
    return merged if len(merged) <= MOST_SPANS else [(merged[0][0], merged[-1][1])]


def _of_one(
    answered_at: datetime | None, last_at: datetime | None, since: datetime, until: datetime
) -> Iterator[Span]:
    """Where to look for one target.

    Args:
        answered_at: the last bucket in which a scrape of it worked; None where none did.
        last_at: when it was scraped of late; None where it was not.
        since: before it nothing is rolled up.
        until: what is later is known already.
    """
    low = datetime.min if answered_at is None else answered_at  # noqa: DTZ901
    if last_at is None:
        yield low, until
    else:
        yield low, since if answered_at is None else answered_at + _BUCKET


def _merged(found: list[Span], until: datetime) -> Iterator[Span]:
    """Neighbouring stretches as one, all before `until`."""
    held: Span | None = None
    for low, high in sorted((low, min(high, until)) for low, high in found if low < until):
        if low >= high:
            continue
        if held is not None and low <= held[1]:
            held = held[0], max(held[1], high)
            continue
        if held is not None:
            yield held
        held = low, high
    if held is not None:
        yield held
