"""What was scraped from live targets, thinned to what a page can show.

Bins reach back from `anchor` (`end` when None) as in `store.queries.slo`: bin k covers
[anchor - (k+1) width, anchor - k width).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import polars as pl

from store.queries.slo import naive_utc
from store.reader import Reader

# A counter's first step needs the point before it; scrapes are at most this far apart.
LOOK_BACK_SECONDS = 300
# Every scrape of the last day is looked at; of older ones, one minute in six hours.
FINE_SECONDS = 86_400
STRETCH_SECONDS = 21_600

TARGETS = """
WITH last_scrape AS (
  SELECT target_id, max(scraped_at) AS last_at, max_by(outcome, scraped_at) AS last_outcome,
         max_by(error, scraped_at) AS last_error,
         max(scraped_at) FILTER (WHERE outcome = 'ok') AS last_success_at,
         max_by(duration_seconds, scraped_at) AS last_duration_seconds,
         max_by(sample_count, scraped_at) FILTER (WHERE outcome = 'ok') AS sample_count,
         max_by(bad_line_count, scraped_at) FILTER (WHERE outcome = 'ok') AS bad_line_count,
         max_by(unknown_family_count, scraped_at) FILTER (WHERE outcome = 'ok')
           AS unknown_family_count
  FROM scrape WHERE scraped_at < $end GROUP BY target_id
), pace AS (
  SELECT target_id, median(gap) AS interval_seconds FROM (
    SELECT target_id, date_diff('microseconds', lag(scraped_at)
      OVER (PARTITION BY target_id ORDER BY scraped_at), scraped_at) / 1e6 AS gap
    FROM scrape WHERE scraped_at < $end AND scraped_at >= $recent)
  GROUP BY target_id
)
SELECT t.target_id, t.url, t.engine, t.engine_version, t.model, t.added_at, t.removed_at,
       s.last_at, s.last_outcome, s.last_error, s.last_success_at, s.last_duration_seconds,
       s.sample_count, s.bad_line_count, s.unknown_family_count, p.interval_seconds
