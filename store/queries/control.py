"""What the controller looks at: the newest of each target of a pool, requests, what is expected.

Everything is asked for by a few targets or models and a short range, so that a step stays quick.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import polars as pl

from store.queries.scope import IS_COUNTED, LIVE_SOURCE_ID
from store.reader import Reader

GAUGES = ("requests_running", "requests_waiting", "kv_cache_usage_ratio")
COUNTERS = (
    "requests_arrived_total",
    "requests_finished_total",
    "requests_refused_total",
    "prompt_tokens_total",
    "generation_tokens_total",
    "prefix_cache_queried_tokens_total",
    "prefix_cache_hit_tokens_total",
    # Tells nothing but that something goes on: some engines count tokens at the end of a request.
    "engine_steps_total",
)

_TARGETS = """
SELECT target_id, url, engine, model, labels::VARCHAR AS labels, added_at
FROM target WHERE removed_at IS NULL ORDER BY target_id
"""
# The newest point of each series, how long it stood still, and what it grew by over the window that
# ends with it. A drop is a restart: what it shows then was counted since.
_NEWEST = """
WITH chosen AS (
  SELECT series_id, target_id, signal, kind FROM series
  WHERE list_contains($signals, signal) AND list_contains($targets, target_id)),
stepped AS (
  SELECT series_id, sampled_at, value, lag(value) OVER w AS before,
    lag(sampled_at) OVER w AS before_at
  FROM sample SEMI JOIN chosen USING (series_id)
  WHERE sampled_at > $since AND sampled_at <= $now + INTERVAL 1 DAY
  WINDOW w AS (PARTITION BY series_id ORDER BY sampled_at)),
points AS (
  SELECT *, max(sampled_at) FILTER (sampled_at <= $now + INTERVAL 5 SECOND)
    OVER (PARTITION BY series_id) AS last_at
  FROM stepped),
each AS (
  SELECT series_id, max(last_at) AS at,
    max_by(p.value, sampled_at) FILTER (sampled_at <= last_at) AS last_value,
    max(sampled_at) FILTER (p.value IS DISTINCT FROM before) AS moved_at,
    max(sampled_at) AS newest_at,
    sum(CASE WHEN p.value < before THEN p.value ELSE p.value - before END) FILTER (
      before_at >= last_at - to_seconds($window) AND sampled_at <= last_at) AS increase,
    max(sampled_at) FILTER (p.value < before AND sampled_at <= last_at) AS fell_at,
    sum(p.value - before) FILTER (
      before_at >= last_at - to_seconds($window) AND sampled_at <= last_at) AS growth,
    sum(epoch_us(sampled_at) - epoch_us(before_at)) FILTER (
      before_at >= last_at - to_seconds($window) AND sampled_at <= last_at) / 1e6 AS covered
  FROM points AS p GROUP BY series_id)
SELECT c.target_id, c.signal,
  (epoch_us($now) - epoch_us(max(e.at))) / 1e6 AS age,
  (epoch_us($now) - epoch_us(max(e.newest_at))) / 1e6 AS newest_age,
  CASE WHEN c.signal = 'kv_cache_usage_ratio' THEN avg(e.last_value) ELSE sum(e.last_value) END
    AS value,
  (epoch_us($now) - epoch_us(max(e.moved_at))) / 1e6 AS moved_age,
  (epoch_us($now) - epoch_us(max(e.fell_at))) / 1e6 AS fell_age,
  CASE WHEN any_value(c.kind) = 'counter' THEN sum(e.increase) ELSE sum(e.growth) END AS change,
  max(e.covered) AS seconds
FROM each AS e JOIN chosen AS c USING (series_id)
GROUP BY c.target_id, c.signal ORDER BY c.target_id, c.signal
"""
_SCRAPED = """
SELECT target_id, max(scraped_at) FILTER (outcome = 'ok') AS ok_at, max(scraped_at) AS last_at
FROM scrape WHERE scraped_at > $since AND scraped_at <= $now AND list_contains($targets, target_id)
GROUP BY target_id
"""
_MINE = """
  SELECT labels_id FROM request_labels
  WHERE (len($models) = 0 OR list_contains($models, model))
    AND (len($instances) = 0 OR list_contains($instances, instance))