FROM target AS t LEFT JOIN last_scrape AS s USING (target_id) LEFT JOIN pace AS p USING (target_id)
WHERE t.removed_at IS NULL ORDER BY t.url
"""

_WIDTH = "(epoch_us($anchor) - epoch_us(p.sampled_at) - 1) // $width_us"

# Cumulative values need no more than a point now and then: older than a day, those of the last
# minute of each stretch, which is all that is read of a month of scrapes.
_THINNED = """(p.sampled_at >= $fine
      OR epoch_us(p.sampled_at) // 1000000 % $stretch_seconds >= $stretch_seconds - 60)"""

GAUGE_BINS = f"""
SELECT s.series_id, s.target_id, s.signal, coalesce(s.labels->>'model', t.model) AS model,
       {_WIDTH} AS bin,
       avg(p.value) AS mean, max(p.value) AS maximum, max_by(p.value, p.sampled_at) AS latest,
       max(p.sampled_at) AS latest_at
FROM sample AS p JOIN series AS s USING (series_id) JOIN target AS t USING (target_id)
WHERE s.kind = 'gauge' AND list_contains($signals, s.signal)
  AND p.sampled_at >= $start AND p.sampled_at < $end AND t.removed_at IS NULL
GROUP BY ALL ORDER BY s.target_id, s.signal, bin DESC
"""

# Kept: the first point, the last of each bin, and both sides of every drop, so that two scrapes
# already give a rate and no reset of the last day is lost. Of the points before the range only the
# last, which the first step starts from: what was counted earlier is not of this range.
COUNTER_POINTS = f"""
WITH b AS (
  SELECT p.series_id, p.sampled_at, p.value, {_WIDTH} AS bin
  FROM sample AS p JOIN series AS s USING (series_id)
  WHERE s.kind = 'counter' AND list_contains($signals, s.signal)
    AND p.sampled_at >= $start AND p.sampled_at < $end AND {_THINNED}
), k AS (
  SELECT *, lag(value) OVER w AS value_before, lead(value) OVER w AS value_after,
         lead(bin) OVER w AS bin_after, lead(sampled_at) OVER w AS at_after
  FROM b WINDOW w AS (PARTITION BY series_id ORDER BY sampled_at)
)
SELECT s.series_id, s.target_id, s.signal, coalesce(s.labels->>'model', t.model) AS model,
       coalesce(s.labels->>'finish_reason', s.labels->>'reason') AS reason,
       k.sampled_at AS at, k.bin, k.value
FROM k JOIN series AS s USING (series_id) JOIN target AS t USING (target_id)
WHERE t.removed_at IS NULL AND (k.sampled_at >= $first OR k.at_after >= $first)
  AND (k.sampled_at < $first OR k.value_before IS NULL OR k.bin_after IS DISTINCT FROM k.bin
       OR k.value_before > k.value OR k.value_after < k.value)
ORDER BY s.series_id, k.sampled_at
"""

HISTOGRAM_POINTS = f"""
WITH b AS (
  SELECT p.series_id, p.sampled_at, p.observation_count AS held, hash(p.edges) AS layout,
         {_WIDTH} AS bin
  FROM histogram_sample AS p JOIN series AS s USING (series_id)
  WHERE list_contains($signals, s.signal) AND p.sampled_at >= $start AND p.sampled_at < $end
    AND {_THINNED}
), k AS (
  SELECT *, lag(held) OVER w AS held_before, lead(held) OVER w AS held_after,
         lag(layout) OVER w AS layout_before, lead(layout) OVER w AS layout_after,
         lead(bin) OVER w AS bin_after, lead(sampled_at) OVER w AS at_after
  FROM b WINDOW w AS (PARTITION BY series_id ORDER BY sampled_at)
)
SELECT s.series_id, s.target_id, s.signal, coalesce(s.labels->>'model', t.model) AS model,
       p.sampled_at AS at, k.bin, p.observation_count, p.observation_sum, p.edges,
       p.cumulative_counts
FROM k JOIN histogram_sample AS p ON p.series_id = k.series_id AND p.sampled_at = k.sampled_at
JOIN series AS s ON s.series_id = k.series_id JOIN target AS t USING (target_id)
WHERE t.removed_at IS NULL AND (k.sampled_at >= $first OR k.at_after >= $first)
  AND (k.sampled_at < $first OR k.held_before IS NULL OR k.bin_after IS DISTINCT FROM k.bin
       OR k.held_before > k.held OR k.held_after < k.held
       OR k.layout_before <> k.layout OR k.layout_after <> k.layout)
ORDER BY s.series_id, k.sampled_at
"""


def targets(reader: Reader, end: datetime) -> pl.DataFrame:
    """Every target that is watched, as seen at `end`.

    Returns:
        target_id, url, engine, engine_version, model, added_at, removed_at, last_at, last_outcome,
        last_error, last_success_at, last_duration_seconds, sample_count, bad_line_count,
        unknown_family_count, interval_seconds (median gap between recent scrapes); by URL.
        Times are naive UTC.
    """
    at = naive_utc(end)
    recent = at - _seconds(LOOK_BACK_SECONDS * 2)
    return reader.frame(TARGETS, end=at, recent=recent)


def gauge_bins(
    reader: Reader,
    signals: Sequence[str],
    start: datetime,
    end: datetime,
    width_seconds: float,
    anchor: datetime | None = None,
) -> pl.DataFrame:
    """Gauges per series and bin.

    Returns:
        series_id, target_id, signal, model, bin, mean, maximum, latest, latest_at.
    """
    return reader.frame(
        GAUGE_BINS,
        signals=list(signals),
        start=naive_utc(start),
        end=naive_utc(end),
        anchor=naive_utc(anchor or end),
        width_us=_micro(width_seconds),
    )


def counter_points(
    reader: Reader,
    signals: Sequence[str],
    start: datetime,
    end: datetime,
    width_seconds: float,
    anchor: datetime | None = None,
    stretch_seconds: int = STRETCH_SECONDS,
) -> pl.DataFrame:
    """Cumulative counters, thinned to one point a bin without losing a reset.

    The last point before `start` comes along, so that the first step is known. Of what is older
    than a day, only the last minute of each `stretch_seconds` is read: totals stay true, but for
    what an engine counted between such a minute and a restart.

    Returns:
        series_id, target_id, signal, model, reason, at (naive UTC), bin, value; sorted by series
        and time.
    """
    return reader.frame(
        COUNTER_POINTS,
        signals=list(signals),
        start=naive_utc(start) - _seconds(LOOK_BACK_SECONDS),
        first=naive_utc(start),
        end=naive_utc(end),
        anchor=naive_utc(anchor or end),
        width_us=_micro(width_seconds),
        fine=naive_utc(end) - _seconds(FINE_SECONDS),
        stretch_seconds=stretch_seconds,
    )


def histogram_points(
    reader: Reader,
    signals: Sequence[str],
    start: datetime,
    end: datetime,
    width_seconds: float,
    anchor: datetime | None = None,
    stretch_seconds: int = STRETCH_SECONDS,
) -> pl.DataFrame:
    """Cumulative histograms, thinned as in `counter_points`.

    Returns:
        series_id, target_id, signal, model, at, bin, observation_count, observation_sum, edges,
        cumulative_counts; sorted by series and time.
    """
    return reader.frame(
        HISTOGRAM_POINTS,
        signals=list(signals),
        start=naive_utc(start) - _seconds(LOOK_BACK_SECONDS),
        first=naive_utc(start),
        end=naive_utc(end),
        anchor=naive_utc(anchor or end),
        width_us=_micro(width_seconds),
        fine=naive_utc(end) - _seconds(FINE_SECONDS),
        stretch_seconds=stretch_seconds,
    )


def _micro(seconds: float) -> int:
    return int(seconds * 1_000_000)


def _seconds(seconds: float) -> timedelta:
    return timedelta(seconds=seconds)