"""
_ROWS = f"""
  SELECT r.arrived_at, r.arrived_at + to_microseconds((1e6 * coalesce(r.e2e_seconds, 0))::BIGINT)
      AS ended_at, r.status, r.input_tokens, r.output_tokens, r.cached_tokens, r.ttft_seconds,
    r.tpot_seconds,
    -- Not known where nobody timed the answer: neither good nor missed.
    CASE WHEN r.status <> 'ok' THEN false
      WHEN $ttft IS NOT NULL AND r.ttft_seconds IS NULL THEN NULL
      ELSE ($ttft IS NULL OR r.ttft_seconds <= $ttft)
        AND ($tpot IS NULL OR r.tpot_seconds IS NULL OR r.tpot_seconds <= $tpot) END AS is_good
  FROM request AS r SEMI JOIN ({_MINE}) USING (labels_id)
  WHERE r.source_id = {LIVE_SOURCE_ID} AND r.arrived_at > $oldest AND r.arrived_at < $until
    AND {IS_COUNTED}
"""
_REQUESTS = f"""
WITH mine AS ({_ROWS})
SELECT count(*) AS known,
  count(*) FILTER (ended_at > $since) AS ended,
  count(*) FILTER (arrived_at > $since) AS arrived,
  count(*) FILTER (ended_at > $since AND status = 'refused') AS refused,
  (sum(input_tokens) FILTER (arrived_at > $since))::DOUBLE AS input_tokens,
  (sum(output_tokens) FILTER (ended_at > $since))::DOUBLE AS output_tokens,
  avg(input_tokens) AS input_mean, avg(output_tokens) FILTER (status = 'ok') AS output_mean,
  sum(cached_tokens)::DOUBLE
    / nullif(sum(input_tokens) FILTER (cached_tokens IS NOT NULL), 0)::DOUBLE AS hit_ratio,
  quantile_cont(ttft_seconds, 0.95) FILTER (status = 'ok' AND ended_at > $recent) AS ttft_p95,
  quantile_cont(tpot_seconds, 0.95) FILTER (status = 'ok' AND ended_at > $recent) AS tpot_p95,
  avg(is_good::INTEGER) FILTER (ended_at > $recent) AS attainment,
  max(ended_at) AS newest_at
FROM mine WHERE ended_at < $until
"""
_REALISED = f"""
WITH mine AS ({_ROWS}),
minutes AS (
  SELECT count(*) / 60.0 AS rate FROM mine GROUP BY time_bucket(INTERVAL 1 MINUTE, arrived_at))
SELECT count(*) AS requests, avg(is_good::INTEGER) AS attainment,
  (SELECT max(rate) FROM minutes) AS peak_per_second
FROM mine
"""
_ARRIVALS = f"""
WITH mine AS (
  SELECT floor((epoch_us($until) - epoch_us(r.arrived_at)) / (1e6 * $bin))::INTEGER AS bin
  FROM request AS r SEMI JOIN ({_MINE}) USING (labels_id)
  WHERE r.source_id = {LIVE_SOURCE_ID} AND r.arrived_at >= $oldest AND r.arrived_at < $until
    AND {IS_COUNTED})
SELECT bin, count(*) AS requests FROM mine GROUP BY bin ORDER BY bin DESC
"""
_DEMAND = """
SELECT horizon_seconds, levels, predicted, made_at, key FROM forecast
WHERE source_id = $live AND quantity = 'requests_per_second' AND list_contains($models, key[1])
  AND key[2] = '(all)' AND made_at > $since AND made_at <= $now
QUALIFY made_at = max(made_at) OVER (PARTITION BY key[1])
ORDER BY key[1], horizon_seconds
"""
_STARTS = """
SELECT key[-1] AS place, levels, predicted FROM forecast
WHERE source_id = $live AND quantity = 'load_seconds' AND list_contains($models, key[1])
  AND made_at > $since AND made_at <= $now
QUALIFY row_number() OVER (PARTITION BY key[-1] ORDER BY made_at DESC) = 1
ORDER BY place
"""


def targets(reader: Reader) -> pl.DataFrame:
    """target_id, url, engine, model, labels (JSON text), added_at of what is watched."""
    return reader.frame(_TARGETS)


def newest(
    reader: Reader,
    target_ids: Sequence[int],
    since: datetime,
    now: datetime,
    window_seconds: float,
) -> pl.DataFrame:
    """How each target stands, by signal; series of a signal together.

    Args:
        reader: the store.
        target_ids: of which targets.
        since: naive UTC; older points are not looked at.
        now: naive UTC; points from the future are told by `newest_age` alone.
        window_seconds: over which changes are counted, back from the newest point.

    Returns:
        target_id, signal, age, newest_age (below 0: from the future), value, moved_age (since it
        changed), fell_age (since it was less than before), change (of a counter its increase),
        seconds (what the change covers); ages in seconds before `now`.
    """
    return reader.frame(
        _NEWEST,
        signals=[*GAUGES, *COUNTERS],
        targets=list(target_ids),
        since=since,
        now=now,
        window=window_seconds,
    )


def scraped(
    reader: Reader, target_ids: Sequence[int], since: datetime, now: datetime
) -> pl.DataFrame:
    """target_id, ok_at (newest scrape that worked), last_at; none where nothing was tried."""
    return reader.frame(_SCRAPED, targets=list(target_ids), since=since, now=now)


def requests(
    reader: Reader,
    models: Sequence[str],
    instances: Sequence[str],
    bounds: tuple[float | None, float | None],
    times: tuple[datetime, datetime, datetime, datetime],
) -> dict[str, float | int | datetime | None]:
    """What the rows of requests say.

    Args:
        reader: the store.
        models: of these; empty is all.
        instances: on these; empty is all.
        bounds: seconds that TTFT and TPOT of a good request have at most; None is no bound.
        times: naive UTC: oldest arrival that is looked at, begin of the range for latencies, begin
            of the range for rates, end of all.

    Returns:
        known, ended, arrived, refused, input_tokens, output_tokens, input_mean, output_mean,
        hit_ratio, ttft_p95, tpot_p95, attainment, newest_at.
    """
    oldest, recent, since, until = times
    return reader.frame(
        _REQUESTS, models=list(models), instances=list(instances), ttft=bounds[0], tpot=bounds[1],
        oldest=oldest, recent=recent, since=since, until=until,
    ).to_dicts()[0]  # fmt: skip


def realised(
    reader: Reader,
    models: Sequence[str],
    instances: Sequence[str],
    bounds: tuple[float | None, float | None],
    start: datetime,
    end: datetime,
) -> tuple[int, float | None, float | None]:
    """Requests that arrived in a range, the share of good ones, and their highest minute's rate."""
    found, attainment, peak = reader.frame(
        _REALISED, models=list(models), instances=list(instances), ttft=bounds[0], tpot=bounds[1],
        oldest=start, until=end,
    ).row(0)  # fmt: skip
    return int(found), attainment, peak


def arrivals(
    reader: Reader,
    models: Sequence[str],
    instances: Sequence[str],
    start: datetime,
    end: datetime,
    bin_seconds: float,
) -> list[float]:
    """Requests a second in each bin up to `end`, from the first request on, oldest first."""
    rows = reader.frame(
        _ARRIVALS, models=list(models), instances=list(instances), oldest=start, until=end,
        bin=bin_seconds,
    ).rows()  # fmt: skip
    if not rows:
        return []
    counts = dict(rows)
    return [counts.get(number, 0) / bin_seconds for number in range(int(rows[0][0]), -1, -1)]


def demand(reader: Reader, models: Sequence[str], since: datetime, now: datetime) -> pl.DataFrame:
    """Newest forecasts of requests a second: horizon_seconds, levels, predicted, made_at, key."""
    return reader.frame(_DEMAND, live=LIVE_SOURCE_ID, models=list(models), since=since, now=now)


def start_times(
    reader: Reader, models: Sequence[str], since: datetime, now: datetime
) -> pl.DataFrame:
    """What is expected of a start now, by place: place, levels, predicted."""
    return reader.frame(_STARTS, live=LIVE_SOURCE_ID, models=list(models), since=since, now=now)
